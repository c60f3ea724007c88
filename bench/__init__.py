"""Benchmarks: each module has `rows()`; `python -m bench` runs them all and prints one table."""

"""Transports, health and drain around the pipeline."""

"""Wiring: a configuration file in, the running parts out. The only room that knows every class.

One module for each thing that is put together, so that a command imports no more than it uses.
"""

"""Peers for the tests: real things, not mocks."""

"""Engines and the layers around them, all of one shape: `Policy`."""

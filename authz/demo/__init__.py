"""The mesh of the quick start: development CA, real Envoys, sample tools and agents."""

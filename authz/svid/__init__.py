"""SPIFFE's tongue: certificates in, proven identities out."""

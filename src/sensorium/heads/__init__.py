"""Heads: small maps into the shared space, one file each."""

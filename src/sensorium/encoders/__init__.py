"""Frozen encoders: each file turns one kind of item into vectors."""

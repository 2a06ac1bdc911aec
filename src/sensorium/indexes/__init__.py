"""Indexes: keep vectors and find the nearest, one file each."""

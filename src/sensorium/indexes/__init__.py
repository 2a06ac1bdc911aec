"""Indexes: store vectors and search the k nearest, one file each."""

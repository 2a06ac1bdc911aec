"""Numerics: running moments, ragged sequences, threads and memory of the numeric libraries."""

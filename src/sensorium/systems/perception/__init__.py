"""Perception: faces as vectors that speak to a picture model; live faces, the files and head of the original."""

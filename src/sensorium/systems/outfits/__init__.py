"""Outfits: what is similar, what completes a look, and the files of the original fashion project."""

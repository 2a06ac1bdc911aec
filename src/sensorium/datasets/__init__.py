"""Data sets: each file loads one, as Items of both sides and their Pairs."""

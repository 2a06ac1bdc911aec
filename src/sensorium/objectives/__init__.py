"""Objectives: the losses that fit the heads, one file each; solved in closed form or trained."""

"""Objectives: what makes a fit good, one file each; solved in closed form or trained."""

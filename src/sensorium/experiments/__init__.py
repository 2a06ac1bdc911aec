"""Experiments: many runs of one recipe: sweeps, seeds, folds, other corpora."""

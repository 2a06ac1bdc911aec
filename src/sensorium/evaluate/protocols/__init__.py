"""Protocols by the names papers use: each fixes queries, candidates, folds and measures exactly."""

"""Pairs: which left rows go with which right rows, by label, group and split; the positives within a batch."""

from sensorium.pairs.pairs import SPLIT_WORDS, SPLITS, Pairs, Relevance, rows_of

__all__ = ["SPLITS", "SPLIT_WORDS", "Pairs", "Relevance", "rows_of"]

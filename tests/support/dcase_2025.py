"""The measures of DCASE 2025 task 6, written anew from the description of its evaluator, in plain Python.

A query's average precision at k: for its relevant files in the order of their 0-based ranks, the sum of
place / (rank + 1) over those with rank < k, divided by the number of all its relevant files.
"""

import numpy as np


def mean_average_precision(scores: np.ndarray, relevant: list[set[int]], k: int) -> float:
    """scores (q, n) of texts × files, without ties; relevant: the files of each text."""
    total = 0.0
    for row, files in zip(scores.astype(np.float64), relevant, strict=True):
        order = sorted(range(len(row)), key=lambda i: -row[i])
        place, precision = 0, 0.0
        for rank, file in enumerate(order[:k]):
            if file in files:
                place += 1
                precision += place / (rank + 1)
        total += precision / len(files)
    return total / len(relevant)


def recall(scores: np.ndarray, relevant: list[set[int]], k: int) -> float:
    """Mean share of a text's files among the first k."""
    shares = []
    for row, files in zip(scores.astype(np.float64), relevant, strict=True):
        first = set(sorted(range(len(row)), key=lambda i: -row[i])[:k])
        shares.append(len(first & files) / len(files))
    return float(np.mean(shares))

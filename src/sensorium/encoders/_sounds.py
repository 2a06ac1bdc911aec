"""Sounds for a pretrained network: means over the parts of long ones, and fixed examples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def mean_of_parts(vectors: np.ndarray, counts: Sequence[int], unit_length: bool = False) -> np.ndarray:
    """Of parts' vectors (Σ counts, d), in order, the mean of each item's, (n, d) float32; of unit length where asked.

    >>> mean_of_parts(np.array([[1.0], [3.0], [5.0]]), [2, 1]).tolist()
    [[2.0], [5.0]]
    """
    means = np.stack([part.mean(0, dtype=np.float64) for part in np.split(vectors, np.cumsum(counts)[:-1])])
    if unit_length:
        means = means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
    return means.astype(np.float32)


def examples(rate: int) -> list[Any]:
    """Fixed sounds, 2 s at ``rate`` Hz: tones that fade, with noise."""
    rng = np.random.default_rng(0)
    t = np.arange(2 * rate) / rate
    tones = [np.sin(2 * np.pi * pitch * t) * np.exp(-k * t) for k, pitch in enumerate((110, 440, 987, 3000))]
    return [((0.3 * tone + 0.02 * rng.standard_normal(len(t))).astype(np.float32), rate) for tone in tones]

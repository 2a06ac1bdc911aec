"""The modality gap: how far the two sides lie apart as clouds, before and after the heads.

Frozen encoders put each modality into its own cone, so that the centroids of true pairs' sides lie
apart (Liang et al. 2022). Centring and whitening, fitted on training rows, live in the heads
(``preprocess``); this only measures what is left.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sensorium.errors import BadData
from sensorium.numerics import unit
from sensorium.pairs import Pairs
from sensorium.types import Rows

_LARGEST = 20_000  # pairs read; the numbers are means and settle long before


def gap(left: Rows, right: Rows, pairs: Pairs, split: str = "test", seed: int = 0) -> dict[str, Any]:
    """The gap between two tables of one width over the related pairs of a split.

    Rows are scaled to unit length first. Returns

    * ``distance``: ‖mean left − mean right‖, from 0 (none) to 2 (opposite points);
    * ``explained``: share of the squared distance of true pairs that this one shift accounts for;
    * ``left_cone``, ``right_cone``: mean cosine between two different items of one side, 0 for a
      full sphere;
    * ``true_cosine``, ``random_cosine``: mean over true pairs, and over pairs drawn across items;
    * ``alignment``: mean squared distance of true pairs (Wang & Isola 2020);
    * ``n``: pairs read.

    Raises BadData when the widths differ (before the heads there is then no common space).
    """
    if left.shape[1] != right.shape[1]:
        raise BadData(f"no gap between vectors {left.shape[1]} and {right.shape[1]} wide: they share no space")
    related = pairs.where(split, 1)
    if not len(related):
        raise BadData(f"split '{split}' has no related pair to measure a gap on")
    random = np.random.default_rng(seed)
    which = np.arange(len(related))
    if len(which) > _LARGEST:
        which = np.sort(random.choice(which, _LARGEST, replace=False))
    a, b = unit(np.float64(left[related.left[which]])), unit(np.float64(right[related.right[which]]))
    shift = a.mean(axis=0) - b.mean(axis=0)
    alignment = float(((a - b) ** 2).sum(axis=1).mean())
    return {
        "distance": float(np.linalg.norm(shift)),
        "explained": float(shift @ shift / alignment) if alignment else 0.0,
        "left_cone": _cone(unit(np.float64(left[np.unique(related.left[which])]))),
        "right_cone": _cone(unit(np.float64(right[np.unique(related.right[which])]))),
        "true_cosine": float((a * b).sum(axis=1).mean()),
        "random_cosine": float(a.mean(axis=0) @ b.mean(axis=0)),  # the mean over all (i, j), without forming them
        "alignment": alignment,
        "n": len(which),
    }


def before_and_after(
    left: Rows, right: Rows, zl: Rows, zr: Rows, pairs: Pairs, split: str = "test"
) -> dict[str, dict[str, Any] | None]:
    """The gap of the encoders' vectors and of the heads' outputs; None where there is no common space."""
    return {"before": gap(left, right, pairs, split) if left.shape[1] == right.shape[1] else None,
            "after": gap(zl, zr, pairs, split)}  # fmt: skip


def _cone(x: np.ndarray) -> float:
    """Mean cosine over pairs of different rows: (‖Σx‖² − n) / (n(n − 1))."""
    n = len(x)
    total = x.sum(axis=0)
    return float((total @ total - n) / (n * (n - 1))) if n > 1 else 1.0

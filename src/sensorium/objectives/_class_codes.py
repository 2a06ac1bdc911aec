"""Class tables: whether the right items are a few classes of the left ones, and their vectors as one-hot logits."""

from __future__ import annotations

import numpy as np

from sensorium.errors import BadData
from sensorium.pairs import Pairs
from sensorium.types import Affine, Embeddings

MOST = 200  # classes
_EACH = 3  # left items of a class, on average, at least
_SURE = 30.0  # logit of the class itself, whose probability is then 1 but for 1e-13


def class_table(left: Embeddings, right: Embeddings, pairs: Pairs) -> tuple[np.ndarray, np.ndarray] | None:
    """Class of each left (n,) and right row (m,), -1 where it has none; None where the right items are no classes.

    They are where every left row goes with one of at most MOST right rows, of which two or more have partners.
    """
    if pairs.same_table or pairs.classes is not None or not 1 < len(right) <= MOST:
        return None
    edges = np.unique(np.stack([pairs.left[pairs.label == 1], pairs.right[pairs.label == 1]], 1), axis=0)
    met = len(np.unique(edges[:, 1]))
    if met < 2 or len(edges) < _EACH * met or len(np.unique(edges[:, 0])) < len(edges):
        return None
    codes = np.full(len(left), -1, np.int64)
    codes[edges[:, 0]] = edges[:, 1]
    return codes, np.arange(len(right))


def sure_logits(vectors: np.ndarray, codes: np.ndarray, classes: int) -> Affine:
    """A map of the class vectors (m, d) to logits (m, c) that are one-hot times a large number.

    codes (m,): place of each among the classes, -1 for none. Raises BadData where they depend on each other linearly.
    """
    x = np.asarray(vectors, np.float64)[codes >= 0]
    target = _SURE * np.eye(classes)[codes[codes >= 0]]
    weight = np.linalg.lstsq(x, target, rcond=None)[0]
    if not np.allclose(x @ weight, target, atol=1e-3 * _SURE):
        raise BadData(f"the vectors of {len(x)} classes depend on each other linearly, so that no linear map tells "
                      "them apart; type: right.encoder=onehot")  # fmt: skip
    return Affine(weight, np.zeros(classes))

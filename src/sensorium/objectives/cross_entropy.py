"""Cross-entropy over all classes of the right side: class weights, label smoothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium.contracts import TrainedObjective
from sensorium.errors import BadRecipe
from sensorium.objectives import _contrastive
from sensorium.objectives._inputs import head_input
from sensorium.pairs import Pairs, csr
from sensorium.pairs.positives import Positives
from sensorium.types import Embeddings

_MOST = 10_000  # float32 scores times more than this are noise
_MOST_CLASSES = 50_000


class CrossEntropy(nn.Module, TrainedObjective):
    """L = mean over the batch of -Σ_k y_k log softmax(zl · Zᵀ / temperature)_k, Z all c right items.

    A classifier is retrieval over its class table: pairs are (utterance, class), the right items
    are the classes, whether one-hot rows or text vectors of their names, and *all* of them are
    scored at every step, not only those the batch happens to hold. With a one-hot right side and
    an identity head the logits are zl itself. A left item with several classes has y = 1/number
    on each of them. Where rows are related by label, the classes are the training items of the right side, and
    a left item has all those of its label.

    temperature: 1 for free logits (``left.head.normalize=false``); about 0.07 where heads normalise.
    weights: "none", "balanced" (n / (c · n_k) from the training pairs, as scikit-learn), or c
    numbers in the order of the right items; the mean over the batch is weighted, as in
    ``torch.nn.functional.cross_entropy``.
    label_smoothing: share of y spread evenly over all classes (Szegedy et al. 2016).

    Raises BadRecipe for invalid values and for a right side that is no class table.
    """

    gives_probabilities = True
    takes_mixtures = False

    def __init__(
        self, temperature: float = 1.0, weights: str | Sequence[float] = "none", label_smoothing: float = 0.0
    ) -> None:
        super().__init__()
        if not 1 / _MOST <= temperature <= _MOST:
            raise BadRecipe(f"objective.temperature={temperature}; expected above 0, from {1 / _MOST} to {_MOST}")
        if not 0 <= label_smoothing < 1:
            raise BadRecipe(f"objective.label_smoothing={label_smoothing}; expected from 0 to below 1, such as 0.1")
        if isinstance(weights, str) and weights not in ("none", "balanced"):
            raise BadRecipe(f"objective.weights='{weights}'; expected none, balanced or a list of numbers, one a class")
        self.temperature = self.score_temperature = temperature
        self.weights, self.label_smoothing = weights, label_smoothing
        self._classes: _Classes | None = None

    def check(self, left: Embeddings, right: Embeddings, pairs: Pairs) -> None:
        """Raises BadRecipe for a right side that is no class table, or weights of another number of classes."""
        if len(right) > _MOST_CLASSES or right.offsets is not None:
            raise BadRecipe(
                f"cross_entropy scores all {len(right)} right items at every step and expects classes, at most "
                f"{_MOST_CLASSES}, one vector each; for retrieval type: objective=infonce"
            )
        c = len(right)
        if not isinstance(self.weights, str) and (len(self.weights) != c or not all(w >= 0 for w in self.weights)):
            raise BadRecipe(
                f"objective.weights has {len(self.weights)} values; expected {c}, one a class and none below 0"
            )

    def prepare(self, left: Embeddings, right: Embeddings, pairs: Pairs, left_head: Any, right_head: Any) -> None:
        """Called once before training, with the training pairs: the class table and each item's classes."""
        self.check(left, right, pairs)
        self._classes = _Classes(left, right, pairs.where(label=1), right_head, self.weights)

    def probabilities(self, scores: np.ndarray) -> np.ndarray:
        """softmax(scores / temperature) of scores zl · Zᵀ (n, c), as the loss reads them."""
        logits = np.asarray(scores, np.float64) / self.temperature
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)

    def loss(self, zl: Tensor, zr: Tensor, positives: Positives) -> Tensor:
        """Loss of a batch: zl (b, d). zr is not read: its rows are in the table of all classes."""
        if self._classes is None or positives.rows is None:
            raise BadRecipe("cross_entropy needs one class a row, which mixtures do not have; set train.mixup=0")
        table = self._classes
        logits = _contrastive.logits(zl, table.outputs(zl)) / self.temperature
        target = table.targets(positives.rows[0], logits)
        weight = None if table.weight is None else table.weight.to(logits)
        if target.ndim == 1:
            return F.cross_entropy(logits, target, weight, label_smoothing=self.label_smoothing)
        smooth = target * (1.0 - self.label_smoothing) + self.label_smoothing / logits.shape[1]
        each = weight if weight is not None else torch.ones(logits.shape[1]).to(logits)
        # Normalised by the weight of the targets, so that one class an item gives the same value either way.
        return -(smooth * each * logits.log_softmax(1)).sum() / (target * each).sum()


class _Classes:
    """The class table: right vectors and their head, class weights, and the classes of left rows."""

    def __init__(
        self, left: Embeddings, right: Embeddings, pairs: Pairs, head: Any, weights: str | Sequence[float]
    ) -> None:
        rows = np.arange(len(right))
        if pairs.classes is None:
            edges = np.unique(np.stack([pairs.left, pairs.right], 1), axis=0)
            of_left, self.classes, sought = edges[:, 0], edges[:, 1], np.arange(len(left))
            count = np.bincount(self.classes, minlength=len(rows))
        else:  # all training items of a label; others are no classes, as they may have the same one
            rows, trained = np.unique(pairs.right), np.unique(pairs.left)
            code, sought = pairs.classes.right[rows], pairs.classes.left
            self.classes = np.argsort(code, kind="stable")
            of_left = code[self.classes]
            ordered = np.sort(sought[trained])
            count = np.searchsorted(ordered, code, "right") - np.searchsorted(ordered, code)
        self.starts = np.searchsorted(of_left, sought)
        self.counts = np.searchsorted(of_left, sought, "right") - self.starts
        self.single = bool(self.counts.max(initial=0) <= 1)
        self.head = head
        self.vectors = head_input(right.vectors, rows)
        self.weight = self._weights(weights if isinstance(weights, str) else np.asarray(weights)[rows], count)

    def _weights(self, weights: str | np.ndarray, count: np.ndarray) -> Tensor | None:
        if isinstance(weights, str) and weights == "none":
            return None
        if isinstance(weights, str):
            seen = count > 0
            weights = np.where(seen, count.sum() / (seen.sum() * np.maximum(count, 1)), 0.0)
        return torch.as_tensor(np.asarray(weights, np.float64))

    def outputs(self, like: Tensor) -> Tensor:
        """Head outputs of all classes, (c, d), with their gradients."""
        if self.vectors.device != like.device:
            self.vectors = self.vectors.to(like.device)
        return self.head(self.vectors).to(like.dtype)

    def targets(self, left_rows: np.ndarray, like: Tensor) -> Tensor:
        """Class of each row, (b,) int64; or their shares, (b, c), where an item may have several."""
        start, count = self.starts[left_rows], self.counts[left_rows]
        if self.single:
            return torch.from_numpy(self.classes[start]).to(like.device)
        row = np.repeat(np.arange(len(left_rows)), count)
        at = csr.ranges(start, count)
        share = torch.zeros_like(like)
        place = (torch.from_numpy(row).to(like.device), torch.from_numpy(self.classes[at]).to(like.device))
        share[place] = torch.from_numpy(1.0 / np.repeat(count, count)).to(like)
        return share

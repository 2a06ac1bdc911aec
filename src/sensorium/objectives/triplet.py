"""Triplets on cosine, with a margin or softly: random, hard or semi-hard negatives, optionally of the same category."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium.contracts import TrainedObjective
from sensorium.errors import BadRecipe, nearest
from sensorium.objectives._categories import category_codes, of_batch
from sensorium.objectives._inputs import head_input
from sensorium.pairs import Pairs
from sensorium.pairs.positives import Positives
from sensorium.types import Embeddings, blocks

_NEGATIVES = ("random", "hard", "semi-hard")
_FORMS = ("hinge", "softplus")
_ROWS = 1024  # anchors mined at a time: memory stays linear in the batch
_OFF_CATEGORY = 1e3  # larger than every similarity: another category is taken only when the batch holds none of the own


_WIDEST = 100  # margin; cosines differ by 2 at most


class Triplet(nn.Module, TrainedObjective):
    """L = mean over triplets of max(0, margin + s(a, n) - s(a, p)), s the cosine.

    With distance 1 - s this is max(0, margin + d(a, p) - d(a, n)) (Schroff et al. 2015, FaceNet,
    eq. 3). Every pair of the batch gives an anchor a and its positive p; n is one row of the other
    side that is not a positive of a:

    - "random": any, with equal chance (drawn from torch's generator).
    - "hard": the nearest.
    - "semi-hard": the nearest of those farther than p; where there is none, the farthest.

    form: "hinge" as above, or "softplus": log(1 + exp((s(a, n) - s(a, p)) / T)), which has no margin (the pairwise
    loss of Burges et al. 2005, RankNet; BPR of Rendle et al. 2009).

    margin: by how much the positive must be nearer. temperature: T of the form "softplus".
    negatives: "random", "hard" or "semi-hard".
    match: name of a metadata column, such as "category". A negative is then taken from p's own
    category (mined by the same rule within it), and from others only if the batch holds none.
    both: right items are anchors too, with negatives from the left.
    known: pairs labelled 0 are verified negatives. Each left item that has some adds
    the triplet with one of them, drawn anew each time, whether or not it stands in the batch.
    neg_pool_ratio: share of the pairs labelled 0 that are used, drawn once; the others are read as if not there.

    Of sets of items the query is taken as the head composes it, and s is its inner product with the candidate.

    Raises BadRecipe for an unknown word, a missing column, or a number out of its range.
    """

    def __init__(
        self,
        margin: float = 0.3,
        negatives: str = "semi-hard",
        match: str = "",
        both: bool = True,
        known: bool = True,
        form: str = "hinge",
        temperature: float = 0.3,
        neg_pool_ratio: float = 1.0,
    ) -> None:
        super().__init__()
        if form not in _FORMS:
            raise BadRecipe(f"objective.form='{form}'; {nearest(str(form), _FORMS)}")
        if not 0 < temperature <= _WIDEST:
            raise BadRecipe(f"objective.temperature={temperature}; expected above 0, up to {_WIDEST}, such as 0.3")
        if not 0 < neg_pool_ratio <= 1:
            raise BadRecipe(f"objective.neg_pool_ratio={neg_pool_ratio}; expected a share above 0, up to 1")
        if negatives not in _NEGATIVES:
            raise BadRecipe(f"objective.negatives='{negatives}'; {nearest(str(negatives), _NEGATIVES)}")
        if not 0 <= margin <= _WIDEST:
            raise BadRecipe(f"objective.margin={margin}; expected 0 or above, up to {_WIDEST}, such as 0.3")
        self.margin, self.negatives, self.match, self.both, self.known = margin, negatives, match, both, known
        self.form, self.temperature, self.neg_pool_ratio = form, temperature, neg_pool_ratio
        self.composed = False  # whether left vectors are queries of sets
        self.takes_mixtures = not match
        self._category: tuple[np.ndarray, np.ndarray] | None = None
        self._known: _KnownNegatives | None = None

    def check(self, left: Embeddings, right: Embeddings, pairs: Pairs) -> None:
        """Raises BadRecipe for a column that is not there, or known negatives that are sequences of frames."""
        if self.match:
            category_codes(left, right, self.match)
        if self.known and len(pairs.where(label=0)):
            _one_vector_each(right)

    def prepare(self, left: Embeddings, right: Embeddings, pairs: Pairs, left_head: Any, right_head: Any) -> None:
        """Called once before training, with the training pairs, for what a batch alone does not contain."""
        if self.match:
            self._category = category_codes(left, right, self.match)
        self.composed = left_head is not None and left_head.takes_sets
        unrelated = pairs.where(label=0)
        if self.neg_pool_ratio < 1:
            drawn = torch.randperm(len(unrelated))[: round(self.neg_pool_ratio * len(unrelated))]
            unrelated = unrelated.take(np.sort(drawn.numpy()))
        if self.known and len(unrelated):
            self._known = _KnownNegatives(unrelated, right, right_head)

    def loss(self, zl: Tensor, zr: Tensor, positives: Positives) -> Tensor:
        """Loss of a batch: zl, zr (b, d), row i of each a true pair. Zero where no row has a negative."""
        left, right = (z if z.dtype == torch.float64 else z.float() for z in (zl, zr))
        left, right = left if self.composed else F.normalize(left, dim=1), F.normalize(right, dim=1)
        own = (left * right).sum(1)
        from_left, from_right = self._mine(left.detach(), right.detach(), positives)
        terms = [self._loss_of(left, right, own, *from_left)]
        if self.both:
            terms.append(self._loss_of(right, left, own, *from_right))
        if self._known is not None and positives.rows is not None:
            rows, vectors = self._known.draw(positives.rows[0], left)
            unrelated = F.normalize(vectors, dim=1)
            terms.append(self._loss_of(left, unrelated, own, rows, torch.arange(len(rows), device=rows.device)))
        every = torch.cat(terms)
        return every.mean() if len(every) else 0.0 * (zl.sum() + zr.sum())

    def _loss_of(self, anchors: Tensor, others: Tensor, own: Tensor, rows: Tensor, negative: Tensor) -> Tensor:
        """Loss (t,) of the triplets of anchors ``rows`` with others ``negative``."""
        difference = (anchors[rows] * others[negative]).sum(1) - own[rows]
        return F.relu(self.margin + difference) if self.form == "hinge" else F.softplus(difference / self.temperature)

    @torch.no_grad()
    def _mine(self, left: Tensor, right: Tensor, positives: Positives) -> list[tuple[Tensor, Tensor]]:
        """From the left, then from the right: anchors that have a negative, and its row on the other side."""
        own = (left * right).sum(1)
        category = self._category and of_batch(self._category, positives, self.match, left.device)
        of_rows = []
        best, best_at = torch.full_like(own, -torch.inf), torch.zeros_like(own, dtype=torch.int64)
        for rows in blocks(len(left), _ROWS):
            with torch.autocast(left.device.type, enabled=False):  # near ties need full precision
                similarity = left[rows] @ right.T
            barred = positives.block(rows, left.device)
            if (same := positives.same_block(rows, left.device)) is not None:
                barred = barred | same
            from_left = self._key(similarity, own[rows, None]).masked_fill(barred, -torch.inf)
            from_right = self._key(similarity, own).masked_fill(barred, -torch.inf)
            if category is not None:
                from_left -= _OFF_CATEGORY * (category[1][rows, None] != category[1])
                from_right -= _OFF_CATEGORY * (category[0][rows, None] != category[0])
            of_rows.append(from_left.max(dim=1))
            value, row = from_right.max(dim=0)
            best_at = torch.where(value > best, row + rows.start, best_at)
            best = torch.maximum(value, best)
        value, column = (torch.cat(parts) for parts in zip(*of_rows, strict=True))
        found = []
        for score, where in ((value, column), (best, best_at)):
            anchors = torch.nonzero(score > -torch.inf).squeeze(1)
            found.append((anchors, where[anchors]))
        return found

    def _key(self, similarity: Tensor, own: Tensor) -> Tensor:
        """Mining score: the negative of highest score is taken. own: similarity of anchor and positive."""
        if self.negatives == "random":
            return torch.rand_like(similarity)
        if self.negatives == "hard":
            return similarity.clone()
        # Negatives nearer than the positive rank after all that are farther, the farthest of them first.
        return torch.where(similarity < own, similarity, -similarity - 10.0)


class _KnownNegatives:
    """Pairs labelled 0: for each left row the right rows known to be unrelated (CSR), and their vectors."""

    def __init__(self, unrelated: Pairs, right: Embeddings, right_head: Any) -> None:
        _one_vector_each(right)
        left, other = unrelated.left, unrelated.right
        if unrelated.same_table:  # a relation, or its absence, holds both ways
            left, other = np.concatenate([left, other]), np.concatenate([other, left])
        order = np.argsort(left, kind="stable")
        self.others = other[order]
        self.starts = np.searchsorted(left[order], np.arange(int(left.max()) + 2))
        self.vectors, self.head = right.vectors, right_head

    def draw(self, left_rows: np.ndarray, like: Tensor) -> tuple[Tensor, Tensor]:
        """Batch positions that have a known negative, and head outputs (k, d) of one for each."""
        inside = np.minimum(left_rows, len(self.starts) - 2)
        count = np.where(inside == left_rows, self.starts[inside + 1] - self.starts[inside], 0)
        at = np.flatnonzero(count)
        if not len(at):
            return torch.zeros(0, dtype=torch.int64, device=like.device), like[:0]
        share = torch.rand(len(at), dtype=torch.float64).numpy()
        chosen = self.others[self.starts[inside[at]] + (share * count[at]).astype(np.int64)]
        x = head_input(self.vectors, chosen).to(like.device)
        return torch.from_numpy(at).to(like.device), self.head(x).to(like.dtype)


def _one_vector_each(right: Embeddings) -> None:
    if right.offsets is not None:
        raise BadRecipe("pairs labelled 0 need one vector an item on the right; set objective.known=false")

"""The contrastive losses written densely in float64, as autograd differentiates them: the oracle."""

import numpy as np
import torch

from sensorium.pairs import Pairs
from sensorium.pairs.positives import BatchPositives


def infonce(zl, zr, scale, positives, both=True, masked=False, same=None):
    """positives, same (b, b) bool; every row's mean over its positives of -log softmax."""
    logits = scale * zl @ zr.T
    own = torch.eye(len(zl), dtype=torch.bool)
    if same is not None:
        logits = logits.masked_fill(same, -1e30)
    if masked:
        logits, positives = logits.masked_fill(positives & ~own, -1e30), own

    def one_way(logits, weight):
        return -(logits.log_softmax(1) * weight / weight.sum(1, keepdim=True)).sum(1).mean()

    weight = positives.to(logits.dtype)
    return (one_way(logits, weight) + one_way(logits.T, weight.T)) / 2 if both else one_way(logits, weight)


def siglip(zl, zr, scale, bias, positives, same=None):
    sign = positives.to(zl.dtype) * 2 - 1
    each = -torch.nn.functional.logsigmoid(sign * (scale * zl @ zr.T + bias))
    return (each if same is None else each.masked_fill(same, 0)).sum() / len(zl)


def relation(kind: str, n: int = 120, seed: int = 0) -> Pairs:
    """Pairs one-to-one, of complete components, of any shape, or within one table."""
    rng = np.random.default_rng(seed)
    if kind == "one-to-one":
        return Pairs.of(np.arange(n), rng.permutation(n))
    if kind == "complete":
        return Pairs.of(np.arange(n) // 5, np.arange(n))
    edges = np.unique(rng.integers(0, 30, (n, 2)), axis=0)
    edges = edges[edges[:, 0] != edges[:, 1]]
    return Pairs.of(edges[:, 0], edges[:, 1], same_table=kind == "same table")


RELATIONS = ("one-to-one", "complete", "any", "same table")


def batch_of(pairs: Pairs, b: int, seed: int = 0):
    """A batch's Positives, and by brute force which (i, j) are positives and which are one item (b, b)."""
    chosen = np.random.default_rng(seed).permutation(len(pairs))[:b]
    left, right = pairs.left[chosen], pairs.right[chosen]
    related = set(zip(pairs.left.tolist(), pairs.right.tolist(), strict=True))
    if pairs.same_table:
        related |= {(b, a) for a, b in related}
    positives = torch.tensor([[(i, j) in related for j in right.tolist()] for i in left.tolist()])
    same = torch.from_numpy(left[:, None] == right[None, :]) if pairs.same_table else None
    return BatchPositives(pairs).of(left, right), positives, same


def unit_rows(b: int, d: int, seed: int, dtype=torch.float64):
    rows = torch.randn(b, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.nn.functional.normalize(rows, dim=1).to(dtype).requires_grad_()

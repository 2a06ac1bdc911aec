"""Multinomial logistic regression with an L2 penalty, solved by L-BFGS: convex, so that it has one solution."""

from __future__ import annotations

import numpy as np
import torch

from sensorium.types import Affine

_ITERATIONS = 300


class SoftmaxPath:
    """min over W, b of mean -log softmax(x W + b)[class] + λ/2 |W|² on standardised x (n, d), for several λ.

    codes: class of each row, 0 to classes - 1. λ are multiples of the mean eigenvalue of x's covariance, 1 where no
    column is constant. A class without a row keeps a bias so low that its probability is 0.
    """

    def __init__(self, x: np.ndarray, codes: np.ndarray, classes: int) -> None:
        self.mean, deviation = x.mean(0), x.std(0)
        self.scale = np.divide(1.0, deviation, out=np.zeros_like(deviation), where=deviation > 1e-9 * deviation.max())
        self.x = torch.from_numpy((x - self.mean) * self.scale)
        self.codes = torch.from_numpy(codes.astype(np.int64))
        share = np.bincount(codes, minlength=classes) / len(codes)
        self.start = torch.from_numpy(np.log(np.maximum(share, 1e-12)))
        self.there = torch.from_numpy((share > 0).astype(np.float64))
        self.unit = float(self.x.square().mean()) or 1.0

    def affine(self, strength: float) -> Affine:
        """x → logits of the classes, in terms of raw x, float64."""
        weight = torch.zeros(self.x.shape[1], len(self.start), dtype=torch.float64, requires_grad=True)
        shift = torch.zeros_like(self.start, requires_grad=True)
        optimizer = torch.optim.LBFGS([weight, shift], max_iter=_ITERATIONS, tolerance_grad=1e-8,
                                      tolerance_change=1e-12, line_search_fn="strong_wolfe")  # fmt: skip

        def closure() -> torch.Tensor:
            optimizer.zero_grad()
            logits = self.x @ (weight * self.there) + self.start + shift * self.there
            loss = torch.nn.functional.cross_entropy(logits, self.codes)
            loss = loss + strength * self.unit / 2 * weight.square().sum()
            loss.backward()
            return loss

        optimizer.step(closure)
        found = self.scale[:, None] * (weight * self.there).detach().numpy()
        bias = (self.start + shift * self.there).detach().numpy()
        return Affine(found, bias - self.mean @ found)

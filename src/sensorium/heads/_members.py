"""An ensemble of equal perceptrons as one module."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Members(nn.Module):
    """An ensemble of perceptrons (p → hidden … → c) as one module, averaged when used.

    In training every row goes to one member only, turn by turn, so the members see different batches
    and stay different; the gradient of each is that of a batch of b / members rows.
    """

    def __init__(self, dim_in: int, hidden: int, depth: int, dim: int, members: int, dropout: float) -> None:
        super().__init__()
        widths = [dim_in, *[hidden] * depth, dim]
        self.members, self.dropout = members, dropout
        self.weights = nn.ParameterList([torch.randn(members, a, b) / a**0.5 for a, b in pairwise(widths)])
        self.biases = nn.ParameterList([torch.zeros(members, b) for b in widths[1:]])

    def forward(self, x: Tensor) -> Tensor:
        """x (…, p) → (…, c)."""
        m = self.members
        if not self.training:
            rows = x.reshape(1, -1, x.shape[-1]).expand(m, -1, -1)
            return self._layers(rows).mean(0).reshape(*x.shape[:-1], -1)
        b = len(x)
        turn = torch.arange(-(-b // m) * m, device=x.device).reshape(-1, m).T  # (m, b / m), the last ones wrap around
        z = self._layers(x[turn % b])
        return z.transpose(0, 1).reshape(-1, z.shape[-1])[:b]

    def _layers(self, x: Tensor) -> Tensor:
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            # The input's columns are many and alike: fewer of them are left out than of what was learned.
            x = F.dropout(x, self.dropout if i else min(self.dropout, 0.3), self.training)
            x = torch.baddbmm(bias[:, None], x, weight)
            if i < len(self.weights) - 1:
                x = F.relu(x)
        return x

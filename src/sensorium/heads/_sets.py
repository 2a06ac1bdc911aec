"""What heads of sets share: a tower of single items, categories as learned vectors, means over real items."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sensorium import parts
from sensorium.contracts import SetHead
from sensorium.numerics.moments import InputStats

OPEN = 0.1  # share of training contexts whose missing category is hidden, so that an open slot is learned too


class ItemTower(nn.Module, SetHead):
    """The candidate's side of a head of sets: an :class:`~sensorium.heads.mlp.MLP` of one hidden layer, unit length.

    dim: output width; None takes 256. hidden: width of the hidden layer. activation: "relu", "gelu", "tanh" or "silu".
    dropout: probability, 0 to below 1. preprocess: of the items' vectors, see
    :class:`sensorium.heads._preprocess.Preprocess`. categories: words of the items' categories; the fit fills them in
    where they are left out.
    """

    normalize = True

    def __init__(self, dim: int | None = None, hidden: int = 512, dropout: float = 0.2, activation: str = "relu",
                 preprocess: str = "standardize", categories: Sequence[str] = (), **own: Any) -> None:  # fmt: skip
        super().__init__()
        tower = {"dim": dim, "hidden": hidden, "dropout": dropout, "activation": activation, "preprocess": preprocess}
        self.item = parts.make("heads", {"name": "mlp", **tower})
        self.arguments = {**tower, **own}
        self.set_categories(categories)

    def build(self, dim_in: int, stats: InputStats | None = None, like: int | None = None) -> None:
        """Make the weights of the items' tower, then those of the contexts'."""
        self.item.build(dim_in, stats, like)
        self.dim_in, self.dim = dim_in, self.item.dim
        self.build_context()

    @abstractmethod
    def build_context(self) -> None:
        """Make the weights that :meth:`compose` needs beside the items' tower."""

    def forward(self, x: Tensor) -> Tensor:
        """Items x (n, d_in) as candidates, (n, dim), at unit length."""
        return self.item(x)

    def embedding(self, width: int) -> nn.Embedding:
        """A learned vector for each category and, in row 0, for none of them; zeros at first."""
        table = nn.Embedding(len(self.categories) + 1, width)
        nn.init.zeros_(table.weight)
        return table

    def hidden_slots(self, slot: Tensor) -> Tensor:
        """The slots (b,); in training some are replaced by -1, so that an open slot has a meaning."""
        if not self.training:
            return slot
        return slot.masked_fill(torch.rand(slot.shape, device=slot.device) < OPEN, -1)


def real(lengths: Tensor, s: int) -> Tensor:
    """Which of s places of each context hold an item, (b, s) bool."""
    return torch.arange(s, device=lengths.device) < lengths[:, None]


def mean(x: Tensor, lengths: Tensor) -> Tensor:
    """Mean (b, d) of the first ``lengths`` (b,) rows of each of x (b, s, d); what lies behind them is not read."""
    there = real(lengths, x.shape[1])
    if not x.requires_grad:  # one pass over the inputs, which are the largest tensor of a step
        rows, place = x[there], torch.arange(len(x), device=x.device).repeat_interleave(lengths)
        total = x.new_zeros(len(x), x.shape[2]).index_add_(0, place, rows)
    else:
        total = x.masked_fill(~there[..., None], 0.0).sum(1)
    return total / lengths[:, None].to(x.dtype)

"""A multilayer perceptron of the mean of a context's items and of the missing category."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from sensorium.heads._preprocess import unit
from sensorium.heads._sets import ItemTower, mean


class SetMean(ItemTower):
    """compose = unit(W₂ φ(W₁ mean_i P(x_i) + e[v])): the items' vectors averaged, e[v] of the missing category v.

    A mean-pooled perceptron, as in Deep Sets (Zaheer et al. 2017) with the pooling before the first layer. The items'
    own categories are not read. Candidates have a tower of their own of the same shape.

    Arguments: see :class:`sensorium.heads._sets.ItemTower`.
    """

    def __init__(self, dim: int | None = None, hidden: int = 512, dropout: float = 0.2, activation: str = "relu",
                 preprocess: str = "standardize", categories: Sequence[str] = ()) -> None:  # fmt: skip
        super().__init__(dim, hidden, dropout, activation, preprocess, categories)

    def build_context(self) -> None:
        """Two linear layers, and a vector of the hidden width for every category."""
        hidden = self.arguments["hidden"]
        self.first, self.last = nn.Linear(self.dim_in, hidden), nn.Linear(hidden, self.dim)
        self.slots = self.embedding(hidden)

    def compose(self, x: Tensor, lengths: Tensor, category: Tensor, slot: Tensor) -> Tensor:
        """Contexts as queries (b, dim); see :class:`~sensorium.contracts.SetHead`."""
        pooled = self.item.preprocess(mean(x, lengths))
        h = self.first(pooled) + self.slots(self.hidden_slots(slot) + 1)
        return unit(self.last(self.item.dropout(self.item.activation(h))))

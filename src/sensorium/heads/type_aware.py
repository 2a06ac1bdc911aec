"""Type-aware compatibility: a learned weight per coordinate for every pair of categories."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from sensorium.heads._sets import ItemTower, mean


class TypeAware(ItemTower):
    """compose = mean_i w[u_i, v] ∘ z_i: the context's items z_i of category u_i, weighted for the missing category v.

    After Vasileva et al. 2018 ("Learning type-aware embeddings for fashion compatibility", sec. 3.1), where a mask
    m[u, v] projects both items of a pair into a space of their two types. ⟨m ∘ a, m ∘ b⟩ = ⟨m² ∘ a, b⟩, so the weights
    w = m² stand on the query's side alone and one index serves all categories. Other than there, the projections are
    not brought to unit length again, w may be negative, and there is no L1 penalty: weight decay draws w to 1, a
    plain cosine. w[u, v] = w[v, u], so that the score of two items does not depend on which is asked for. Where either
    category is unknown or open, w = 1.

    Arguments: see :class:`sensorium.heads._sets.ItemTower`.
    """

    def __init__(self, dim: int | None = None, hidden: int = 512, dropout: float = 0.2, activation: str = "relu",
                 preprocess: str = "standardize", categories: Sequence[str] = ()) -> None:  # fmt: skip
        super().__init__(dim, hidden, dropout, activation, preprocess, categories)

    def build_context(self) -> None:
        """Weights less 1, (c, c, dim); only the mean of [u, v] and [v, u] is used."""
        c = len(self.categories)
        self.weight = nn.Parameter(torch.zeros(c, c, self.dim))

    def compose(self, x: Tensor, lengths: Tensor, category: Tensor, slot: Tensor) -> Tensor:
        """Contexts as queries (b, dim); see :class:`~sensorium.contracts.SetHead`."""
        z = self.item(x)
        around = pad(self.weight, (0, 0, 1, 0, 1, 0))  # category -1 is row and column 0: zeros
        u, v = category + 1, slot[:, None] + 1
        w = 1 + (around[u, v] + around[v, u]) / 2
        return mean(w * z, lengths)

"""Self-attention over a context's items and a token of the missing category."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sensorium.errors import BadRecipe
from sensorium.heads._preprocess import unit
from sensorium.heads._sets import ItemTower, real

#: Largest values: encoders deeper than this are no small heads.
_LARGEST = {"layers": 24, "heads": 256, "wide": 16}


class SetAttention(ItemTower):
    """compose = unit(W · transformer(slot token, items)[slot token]).

    A token is A P(x_i) + e[u_i] for an item of category u_i, and t + e[v] for the missing category v; there are no
    positions, so the order of the items does not matter. After OutfitTransformer (Sarkar et al. 2022, sec. 3.3: a
    token of the target's category in a set of frozen features) and CSA-Net (Lin et al. 2020: attention conditioned
    on the target's category). Other than in the former, candidates do not pass the transformer.

    layers, heads: of the transformer, pre-norm (Xiong et al. 2020), as wide as the output. wide: width of its
    feed-forward layers, in widths. Others: see :class:`sensorium.heads._sets.ItemTower`.
    """

    def __init__(self, dim: int | None = None, hidden: int = 512, dropout: float = 0.2, activation: str = "relu",
                 preprocess: str = "standardize", layers: int = 1, heads: int = 4, wide: int = 2,
                 categories: Sequence[str] = ()) -> None:  # fmt: skip
        super().__init__(
            dim, hidden, dropout, activation, preprocess, categories, layers=layers, heads=heads, wide=wide
        )
        for key, value in (("layers", layers), ("heads", heads), ("wide", wide)):
            if not 1 <= value <= _LARGEST[key]:
                raise BadRecipe(f"set_attention: {key}={value}; expected 1 to {_LARGEST[key]}")

    def build_context(self) -> None:
        """Transformer, projection into it, tokens and the projection of the result. Raises BadRecipe for its width."""
        own, d = self.arguments, self.dim
        if d % own["heads"]:
            raise BadRecipe(
                f"set_attention: dim={d} is no multiple of heads={own['heads']}; choose another dim or heads"
            )
        self.inward, self.outward = nn.Linear(self.dim_in, d), nn.Linear(d, d)
        self.token = nn.Parameter(torch.zeros(d))
        self.kinds = self.embedding(d)
        layer = nn.TransformerEncoderLayer(d, own["heads"], own["wide"] * d, own["dropout"], own["activation"],
                                           batch_first=True, norm_first=True)  # fmt: skip
        self.transformer = nn.TransformerEncoder(layer, own["layers"], nn.LayerNorm(d), enable_nested_tensor=False)

    def compose(self, x: Tensor, lengths: Tensor, category: Tensor, slot: Tensor) -> Tensor:
        """Contexts as queries (b, dim); see :class:`~sensorium.contracts.SetHead`."""
        there = real(lengths, x.shape[1])
        items = self.item.dropout(self.inward(self.item.preprocess(x))) + self.kinds(
            category.masked_fill(~there, -1) + 1
        )
        token = self.token + self.kinds(self.hidden_slots(slot) + 1)
        tokens = torch.cat([token[:, None], items.masked_fill(~there[..., None], 0.0)], 1)
        hidden = nn.functional.pad(~there, (1, 0))
        return unit(self.outward(self.transformer(tokens, src_key_padding_mask=hidden)[:, 0]))

"""InfoNCE: softmax cross-entropy of each row's positives over the batch; one-way or symmetric, in blocks."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from sensorium.contracts import TrainedObjective
from sensorium.errors import BadRecipe
from sensorium.objectives import _contrastive
from sensorium.objectives._categories import Codes, category_codes, of_batch
from sensorium.pairs import Pairs
from sensorium.pairs.positives import Positives
from sensorium.types import Embeddings

_MOST = 10_000  # float32 scores times more than this are noise


class InfoNCE(nn.Module, TrainedObjective):
    """L = mean_i mean_{j in P(i)} -log( exp(s_ij / T) / sum_k exp(s_ik / T) ), s = zl zr^T.

    P(i) are all positives of row i in the batch, so no positive is ever used as a negative
    (van den Oord et al. 2018; several positives as in SupCon's L_out, Khosla et al. 2020).

    temperature: T, or where it starts when it is learned. learnable: learn the temperature.
    largest_scale: a learned 1 / T stays from 1 to this.
    both: average with the same loss from right to left (Radford et al. 2021).
    partners: "positive" as above, or "mask": only the row's own positive counts and further
        positives are left out of the softmax.
    match: name of a metadata column, such as "category": negatives are of the positive's own alone, partners "mask".

    Memory is linear in the batch: see :mod:`sensorium.objectives._contrastive`.
    """

    gives_gradients = True

    def __init__(
        self,
        temperature: float = 0.07,
        learnable: bool = False,
        both: bool = True,
        partners: str = "positive",
        largest_scale: float = 100.0,
        match: str | None = None,
    ) -> None:
        super().__init__()
        if not 1 / _MOST <= temperature <= _MOST:
            raise BadRecipe(
                f"infonce: temperature={temperature!r}; expected a number above 0, such as 0.07 "
                f"({1 / _MOST} to {_MOST})"
            )
        if not 1 <= largest_scale <= _MOST:
            raise BadRecipe(f"infonce: largest_scale={largest_scale!r}; expected 1 to {_MOST}, such as 100")
        if partners not in ("positive", "mask"):
            raise BadRecipe(f"infonce: partners={partners!r}; expected positive or mask")
        self.both, self.largest_scale = both, largest_scale
        self.match, self.takes_mixtures = match, not match
        self.mask_positives = partners == "mask" or bool(match)
        self._category: Codes | None = None
        scale = torch.tensor(math.log(1 / temperature))
        self.log_scale = nn.Parameter(scale) if learnable else None
        self.fixed_scale = 1 / temperature

    def check(self, left: Embeddings, right: Embeddings, pairs: Pairs) -> None:
        """Raises BadRecipe for a column that is not there."""
        if self.match:
            category_codes(left, right, self.match)

    def prepare(self, left: Embeddings, right: Embeddings, pairs: Pairs, left_head: Any, right_head: Any) -> None:
        """Called once before training: what the categories are."""
        if self.match:
            self._category = category_codes(left, right, self.match)

    def _kinds(self, positives: Positives, device: torch.device) -> Tensor | None:
        """Codes (b,): rows with different ones are no negatives of each other."""
        if self._category is None:
            return None
        left, right = of_batch(self._category, positives, self.match, device)
        return left * (1 + int(self._category[1].max())) + right if self.both else right

    @property
    def temperature(self) -> float:
        """The temperature now."""
        return 1 / self.scale

    @property
    def score_temperature(self) -> float:
        """The temperature now."""
        return self.temperature

    @property
    def scale(self) -> float:
        """1 / T now; a learnable one is brought back into its range first."""
        if self.log_scale is None:
            return self.fixed_scale
        return math.exp(self.log_scale.data.clamp_(0.0, math.log(self.largest_scale)).item())

    def gradients(
        self,
        zl: Tensor,
        zr: Tensor,
        positives: Positives,
        sides: tuple[bool, bool] = (True, True),
        bound: float | None = None,
    ) -> _contrastive.Gradients:
        """The loss with its gradients to zl, zr (b, d); ``scale`` is that to ``log_scale``."""
        scale = self.scale
        found = _contrastive.infonce(
            zl,
            zr,
            scale,
            positives,
            both=self.both,
            mask_positives=self.mask_positives,
            sides=sides,
            slope=self.log_scale is not None,
            bound=bound,
            kinds=self._kinds(positives, zl.device),
        )
        return found if found.scale is None else found._replace(scale=found.scale * scale)

    def learned(self, found: _contrastive.Gradients) -> list[tuple[nn.Parameter, Tensor]]:
        """The objective's own parameters, each with its gradient."""
        return [] if self.log_scale is None else [(self.log_scale, found.scale)]

    def loss(self, zl: Tensor, zr: Tensor, positives: Positives) -> Tensor:
        """The loss of a batch zl, zr (b, d), differentiable by autograd."""
        return _contrastive.differentiable(partial(self.gradients, positives=positives), zl, zr, self.log_scale)

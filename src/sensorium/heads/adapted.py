"""An adapter from one encoder's space to another's, and a head behind it, as one head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sensorium import parts
from sensorium.contracts import Head
from sensorium.errors import BadRecipe
from sensorium.heads._preprocess import unit
from sensorium.numerics.moments import InputStats
from sensorium.types import Affine

_MOST = 65_536  # of a width


class Adapted(nn.Module, Head):
    """head(a) of a = x W + b + U gelu(V x + c), the input moved into the space that ``head`` takes.

    ``sensorium migrate`` fits it between two encoders: new queries are searched in an index of the old encoder,
    through the old head (Vejendla 2025, "Drift-Adapter"; W alone is its linear adapter, with U and V its residual
    perceptron). Named in a recipe, W begins as the identity, or with orthogonal rows, and all is trained.

    head: the head behind the adapter, by its name or as ``{name = "mlp", hidden = 512}``; one of single vectors.
    width: of the adapter's output, which the head takes, 1 to 65,536; none: that of the input.
    hidden: of the residual perceptron U gelu(V x + c), 0 to 65,536; 0: none.
    unit_length: scale the adapter's output to unit length, as the vectors of many encoders have it.

    Raises BadRecipe for invalid values.
    """

    def __init__(
        self,
        head: str | Mapping[str, Any] = "linear",
        width: int | None = None,
        hidden: int = 0,
        unit_length: bool = False,
    ) -> None:
        super().__init__()
        for key, value, least in (("width", width, 1), ("hidden", hidden, 0)):
            if value is not None and not least <= value <= _MOST:
                raise BadRecipe(f"adapted: {key}={value}; expected a whole number, {least} to {_MOST}")
        name = head if isinstance(head, str) else head.get("name", "")
        self._hold(name, parts.make("heads", head, "adapted.head"), width, hidden, unit_length)

    @classmethod
    def of(
        cls,
        linear: Affine,
        name: str,
        head: Head,
        *,
        inner: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None,
        unit_length: bool = False,
    ) -> Adapted:
        """An adapter before a built head. linear: W (d_in, w) and b (w,). inner: V (h, d_in), c (h,) and U (w, h).

        name: what ``parts.find("heads", name)`` finds the head's part by.
        """
        made = cls.__new__(cls)
        nn.Module.__init__(made)
        made._hold(name, head, len(linear.bias), 0 if inner is None else len(inner[1]), unit_length)
        made._layers(len(linear.weight))
        with torch.no_grad():
            made.adapter.weight.copy_(torch.from_numpy(np.ascontiguousarray(linear.weight.T)))
            made.adapter.bias.copy_(torch.from_numpy(np.asarray(linear.bias)))
            if inner is not None:
                for tensor, value in zip((made.up.weight, made.up.bias, made.down.weight), inner, strict=True):
                    tensor.copy_(torch.from_numpy(np.asarray(value)))
        return made.eval()

    def _hold(self, name: str, head: Any, width: int | None, hidden: int, unit_length: bool) -> None:
        if not head.takes_vectors:
            raise BadRecipe(f"adapted: the {name} head does not take single vectors; name another, such as mlp")
        self.arguments = {
            "head": {"name": name, **head.arguments},
            "width": width,
            "hidden": hidden,
            "unit_length": unit_length,
        }
        self.head, self.takes_sets, self.normalize = head, head.takes_sets, head.normalize

    def _layers(self, dim_in: int) -> None:
        own = self.arguments
        self.dim_in, width = dim_in, own["width"] or dim_in
        self.adapter, self.dim = nn.Linear(dim_in, width), self.head.dim
        if own["hidden"]:
            self.up, self.down = nn.Linear(dim_in, own["hidden"]), nn.Linear(own["hidden"], width, bias=False)

    @property
    def needs_statistics(self) -> bool:
        """Whether the head needs the mean and covariance of its training inputs."""
        return self.head.needs_statistics

    @property
    def open_width(self) -> bool:
        """Whether the output takes the width of the other side."""
        return self.head.open_width

    @property
    def categories(self) -> Sequence[str]:
        """The words of the items' categories, of a head that takes sets."""
        return self.head.categories

    def set_categories(self, categories: Sequence[str]) -> None:
        """Give these words to the head, before :meth:`build`."""
        self.head.set_categories(categories)
        self.arguments = {**self.arguments, "head": {**self.arguments["head"], **self.head.arguments}}

    def build(self, dim_in: int, stats: InputStats | None = None, like: int | None = None) -> None:
        """Make the weights; the head's statistics are those of the adapter's first output.

        Raises BadRecipe where the head's statistics are of features of its own.
        """
        width = self.arguments["width"] or dim_in
        if stats is not None:
            if self.head.features is not None:
                raise BadRecipe(
                    f"adapted: the {self.arguments['head']['name']} head reads features of its own input; "
                    "name another, such as mlp"
                )
            start = np.eye(dim_in, width)
            mean, covariance = stats.mean @ start, start.T @ stats.covariance @ start
            if self.arguments["unit_length"]:
                square = float(np.trace(covariance) + mean @ mean) or 1.0
                mean, covariance = mean / square**0.5, covariance / square
            stats = InputStats(stats.n, mean, covariance)
        self.head.build(width, stats, like)
        self._layers(dim_in)
        with torch.no_grad():
            nn.init.eye_(self.adapter.weight)
            self.adapter.bias.zero_()
            if self.arguments["hidden"]:
                self.down.weight.zero_()

    def adapt(self, x: Tensor) -> Tensor:
        """x (n, d_in) in the space that the head takes: (n, width)."""
        a = self.adapter(x)
        if self.arguments["hidden"]:
            a = a + self.down(nn.functional.gelu(self.up(x)))
        return unit(a) if self.arguments["unit_length"] else a

    def forward(self, x: Tensor) -> Tensor:
        """x (n, d_in) to (n, dim)."""
        return self.head(self.adapt(x))

    def compose(self, x: Tensor, lengths: Tensor, category: Tensor, slot: Tensor) -> Tensor:
        """Contexts as queries (b, dim): see :class:`sensorium.contracts.SetHead`."""
        return self.head.compose(self.adapt(x), lengths, category, slot)

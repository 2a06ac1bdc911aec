"""A picture and a text of one item side by side: each by an encoder of its own, at unit length times a weight."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sensorium import parts
from sensorium.contracts import Encoder, EncoderPart
from sensorium.encoders import _names
from sensorium.errors import BadRecipe
from sensorium.numerics.unit_length import unit
from sensorium.types import Pictured

_KINDS = ("image", "text")


class Joined(Encoder):
    """z = [w₁ u₁, w₂ u₂] / √(w₁² + w₂²), where u₁ and u₂ are the parts' vectors at unit length.

    The cosine of two items is so the mean of the parts' cosines, weighted by w₁² and w₂². image, text: the encoders of
    the parts, names or ``{name = …}``. image_weight, text_weight: w₁ and w₂, 0 or above.

    A part that an item or a query lacks is zeros, so that a picture alone, or words alone, can be searched by: the
    score then is that of the other part. Where no item has a text, the pictures are encoded alone, which ``text=""``
    says of itself. Each part is cached in a store of its own: another encoder of the texts does
    not encode the pictures again.

    Raises BadRecipe for encoders that do not take pictures and texts, or weights that are negative or both 0.
    """

    takes, joins, parted = "image", _KINDS, True

    def __init__(self, image: str | Mapping = "efficientnet_lite", text: str | Mapping = "minilm",
                 image_weight: float = 1.0, text_weight: float = 1.0) -> None:  # fmt: skip
        weights = (image_weight, text_weight)
        if min(weights) < 0 or not max(weights) > 0:
            raise BadRecipe(f"joined: image_weight={image_weight}, text_weight={text_weight}; expected 0 or above, and "
                            "one of them above 0")  # fmt: skip
        self._given = dict(zip(_KINDS, weights, strict=True))
        made = {kind: _made(kind, spec) for kind, spec in zip(_KINDS, (image, text), strict=True) if spec != ""}
        self.specs = {kind: given for kind, (given, _) in made.items()}
        self.parts = {kind: part for kind, (_, part) in made.items()}
        self.joins = tuple(self.parts)

    @property
    def weights(self) -> dict[str, float]:
        """w₁ and w₂ of the parts that are there, scaled to the length 1."""
        length = math.hypot(*(self._given[kind] for kind in self.parts)) or 1.0
        return {kind: self._given[kind] / length for kind in self.parts}

    @property
    def dim(self) -> int:
        """Both widths together."""
        return sum(int(part.dim) for part in self.parts.values())

    @property
    def fingerprint(self) -> dict[str, Any]:
        """Those of both parts, and the weights."""
        made = {kind: dict(part.fingerprint) for kind, part in self.parts.items()}
        return {"name": "joined", **made, "weights": [self.weights[kind] for kind in self.parts]}

    @property
    def batch(self) -> int:
        """The smaller of the parts' batches."""
        return min(max(1, int(part.batch)) for part in self.parts.values())

    @property
    def device(self) -> str:
        """Where the parts compute."""
        return self.parts["image"].device

    @device.setter
    def device(self, name: str) -> None:
        for part in self.parts.values():
            part.device = name

    def check(self, values: Sequence[Any]) -> None:
        """Leaves the texts out where no item has one. Raises BadData for what a part refuses."""
        found = self.split(values)
        if len(values) and "text" not in found:
            self.parts.pop("text", None)
            self.joins = tuple(self.parts)
        for part in found.values():
            part.encoder.check(part.values)

    def settle(self) -> Mapping[str, Any]:
        """The parts with their open keys; no text where no item has one."""
        return {"text": "", **{kind: {**self.specs[kind], **part.settle()} for kind, part in self.parts.items()}}

    def cost(self, values: Sequence[Any]) -> str:
        """What the parts cost."""
        return "; ".join(filter(None, (part.encoder.cost(part.values) for part in self.split(values).values())))

    def split(self, values: Sequence[Any]) -> dict[str, EncoderPart]:
        """The pictures and the texts that are there."""
        items = [Pictured.of(value) for value in values]
        found = {}
        for kind, place in (("image", 0), ("text", 1)):
            rows = [i for i, item in enumerate(items) if item[place] is not None]
            if rows and kind in self.parts:
                part = [items[i][place] for i in rows]
                found[kind] = EncoderPart(self.parts[kind], np.array(rows, np.int64), part)
        return found

    def join(self, parts: Mapping[str, tuple[np.ndarray, np.ndarray]], n: int) -> np.ndarray:
        """Each part at unit length times its weight, side by side; zeros where an item lacks it."""
        made, start = np.zeros((n, self.dim), np.float32), 0
        for kind, part in self.parts.items():
            if kind in parts:
                rows, vectors = parts[kind]
                made[rows, start : start + part.dim] = self.weights[kind] * unit(np.asarray(vectors, np.float32))
            start += int(part.dim)
        return made

    def encode(self, values: Sequence[Any]) -> np.ndarray:
        """Items, pictures or :class:`~sensorium.types.Pictured`, as (n, dim) float32. Raises BadData."""
        found = {kind: (part.rows, part.encoder.encode(part.values)) for kind, part in self.split(values).items()}
        return self.join(found, len(values))


def _made(kind: str, spec: str | Mapping[str, Any]) -> tuple[dict[str, Any], Encoder]:
    """The encoder of a part, and its resolved spec. Raises BadRecipe for one of another kind, or of frames."""
    given = _names.expand({"name": spec} if isinstance(spec, str) else dict(spec), f"left.encoder.{kind}")
    made = parts.make("encoders", given, f"encoder.{kind}")
    if made.towers:
        made.choose(kind)
    if made.takes != kind or made.frames or made.joins:
        what = "joins parts itself" if made.joins else f"takes {made.takes}"
        raise BadRecipe(f"encoder.{kind}='{given['name']}' {what}; expected an encoder of one {kind}")
    return given, made

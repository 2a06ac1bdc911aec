"""The keys of [finetune]: how a fit reads pictures anew, and how much of the encoder it trains."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

from sensorium.errors import BadRecipe


@dataclass(frozen=True)
class FinetuneOptions:
    """The keys of [finetune]. Raises BadRecipe for an invalid value.

    blocks: how many of the encoder's last blocks are trained, with what follows them; 0 leaves it frozen.
    lr: peak of their learning rate, of which the schedule is that of the heads.
    crop, flip, color: of the pictures' augmentation, see :class:`sensorium.modalities.image.augment.Augment`.
    """

    blocks: int = 0
    lr: float = 1e-4
    crop: float = 0.6
    flip: float = 0.5
    color: float = 0.2

    def __post_init__(self) -> None:
        if isinstance(self.blocks, bool) or not isinstance(self.blocks, int) or self.blocks < 0:
            raise BadRecipe(f"finetune.blocks={self.blocks!r}; expected a whole number, 0 for a frozen encoder")
        ranges = {"lr": (0.0, 10.0, "above 0, such as 1e-4"), "crop": (0.0, 1.0, "a share above 0, 1 for no crop"),
                  "flip": (-1.0, 1.0, "a chance from 0 to 1"), "color": (-1.0, 1.0, "from 0 (none) to 1")}  # fmt: skip
        for key, (above, most, expected) in ranges.items():
            value = getattr(self, key)
            number = not isinstance(value, bool) and isinstance(value, (int, float)) and math.isfinite(value)
            if not number or not above < value <= most or (above < 0 and value < 0):
                raise BadRecipe(f"finetune.{key}={value!r}; expected a number, {expected}")

    @classmethod
    def defaults(cls) -> dict[str, Any]:
        """Every key with its default."""
        return {field.name: field.default for field in fields(cls)}

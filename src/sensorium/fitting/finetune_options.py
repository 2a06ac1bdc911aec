"""The keys of [finetune]: how a fit reads items anew, and how much of the encoders it trains."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from sensorium.errors import BadRecipe

ALL = "all"  # of blocks: every parameter; of lora_targets: every linear layer
_SIDES = ("auto", "both", "left", "right")
_MOST = 100_000
_RANGES = {
    "lr": (0.0, 10.0, "above 0, such as 1e-4"),
    "left_lr": (0.0, 10.0, "above 0, such as 1e-4"),
    "right_lr": (0.0, 10.0, "above 0, such as 1e-4"),
    "crop": (0.0, 1.0, "a share above 0, 1 for no crop"),
    "flip": (-1.0, 1.0, "a chance from 0 to 1"),
    "color": (-1.0, 1.0, "from 0 (none) to 1"),
    "layer_decay": (0.0, 1.0, "above 0, 1 for the same rate in every block"),
    "lora_alpha": (-1.0, 10_000.0, "0 for twice the rank, or above"),
    "lora_dropout": (-1.0, 0.9, "a chance from 0 to 0.9"),
}
_FLAGS = ("dropout", "checkpointing", "keep_model")
#: What ``sensorium finetune`` adds to a recipe without [finetune]: the settings of the Embed2Image document.
DEFAULTS = (
    "data.cached=false", "finetune.sides=both", "finetune.blocks=all", "finetune.lr=3e-6", "finetune.dropout=true",
    "train.epochs=20", "train.batch=32", "train.warmup=0.1", "train.schedule=cosine", "train.members=1",
    "train.distill=false", "train.mixup=0", "train.structure=0",
)  # fmt: skip
#: Keys that later versions added, with their defaults.
_LATER: Mapping[str, Any] = {
    "sides": "auto", "left_blocks": None, "right_blocks": None, "left_lr": None, "right_lr": None, "layer_decay": 1.0,
    "dropout": False, "chunk": 0, "checkpointing": False, "lora": 0, "lora_alpha": 0.0, "lora_targets": ALL,
    "lora_dropout": 0.0, "keep_model": False,
}  # fmt: skip


@dataclass(frozen=True)
class FinetuneOptions:
    """The keys of [finetune]. Raises BadRecipe for an invalid value.

    blocks: how many of the encoder's last blocks are trained, with what follows them; 0 leaves it frozen, "all" trains
        every parameter. left_blocks, right_blocks: of one side, in place of it.
    lr: peak of their learning rate, of which the schedule is that of the heads. left_lr, right_lr: of one side.
    layer_decay: the rate of each block is that of the next one times this (layer-wise decay, Howard & Ruder 2018); of
        what comes before the blocks, that of the first block times this.
    sides: which sides are read anew: "auto" (those of pictures, where there are any, else every side whose encoder
        trains), "both" (all that have an encoder), "left" or "right".
    dropout: the encoders' own dropout layers are active.
    chunk: items of a batch that pass through an encoder at a time, with GradCache: activations of one chunk alone are
        in memory, for one more forward pass. 0: the whole batch at once.
    checkpointing: gradient checkpointing: the activations within a block are computed again for its backward pass.
    lora: rank of LoRA adapters (Hu et al. 2021) that are trained in place of the blocks' own weights; 0 for none.
    lora_alpha: their scale is lora_alpha / lora; 0 takes twice the rank. lora_targets: names of the linear layers that
        get one, separated by commas, such as "query,value"; "all" takes every one of the trained blocks. lora_dropout:
        of their input.
    keep_model: keep the files of the untrained models in the run too, which then loads without the hub anywhere.
    crop, flip, color: of the pictures' augmentation, see :class:`sensorium.modalities.image.augment.Augment`.
    """

    blocks: int | str = 0
    lr: float = 1e-4
    crop: float = 0.6
    flip: float = 0.5
    color: float = 0.2
    sides: str = "auto"
    left_blocks: int | str | None = None
    right_blocks: int | str | None = None
    left_lr: float | None = None
    right_lr: float | None = None
    layer_decay: float = 1.0
    dropout: bool = False
    chunk: int = 0
    checkpointing: bool = False
    lora: int = 0
    lora_alpha: float = 0.0
    lora_targets: str = ALL
    lora_dropout: float = 0.0
    keep_model: bool = False

    def __post_init__(self) -> None:
        for key in ("blocks", "left_blocks", "right_blocks"):
            value = getattr(self, key)
            if value is not None and value != ALL and not _whole(value):
                raise BadRecipe(f"finetune.{key}={value!r}; expected a whole number, 0 for a frozen encoder, or {ALL}")
        for key, meaning in (("chunk", "0 for the whole batch at once"), ("lora", "0 for no adapters")):
            if not _whole(getattr(self, key)):
                raise BadRecipe(f"finetune.{key}={getattr(self, key)!r}; expected a whole number, {meaning}")
        for key, (above, most, expected) in _RANGES.items():
            value = getattr(self, key)
            if value is None:
                continue
            number = not isinstance(value, bool) and isinstance(value, (int, float)) and math.isfinite(value)
            if not number or not above < value <= most or (above < 0 and value < 0):
                raise BadRecipe(f"finetune.{key}={value!r}; expected a number, {expected}")
        for key in _FLAGS:
            if not isinstance(getattr(self, key), bool):
                raise BadRecipe(f"finetune.{key}={getattr(self, key)!r}; expected true or false")
        if self.sides not in _SIDES:
            raise BadRecipe(f"finetune.sides={self.sides!r}; expected one of {', '.join(_SIDES)}")
        if not isinstance(self.lora_targets, str) or not all(map(str.strip, self.lora_targets.split(","))):
            raise BadRecipe(f"finetune.lora_targets={self.lora_targets!r}; expected names of layers, separated by "
                            "commas, such as query,value; or all")  # fmt: skip
        if self.lora and not self.trains:
            raise BadRecipe(f"finetune.lora={self.lora} adapts the blocks that finetune.blocks names, and it is 0; "
                            f"type: finetune.blocks={ALL}")  # fmt: skip

    @property
    def trains(self) -> bool:
        """Whether the weights of an encoder are trained."""
        return any(self.blocks_of(k) != 0 for k in (0, 1))

    def blocks_of(self, side: int) -> int | str:
        """The blocks of a side, 0 for the left and 1 for the right."""
        own = (self.left_blocks, self.right_blocks)[side]
        return self.blocks if own is None else own

    def lr_of(self, side: int) -> float:
        """The peak learning rate of a side's last block."""
        own = (self.left_lr, self.right_lr)[side]
        return self.lr if own is None else own

    @classmethod
    def defaults(cls) -> dict[str, Any]:
        """Every key with its default; None where leaving a key out means "as the other key says"."""
        return {field.name: field.default for field in fields(cls)}

    def asdict(self) -> dict[str, Any]:
        """Every key with its value, but for later ones at their defaults."""
        return self.without_defaults(asdict(self))

    @staticmethod
    def without_defaults(values: Mapping[str, Any]) -> dict[str, Any]:
        """Values without the keys that later versions added, where these have their defaults.

        So recipes and checkpoints of before stay equal to new ones that do the same.
        """
        return {key: value for key, value in values.items() if key not in _LATER or value != _LATER[key]}


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST

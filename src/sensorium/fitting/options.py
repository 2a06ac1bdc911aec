"""The keys of [train]: everything about a fit that is not a part."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from sensorium.errors import BadRecipe
from sensorium.numerics.device import check_name

_WORDS = {
    "schedule": ("cosine", "plateau", "constant"),
    "precision": ("auto", "fp32", "bf16", "fp16"),
    "balance": ("none", "class", "group"),
    "together": ("none", "left", "right"),
    "direction": ("both", "left->right", "right->left"),
    "keep": ("best", "last"),
    "initialise": ("none", "ridge", "procrustes", "cca"),
    "examples": ("auto", "pairs", "completions"),
}
_WHOLE = {  # key: smallest value
    "epochs": 1,
    "steps": 1,
    "batch": 2,
    "patience": 0,
    "accumulate": 1,
    "checkpoint_every": 0,
    "threads": 0,
    "members": 1,
}
_THREADS = 4096
_MEMBERS = 1000
COSINE = "cosine"  # mean cosine of the related pairs: 1 - the loss of objective=cosine
MEASURES = ("MRR", "mAP", "median_rank", "fill_in_the_blank", COSINE)
#: Keys that later versions added, with their defaults.
_LATER: Mapping[str, Any] = {"members": 1, "distill": False, "examples": "auto", "together": "none", "seconds": 0.0}
_REAL: dict[str, tuple[Callable[[float], bool], str]] = {
    "lr": (lambda v: v > 0, "above 0"),
    "weight_decay": (lambda v: v >= 0, "0 or above"),
    "warmup": (lambda v: v >= 0, "0 or above: a share of all steps below 1, a number of steps from 1 on"),
    "clip": (lambda v: v >= 0, "0 (no clipping) or above"),
    "ema": (lambda v: 0 <= v < 1, "from 0 (none) to below 1, such as 0.999"),
    "mixup": (lambda v: v >= 0, "0 (none) or above"),
    "structure": (lambda v: v >= 0, "0 (none) or above"),
    "seconds": (lambda v: 0 <= v <= 1e9, "0 (no limit but objective.seconds) or above, such as 60"),
    "save_seconds": (lambda v: v >= 0, "0 (every step) or above"),
}  # fmt: skip


@dataclass(frozen=True)
class TrainOptions:
    """Options of a fit. Raises BadRecipe for an invalid value.

    epochs: passes over the training pairs; steps: optimizer steps, which overrule epochs.
    batch: pairs a step; left out, 1,024 or as many as leave 8 steps an epoch. Where there are
        fewer training pairs they make one batch, which the run's notes say.
    lr: peak of the learning rate. weight_decay: AdamW's, on weight matrices only.
    warmup: linear rise to lr; a share of all steps below 1, a number of steps from 1 on.
    schedule: after it, "cosine" to zero, "constant", or "plateau" (halved whenever the monitored
        measure has not improved for a third of the patience, or 3 validations).
    patience: stop after so many validations without improvement; 0 never stops early.
    monitor: the measure tracked on the validation split: "MRR", "hit@k", "precision@k", "mAP" or "median_rank", as the
        mean over ``direction`` ("both", "left->right", "right->left"); or "cosine", of related pairs. Where the data
        have sets of items, such as outfits, an item left out of its set is sought among those of its category;
        "fill_in_the_blank" is then how often it is found among 4, of which 3 are drawn from its category.
    keep: weights at the end, "best" by the monitored measure or "last".
    clip: largest norm of the gradient, 0 for none.
    accumulate: batches whose gradients are averaged into one step. Contrastive negatives stay
        within a batch; for more of them raise ``batch``, whose memory is linear.
    ema: decay of the moving average of the weights that is validated and saved; 0 for none.
    precision: of the products, "bf16" with fp32 master weights, "fp32", "fp16" with a loss scale that adapts, for GPUs
        without bf16, or "auto": bf16 where the processor has such products and they are large.
    balance: draw training pairs equally often from every "class" (right item) or "group".
    together: pairs of one "left" (or "right") item, such as the captions of a clip, come in one batch, as positives of
        each other's sides. "none" draws pairs by themselves.
    checkpoint_every: epochs between weights that are saved in checkpoints/; 0 saves none.
    save_seconds: seconds between points from which an interrupted fit resumes.
    initialise: closed form that a linear or residual head starts from.
    mixup: latent mixup's Beta parameter. structure: weight of the geometry regulariser.
    threads: of the CPU products; 0 leaves torch's own choice.
    members: so many fits, each with a seed of its own that derives from the run's, whose scores are averaged: a seed
        ensemble, served as one head. distill: fit one more head on the scores of the ensemble, and serve that one.
    examples: of data with sets of items: "pairs" of items, "completions" (a set without an item, and that item), or
        "auto": completions for a head of sets, else pairs.
    seconds: that the fit may take in all, 0 for no limit but that of objective=auto (``objective.seconds``). The
        learning rate falls to zero by then, and what was best on validation is kept; Ctrl-C then ends the fit as the
        time does, with a complete run of the best so far.
    device: of the fit alone, "cpu", "cuda" or "mps"; "auto" takes the recipe's own key ``device``.
    """

    epochs: int = 10
    steps: int | None = None
    batch: int | None = None
    lr: float = 1e-3
    weight_decay: float = 1e-4
    warmup: float = 0.05
    schedule: str = "cosine"
    patience: int = 0
    monitor: str = "MRR"
    direction: str = "both"
    keep: str = "best"
    clip: float = 1.0
    accumulate: int = 1
    ema: float = 0.0
    precision: str = "auto"
    balance: str = "none"
    together: str = "none"
    checkpoint_every: int = 0
    save_seconds: float = 30.0
    initialise: str = "none"
    mixup: float = 0.0
    structure: float = 0.0
    threads: int = 0
    examples: str = "auto"
    device: str = "auto"
    members: int = 1
    distill: bool = False
    seconds: float = 0.0

    def __post_init__(self) -> None:
        for key, words in _WORDS.items():
            value = getattr(self, key)
            if value not in words:
                raise BadRecipe(f"train.{key}={value!r}; expected one of {', '.join(words)}")
        for key, least in _WHOLE.items():
            value = getattr(self, key)
            if key in ("steps", "batch") and value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise BadRecipe(f"train.{key}={value!r}; expected a whole number, {least} or above")
        if self.threads > _THREADS:
            raise BadRecipe(f"train.threads={self.threads}; expected at most {_THREADS}, or 0 for all cores")
        for key, (allowed, range_) in _REAL.items():
            value = getattr(self, key)
            number = not isinstance(value, bool) and isinstance(value, (int, float)) and math.isfinite(value)
            if not number or not allowed(value):
                raise BadRecipe(f"train.{key}={value!r}; expected a number, {range_}")
        if self.members > _MEMBERS:
            raise BadRecipe(f"train.members={self.members}; expected at most {_MEMBERS}, such as 10")
        if not isinstance(self.distill, bool):
            raise BadRecipe(f"train.distill={self.distill!r}; expected true or false")
        check_name(self.device, "train.device")
        name, _, k = str(self.monitor).partition("@")
        if self.monitor not in MEASURES and not (name in ("hit", "precision") and k.isdecimal() and int(k) > 0):
            raise BadRecipe(f"train.monitor={self.monitor!r}; expected {', '.join(MEASURES)}, hit@k such as hit@10, or "
                            "precision@k")  # fmt: skip

    @classmethod
    def defaults(cls) -> dict[str, Any]:
        """Every key with its default; None where leaving a key out means "choose"."""
        return {field.name: field.default for field in fields(cls)}

    def check_ensemble(self) -> None:
        """Raise BadRecipe where a head is to learn from an ensemble (``distill``) that there is not."""
        if self.distill and self.members == 1:
            raise BadRecipe("train.distill=true has no ensemble to learn from; type: train.members=10")

    def asdict(self) -> dict[str, Any]:
        """Every key with its value, but for later ones at their defaults."""
        return self.without_defaults(asdict(self))

    @staticmethod
    def without_defaults(values: Mapping[str, Any]) -> dict[str, Any]:
        """Values without the keys that later versions added, where these have their defaults.

        So recipes and checkpoints of before stay equal to new ones that do the same.
        """
        return {key: value for key, value in values.items() if key not in _LATER or value != _LATER[key]}

"""Fits through the encoders: items read anew in each step, the encoders frozen or trained with the heads.

``data.cached=false`` in a recipe, with the keys of :mod:`sensorium.fitting.finetune_options`. The one training loop
runs it: :meth:`Finetune.connect` gives it tables whose rows are items, and heads behind the encoders' networks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from sensorium.contracts import Head, TrainableEncoder
from sensorium.errors import BadRecipe
from sensorium.fitting.finetune_options import FinetuneOptions
from sensorium.fitting.options import TrainOptions
from sensorium.fitting.raw_items import RawItems
from sensorium.fitting.through import Through
from sensorium.fitting.trained_layers import planned
from sensorium.modalities.image.augment import Augment
from sensorium.types import SIDES, Embeddings, Items

#: An encoder that trains, by the kind of item, for messages.
_SUCH_AS = {"image": "efficientnet_lite", "text": "minilm", "audio": "passt"}


@dataclass(frozen=True)
class Finetune:
    """What a fit through the encoders needs beside the vectors: raw items and encoder of each side that is read anew.

    sides: by place, 0 for the left and 1 for the right.
    """

    sides: Mapping[int, tuple[Items, TrainableEncoder]]
    options: FinetuneOptions

    @classmethod
    def of(cls, items: Sequence[Items | None], encoders: Sequence[Any], options: FinetuneOptions) -> Finetune:
        """Of the sides that ``finetune.sides`` names. Raises BadRecipe where an encoder of them does not train."""
        there = {k: (one, encoder) for k, (one, encoder) in enumerate(zip(items, encoders, strict=True))
                 if one is not None and encoder is not None}  # fmt: skip
        able = {k: both for k, both in there.items() if both[1].trains and not both[1].frames}
        if options.sides == "auto":
            chosen = {k: both for k, both in able.items() if both[0].kind == "image"} or able
        else:
            chosen = {k: both for k, both in there.items() if options.sides in ("both", SIDES[k])}
        for k, (one, encoder) in chosen.items():
            if k not in able:
                raise _untrainable(SIDES[k], one, encoder, [SIDES[other] for other in able if other != k])
        if not chosen and there:
            k = next(iter(there))
            if options.sides in SIDES and SIDES[k] != options.sides:
                raise BadRecipe(f"finetune.sides={options.sides}, but the {options.sides} items have no encoder: they "
                                f"are vectors; type: finetune.sides={SIDES[k]}")  # fmt: skip
            raise _untrainable(SIDES[k], *there[k], [])
        if not chosen:
            raise BadRecipe("data.cached=false reads items anew through their encoders, and all of them are vectors "
                            "already; type: data.cached=true")  # fmt: skip
        return cls(chosen, options)

    @property
    def trains(self) -> bool:
        """Whether the weights of an encoder are trained."""
        return any(self.options.blocks_of(k) != 0 for k in self.sides)

    def check(self, objective: Any, heads: Sequence[Head | None], options: TrainOptions) -> None:
        """Raise BadRecipe for what needs vectors that stay the same."""
        if objective.closed_form:
            name = type(objective).__name__.lower()
            raise BadRecipe(f"objective '{name}' is a closed form of stored vectors; type: data.cached=true, or a "
                            "trained objective, such as objective=infonce")  # fmt: skip
        if options.members > 1 and self.trains:
            raise BadRecipe("members of an ensemble share one encoder, so that it stays frozen; type: train.members=1 "
                            "or finetune.blocks=0")  # fmt: skip
        for key in ("mixup", "structure"):
            if getattr(options, key):
                raise BadRecipe(f"train.{key} works on stored vectors; type: train.{key}=0 or data.cached=true")
        if not self.trains and not any(head is not None and head.trainable for head in heads):
            raise BadRecipe("nothing would be trained: the heads are fixed and the encoder is frozen; "
                            "type: finetune.blocks=1")  # fmt: skip
        for k, (_, encoder) in self.sides.items():
            if self.options.blocks_of(k) != 0:
                planned(encoder.load(), encoder, self.options, k)

    def connect(
        self, tables: tuple[Embeddings, Embeddings], heads: tuple[Head, Head], seed: int, device: torch.device
    ) -> Connected:
        """Tables of items, and the built heads behind the encoders' networks.

        Within one table both sides are the same, or the left one is of contexts, whose tower composes the right head.
        """
        from sensorium.fitting.contexts import Composer, ThroughComposer

        made_tables, made_heads, rates, about = list(tables), list(heads), {}, {}
        for k, (items, encoder) in self.sides.items():
            augment = Augment(self.options.crop, self.options.flip, self.options.color)
            raw = RawItems(items, encoder, augment, (seed, k), tables[k].vectors)
            composed = isinstance(heads[0], Composer)
            network, one = encoder.load().to(device), raw[[0]].to(device)
            torch.manual_seed((seed + k) % 2**63)  # of adapters; reading a model draws numbers too
            through = Through(network, encoder, heads[1 if composed else k], self.options, k, one)
            rates |= {through.layers.parameters[name]: rate for name, rate in through.layers.rates.items()}
            about[SIDES[k]] = through.layers.about()
            for side in (0, 1) if composed or heads[0] is heads[1] else (k,):
                made_tables[side] = replace(tables[side], vectors=raw)
                made_heads[side] = ThroughComposer(through) if composed and side == 0 else through
        made = tuple(made_tables), tuple(made_heads)
        return Connected(*made, *(made if self.trains else (tables, heads)), rates, about)

    def asdict(self) -> dict[str, Any]:
        """The options and encoders, by which an interrupted fit is recognised."""
        encoders = {str(k): dict(encoder.fingerprint) for k, (_, encoder) in self.sides.items()}
        return {**self.options.asdict(), "encoders": encoders}


class Connected(NamedTuple):
    """What the loop works on: tables and heads to train, and to validate, and learning rates of some parameters.

    Under frozen encoders the heads are validated on the stored vectors. about: what is trained of each side's network.
    """

    tables: tuple[Embeddings, Embeddings]
    heads: tuple[Any, Any]
    known: tuple[Embeddings, Embeddings]
    known_heads: tuple[Any, Any]
    rates: Mapping[nn.Parameter, float]
    about: Mapping[str, Mapping[str, Any]]


def trained_encoders(heads: Sequence[Any], finetune: Finetune | None) -> dict[str, dict[str, Tensor]]:
    """The weights of encoders that were trained, by side; empty where every encoder is frozen."""
    if finetune is None:
        return {}
    return {SIDES[k]: heads[k].weights() for k in finetune.sides if finetune.options.blocks_of(k) != 0}


def described(about: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What is trained of each encoder, a line each."""
    lines = []
    for side, one in about.items():
        if not one["trained"]:
            lines.append(f"{side} encoder: frozen, {one['parameters']:,} parameters")
            continue
        rate = f"lr {one['lr']:g}" + (f" down to {one['least_lr']:.2g}" if "least_lr" in one else "")
        what = f"LoRA on {one['adapted']} layers of " if "adapted" in one else ""
        trained = f"{one['trained']:,} of {one['parameters']:,} parameters"
        lines.append(f"{side} encoder: {trained}, {what}{one['blocks']} of {one['of']} blocks, {rate}")
    return lines


def _untrainable(side: str, items: Items, encoder: Any, others: Sequence[str]) -> BadRecipe:
    """The error of an encoder that does not train. others: sides whose encoder does."""
    name = type(encoder).__name__.lower()
    what = "gives frames, not vectors, and does not train" if encoder.frames else "does not"
    instead = [f"{side}.encoder={_SUCH_AS[items.kind]}"] if items.kind in _SUCH_AS else []
    instead += [f"finetune.sides={other}" for other in others]
    return BadRecipe("data.cached=false reads items anew through an encoder that trains, and "
                     f"{side}.encoder '{name}' {what}; type: {' or '.join(instead) or 'data.cached=true'}")  # fmt: skip

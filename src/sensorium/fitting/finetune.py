"""Fits through the encoder: augmented pictures in, the encoder frozen or its last blocks trained with the heads.

``data.cached=false`` in a recipe, with the keys of :mod:`sensorium.fitting.finetune_options`. The one training loop
runs it: :meth:`Finetune.connect` gives it tables whose rows are pictures, and heads behind the encoder's network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from sensorium.contracts import Head, TrainableEncoder
from sensorium.errors import BadRecipe
from sensorium.fitting.finetune_options import FinetuneOptions
from sensorium.fitting.options import TrainOptions
from sensorium.modalities.image import files
from sensorium.modalities.image.augment import Augment
from sensorium.types import SIDES, Embeddings, Items, blocks

_READERS = 4  # threads that read the pictures of a batch
_PASS = 32  # pictures a pass: the layers that are frozen keep nothing, so that few fill the memory


@dataclass(frozen=True)
class Finetune:
    """What a fit through the encoder needs beside the vectors: raw items and encoder of each side that is read anew.

    sides: by place, 0 for the left and 1 for the right.
    """

    sides: Mapping[int, tuple[Items, TrainableEncoder]]
    options: FinetuneOptions

    @classmethod
    def of(cls, items: Sequence[Items | None], encoders: Sequence[Any], options: FinetuneOptions) -> Finetune:
        """Of the sides that are pictures under an encoder that trains. Raises BadRecipe where there is none."""
        found = {k: (one, encoder) for k, (one, encoder) in enumerate(zip(items, encoders, strict=True))
                 if one is not None and one.kind == "image" and encoder is not None and encoder.trains}  # fmt: skip
        sides = zip(SIDES, items, encoders, strict=True)
        others = [(side, type(encoder).__name__.lower()) for side, one, encoder in sides
                  if one is not None and one.kind == "image" and encoder is not None]  # fmt: skip
        if not found and others:
            side, name = others[0]
            raise BadRecipe(f"data.cached=false reads pictures anew through an encoder that trains, and {side}.encoder "
                            f"'{name}' does not; type: {side}.encoder=efficientnet_lite")  # fmt: skip
        if not found:
            kinds = ", ".join(one.kind for one in items if one is not None)
            raise BadRecipe(f"data.cached=false reads pictures anew through an encoder that trains, such as "
                            f"efficientnet_lite or clip; the items are {kinds}; type: data.cached=true")  # fmt: skip
        return cls(found, options)

    def check(self, objective: Any, heads: Sequence[Head | None], options: TrainOptions) -> None:
        """Raise BadRecipe for what needs vectors that stay the same."""
        if objective.closed_form:
            name = type(objective).__name__.lower()
            raise BadRecipe(f"objective '{name}' is a closed form of stored vectors; type: data.cached=true, or a "
                            "trained objective, such as objective=infonce")  # fmt: skip
        if options.members > 1 and self.options.blocks:
            raise BadRecipe("members of an ensemble share one encoder, so that it stays frozen; type: train.members=1 "
                            "or finetune.blocks=0")  # fmt: skip
        for key in ("mixup", "structure"):
            if getattr(options, key):
                raise BadRecipe(f"train.{key} works on stored vectors; type: train.{key}=0 or data.cached=true")
        if not self.options.blocks and not any(head is not None and head.trainable for head in heads):
            raise BadRecipe("nothing would be trained: the heads are fixed and the encoder is frozen; "
                            "type: finetune.blocks=1")  # fmt: skip
        for _, encoder in self.sides.values() if self.options.blocks else ():
            last(encoder.blocks(encoder.load()), self.options.blocks, encoder)

    def connect(
        self, tables: tuple[Embeddings, Embeddings], heads: tuple[Head, Head], seed: int, device: torch.device
    ) -> Connected:
        """Tables of pictures, and the built heads behind the encoder's network.

        Within one table both sides are the same, or the left one is of contexts, whose tower composes the right head.
        """
        from sensorium.fitting.contexts import Composer, ThroughComposer

        made_tables, made_heads, rates = list(tables), list(heads), {}
        for k, (items, encoder) in self.sides.items():
            network = encoder.load().to(device)
            trained = select(network, encoder, items.values[0], self.options.blocks)
            rates |= dict.fromkeys(trained.values(), self.options.lr)
            augment = Augment(self.options.crop, self.options.flip, self.options.color)
            pictures = Pictures(items.values, encoder, augment, (seed, k))
            composed = isinstance(heads[0], Composer)
            through = Through(network, encoder, heads[1 if composed else k], trained)
            for side in (0, 1) if composed or heads[0] is heads[1] else (k,):
                made_tables[side] = replace(tables[side], vectors=pictures)
                made_heads[side] = ThroughComposer(through) if composed and side == 0 else through
        made = tuple(made_tables), tuple(made_heads)
        return Connected(*made, *(made if self.options.blocks else (tables, heads)), rates)

    def asdict(self) -> dict[str, Any]:
        """The options and encoders, by which an interrupted fit is recognised."""
        encoders = {str(k): dict(encoder.fingerprint) for k, (_, encoder) in self.sides.items()}
        return {**asdict(self.options), "encoders": encoders}


class Connected(NamedTuple):
    """What the loop works on: tables and heads to train, and to validate, and learning rates of some parameters.

    Under a frozen encoder the heads are validated on the stored vectors.
    """

    tables: tuple[Embeddings, Embeddings]
    heads: tuple[Any, Any]
    known: tuple[Embeddings, Embeddings]
    known_heads: tuple[Any, Any]
    rates: Mapping[nn.Parameter, float]


class Pictures:
    """Pictures as rows of a table, each read when it is asked for. See :class:`sensorium.types.Rows`.

    A row is the array that the encoder's network takes, not a vector; ``shape`` is that of the vectors.
    """

    def __init__(self, values: Any, encoder: TrainableEncoder, augment: Augment, seed: tuple[int, ...]) -> None:
        self.values, self.encoder, self.augment, self.seed = values, encoder, augment, seed
        self.shape, self.dtype = (len(values), encoder.dim), np.dtype(np.float32)
        self._readers = ThreadPoolExecutor(_READERS, "sensorium-picture")

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, rows: Any) -> np.ndarray:
        """Pictures as they are, (b, …). Raises BadData for one that cannot be read."""
        return np.stack(list(self._readers.map(self._plain, np.arange(len(self))[rows].tolist())))

    def augmented(self, rows: np.ndarray, turn: tuple[int, ...]) -> np.ndarray:
        """Pictures augmented by chance, which depends on the seed, the turn, and the place in the batch alone."""
        return np.stack(list(self._readers.map(lambda at: self._changed(*at, turn), enumerate(rows.tolist()))))

    def _plain(self, row: int) -> np.ndarray:
        return self.encoder.pixels(self._value(row))

    def _changed(self, place: int, row: int, turn: tuple[int, ...]) -> np.ndarray:
        picture = files.over_white(files.read(self._value(row)))
        picture = np.repeat(picture[..., None], 3, 2) if picture.ndim == 2 else picture
        return self.encoder.pixels(self.augment(picture, np.random.default_rng((*self.seed, *turn, place))))

    def _value(self, row: int) -> Any:
        value = self.values[row]
        return str(value) if isinstance(value, np.str_) else value


class Through(nn.Module, Head):
    """A head behind the network of its encoder: pictures to outputs of the head.

    The network stays in evaluation mode, so that normalisations keep their statistics.
    """

    def __init__(self, network: nn.Module, encoder: TrainableEncoder, head: Any, trained: Mapping[str, Any]) -> None:
        super().__init__()
        self.network, self.head, self.encoder, self.trained = network, head, encoder, trained
        self.arguments, self.dim_in, self.dim = head.arguments, head.dim_in, head.dim
        self.trainable, self.normalize = head.trainable or bool(trained), head.normalize

    def build(self, dim_in: int, stats: Any = None, like: int | None = None) -> None:
        """The head has been built before."""

    def forward(self, x: Tensor) -> Tensor:
        """Pictures (b, …) to (b, dim)."""
        return self.head(self.features(x))

    def features(self, x: Tensor) -> Tensor:
        """Pictures (b, …) to the encoder's vectors (b, dim_in)."""
        return torch.cat([self.encoder.features(self.network, part).float() for part in x.split(_PASS)])

    @torch.inference_mode()
    def vectors(self, pictures: Pictures, rows: np.ndarray) -> np.ndarray:
        """The encoder's vectors of these rows as they are now, in a table (n, dim_in) of zeros."""
        found = np.zeros(pictures.shape, np.float32)
        device = next(self.network.parameters()).device
        for part in blocks(len(rows), _PASS):
            x = torch.from_numpy(pictures[rows[part]]).to(device)
            found[rows[part]] = self.features(x).cpu().numpy()
        return found

    def train(self, mode: bool = True) -> Through:
        """Set the head's mode."""
        super().train(mode)
        self.network.eval()
        return self

    def weights(self) -> dict[str, Tensor]:
        """The trained parameters of the network, by name; copies on the processor."""
        return {name: parameter.detach().cpu().clone() for name, parameter in self.trained.items()}


def select(network: nn.Module, encoder: TrainableEncoder, value: Any, count: int) -> dict[str, nn.Parameter]:
    """Leave gradients to the last ``count`` blocks and to what follows them; returns those parameters by name.

    A parameter that has no part in the vector of ``value`` is left out. Raises BadRecipe for more blocks than it has.
    """
    network.requires_grad_(False)
    if not count:
        return {}
    named = list(network.named_parameters())
    chosen = {id(p) for block in last(encoder.blocks(network), count, encoder) for p in block.parameters()}
    first = next(k for k, (_, p) in enumerate(named) if id(p) in chosen)
    after = dict(named[first:])
    for parameter in after.values():
        parameter.requires_grad_(True)
    x = torch.from_numpy(np.stack([encoder.pixels(value)])).to(named[0][1].device)
    reached = torch.autograd.grad(encoder.features(network, x).sum(), list(after.values()), allow_unused=True)
    for parameter, gradient in zip(after.values(), reached, strict=True):
        parameter.requires_grad_(gradient is not None)
    return {name: parameter for name, parameter in after.items() if parameter.requires_grad}


def trained_encoders(heads: Sequence[Any], finetune: Finetune | None) -> dict[str, dict[str, Tensor]]:
    """The weights of encoders that were trained, by side; empty where every encoder is frozen."""
    if finetune is None or not finetune.options.blocks:
        return {}
    return {SIDES[k]: heads[k].weights() for k in finetune.sides}


def last(every: Sequence[nn.Module], count: int, encoder: TrainableEncoder) -> Sequence[nn.Module]:
    """So many of the last blocks. Raises BadRecipe where there are fewer."""
    if count > len(every):
        raise BadRecipe(f"finetune.blocks={count}; the network of {type(encoder).__name__} has {len(every)}")
    return every[len(every) - count :]

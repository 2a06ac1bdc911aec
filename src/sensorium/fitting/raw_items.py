"""Items as rows of a table, read anew for a network that a fit runs: pictures (augmented by chance), sounds, texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch

from sensorium.contracts import TrainableEncoder
from sensorium.modalities.image import files
from sensorium.modalities.image.augment import Augment
from sensorium.types import Items, RawRows, Rows

_READERS = 4  # threads that read the items of a batch
_KEPT = 512 << 20  # bytes of prepared items of a table that stay in memory


class RawBatch:
    """Rows of a table as prepared items: what a head behind its encoder's network takes, (b, …) of any shape.

    prepared: m items, each once. place: (b,) which of them a row is. device: where they are computed.
    """

    def __init__(
        self, encoder: TrainableEncoder, prepared: Sequence[Any], place: np.ndarray, device: torch.device | str = "cpu"
    ) -> None:
        self.encoder, self.prepared, self.place, self.device = encoder, prepared, place, torch.device(device)

    def __len__(self) -> int:
        return len(self.place)

    def to(self, device: torch.device | str) -> RawBatch:
        """The same rows, to be computed there."""
        return RawBatch(self.encoder, self.prepared, self.place, device)

    def order(self) -> np.ndarray:
        """The prepared items (m,), longest first, so that those of one pass need little padding."""
        return np.argsort([-_size(one) for one in self.prepared], kind="stable")

    def inputs(self, network: torch.nn.Module, which: Sequence[int]) -> Any:
        """Some of the prepared items as the network takes them, on the device."""
        return moved(self.encoder.collate(network, [self.prepared[i] for i in which]), self.device)


class RawItems(RawRows):
    """The items of a side as rows, each prepared when it is read. See :class:`sensorium.types.RawRows`.

    augment: of pictures, None for no change. seed: of the augmentation. stored: vectors of the untrained encoder, of
    which ``shape`` is. Items that are not augmented are kept once they are prepared, up to 512 MiB of them.
    """

    def __init__(
        self, items: Items, encoder: TrainableEncoder, augment: Augment | None, seed: tuple[int, ...], stored: Rows
    ) -> None:
        self.values, self.encoder, self.seed, self.stored = items.values, encoder, seed, stored
        self.augment = augment if items.kind == "image" else None
        self.shape, self.dtype = (len(items), encoder.dim), np.dtype(np.float32)
        self._kept: dict[int, Any] = {}
        self._room = _KEPT
        self._readers = ThreadPoolExecutor(_READERS, "sensorium-item")

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, rows: Any) -> RawBatch:
        """Items as they are. Raises BadData for one that cannot be read."""
        unique, place = np.unique(np.arange(len(self))[rows], return_inverse=True)
        return RawBatch(self.encoder, list(self._readers.map(self._plain, unique.tolist())), place)

    def augmented(self, rows: np.ndarray, turn: tuple[int, ...], first: int = 0) -> RawBatch:
        """Items changed by chance, which depends on the seed, the turn, and the place in the batch alone.

        first: place of the first row.
        """
        if self.augment is None:
            return self[rows]
        changed = list(self._readers.map(lambda at: self._changed(*at, turn), enumerate(rows.tolist(), first)))
        return RawBatch(self.encoder, changed, np.arange(len(rows)))

    def _plain(self, row: int) -> Any:
        found = self._kept.get(row)
        if found is None:
            found = self.encoder.prepare(self._value(row))
            if self.augment is None and self._room > 0:
                self._room -= _size(found) * 8  # numbers are of 8 bytes at most
                self._kept[row] = found
        return found

    def _changed(self, place: int, row: int, turn: tuple[int, ...]) -> Any:
        picture = files.over_white(files.read(self._value(row)))
        picture = np.repeat(picture[..., None], 3, 2) if picture.ndim == 2 else picture
        return self.encoder.prepare(self.augment(picture, np.random.default_rng((*self.seed, *turn, place))))

    def _value(self, row: int) -> Any:
        value = self.values[row]
        return str(value) if isinstance(value, np.str_) else value


def moved(inputs: Any, device: torch.device) -> Any:
    """Tensors of a nested collection on a device; everything else as it is."""
    if isinstance(inputs, torch.Tensor):
        return inputs.to(device)
    if isinstance(inputs, Mapping):
        return {name: moved(one, device) for name, one in inputs.items()}
    if isinstance(inputs, (list, tuple)):
        return type(inputs)(moved(one, device) for one in inputs)
    return inputs


def _size(prepared: Any) -> int:
    """How many numbers, or letters, a prepared item holds."""
    if isinstance(prepared, Mapping):
        return sum(map(_size, prepared.values()))
    if isinstance(prepared, (list, tuple)):
        return sum(map(_size, prepared))
    return len(prepared) if isinstance(prepared, str) else int(np.size(prepared))

"""Vectors made of several encoders', such as of a picture and its text: a store for each, then all joined."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sensorium import fingerprint
from sensorium.contracts import Encoder
from sensorium.types import Embeddings, Items

Embed = Callable[..., Embeddings]


class FromParts(Encoder):
    """An encoder that joins, whose parts' vectors are there already. ``encode`` takes the very values of the items."""

    def __init__(self, whole: Encoder, values: Sequence[Any], parts: Mapping[str, tuple[np.ndarray, Any]]) -> None:
        self.takes, self.dim, self.fingerprint, self.batch = whole.takes, whole.dim, whole.fingerprint, 4096
        self.joins = whole.joins
        self._whole, self._parts, self._values = whole, parts, values
        self._rows = {id(value): row for row, value in enumerate(values)}
        self._at = {}
        for kind, (rows, _) in parts.items():
            self._at[kind] = np.full(len(values), -1, np.int64)
            self._at[kind][rows] = np.arange(len(rows))

    def encode(self, values: Sequence[Any]) -> np.ndarray:
        """(n, dim) float32 of values that are those of the items themselves."""
        rows = np.array([self._rows[id(value)] for value in values], np.int64)
        found = {}
        for kind, (_, vectors) in self._parts.items():
            at = self._at[kind][rows]
            found[kind] = np.flatnonzero(at >= 0), vectors[at[at >= 0]]
        return self._whole.join(found, len(values))


def prepared(
    items: Items, encoder: Encoder, folder: Path, batch: int | None, progress: bool, embed: Embed
) -> FromParts:  # fmt: skip
    """The parts of the items, embedded into stores beside ``folder``, which are found again by other runs.

    A store is called as that of the part's encoder alone would be: see :func:`part_folder`.
    """
    values = list(items.values)
    found = {}
    for name, part in encoder.split(values).items():
        of_part = Items(items.ids[part.rows], part.values, part.encoder.takes)
        where = part_folder(folder, encoder, part.encoder)
        found[name] = part.rows, embed(of_part, part.encoder, where, batch=batch, progress=progress).vectors
    return FromParts(encoder, values, found)


def part_folder(folder: Path, whole: Encoder, part: Encoder) -> Path:
    """The store of a part: ``outfits-left-joined-01234567`` → ``outfits-left-minilm-89abcdef`` beside it."""
    own, other = (f"{one.fingerprint['name']}-{fingerprint.digest(dict(one.fingerprint))[:8]}" for one in (whole, part))
    stem = folder.name.removesuffix(f"-{own}") if folder.name.endswith(f"-{own}") else folder.name
    return folder.with_name(f"{stem}-{other}")

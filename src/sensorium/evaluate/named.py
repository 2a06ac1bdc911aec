"""Values of the measures that a protocol names, kept query by query so that two runs can be compared by them.

They stand in ``per_query.npz`` beside the ranks, under ``named|SPLIT|DIRECTION|MEASURE|COLUMN`` with the columns

    value  (n,)  what was measured of each query; for an area, the score of each labelled thing
    group  (n,)  code of its group, the unit of the bootstrap
    label  (n,)  for an area 1 or 0; else 1
    about  (2,)  "mean", "AUC" or "AP": how the values are summarised; and a hash of what was asked
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import xxhash

from sensorium.evaluate.areas import AREAS, Area

_PREFIX, _COLUMNS = "named", ("value", "group", "label", "about")


@dataclass(frozen=True)
class Named:
    """One measure of n queries: the columns of the module's head. split, direction, measure: as in a result row."""

    split: str
    direction: str
    measure: str
    value: np.ndarray
    group: np.ndarray
    label: np.ndarray
    about: np.ndarray

    @classmethod
    def of(
        cls, split: str, direction: str, measure: str, value: np.ndarray, group: np.ndarray, asked: str,
        kind: str = "mean", label: np.ndarray | None = None,
    ) -> Named:  # fmt: skip
        """kind: "mean", "AUC" or "AP". label (n,): of an area. asked: what :func:`asked` gives."""
        label = np.ones(len(value), np.int8) if label is None else np.asarray(label, np.int8)
        return cls(split, direction, measure, np.asarray(value), np.asarray(group), label, np.array([kind, asked]))

    @property
    def kind(self) -> str:
        """ "mean", "AUC" or "AP"."""
        return str(self.about[0])

    @property
    def area(self) -> Area | None:
        """The area under a curve that it is; None for a mean."""
        return Area.of(self.label, self.value) if self.kind in AREAS else None


def asked(ids: np.ndarray, *rows: np.ndarray) -> str:
    """A hash of what was asked: arrays of rows of any shape, as the ids (n,) they stand for."""
    digest = xxhash.xxh3_64()
    for one in rows:
        one = np.asarray(one, np.int64)
        digest.update(str(one.shape).encode())
        digest.update("\n".join(ids[one.ravel()].tolist()).encode())
    return digest.hexdigest()


def pack(each: Iterable[Named]) -> dict[str, np.ndarray]:
    """Arrays for ``per_query.npz``."""
    return {f"{_PREFIX}|{one.split}|{one.direction}|{one.measure}|{column}": getattr(one, column)
            for one in each for column in _COLUMNS}  # fmt: skip


def unpack(arrays: Mapping[str, np.ndarray]) -> dict[tuple[str, str, str], Named]:
    """What :func:`pack` made, by split, direction and measure."""
    keys = dict.fromkeys(tuple(name.split("|")[1:4]) for name in arrays if name.startswith(f"{_PREFIX}|"))
    return {key: Named(*key, *(arrays["|".join((_PREFIX, *key, column))] for column in _COLUMNS)) for key in keys}

"""Related items of an indexed run, by its stored pairs: for the map and for single items."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np

from sensorium.errors import SensoriumError
from sensorium.pairs import SPLITS, rows_of
from sensorium.search import related as stored_pairs
from sensorium.search.query import SIDES
from sensorium.serve.engine.registry import ServedRun

_LOADING = threading.Lock()
_CODES = {name: code for code, name in enumerate(SPLITS)}


@dataclass(frozen=True)
class Related:
    """p related pairs as ids: left, right (p,) text, split (p,) codes into SPLITS; why they are unknown, if so."""

    left: np.ndarray
    right: np.ndarray
    split: np.ndarray
    why: str = ""

    def rows(self, left_ids: np.ndarray, right_ids: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows among the ids of both sides, and split codes, of the pairs that have both of their items there."""
        left, known_left = rows_of(self.left, left_ids)
        right, known_right = rows_of(self.right, right_ids)
        known = known_left & known_right
        return left[known], right[known], self.split[known]

    def of(self, side: str, id: str, one_table: bool = False) -> list[tuple[str, str]]:
        """(side, id) of the related items of an item."""
        if one_table:
            found = [*self.right[self.left == id].tolist(), *self.left[self.right == id].tolist()]
            return [("left", other) for other in dict.fromkeys(found)]
        own, other = (self.left, self.right) if side == "left" else (self.right, self.left)
        return [(SIDES[1 - SIDES.index(side)], one) for one in dict.fromkeys(other[own == id].tolist())]


def of(served: ServedRun) -> Related:
    """The related pairs of a run, read once for each version of its folder. Blocking.

    A run that stores none has unknown related items; its data set is not loaded for them.
    """
    with _LOADING:
        if "related" not in served.cache:
            try:
                served.cache["related"] = _read(served)
            except (SensoriumError, OSError, ValueError, KeyError) as error:
                served.cache["related"] = _unknown(str(error))
        return served.cache["related"]


def _read(served: ServedRun) -> Related:
    pairs = stored_pairs.open(served.run.folder)
    if pairs is None:
        return _unknown("this run stores no related items; add them with: sensorium index RUN")
    left, right, splits = pairs
    return Related(left, right, np.array([_CODES.get(name, len(SPLITS)) for name in splits.tolist()], np.uint8))


def _unknown(why: str) -> Related:
    none = np.zeros(0, "<U1")
    return Related(none, none, np.zeros(0, np.uint8), why)

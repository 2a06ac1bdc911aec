"""Which indexed items truly belong together, as a run keeps it or its data set says: for the map and single items."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np

from sensorium.errors import SensoriumError
from sensorium.pairs import SPLITS, rows_of
from sensorium.search.run import SIDES, Run
from sensorium.serve.engine.registry import Shown

_LOADING = threading.Lock()


@dataclass(frozen=True)
class Partners:
    """p true pairs as ids: left, right (p,) text, split (p,) codes into SPLITS; why: what is missing, if anything."""

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
        """(side, id) of the true partners of an item."""
        if one_table:
            found = [*self.right[self.left == id].tolist(), *self.left[self.right == id].tolist()]
            return [("left", partner) for partner in dict.fromkeys(found)]
        own, other = (self.left, self.right) if side == "left" else (self.right, self.left)
        return [(SIDES[1 - SIDES.index(side)], partner) for partner in dict.fromkeys(other[own == id].tolist())]


def of(shown: Shown) -> Partners:
    """The true pairs of a run, read once for each version of its folder. Blocking."""
    with _LOADING:
        if "partners" not in shown.kept:
            try:
                shown.kept["partners"] = _load(shown.run)
            except (SensoriumError, OSError, ValueError, KeyError) as error:
                none = np.zeros(0, "<U1")
                shown.kept["partners"] = Partners(none, none, np.zeros(0, np.uint8), str(error))
        return shown.kept["partners"]


def _load(run: Run) -> Partners:
    from sensorium import pipeline
    from sensorium.search import related

    kept = related.open(run.folder)
    if kept is not None:
        codes = {name: code for code, name in enumerate(SPLITS)}
        split = np.array([codes.get(name, len(SPLITS)) for name in kept[2].tolist()], np.uint8)
        return Partners(kept[0], kept[1], split)
    data = run.recipe.part("data").load()
    pairs = pipeline.split(run.recipe, data.pairs).where(label=1)
    right = data.left if data.right is None else data.right
    return Partners(data.left.ids[pairs.left], right.ids[pairs.right], _codes(pairs.split))


def _codes(split: np.ndarray) -> np.ndarray:
    codes = np.full(len(split), len(SPLITS), np.uint8)
    for code, name in enumerate(SPLITS):
        codes[split == name] = code
    return codes

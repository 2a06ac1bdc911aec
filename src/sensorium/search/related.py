"""Related items of a run: the ids of its pairs, for the map and for the page of an item."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sensorium import integrity
from sensorium.errors import Corrupt
from sensorium.pairs import Pairs
from sensorium.table import Table

FILE = "partners.parquet"


def save(pairs: Pairs, left: np.ndarray, right: np.ndarray, folder: Path) -> None:
    """Write the related pairs of items with ids left (n,) and right (m,), with their splits."""
    related = np.flatnonzero(pairs.label == 1)
    columns = {"right": right[pairs.right[related]], "split": pairs.split[related]}
    Table(left[pairs.left[related]], columns).save(folder / FILE)


def open(folder: str | Path) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """The related pairs of a run: left ids, right ids and splits, (p,) each; None for a run without them.

    Raises Corrupt when the file is damaged.
    """
    path = Path(folder) / FILE
    if not path.is_file():
        return None
    integrity.check_file(Path(folder), FILE)
    table = Table.load(path)
    if not {"right", "split"} <= set(table.columns):
        raise Corrupt(f"{path} has no columns 'right' and 'split'; type: sensorium index {folder}")
    return table.ids, table.columns["right"].astype(np.str_), table.columns["split"].astype(np.str_)

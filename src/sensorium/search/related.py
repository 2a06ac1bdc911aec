"""Who belongs to whom, kept with a run: the ids of related items, as its pairs told them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sensorium.pairs import Pairs
from sensorium.table import Table

FILE = "partners.parquet"


def save(pairs: Pairs, left: np.ndarray, right: np.ndarray, folder: Path) -> None:
    """Write the related pairs of items with ids left (n,) and right (m,), with their splits."""
    related = np.flatnonzero(pairs.label == 1)
    columns = {"right": right[pairs.right[related]], "split": pairs.split[related]}
    Table(left[pairs.left[related]], columns).save(folder / FILE)


def open(folder: str | Path) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """The related pairs of a run: left ids, right ids and splits, (p,) each; None for a run that keeps none."""
    path = Path(folder) / FILE
    if not path.is_file():
        return None
    table = Table.load(path)
    return table.ids, table.columns["right"], table.columns["split"]

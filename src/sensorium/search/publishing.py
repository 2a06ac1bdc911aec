"""Publishing of a fitted run for search: an index a side, media of the items, related items."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from sensorium import fingerprint as fingerprints
from sensorium import io
from sensorium.evaluate import index_speed
from sensorium.evaluate.projected import Projected
from sensorium.numerics import freed_memory
from sensorium.recipe import Recipe
from sensorium.search import media, related
from sensorium.table import as_column
from sensorium.types import Data, Embeddings, Items


def publish(plan: Recipe, data: Data, projected: Projected, folder: Path) -> dict[str, Any]:
    """Index the head outputs of both sides; returns size and recall of each index.

    Media and related items are stored beside it, so that the run folder alone can be served.
    """
    about = {}
    sides = (("left", data.left, projected.zl), ("right", data.right, projected.zr))
    for side, items, vectors in sides:
        if items is None:
            continue
        queries = projected.zr if side == "left" else projected.zl
        about[side] = index_side(side, items, vectors, queries, plan, folder)
        freed_memory.after(items)
        media.build(items, searchable(items), folder, side, small=plan.media == "pack", base=_base(plan))
    related.save(projected.pairs, projected.left.ids, projected.right.ids, folder)
    index_speed.draw(about, folder)
    return about


def _base(plan: Recipe) -> Path | None:
    """The folder of the data's file, from which the relative paths of its columns are read."""
    file = plan.values["data"].get("file") or str(plan.values["data"].get("left", "")).split(":")[0]
    path = Path(str(file)).expanduser()
    return path.parent if file and path.is_file() else None


def index_side(
    side: str, items: Items, vectors: np.ndarray, queries: np.ndarray, plan: Recipe, folder: Path
) -> dict[str, Any]:
    """Build, measure and save one side's index; returns its size and recall. vectors (n, d), queries (q, d)."""
    part, rows = plan.part("index"), slice(None) if items.searchable is None else searchable(items)  # a slice is a view
    part.name = f"{plan.name}_{side}"
    chosen = vectors[rows]
    chosen.flags.writeable = False  # of the view: an index takes it without a copy, as it may lie in a file
    part.add(items.ids[rows], chosen, {name: column[rows] for name, column in columns_of(items).items()})
    about = {"items": len(part), "dim": int(vectors.shape[1]), **part.report(vectors)}
    if part.variants():
        about["speed"] = index_speed.measure(part, queries)
    made = fingerprints.of_data(Embeddings(items.ids[rows], chosen, {}), None)
    head = io.checksum(folder / f"{side}.safetensors")
    part.fingerprint = {"made": made, "head": head}  # tells it from the indexes of other runs
    with io.publish(folder / "index" / side) as building:
        part.save(building)
    stamp = {"head": head, "part": plan.values["index"], "made": made}
    io.write_json(folder / "index" / f"{side}.json", stamp)
    return about


def searchable(items: Items) -> np.ndarray:
    """Rows of the items that a search may find: all but copies made for training, see ``Items.searchable``."""
    return np.arange(len(items)) if items.searchable is None else np.flatnonzero(items.searchable)


def columns_of(items: Items) -> dict[str, np.ndarray]:
    """Columns of a hit: the item's metadata, and the text itself where items are text."""
    columns = {name: as_column(column, name) for name, column in items.meta.items()}
    if items.kind == "text":
        columns.setdefault("text", as_column(items.values, "text"))
    return columns

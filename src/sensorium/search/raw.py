"""Raw vectors: what a side's head takes, of the items as they are indexed now."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from sensorium import fingerprint as fingerprints
from sensorium import store
from sensorium.errors import BadData, Mismatch
from sensorium.search import located
from sensorium.search.folder import RunFolder, store_name
from sensorium.table import RowLookup

if TYPE_CHECKING:
    from sensorium.recipe import Recipe
    from sensorium.search.run import Run


def vectors_name(side: str, plan: Recipe, fingerprint: Mapping[str, Any]) -> str:
    """Folder of a store of items that came as vectors, where there is one beside the run: data set, side, digest."""
    return f"{plan.part_name('data')}-{side}-vectors-{fingerprints.digest(dict(fingerprint))[:8]}"


class RawVectors:
    """Vectors (d_in,) by id: from the store beside the run or its data set, and from live changes.

    The data set is read only where the items came as vectors. :meth:`of` belongs into the thread of the side's index.
    """

    def __init__(self, run: Run, side: str) -> None:
        self.run, self.side = run, side
        encoder, plan = run.encoder(side), run.recipe
        of_vectors = encoder is None
        name = (
            vectors_name(side, plan, run.fingerprint(side))
            if of_vectors
            else store_name(side, plan, encoder.fingerprint)
        )
        folder = RunFolder(run.folder).stores / name
        moving = run.migrations.active(side) is not None  # the store of the new encoder holds a sample only
        self._store: Any = store.open(folder) if store.exists(folder) and not moving else None
        self._from_data = of_vectors and self._store is None and not moving

    @property
    def available(self) -> bool:
        """Whether the items can be compared raw: one vector each, beside the run or among the run's own files."""
        if self._from_data:
            inside = located.inside(self.run.recipe)
            return bool(inside) and all((self.run.folder / name).is_dir() for name in inside.values())
        return self._store is not None and not self.are_frames

    @property
    def are_frames(self) -> bool:
        """Whether each item is a sequence of frames."""
        return self._store is not None and self._store.offsets is not None

    @cached_property
    def _table(self) -> Any:
        """Ids and vectors of the data set whose items are vectors. Raises SensoriumError where it cannot be read."""
        data = located.data(self.run.recipe, self.run.folder).load()
        return data.left if self.side == "left" or data.right is None else data.right

    @cached_property
    def _rows(self) -> RowLookup:
        return RowLookup.of(self._table.ids if self._from_data else self._store.ids)

    def of(self, ids: np.ndarray) -> np.ndarray:
        """Vectors (n, d_in) float32 of ids (n,); zeros where an item has none.

        Raises Mismatch when the store does not lie beside the run, BadData for items of several frames.
        """
        name, run = self.run.names[self.side], self.run
        if self._store is None and not self._from_data:
            raise Mismatch(
                f"the embeddings of the {name} items do not lie beside run '{run.folder.name}', so the raw space "
                f"cannot be read; copy the folder {RunFolder(run.folder).stores.name} there too, or leave out space"
            )
        if self.are_frames:
            raise BadData(f"the {name} items are sequences of frames, which are not compared raw; leave out space")
        values = np.asarray(self._table.values) if self._from_data else self._store.vectors
        rows = self._rows.rows(np.asarray(ids).tolist())
        vectors = np.zeros((len(ids), values.shape[1]), np.float32)
        vectors[rows >= 0] = values[rows[rows >= 0]]
        live = run.journals[self.side].latest
        for row in np.flatnonzero(np.isin(ids, list(live))) if live else ():
            added = live[str(ids[row])].vector
            vectors[row] = 0 if added is None else added
        return vectors

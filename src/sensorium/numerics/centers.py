"""Means of groups of vectors, such as of each speaker's clips, moved to one common mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from sensorium import io
from sensorium.errors import BadRecipe, Corrupt, nearest
from sensorium.types import Embeddings, blocks, is_missing

FILE = "{side}-centers.npz"  # of a run folder
_BLOCK = 8192
_LEAST = 2  # items of a group; of one alone nothing would remain


@dataclass(frozen=True)
class Centers:
    """x - mean of its group + mean of all.

    by: name of the metadata column. names (g,): its values, of groups of two items or more. shifts (g, d) float32:
    mean of all minus mean of the group. An item of another group, or of none, stays as it is: the mean of all is where
    the head expects it.
    """

    by: str
    names: np.ndarray
    shifts: np.ndarray

    @classmethod
    def of(cls, table: Embeddings, by: str) -> Centers:
        """Of all items of a table; no class or pair is read. Raises BadRecipe without the column, or for frames."""
        if table.offsets is not None:
            raise BadRecipe(f"center='{by}' moves one vector an item, but these items are sequences of frames")
        if by not in table.meta:
            raise BadRecipe(f"center='{by}': the items have no such column; {nearest(by, table.meta)}")
        names, code = np.unique(_words(table.meta[by]), return_inverse=True)
        count, total = np.bincount(code, minlength=len(names)), np.zeros((len(names), table.dim))
        for part in blocks(len(table), _BLOCK):
            np.add.at(total, code[part], np.asarray(table.vectors[part], np.float64))
        shifts = total.sum(0) / max(1, len(table)) - total / count[:, None]
        known = (names != "") & (count >= _LEAST)
        return cls(by, names[known], shifts[known].astype(np.float32))

    def moved(self, vectors: np.ndarray, values: Sequence[Any]) -> np.ndarray:
        """Vectors (n, d) of items whose column has these values (n,): (n, d) float32."""
        vectors = np.array(vectors, np.float32)
        if len(self.names):
            words = _words(values)
            at = np.searchsorted(self.names, words).clip(0, len(self.names) - 1)
            known = self.names[at] == words
            vectors[known] += self.shifts[at[known]]
        return vectors

    def save(self, path: Path) -> None:
        """Write the file, whole or not at all."""
        arrays = {"by": np.array(self.by), "names": self.names, "shifts": self.shifts}
        io.write(path, lambda file: np.savez(file, **arrays))

    @classmethod
    def load(cls, path: Path) -> Centers | None:
        """Those of a file; None where there is none. Raises Corrupt for a damaged one."""
        if not path.is_file():
            return None
        try:
            with np.load(path, allow_pickle=False) as file:
                return cls(str(file["by"]), file["names"], file["shifts"])
        except (OSError, ValueError, KeyError) as error:
            raise Corrupt(f"{path} cannot be read ({error}); make the run anew") from None


def centred(table: Embeddings, by: str) -> Embeddings:
    """A table with its groups' means moved together, in memory; its ``centers`` say by how much."""
    centers = Centers.of(table, by)
    vectors = centers.moved(np.asarray(table.vectors[np.arange(len(table))]), table.meta[by])
    return replace(table, vectors=vectors, centers=centers)


def _words(values: Sequence[Any]) -> np.ndarray:
    """Values as text, "" where one is missing."""
    listed = np.asarray(values).tolist() if isinstance(values, np.ndarray) else list(values)
    return np.array(["" if is_missing(v) else str(v) for v in listed], np.str_)

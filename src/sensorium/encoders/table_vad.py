"""Clips' valence, arousal and dominance from a table, such as MSP-Podcast's FileName, EmoAct, EmoDom, EmoVal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from sensorium import io
from sensorium.contracts import Encoder
from sensorium.errors import BadData, BadRecipe
from sensorium.modalities.audio import ratings
from sensorium.numerics.affect import DIMENSIONS
from sensorium.numerics.affect_scales import check


class TableVad(Encoder):
    """A clip as its ratings in a table: valence, arousal and dominance, -1 to 1. No sound is read.

    file: CSV, TSV, JSONL or Parquet with a column of names (FileName, name, path, …) and EmoVal, EmoAct and EmoDom, or
        valence, arousal and dominance.
    scale: of its numbers, "1..7" as of MSP-Podcast, "0..1", "-1..1", "1..5" or "1..9".

    A clip is found by the longest end of its path that the table knows, with or without the ending. NaN, clips that
    the table lacks and numbers outside the scale are refused before anything is embedded.
    """

    takes: ClassVar[str] = "audio"
    dim: ClassVar[int] = len(DIMENSIONS)
    batch: ClassVar[int] = 4096

    def __init__(self, file: str, scale: str = ratings.SCALE) -> None:
        if not str(file):
            raise BadRecipe("table_vad needs a table; type: right.encoder.file=PATH")
        self.file, self.scale = Path(file).expanduser(), check(scale, "table_vad.scale")

    @property
    def fingerprint(self) -> dict[str, str]:
        """The table by its checksum, and its scale."""
        return {"name": "table_vad", "table": io.checksum(self._found), "scale": self.scale}

    def settle(self) -> Mapping[str, Any]:
        """The table's whole path, as the run may be opened from another folder."""
        return {"file": str(self._found.resolve())}

    def check(self, values: Sequence[Any]) -> None:
        """Raises BadRecipe for a table without ratings; BadData for clips that it lacks, and for bad cells."""
        self._rows(values)

    def encode(self, values: Sequence[Any]) -> np.ndarray:
        """Ratings (n, 3) float32 of n paths. Raises BadData as :meth:`check` does."""
        return self._table.values[self._rows(values)] if len(values) else np.zeros((0, self.dim), np.float32)

    def _rows(self, values: Sequence[Any]) -> np.ndarray:
        for i, value in enumerate(values):
            if isinstance(value, tuple) or not isinstance(value, (str, Path)):
                raise BadData(f"table_vad: value {i} is sound without a name; expected a path, which the table names")
        return ratings.rows_of(self._table, [str(value) for value in values], "table_vad")

    @property
    def _found(self) -> Path:
        if not self.file.is_file():
            raise BadRecipe(f"table_vad: no file {self.file}; type: right.encoder.file=PATH")
        return self.file

    @cached_property
    def _table(self) -> ratings.Ratings:
        return ratings.read(self._found, self.scale)

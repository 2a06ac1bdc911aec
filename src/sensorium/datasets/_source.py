"""Tables that a data set reads: opened once each, with what their rows and columns are called in messages."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sensorium import formats
from sensorium.datasets import _hub_data
from sensorium.errors import BadData, BadRecipe, nearest
from sensorium.formats import Columns

_RANGE = re.compile(r"(.*?)(\d+)\.\.(\d+)")
_SOME = 3  # rows that a message names


@dataclass(frozen=True, eq=False)
class Source:
    """A table of n rows. root: the folder that its relative paths start from."""

    where: str
    columns: Columns
    n: int
    root: Path
    metadata: dict[str, Any] = field(default_factory=dict)  # columns as metadata, made once for both sides

    @classmethod
    def open(cls, where: str, root: Path | None) -> Source:
        """A file of any format with columns, a store, or a Hugging Face data set (``hf://…``, or a saved folder)."""
        if _hub_data.is_address(where):
            return cls.of(where, _hub_data.read(where), root or Path())
        path = Path(where).expanduser()
        if path.is_dir() and _hub_data.is_saved(path):
            return cls.of(path.name, _hub_data.read_saved(path), root or path)
        return cls.of(path.name, _read(path), root or (path if path.is_dir() else path.parent))

    @classmethod
    def of(cls, where: str, columns: Columns, root: Path) -> Source:
        """Columns that are read already. Raises BadData for a table without rows."""
        n = max((columns.shape(name)[0] for name in columns if columns.shape(name)), default=0)
        if not n:
            raise BadData(f"{where} has no rows; expected one an item or pair")
        return cls(where, columns, n, root)

    def missing(self, name: str) -> str:
        """The message for a column that is not there."""
        return f"{self.where} has no column '{name}'; {nearest(name, self.columns)}"

    def rows(self, rows: Sequence[int] | np.ndarray) -> str:
        """Rows as messages call them: "row 7", "rows 7, 9, 12, …".

        >>> Source("a.csv", Columns({}, "a.csv", first=2), 9, Path()).rows([0, 5])
        'rows 2, 7'
        """
        named = [f"{int(row) + self.columns.first:,}" for row in rows[:_SOME]]
        more = ", …" if len(rows) > _SOME else ""
        return f"row{'s' if len(rows) > 1 else ''} {', '.join(named)}{more}"

    def column(self, name: str, key: str) -> np.ndarray:
        """A column (n,) of one value a row. key: the recipe key that named it."""
        if name not in self.columns:
            raise BadRecipe(f"{key}={name}: {self.missing(name)}")
        found = self.columns.exact(name)
        if found.shape != (self.n,):
            raise BadData(f"{self.where}: column '{name}' has shape {found.shape}; expected ({self.n},), one a row")
        return found

    def names(self, piece: str, key: str) -> list[str]:
        """The columns that one piece of a specification names: itself, ``caption_*`` or ``caption_1..5``."""
        if piece in self.columns:
            return [piece]
        if found := _RANGE.fullmatch(piece):
            stem, first, last = found.groups()
            width = len(first) if first.startswith("0") else 0
            names = [f"{stem}{number:0{width}d}" for number in range(int(first), int(last) + 1)]
            if names and (lost := [name for name in names if name not in self.columns]):
                raise BadRecipe(f"{key}={piece}: {self.missing(lost[0])}")
            if names:
                return names
        if any(sign in piece for sign in "*?["):
            names = [name for name in self.columns if fnmatch.fnmatchcase(name, piece)]
            if names:
                return names
            raise BadRecipe(f"{key}={piece} matches no column of {self.where}; it has {', '.join(self.columns)}")
        raise BadRecipe(f"{key}={piece}: {self.missing(piece)}")


class Sources:
    """The tables of one data set, each read once."""

    def __init__(self, root: str | None) -> None:
        self._root = None if not root else Path(root).expanduser()
        if self._root is not None and not self._root.is_dir():
            raise BadData(f"no folder {self._root}; type: data.root=FOLDER that the paths are relative to")
        self._open: dict[str, Source] = {}

    def open(self, where: str | Path) -> Source:
        """The table at a path or address."""
        where = str(where)
        if "://" in where and not _hub_data.is_address(where):
            raise BadRecipe(
                f"{where} is remote; tables are not fetched, as they may change from run to run: download it"
            )
        key = where if "://" in where else str(Path(where).expanduser().resolve())
        if key not in self._open:
            self._open[key] = Source.open(where, self._root)
        return self._open[key]

    def choose(self, spec: Any, table: Source | None, key: str) -> tuple[Source, list[str]]:
        """The table and columns that ``data.left`` or ``data.right`` names.

        A column of ``data.file``, several (a list, commas, ``caption_*``, ``caption_1..5``), or ``FILE:COLUMN`` of
        another file or store. Raises BadRecipe naming the nearest column.
        """
        if not isinstance(spec, str):
            pieces = [str(piece) for piece in spec]
        elif table is not None and spec in table.columns:
            return table, [spec]
        else:
            other = self._other(spec, table, key)
            if other is not None:
                table, spec = other
            pieces = [spec] if spec in table.columns else [piece.strip() for piece in spec.split(",") if piece.strip()]
        if table is None:
            raise BadRecipe(f"{key}={spec}: in which table? type: data.file=TABLE, or {key}=TABLE:COLUMN")
        names = list(dict.fromkeys(name for piece in pieces for name in table.names(piece, key)))
        if not names:
            raise BadRecipe(f"{key} names no column; {table.where} has {', '.join(table.columns)}")
        return table, names

    def _other(self, spec: str, table: Source | None, key: str) -> tuple[Source, str] | None:
        """Another file and the columns of it; None where the specification names none."""
        where, _, name = spec.rpartition(":")
        if "://" in spec:
            raise BadRecipe(f"{spec}: name a data set of the Hub by data.file=hf://…, and a column of it here")
        at = next((path for path in (spec, where) if path and _is_there(path)), None)
        if at is None:
            if table is None and not where:
                raise BadRecipe(f"{key}={spec}: in which table? type: data.file=TABLE, or {key}=TABLE:{spec}")
            if table is None or ("." in where and "," not in where):
                return self.open(where or spec), name  # which says that there is no such file
            return None
        found = self.open(at)
        return found, name if at == where and where != spec else _only(found, spec)


def _is_there(path: str) -> bool:
    try:
        return Path(path).expanduser().exists()
    except OSError:  # longer than a path may be
        return False


def _only(source: Source, spec: str) -> str:
    """The one column of vectors of a file that was named without a column."""
    columns = source.columns
    names = [columns.key] if columns.key else formats.names_of_vectors(columns)
    if len(names) != 1:
        raise BadRecipe(f"which column of {source.where}? type: {spec}:COLUMN; it has {', '.join(columns)}")
    return names[0]


def _read(path: Path) -> Columns:
    from sensorium.store import importing, manifest

    return importing.columns_of(path) if path.is_dir() and manifest.exists(path) else formats.read(path)

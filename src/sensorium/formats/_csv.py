"""metadata.csv: columns joined to ids, as spreadsheets write it; our own has types and is safe from formulas."""

from __future__ import annotations

import csv
import io as memory
import re
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from sensorium import io
from sensorium.errors import BadData
from sensorium.formats import _typed
from sensorium.formats._columns import Column, reading
from sensorium.formats._text import objects

#: Spreadsheets run a cell that begins so as a formula; one apostrophe before it makes it text.
_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_LIMIT = threading.Lock()
_BOMS = ((b"\xff\xfe\0\0", "utf-32"), (b"\0\0\xfe\xff", "utf-32"), (b"\xef\xbb\xbf", "utf-8-sig"),
         (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))  # fmt: skip


def dump(ids: Sequence[str], columns: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The CSV text with column "id" first, and the content of ``metadata.types.json``.

    Text that a spreadsheet would run as a formula gets an apostrophe before it, which reading with
    the types takes away again. Raises BadData for a column that CSV cannot hold, or one called "id".
    """
    if "id" in columns:
        raise BadData(
            "a metadata column is called 'id', as the ids in metadata.csv are; "
            "type: sensorium export parquet STORE --out FOLDER"
        )
    arrays = {name: np.asarray(column) for name, column in columns.items()}
    types = {name: _typed.type_of(column, name, "npy") for name, column in arrays.items()}
    cells = [
        [_quoted(v) for v in _typed.to_text(column)] if types[name] == "text" else _typed.to_text(column)
        for name, column in arrays.items()
    ]
    lines = zip(map(_quoted, ids), *cells, strict=True)
    header = ",".join(map(_quoted, ["id", *arrays]))
    return "\n".join([header, *map(",".join, lines), ""]), {"apostrophe": True, "types": types}


def columns(path: Path, types: Path, ids: np.ndarray, names: Sequence[str]) -> dict[str, Column]:
    """The columns of a CSV file, each in the order of ``ids``; an id without a line has None.

    names: what the column of ids may be called, in order of preference.

    Raises BadData when the file cannot be read, has no column of ids, repeats an id or a column name,
    or a line has another number of cells.
    """
    if not path.is_file():
        return {}
    known = _types(types) if types.is_file() else {}
    undo = bool(known) and bool(known.get("apostrophe"))
    with reading(path, "correct it, or move it away"):
        header, rows = _table(path)
        header = [_plain(name) if undo else name for name in header]
        key = next((name for name in names if name in header), None)
        if key is None:
            raise BadData(
                f"{path} has no column 'id' to join it by (it has {', '.join(header[:8])}); rename one, or move it away"
            )
        at = header.index(key)
        by_id: dict[str, list[str]] = {}
        for row in rows:
            name = _plain(row[at]) if undo else row[at]
            if name in by_id:
                raise BadData(f"{path} has two lines for the id '{name}'; remove one, or move the file away")
            by_id[name] = row
    lines = [by_id.get(name) for name in ids.tolist()]
    kinds = known.get("types", {})

    def load(i: int, name: str) -> np.ndarray:
        cells = [None if line is None else line[i] for line in lines]
        if undo and kinds.get(name) == "text":
            cells = [None if cell is None else _plain(cell) for cell in cells]
        return _typed.from_text(cells, kinds[name], f"{path}:{name}") if name in kinds else objects(cells)

    return {name: Column((len(ids),), lambda i=i, name=name: load(i, name))
            for i, name in enumerate(header) if i != at and name}  # fmt: skip


def _types(path: Path) -> dict[str, Any]:
    known = io.read_json(path, "restore it, or move it away")
    types = known.get("types") if isinstance(known, dict) else None
    if not isinstance(types, dict) or not all(isinstance(v, str) for v in types.values()):
        raise BadData(f"{path} holds no types of columns; restore it, or move it away")
    return known


def text_of(path: Path) -> str:
    """A table's text, in UTF-8 or in UTF-16 with its mark. Raises BadData for another encoding, with its line."""
    raw = path.read_bytes()
    encoding = next((name for mark, name in _BOMS if raw.startswith(mark)), "utf-8")
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise BadData(
            f"{path} is not UTF-8 (line {line}, byte {raw[error.start]:#04x}); save it as 'CSV UTF-8', or type: "
            f"iconv -f cp1252 -t utf-8 {path.name} > utf8.csv"
        ) from None


def rows_of(text: str, delimiter: str = ",", strict: bool = True) -> list[list[str]]:
    """Rows of a table's text that are not empty, with fields of any length. Raises csv.Error."""
    with long_fields():
        return [row for row in csv.reader(memory.StringIO(text, newline=""), delimiter=delimiter, strict=strict) if row]


def _table(path: Path) -> tuple[list[str], list[list[str]]]:
    rows = rows_of(text_of(path))
    if not rows:
        raise BadData(f"{path} is empty; correct it, or move it away")
    header, lines = rows[0], rows[1:]
    if len(set(header)) != len(header):
        again = next(name for name in header if header.count(name) > 1)
        raise BadData(f"{path} has two columns called '{again}'; rename one")
    for number, row in enumerate(lines):
        if len(row) != len(header):
            raise BadData(f"{path}: row {number + 2} has {len(row)} cells, the header {len(header)}; "
                          "quote cells that hold commas")  # fmt: skip
    return header, lines


@contextmanager
def long_fields() -> Iterator[None]:
    """The csv module's limit of a field, 131,072 characters, is one for the whole process."""
    with _LIMIT:
        before = csv.field_size_limit(min(sys.maxsize, 1 << 30))
        try:
            yield
        finally:
            csv.field_size_limit(before)


def _quoted(text: str) -> str:
    safe = f"'{text}" if _FORMULA.match(text) else text
    return '"' + safe.replace('"', '""') + '"'


def _plain(text: str) -> str:
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text

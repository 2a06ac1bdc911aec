"""A table as CSV or TSV, with a header; the types of its columns are read off their cells."""

from __future__ import annotations

import csv
import io as memory
import re
from pathlib import Path
from typing import Any

from sensorium.errors import BadData
from sensorium.formats import _cells, _csv
from sensorium.formats._arrow import check_repeated
from sensorium.formats._columns import Column, Columns
from sensorium.formats._format import Format

_DELIMITERS = ",;\t|"
_HEADER = 1 << 20  # bytes in which the header ends
_ROW = re.compile(r"Row #(\d+)")


def read(path: Path, delimiter: str = "") -> Columns:
    """Every column of a table in UTF-8 or UTF-16, split at commas, semicolons, tabs or bars, whichever the header has.

    The header is row 1 in messages. An empty cell is a missing value, in quotes an empty text. A column is whole
    numbers, numbers, booleans, times (ISO 8601) or lists (JSON) where each of its cells is one, else text;
    ``007`` and ``+49`` are text. Raises BadData for another encoding, a row with another number of cells than the
    header (with the count), and two columns of one name.
    """
    raw, names, delimiter = _header(path, delimiter or ("\t" if path.suffix.lower() == ".tsv" else ""))
    table = _parsed(path, raw, names, delimiter)
    return Columns({name: _column(table.column(i), f"{path}:{name}") for i, name in enumerate(names)}, path, first=2)


def _header(path: Path, delimiter: str) -> tuple[Any, list[str], str]:
    """The bytes of a table in UTF-8, its column names, and what its cells are split at."""
    raw = path.read_bytes()
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff") or raw[:4] == b"\0\0\xfe\xff":
        raw = _csv.text_of(path).encode("utf-8")
    raw = raw.removeprefix(b"\xef\xbb\xbf")
    start = raw[:_HEADER].decode("utf-8", "replace").lstrip("\r\n")
    if not start.strip():
        raise BadData(f"{path} is empty; expected a header with the names of the columns, and a row a line")
    if "\0" in start:
        raise BadData(f"{path} is no text (it holds NUL bytes); save it as CSV in UTF-8")
    outside = re.sub(r'"[^"]*"?', "", re.split(r"[\r\n]", start, maxsplit=1)[0])
    delimiter = delimiter or max(_DELIMITERS, key=outside.count)
    with _csv.long_fields():
        written = next(csv.reader(memory.StringIO(start, newline=""), delimiter=delimiter))
    names = [name.strip() or f"column_{i + 1}" for i, name in enumerate(written)]
    check_repeated(names, path)
    return raw, names, delimiter


def _parsed(path: Path, raw: bytes, names: list[str], delimiter: str) -> Any:
    """The cells as Arrow texts, null where a cell is empty without quotes."""
    import pyarrow as pa
    import pyarrow.csv as pc

    bad: list[Any] = []

    def refuse(row: Any) -> str:
        bad.append(row)
        return "skip"

    columns = [str(i) for i in range(len(names))]  # of the header too: it is taken off below
    convert = pc.ConvertOptions(column_types=dict.fromkeys(columns, pa.string()),
                                null_values=[""],
                                strings_can_be_null=True, quoted_strings_can_be_null=False)  # fmt: skip
    parse = pc.ParseOptions(delimiter=delimiter, newlines_in_values=True, invalid_row_handler=refuse)
    for size in (1 << 24, min(len(raw) + 1, (1 << 31) - 1)):  # a cell may be longer than a block
        options = pc.ReadOptions(column_names=columns, block_size=size, use_threads=True)
        bad.clear()
        try:
            table = pc.read_csv(pa.BufferReader(raw), options, parse, convert)
        except pa.ArrowInvalid as error:
            if "straddl" in str(error) and size == 1 << 24:
                continue
            _csv.text_of(path)  # says where it is not UTF-8
            raise BadData(f"{path} is no table ({error}); save it as CSV in UTF-8") from None
        break
    if bad:
        row = f"; the first of them begins {bad[0].text[:60]!r}"
        raise BadData(
            f"{path}: {len(bad)} rows do not have the {len(names)} cells of the header, such as one with "
            f"{bad[0].actual_columns}{row}; quote cells that hold '{delimiter}'"
        )
    return table.slice(1)


def _column(texts: Any, where: str) -> Column:
    kind = None

    def load(exact: bool) -> Any:
        nonlocal kind
        kind = kind or _cells.kind_of(texts)
        return _cells.column(texts, kind, where, exact)

    return Column((len(texts),), lambda: load(False), lambda: load(True), lambda: _cells.objects(texts))


FORMAT = Format(endings=(".csv", ".tsv"), read=read, read_options={"delimiter": "what its cells are split at (found)"})

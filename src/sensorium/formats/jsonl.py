"""A table as JSON lines: one object a line."""

from __future__ import annotations

from pathlib import Path

from sensorium.formats import _csv, _records
from sensorium.formats._columns import Columns
from sensorium.formats._format import Format


def read(path: Path) -> Columns:
    """Every column of ``{"a": 1}`` lines; empty lines are left out. Raises BadData, naming the line, for no JSON."""
    text = _csv.text_of(path)
    rows = [_records.parsed(line, f"{path}, line {i}") for i, line in enumerate(text.split("\n"), 1) if line.strip()]
    _records.check_first(text, str(path))
    return Columns(_records.columns(rows, path), path)


FORMAT = Format(endings=(".jsonl", ".ndjson"), read=read)

"""A table as JSON lines: one object a line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sensorium.errors import BadData
from sensorium.formats import _csv, _records
from sensorium.formats._columns import Columns
from sensorium.formats._format import Format


def read(path: Path) -> Columns:
    """Every column of ``{"a": 1}`` lines; empty lines are left out. Raises BadData, naming the line, for no JSON."""
    text = _csv.text_of(path)
    rows = [_records.parsed(line, f"{path}, line {i}") for i, line in enumerate(text.split("\n"), 1) if line.strip()]
    return _columns(text, rows, path)


def whole_lines(path: Path) -> tuple[Columns, list[str]]:
    """The columns of the lines that are JSON objects, and what is wrong with each other one, with its number."""
    text = _csv.text_of(path)
    rows, faults = [], []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            value = _records.parsed(line, f"{path}, line {number}")
        except BadData as error:
            faults.append(str(error))
            continue
        if isinstance(value, dict):
            rows.append(value)
        else:
            faults.append(f'{path}, line {number} is no object; expected {{"column": value, …}}')
    return _columns(text if not faults else "", rows, path), faults


def _columns(text: str, rows: list[Any], path: Path) -> Columns:
    _records.check_first(text, str(path))
    return Columns(_records.columns(rows, path), path)


FORMAT = Format(endings=(".jsonl", ".ndjson"), read=read)

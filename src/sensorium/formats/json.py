"""A table as JSON: a list of objects, one a row, or an object of lists, one a column."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sensorium.errors import BadData
from sensorium.formats import _csv, _records
from sensorium.formats._columns import Columns
from sensorium.formats._format import Format


def read(path: Path) -> Columns:
    """Every column: of ``[{"a": 1}, …]``, of ``{"a": [1, …]}``, or of an object with one such list, ``{"data": […]}``.

    Raises BadData for what is no JSON, or no table; for columns of other lengths.
    """
    text = _csv.text_of(path)
    value = _records.parsed(text, str(path))
    _records.check_first(text, str(path))
    if isinstance(value, dict):
        lists = [v for v in value.values() if isinstance(v, list) and v and isinstance(v[0], dict)]
        if len(lists) == 1:
            value = lists[0]
    if isinstance(value, list):
        return Columns(_records.columns(value, path), path)
    if isinstance(value, dict) and value:
        return Columns({name: _records.column(v, f"{path}:{name}") for name, v in _lists(value, path).items()}, path)
    raise BadData(f"{path} holds no table; expected a list of objects, or an object with a list for each column")


def _lists(value: dict[str, Any], path: Path) -> dict[str, list[Any]]:
    """Columns of one length; those that pandas writes, ``{"a": {"0": …}}``, as lists."""
    made = {name: list(v.values()) if isinstance(v, dict) else v for name, v in value.items()}
    if odd := [name for name, v in made.items() if not isinstance(v, list)]:
        raise BadData(f"{path} holds no table: '{odd[0]}' is no list; expected a list of objects, or an object with a "
                      "list for each column")  # fmt: skip
    lengths = {name: len(v) for name, v in made.items()}
    if len(set(lengths.values())) > 1:
        short, long = min(lengths, key=lengths.get), max(lengths, key=lengths.get)
        raise BadData(f"{path}: column '{short}' has {lengths[short]} values, '{long}' {lengths[long]}; correct it")
    return made


FORMAT = Format(endings=(".json",), read=read)

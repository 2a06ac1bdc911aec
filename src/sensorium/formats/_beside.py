"""Ids and metadata columns in JSON and CSV files beside an array."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sensorium.errors import BadData
from sensorium.formats import _csv, _text, _typed
from sensorium.formats._columns import IDS, IDS_NAMES, Column, Columns, reading


def beside(path: Path, n: int, columns: dict[str, Column], key: str | None = None) -> Columns:
    """The columns of a file of n rows, with the ids and metadata that lie beside it.

    Ids come from ``NAME.ids.json``, ``NAME_ids.json``, ``ids.json`` or ``metadata.json``, the first that is there;
    columns from the same JSON and from ``NAME.metadata.csv`` or ``metadata.csv``, joined by id.
    Raises BadData when a file is damaged, names another number of ids, or a column's name stands twice.
    """
    for name in (f"{path.stem}.ids.json", f"{path.stem}_ids.json", "ids.json", "metadata.json"):
        found = path.with_name(name)
        if not found.is_file():
            continue
        ids, more = _read(found)
        if ids is None:
            continue
        if len(ids) != n:
            raise BadData(f"{found} has {len(ids)} ids for the {n} rows of {path.name}; correct it, or move it away")
        whole = {IDS: Column((n,), lambda ids=ids: ids)}
        for one in (columns, more, _table(path, ids)):
            if again := [column for column in one if column in whole]:
                raise BadData(f"{path} and the files beside it have two columns called '{again[0]}'; rename one")
            whole |= one
        return Columns(whole, path, ids=IDS, key=key)
    return Columns(columns, path, key=key)


def ids_of(values: Any, where: object) -> np.ndarray:
    """A JSON list as ids (n,): text or whole numbers. Raises BadData with a count of those that are neither."""
    if not isinstance(values, list):
        raise BadData(f"{where} holds no list of ids; correct it, or move it away")
    good = [isinstance(v, str) or (isinstance(v, int) and not isinstance(v, bool)) for v in values]
    if not all(good):
        first = good.index(False)
        raise BadData(
            f"{where}: {good.count(False)} of {len(values)} ids are neither text nor whole numbers, such as "
            f"{json.dumps(values[first])[:40]} in row {first}; correct it, or move it away"
        )
    return _checked([str(v) for v in values], where)


def _checked(ids: Sequence[str], where: object) -> np.ndarray:
    array = _text.objects(ids)
    _text.check(array, f"{where}:{IDS}")
    return array


def _table(path: Path, ids: np.ndarray) -> dict[str, Column]:
    own = path.with_name(f"{path.stem}.metadata.csv")
    table = own if own.is_file() else path.with_name("metadata.csv")
    return _csv.columns(table, table.with_suffix(".types.json"), ids, ("id", *IDS_NAMES))


def _read(path: Path) -> tuple[np.ndarray | None, dict[str, Column]]:
    """Ids and columns of a JSON file; None where a metadata.json says nothing of ids."""
    try:
        value = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise BadData(f"{path} is not valid JSON ({error}); correct it, or move it away") from None
    if isinstance(value, dict) and IDS in value:
        ids = ids_of(value[IDS], path)
        return ids, _columns(value, len(ids), path)
    if isinstance(value, list) and value and isinstance(value[0], dict) and "id" in value[0]:
        return _records(value, path)
    if path.name == "metadata.json":
        return None, {}
    return ids_of(value, path), {}


def _columns(value: dict[str, Any], n: int, path: Path) -> dict[str, Column]:
    """The metadata columns that our own export writes beside a tensor, with their types."""
    columns, types = value.get("columns", {}), value.get("types", {})
    if not isinstance(columns, dict) or not isinstance(types, dict):
        raise BadData(f"{path}: columns and types are no objects; correct it, or move it away")
    for name, values in columns.items():
        if not isinstance(values, list) or len(values) != n:
            size = f"{len(values)} values" if isinstance(values, list) else type(values).__name__
            raise BadData(f"{path}: column '{name}' has {size} for {n} ids; correct it, or move it away")
    return {name: _column(values, types.get(name), f"{path}:{name}") for name, values in columns.items()}


def _records(rows: list[Any], path: Path) -> tuple[np.ndarray, dict[str, Column]]:
    """``[{"id": …, "caption": …}, …]``: one object a row."""
    if odd := [i for i, row in enumerate(rows) if not isinstance(row, dict) or "id" not in row]:
        raise BadData(f"{path}: {len(odd)} of {len(rows)} rows are no objects with an 'id', such as row {odd[0]}; "
                      "correct it, or move it away")  # fmt: skip
    names = dict.fromkeys(name for row in rows for name in row if name != "id")
    columns = {name: _column([row.get(name) for row in rows], None, f"{path}:{name}") for name in names}
    return ids_of([row["id"] for row in rows], path), columns


def _column(values: list[Any], kind: Any, where: str) -> Column:
    def load() -> np.ndarray:
        with reading(where, "correct it, or move it away"):
            return _typed.from_json(values, kind, where)

    return Column((len(values),), load)

"""Values given in Python to ``sensorium.fit``, kept in the folder of the run itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from sensorium import integrity, io
from sensorium.contracts import Dataset
from sensorium.errors import BadData, Corrupt
from sensorium.pairs import Pairs
from sensorium.pairs.classes import Classes
from sensorium.table import Table
from sensorium.types import Data, Items, blocks

FORMAT = 1
_OF_CLASSES = 2  # the format where labels say the relation, with the file CLASSES: their codes
CLASSES = "classes.npz"
FOLDER = "data"  # of a run's folder
INSIDE = f"run:{FOLDER}"
_REMEDY = "fit the run again: sensorium.fit(X, Y)"


class Memory(Dataset):
    """The data of a run that was fitted on values in memory.

    folder: where they lie; "run:data" is the folder ``data`` of the run that the recipe belongs to.
    digest: of the values and pairs, so that recipes of other values differ.
    """

    def __init__(self, folder: str = INSIDE, digest: str = "") -> None:
        self.folder, self.digest = folder, digest

    def load(self) -> Data:
        """The items and pairs as they were given. Raises BadData where they are missing, Corrupt when damaged."""
        if self.folder.startswith("run:"):
            where = f"data.folder=RUN/{self.folder.removeprefix('run:')}"
            raise BadData(f"the values that this run was fitted on lie in its own folder; name it: {where}")
        folder = Path(self.folder).expanduser()
        if not (folder / "data.json").is_file():
            raise BadData(f"{folder} holds no values of a run (no data.json); {_REMEDY}")
        for name in sorted(path.name for path in folder.iterdir() if path.is_file()):
            integrity.check_file(folder.parent, f"{folder.name}/{name}")
        about = io.read_object(folder / "data.json", _REMEDY, format=int, sides=dict, same_table=bool, notes=dict)
        if about["format"] not in (FORMAT, _OF_CLASSES):
            raise Corrupt(f"{folder / 'data.json'} has format {about['format']}, expected {FORMAT}; {_REMEDY}")
        sides = {side: _load_items(folder, side, record) for side, record in about["sides"].items()}
        table = Table.load(folder / "pairs.parquet")
        try:
            left, right, label, group = (table.columns[name] for name in ("left", "right", "label", "group"))
            names = None if about.get("groups") is None else np.array(about["groups"], np.str_)
            pairs = Pairs(left.astype(np.int64), right.astype(np.int64), label.astype(np.int8), group.astype(np.int64),
                          table.columns["split"].astype("<U10"), about["same_table"], names)  # fmt: skip
            if about["format"] == _OF_CLASSES:
                with np.load(folder / CLASSES, allow_pickle=False) as file:
                    pairs = replace(pairs, classes=Classes(file["left"], file["right"]))
        except (OSError, KeyError, ValueError, TypeError) as error:
            raise Corrupt(f"{folder / 'pairs.parquet'} holds no pairs ({error}); {_REMEDY}") from None
        return Data(sides["left"], sides.get("right"), pairs, about["notes"])


def save(data: Data, folder: Path) -> None:
    """Write items and pairs into a folder, from which :class:`Memory` reads them."""
    sides = {"left": data.left, "right": data.right}
    about = {side: _save_items(folder, side, items) for side, items in sides.items() if items is not None}
    pairs = data.pairs
    columns = {name: getattr(pairs, name) for name in ("left", "right", "label", "group", "split")}
    Table(np.arange(len(pairs)).astype(np.str_), columns).save(folder / "pairs.parquet")
    names = None if pairs.group_names is None else pairs.group_names.tolist()
    if pairs.classes is not None:
        codes = dict(zip(("left", "right"), pairs.classes, strict=True))
        io.write(folder / CLASSES, lambda file: np.savez(file, **codes))
    record = {
        "format": FORMAT if pairs.classes is None else _OF_CLASSES,
        "sides": about,
        "same_table": pairs.same_table,
        "groups": names,
        "notes": dict(data.notes),
    }
    io.write_json(folder / "data.json", record)


def digest(data: Data) -> str:
    """xxh3-64 over items, metadata and pairs: equal digest, equal data."""
    made = xxhash.xxh3_64()
    for items in (data.left, data.right):
        if items is None:
            continue
        made.update("\n".join([items.kind, *items.ids.tolist(), *items.meta]).encode())
        for values in (items.values, *items.meta.values()):
            _update(made, values)
    pairs = data.pairs
    for column in (pairs.left, pairs.right, pairs.label, pairs.group, pairs.split, *(pairs.classes or ())):
        _update(made, column)
    return made.hexdigest()


def _update(made: Any, values: Any) -> None:
    if isinstance(values, np.ndarray) and values.dtype.kind != "O":
        for rows in blocks(len(values), 1 << 16):
            made.update(memoryview(np.ascontiguousarray(values[rows])).cast("B"))
        return
    for value in values:
        parts = value if isinstance(value, tuple) else (value,)
        for part in parts:
            array = isinstance(part, np.ndarray)
            made.update(f"{part.dtype.str}{part.shape}".encode() if array else repr(part).encode())
            if array and part.size:
                made.update(memoryview(np.ascontiguousarray(part)).cast("B"))


def _save_items(folder: Path, side: str, items: Items) -> dict[str, Any]:
    """One side's files; returns what data.json says of them."""
    values, columns = items.values, {f"meta.{name}": column for name, column in items.meta.items()}
    if isinstance(values, np.ndarray):
        form = "vectors"
        io.write(folder / f"{side}.npy", lambda file: np.save(file, np.ascontiguousarray(values)))
    elif all(isinstance(value, str) for value in values):
        form = "texts"
        columns["values"] = np.array(values, object)
    else:
        form = "arrays"
        _save_arrays(folder / f"{side}.npz", values)
    Table(items.ids, columns).save(folder / f"{side}.parquet")
    return {"kind": items.kind, "form": form, "source": dict(items.source), "n": len(items), "name": items.name}


def _save_arrays(path: Path, values: Any) -> None:
    """Arrays, (array, rate) and paths, mixed: one entry each, and what each of them is."""
    entries, about = {}, []
    for row, value in enumerate(values):
        array, rest = (value[0], value[1]) if isinstance(value, tuple) else (value, None)
        if isinstance(array, np.ndarray):
            entries[f"v{row}"] = array
        about.append(
            {"path": str(array)} if not isinstance(array, np.ndarray) else {} if rest is None else {"rate": rest}
        )
    entries["about"] = np.frombuffer(json.dumps(about, default=io.plain).encode(), np.uint8)
    io.write(path, lambda file: np.savez(file, **entries))


def _load_items(folder: Path, side: str, record: Mapping[str, Any]) -> Items:
    table = Table.load(folder / f"{side}.parquet")
    meta = {name.removeprefix("meta."): column for name, column in table.columns.items() if name.startswith("meta.")}
    try:
        if record["form"] == "vectors":
            values: Any = np.load(folder / f"{side}.npy", mmap_mode="r", allow_pickle=False)
        elif record["form"] == "texts":
            values = table.columns["values"].tolist()
        else:
            values = _load_arrays(folder / f"{side}.npz")
        return Items(table.ids, values, record["kind"], meta, record["source"], name=record.get("name", ""))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Corrupt(f"{folder}: the {side} items cannot be read ({error}); {_REMEDY}") from None


def _load_arrays(path: Path) -> list[Any]:
    with np.load(path, allow_pickle=False) as file:
        made = []
        for row, about in enumerate(json.loads(bytes(file["about"]))):
            array = about["path"] if "path" in about else file[f"v{row}"]
            made.append((array, about["rate"]) if "rate" in about else array)
        return made

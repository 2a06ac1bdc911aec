"""Items added to an opened run and removed from it: encoded by its own encoder, durable batch by batch."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sensorium import modalities
from sensorium.errors import BadData, BadRecipe, nearest
from sensorium.progress import bar
from sensorium.search.journal import Change
from sensorium.table import as_column, json_value
from sensorium.table.columns import value_of
from sensorium.types import Items, check_text, shown_part

if TYPE_CHECKING:
    from sensorium.search.run import Run

BATCH = 256  # items of one durable append, at least
SECONDS = 5.0  # a slow encoder's items are made durable at least this often
_MEDIA_BYTES = 4 << 20  # largest file that is stored to be shown


def add(run: Run, side: str, items: Items, *, replace: bool = False, progress: bool = False) -> dict[str, Any]:
    """Add items to a side of a run; returns ``{"side", "added", "replaced", "items"}``.

    Vectors are those of the side's encoder, everything else is encoded by it. Small files are stored to be shown.
    Each append of some hundred items is on the disk before the next are encoded: an interruption loses none of those.
    replace: items whose ids are there take their place.

    Raises BadData for ids that are there already, columns that the side does not have, and items that cannot be
    encoded, BadRecipe for items of another kind; ReadOnly and DiskFull.
    """
    check(run, side, items, replace)
    encoder, rows = run.encoder(side), np.arange(len(items))
    there = run.places(side).rows(items.ids.tolist()) >= 0
    step = BATCH if items.kind == "vector" else max(1, encoder.batch)
    waiting: list[Change] = []
    last = time.monotonic()
    with bar(f"adding {items.kind}", len(items), progress) as advance:
        for start in range(0, len(items), step):
            part = rows[start : start + step]
            waiting += _changes(run, side, items, part)
            if len(waiting) >= BATCH or time.monotonic() - last > SECONDS or start + step >= len(items):
                run.commit_many(side, waiting)
                waiting, last = [], time.monotonic()
            advance(len(part))
    total = len(run.index(side).table)
    return {"side": side, "added": len(items), "replaced": int(np.count_nonzero(there)), "items": total}


def remove(run: Run, side: str, ids: Sequence[str], *, missing: bool = False) -> int:
    """Remove items from a side in one durable append; returns how many there were.

    missing: ids that are not there are no error. Raises BadData for those otherwise, and nothing is removed.
    """
    names = list(dict.fromkeys(map(str, ids)))
    rows = run.places(side).rows(names)
    lost = [name for name, row in zip(names, rows, strict=True) if row < 0]
    if lost and not missing:
        some = run.index(side).table.ids[:20000].tolist()
        raise BadData(f"nothing was removed: {len(lost)} of {len(names)} ids are not on the {run.names[side]} side of "
                      f"{run.folder}, such as '{lost[0]}'; {nearest(lost[0], some)}")  # fmt: skip
    gone = [name for name, row in zip(names, rows, strict=True) if row >= 0]
    run.commit_many(side, [Change(name) for name in gone])
    return len(gone)


def by_side(run: Run, ids: Sequence[str], side: str | None = None, missing: bool = False) -> dict[str, list[str]]:
    """The side of each id. side: where it is known. missing: ids that are nowhere are no error.

    Raises BadData for ids that both sides have, or none.
    """
    side = None if side is None else known_side(run, side)
    found: dict[str, list[str]] = {}
    for name in dict.fromkeys(map(str, ids)):
        at = [one for one in run.sides if side in (None, one) and name in run.places(one)]
        if len(at) > 1:
            raise BadData(
                f"both sides of {run.folder} have an item '{name}'; say which of {_sides(run)}: "
                f"type --side {run.names[at[0]]} (in Python: side='{run.names[at[0]]}')"
            )
        if not at and not missing:
            some = run.index(side or run.sides[0]).table.ids[:20000].tolist()
            lost = sum(all(other not in run.places(one) for one in run.sides if side in (None, one)) for other in ids)
            where = f"on the {run.names[side]} side of {run.folder}" if side else f"in {run.folder}"
            raise BadData(f"nothing was removed: {lost} of {len(ids)} ids are not {where}, such as '{name}'; "
                          f"{nearest(name, some)}")  # fmt: skip
        for one in at:
            found.setdefault(one, []).append(name)
    return found


def known_side(run: Run, side: str) -> str:
    """left or right, of a side by its name in the data or its key. Raises BadData for a side that the run lacks."""
    key = run.key_of(side)
    if key not in run.sides:
        raise BadData(f"{run.folder} has no {side} side; it has {_sides(run)}")
    return key


def _sides(run: Run) -> str:
    return " and ".join(run.names[side] for side in run.sides)


def check(run: Run, side: str, items: Items, replace: bool) -> None:
    """Raise BadData or BadRecipe for what :func:`add` would refuse, before anything is encoded."""
    encoder, name = run.encoder(known_side(run, side)), run.names[side]
    if items.kind != "vector" and (encoder is None or encoder.takes != items.kind):
        takes = "vectors" if encoder is None else encoder.takes
        raise BadRecipe(f"the {name} side of {run.folder} takes {takes}, the new items are {items.kind}")
    if items.kind == "vector":
        width = run.head(side).dim_in
        if len(items) and np.shape(items.values)[-1] != width:
            raise BadData(f"vectors of {np.shape(items.values)[-1]} numbers; the {name} side takes {width}")
    check_text(items, side)
    rows = run.places(side).rows(items.ids.tolist())
    if (rows >= 0).any() and not replace:
        raise BadData(
            f"{np.count_nonzero(rows >= 0)} of {len(items)} ids are on the {name} side of {run.folder} already, such "
            f"as '{items.ids[np.argmax(rows >= 0)]}'; replace them (--replace, replace=True), or leave them out"
        )
    known = run.index(side).table.columns
    unknown = [name for name in items.meta if name not in known and name != "text"]
    if unknown and len(run.index(side).table):
        raise BadData(f"the {name} side of {run.folder} has no column '{unknown[0]}'; {nearest(unknown[0], known)}")


def filled(run: Run, side: str, items: Items) -> Items:
    """The items with what the run's data set computes itself, such as durations, of the columns that the side has."""
    made = run.recipe.part("data").filled(side, items)
    table = run.index(side).table
    meta = {name: column for name, column in made.meta.items()
            if name in items.meta or name in table.columns or not len(table)}  # fmt: skip
    return Items(made.ids, made.values, made.kind, meta, made.source)


def columns_of(run: Run, side: str, id: str, kind: str, value: Any, columns: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of one item that is to be added, with those that :func:`filled` gives it, as JSON holds them."""
    meta = {name: as_column([one], name) for name, one in columns.items()}
    made = filled(run, side, Items(np.array([id]), [value], kind, meta))
    added = {
        name: json_value(value_of(column[0])) for name, column in made.meta.items() if column is not meta.get(name)
    }
    return {**columns, **{name: one for name, one in added.items() if one is not None}}


def _changes(run: Run, side: str, items: Items, rows: np.ndarray) -> list[Change]:
    """The changes that add these rows of the items."""
    some = {name: np.asarray(column)[rows] for name, column in items.meta.items()}
    items = filled(run, side, Items(items.ids[rows], [items.values[int(row)] for row in rows], items.kind, some))
    values = items.values
    vectors = _encoded(run, side, items, values)
    digest, made = run.encoder_digest(side), []
    for row, (value, vector) in enumerate(zip(values, vectors, strict=True)):
        columns = {name: json_value(value_of(column[row])) for name, column in items.meta.items()}
        if items.kind == "text":
            columns.setdefault("text", str(value))
        kind, content = _media(items.kind, value)
        present = {name: one for name, one in columns.items() if one is not None}
        made.append(Change(str(items.ids[row]), np.asarray(vector, np.float32), present, digest, kind, content))
    return made


def _encoded(run: Run, side: str, items: Items, values: Sequence[Any]) -> Any:
    """Vectors (d,), or frames (t, d), of some values, as the side's encoder gives them."""
    if items.kind == "vector":
        return values
    encoder = run.encoder(side)
    try:
        found = encoder.encode([str(v) if isinstance(v, np.str_) else v for v in values])
    except BadData as error:
        raise modalities.find(items.kind).bad_items(error, values) from error
    if len(found) != len(values):
        raise BadData(f"the {side} encoder gave {len(found)} vectors for {len(values)} items")
    return found


def _media(kind: str, value: Any) -> tuple[str, bytes]:
    """Media type and bytes that an added item is shown by; empty where there are none, or too many."""
    modality, value = modalities.found().get(kind), shown_part(value)
    if modality is None or not modality.is_file:
        return "", b""
    if value is None:
        return "", b""
    if isinstance(value, (str, os.PathLike)):
        path = Path(value).expanduser()
        media_type = modality.media_types.get(path.suffix.lower(), "")
        if not media_type or path.stat().st_size > _MEDIA_BYTES:
            return "", b""
        return media_type, path.read_bytes()
    content = modality.pack(value)
    return ("", b"") if content is None or len(content) > _MEDIA_BYTES else (modality.packed_as, content)

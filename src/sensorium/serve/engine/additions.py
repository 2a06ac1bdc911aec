"""Items to add as live changes: encoded, checked, and made durable in the thread of their side's index."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sensorium import modalities
from sensorium.search import adding, joined
from sensorium.search.journal import Change
from sensorium.serve.engine import inputs
from sensorium.serve.engine.workers import Workers
from sensorium.serve.problems import Problem
from sensorium.serve.settings import Settings
from sensorium.types import Pictured

if TYPE_CHECKING:
    from sensorium.serve.context import Context

_MEDIA_BYTES = 4 << 20  # largest uploaded file that is stored to be shown
_COLUMNS = 200  # of one added item


async def change_of(new: Any, workers: Workers, context: Context) -> Change:
    """A new item with its encoder's vector and its media. Raises problems for what cannot be added."""
    if new.side not in workers.sides:
        raise Problem(400, f"run '{workers.name}' has no {new.side} side; both sides are one table: left")
    run, side, columns = workers.run, new.side, dict(new.columns)
    both = joined.together(run, new.inputs("vector"), side)
    name, value = next(iter(both.items())) if len(both) == 1 else new.single("vector")
    media_type, content = "", b""
    if name == "vector":
        vector = inputs.as_vector(value, context.settings)
        inputs.check_vector(vector, run, side)
    elif not modalities.find(name).is_file:
        inputs.check_text(value, context.settings)
        columns.setdefault(name, value)
        vector = await inputs.encode(name, value, side, workers, context)
    else:
        item = Pictured.of(value)
        if item.text is not None:
            inputs.check_text(item.text, context.settings)
        content = await inputs.content_of(name, item.image)
        inputs.check_takes(name, side, workers)
        decoded = await inputs.decode(name, content, context)
        media_type = decoded.media_type
        whole = decoded.value if item.text is None else Pictured(decoded.value, item.text)
        vector = await workers.encode(side, joined.value_of(run.encoder(side), name, whole))
        columns = await asyncio.to_thread(adding.columns_of, run, side, new.id, name, decoded.value, columns)
        if len(content) > _MEDIA_BYTES:
            media_type, content = "", b""
    check_columns(columns, context.settings)
    if not np.isfinite(vector).all() or not vector.any():
        raise Problem(422, f"the {workers.run.names[side]} encoder makes no usable vector of this {name}")
    return Change(new.id, vector, columns, workers.digests[side], media_type, content)


def check_columns(columns: Mapping[str, Any], settings: Settings) -> None:
    """Raise a 413 problem for more or longer values than a journal takes."""
    if len(columns) > _COLUMNS:
        raise Problem(413, f"{len(columns)} columns; at most {_COLUMNS}")
    most = max(settings.max_column, settings.max_text)
    for name, value in columns.items():
        limit = most if name == "text" else settings.max_column
        if isinstance(value, str) and len(value) > limit:
            raise Problem(413, f"column '{name[:60]}' of {len(value)} characters; at most {limit}")


def catch_up(workers: Workers, side: str) -> None:
    """Apply what other processes changed. In the thread of the side's index, as all below."""
    run = workers.run
    run.index(side)
    run.apply(side, run.journals[side].read())


def check(workers: Workers, side: str, change: Change, replace: bool, more: Collection[str] = ()) -> bool:
    """Raise a problem for a change that does not fit what is there; returns whether its id is there.

    more: ids that are being added with it.
    """
    run = workers.run
    if workers.several:
        workers.follow(side)
    there = change.id in run.places(side) or change.id in more
    if change.vector is None and not there:
        raise Problem(404, f"no item '{change.id}' on the {workers.run.names[side]} side of run '{workers.name}'")
    if there and not replace:
        called = workers.run.names[side]
        raise Problem(409, f"the {called} side of run '{workers.name}' has an item '{change.id}'; send replace: true")
    table = run.index(side).table
    unknown = [name for name in change.columns if name not in table.columns and name != "text"]
    if unknown and len(table):
        raise Problem(422, f"columns: no column '{unknown[0]}'; this side has {', '.join(table.columns) or 'none'}")
    return there


def put(workers: Workers, side: str, changes: Sequence[Change], settings: Settings) -> int:
    """Make checked changes durable and apply them, all or none; returns how many items the side has then."""
    workers.run.commit_many(side, changes)
    workers.compact_if_large(side, settings.journal_bytes)
    return len(workers.run.index(side))

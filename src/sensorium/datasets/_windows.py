"""Long sounds as windows, each an item of its own, and captions related to the windows that they describe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sensorium.datasets import _captions_claims
from sensorium.errors import BadData, BadRecipe
from sensorium.modalities.audio import excerpts
from sensorium.numerics.intervals import iou
from sensorium.table import as_column
from sensorium.table.columns import missing
from sensorium.types import Data, Excerpt, Items, as_ids

#: Columns of a window: the id of its recording, and where it begins and ends in it, in seconds.
RECORDING, BEGIN, END = "recording", "begin", "end"
SHORTEST, LONGEST = 0.05, 3600.0  # seconds
OVERLAP = 0.5  # IoU with a moment from which on a window shows it
_LATE = 0.1  # seconds that a moment may end after its recording: headers and tables round


def check(window: float | None, hop: float | None) -> None:
    """Raise BadRecipe for lengths that no windows have."""
    if hop is not None and window is None:
        raise BadRecipe(f"data.hop={hop} needs the length of the windows; type: data.window=10")
    for name, value, most in (("window", window, LONGEST), ("hop", hop, window)):
        if value is not None and not SHORTEST <= value <= (LONGEST if most is None else most):
            limit = f"{most:g}" if name == "window" else f"data.window ({most:g})"
            raise BadRecipe(f"data.{name}={value}; expected seconds, {SHORTEST:g} to {limit}")


def of(data: Data, window: float | None, hop: float | None = None) -> Data:
    """The data with windows in place of sounds: items ``ID@BEGIN-END`` with columns recording, begin and end.

    window, hop: seconds, see :func:`sensorium.modalities.audio.excerpts.grid`; hop is half a window where it is None.
    Without window the data are returned as they are. Splits and groups stay those of the recordings.

    A caption with columns ``begin`` and ``end`` (or whose recording has them) describes that moment: it is related to
    the windows of an IoU of 0.5 or more with it, and where none has so much, to those of the highest IoU. Any other
    caption is of its whole recording, and related to all windows of it: which of them show it is not known.

    Raises BadData for items that are no files of sound, and for moments that do not lie in their recording.
    """
    check(window, hop)
    if window is None:
        return data
    if data.left.kind != "audio" or not all(isinstance(value, (str, Path)) for value in data.left.values):
        raise BadData(f"data.window={window:g} needs files of sound, but the items are {data.left.kind}; leave it out, "
                      "or name the files")  # fmt: skip
    cut = windows(data.left, window, window / 2 if hop is None else hop)
    of_recording = [np.flatnonzero(cut.origin == at) for at in range(len(data.left))]
    moments = moments_of(data)
    pairs = data.pairs
    rows: list[np.ndarray] = []
    for recording, caption in zip(pairs.left.tolist(), pairs.right.tolist(), strict=True):
        own, moment = of_recording[recording], moments[caption]
        rows.append(own if np.isnan(moment).any() else own[shown(cut.spans[own], moment)])
    index = np.repeat(np.arange(len(rows)), [len(own) for own in rows])
    columns = {name: getattr(pairs, name)[index] for name in ("right", "label", "group", "split")}
    related = replace(pairs, left=np.concatenate(rows) if rows else index, **columns)
    timed = int((~np.isnan(moments).any(axis=1)).sum())
    notes = {**data.notes, "windows": len(cut.items), **({"moments": timed} if timed else {})}
    meta = dict(data.right.meta)
    if timed:
        meta |= {BEGIN: moments[:, 0], END: moments[:, 1]}
    return Data(cut.items, replace(data.right, meta=meta), related, notes)


class Cut(NamedTuple):
    """Windows as items, the row of each one's recording (w,), and where it lies in it, (w, 2) seconds."""

    items: Items
    origin: np.ndarray
    spans: np.ndarray


def windows(sounds: Items, window: float, hop: float) -> Cut:
    """The windows of sound files, recording by recording in the order of time."""
    paths = [str(Path(value).expanduser()) for value in sounds.values]
    known = sounds.meta.get("duration")
    lengths = _captions_claims.durations(paths) if known is None else np.asarray(known, np.float64)
    each = [excerpts.grid(length, window, hop) for length in lengths.tolist()]
    origin = np.repeat(np.arange(len(paths)), [len(one) for one in each])
    spans = np.array([span for one in each for span in one], np.float64).reshape(-1, 2)
    ids = sounds.ids[origin].tolist()
    names = [f"{id}@{begin:.10g}-{end:.10g}" for id, (begin, end) in zip(ids, spans.tolist(), strict=True)]
    values = [
        Excerpt(paths[row], begin, end) for row, (begin, end) in zip(origin.tolist(), spans.tolist(), strict=True)
    ]
    meta = {RECORDING: as_column(ids, RECORDING), BEGIN: spans[:, 0], END: spans[:, 1]}
    meta |= {name: np.asarray(column)[origin] for name, column in sounds.meta.items() if name not in meta}
    searchable = None if sounds.searchable is None else sounds.searchable[origin]
    items = Items(as_ids(names), values, sounds.kind, meta, searchable=searchable, name=sounds.name)
    return Cut(items, origin, spans)


def whole(ids: np.ndarray, meta: Mapping[str, Any], window: float | None) -> dict[str, Any]:
    """Columns of sounds that are added to windows as they are: each is one window, from its begin to its end."""
    if window is None or "duration" not in meta:
        return dict(meta)
    own = {RECORDING: as_column(ids.tolist(), RECORDING), BEGIN: np.zeros(len(ids)),
           END: np.asarray(meta["duration"], np.float64)}  # fmt: skip
    return {**own, **meta}


def shown(spans: np.ndarray, moment: np.ndarray) -> np.ndarray:
    """Mask (w,) of the windows (w, 2) that show a moment (2,): see :func:`of`."""
    overlap = iou(spans, moment[None])[:, 0]
    return overlap >= min(OVERLAP, float(overlap.max()) - 1e-9)


def moments_of(data: Data) -> np.ndarray:
    """Begin and end of each caption's moment (m, 2) in seconds, NaN where it is of the whole recording."""
    found = np.full((len(data.right), 2), np.nan)
    for place, name in enumerate((BEGIN, END)):
        if name in data.right.meta:
            found[:, place] = _numbers(data.right.meta[name], name, "captions")
        elif name in data.left.meta:
            of_sounds = _numbers(data.left.meta[name], name, "sounds")
            found[data.pairs.right, place] = of_sounds[data.pairs.left]
    _check_moments(found, data)
    return found


def _check_moments(moments: np.ndarray, data: Data) -> None:
    known: Mapping[str, Any] = data.left.meta
    length = np.full(len(moments), np.inf)
    if "duration" in known:
        length[data.pairs.right] = np.asarray(known["duration"], np.float64)[data.pairs.left]
    begin, end = moments.T
    half = np.isnan(begin) != np.isnan(end)
    with np.errstate(invalid="ignore"):
        wrong = half | (begin < 0) | (end <= begin) | (end > length + _LATE)
    if wrong.any():
        at = int(np.argmax(wrong))
        beyond = f" of {length[at]:g} s" if np.isfinite(length[at]) else ""
        raise BadData(
            f"{int(wrong.sum())} of {len(moments)} captions have no moment of their recording{beyond}, such as "
            f"'{data.right.ids[at]}' from {begin[at]:g} to {end[at]:g} s; expected 0 ≤ begin < end within the "
            "recording, or both empty"
        )


def _numbers(column: np.ndarray, name: str, what: str) -> np.ndarray:
    """A column as float64, NaN where it is missing. Raises BadData for what is no number."""
    gone = missing(column)
    values = [np.nan if lost else value for value, lost in zip(np.asarray(column).tolist(), gone.tolist(), strict=True)]
    try:
        return np.array([float(value) for value in values], np.float64)
    except (TypeError, ValueError):
        bad = next(value for value in values if not _is_number(value))
        raise BadData(f"the column '{name}' of the {what} holds {bad!r}; expected seconds, or nothing") from None


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True

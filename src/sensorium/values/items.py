"""Items of a read argument: of the kind that a side's encoder takes, with ids and metadata."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sensorium import modalities
from sensorium.errors import BadData, BadRecipe
from sensorium.table import as_column
from sensorium.types import Items, as_ids, check_unique
from sensorium.values.frames import column_of, frame_of
from sensorium.values.reading import Read

CLASSES = "onehot"  # the encoder of class names
_REMOTE = ("http://", "https://", "ftp://", "s3://", "gs://", "hf://")


def items_of(
    read: Read,
    takes: Sequence[str],
    *,
    side: str = "left",
    ids: Any = None,
    metadata: Any = None,
    classes: bool = False,
) -> tuple[Items, np.ndarray]:
    """The items of an argument, and the item (n,) that each of its rows is.

    takes: the kinds that the side's encoder may take; none without an encoder, for vectors. ids, metadata: given beside
    the argument; one value a row. classes: the values are class labels, of which the items are the table. Without
    ids of their own, equal texts and equal paths are one item.

    Raises BadRecipe when an encoder is missing or needless, BadData for values, ids or metadata that cannot be used.
    """
    kind = "text" if classes else _kind(read, takes)
    values = _values(read, kind, side, classes)
    names = _ids(read, ids)
    meta = {name: as_column(column, name) for name, column in read.meta.items()}
    meta |= metadata_of(metadata, len(read), f"the metadata of {read.what}")
    rows = np.arange(len(read))
    if classes:
        if names is not None or meta:
            raise BadRecipe(f"{read.what} holds class labels, which have no ids or metadata of their own; give texts "
                            "and an encoder of text, or leave the ids and metadata out")  # fmt: skip
        known, rows = np.unique(np.array(values, np.str_), return_inverse=True)
        return Items(as_ids(known), known.tolist(), "text", name=read.name), rows
    if names is None and not meta and isinstance(values, list) and isinstance(values[0], (str, Path)):
        first: dict[Any, int] = {}
        rows = np.array([first.setdefault(value, len(first)) for value in values], np.int64)
        values = list(first)
    if names is None:
        names = as_ids(np.arange(len(values)))
    if kind is None:
        from sensorium.heads import check_finite  # imports torch, which reading a recipe does without

        check_finite(values, names, f"vectors of {read.what}")
    elif modalities.find(kind).is_file:
        check_files(values, read.what)
    values = [str(one) if isinstance(one, Path) else one for one in values] if isinstance(values, list) else values
    source = {"name": "vectors", "key": side} if kind is None else {}
    return Items(names, values, kind or "vector", meta, source, name=read.name), rows


def _kind(read: Read, takes: Sequence[str]) -> str | None:
    """Which of the kinds that an encoder takes the values are; None for vectors."""
    if len(takes) < 2:
        return takes[0] if takes else None
    files = [kind for kind in takes if modalities.find(kind).is_file]
    if read.form == "texts":
        endings = {ending for kind in files for ending in modalities.find(kind).media_types}
        if not all(Path(one).suffix.lower() in endings and Path(one).expanduser().is_file() for one in read.values):
            return next((kind for kind in takes if kind not in files), files[0])
    return files[0] if files else takes[0]


def _values(read: Read, takes: str | None, side: str, classes: bool) -> Any:
    """The values as the encoder takes them. Raises BadRecipe where values and encoder do not fit."""
    if classes:
        if read.form not in ("labels", "texts"):
            raise BadRecipe(f"{read.what} holds {read.form}; expected class labels, one whole number or text a row")
        return [str(one) for one in (read.values.tolist() if read.form == "labels" else read.values)]
    if takes is None:
        if read.form == "vectors":
            return read.values
        if read.form == "labels":
            raise BadData(f"{read.what} has one whole number a row: class labels, which only Y can be; expected (n, d)")
        if read.form == "arrays" and all(np.ndim(one) == 1 for one in read.values):
            widths = Counter(map(len, read.values))
            rows = {width: next(r for r, one in enumerate(read.values) if len(one) == width) for width in widths}
            listed = " and ".join(f"{n} of {width} numbers (row {rows[width]})" for width, n in widths.most_common(2))
            raise BadData(f"{read.what} holds rows of different widths: {listed}; expected vectors of one width, or "
                          f"sounds with {side}={{'encoder': …}}")  # fmt: skip
        such = {"texts": "minilm", "paths": "hog", "arrays": "hog"}[read.form]
        kind = "pictures or sounds" if read.form == "arrays" else read.form
        raise BadRecipe(f"{read.what} holds {kind}; name what encodes them: {side}={{'encoder': '{such}'}} "
                        "(all of them: sensorium ls encoders)")  # fmt: skip
    if read.form in ("vectors", "labels") and not (read.form == "vectors" and takes == "audio"):
        raise BadRecipe(f"{read.what} holds {read.form}, but {side}.encoder takes {takes}; leave the encoder out")
    if takes == "text":
        if read.form != "texts":
            raise BadData(f"{read.what} holds {read.form}, but {side}.encoder takes text; expected a list of texts")
        return read.values
    if not modalities.find(takes).is_file:
        raise BadRecipe(f"{side}.encoder takes {takes}, which {read.what} cannot hold")
    return [Path(one) for one in read.values] if read.form == "texts" else list(read.values)


def _ids(read: Read, ids: Any) -> np.ndarray | None:
    found = read.ids if ids is None else ids
    if found is None:
        return None
    found = column_of(found, "ids")
    if isinstance(found, (str, bytes)) or not isinstance(found, (list, np.ndarray)):
        raise BadData(f"ids of {read.what} are {type(found).__name__}; expected one id a row, or the name of a column")
    try:
        names = as_ids(found)
    except BadData as error:
        raise BadData(f"ids of {read.what}: {error}") from None
    if len(names) != len(read):
        raise BadData(f"{len(names)} ids for {len(read)} rows of {read.what}; expected one a row")
    check_unique(names, f"ids of {read.what}")
    return names


def metadata_of(metadata: Any, n: int, what: str) -> dict[str, np.ndarray]:
    """A table or mapping of columns as metadata of n items. Raises BadData."""
    if metadata is None:
        return {}
    frame = frame_of(metadata, what)
    if frame is None:
        raise BadData(f"{what}: {type(metadata).__name__}; expected a table or a mapping of columns, {{'year': […]}}")
    made = {name: as_column(column_of(column, name), name) for name, column in frame.columns.items()}
    for name, column in made.items():
        if len(column) != n:
            raise BadData(f"{what}: {len(column)} values in '{name}' for {n} rows; expected one a row")
    return made


def check_files(values: Sequence[Any] | Mapping[str, Any], what: str) -> None:
    """Raise BadData, with a count, for paths that are remote or no files; arrays are no paths."""
    paths = [(row, str(one)) for row, one in enumerate(values) if isinstance(one, (str, os.PathLike))]
    # Path("http://x") is "http:/x".
    remote = [(row, path) for row, path in paths if re.sub(":/+", "://", path, count=1).startswith(_REMOTE)]
    if remote:
        row, path = remote[0]
        raise BadData(
            f"{len(remote)} of {len(values)} paths of {what} are addresses, such as {path!r} in row {row}; nothing is "
            "downloaded here: save the files first, and give their paths"
        )
    lost = [(row, path) for row, path in paths if not Path(path).expanduser().is_file()]
    if lost:
        row, path = lost[0]
        raise BadData(
            f"{len(lost)} of {len(values)} files of {what} are not there, such as {path!r} in row {row}; correct the "
            "paths, or give whole ones"
        )

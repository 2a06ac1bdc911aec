"""What one argument holds: vectors, class labels, texts, paths, pictures or sounds; its ids and metadata, if any."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Sized
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from sensorium.errors import BadData, BadRecipe, nearest
from sensorium.types import is_missing
from sensorium.values.frames import Frame, column_of, frame_of, is_picture, is_tensor, name_of

Form = Literal["vectors", "labels", "texts", "paths", "arrays"]
_IDS = ("id", "ids")  # columns of a table that are ids without being named


@dataclass(frozen=True)
class Read:
    """An argument, read. what: its name in messages.

    values: (n, d) float32 for "vectors", (n,) integers or booleans for "labels", else a list of n texts, paths or
    arrays. ids (n,): of a table that has them. meta: further columns of a table. name: of the column, or "".
    """

    what: str
    form: Form
    values: Any
    ids: Any = None
    meta: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""

    def __len__(self) -> int:
        return len(self.values)


def read(value: Any, what: str = "X", ids: str | None = None) -> Read:
    """Read an argument: an array, a list, a column or a table of any library.

    ids: the name of a table's column of ids; without it "id" or "ids" is taken where there is one. Of a table whose
    other columns are all numbers each row is a vector; otherwise it needs one column of vectors, texts, paths or
    pictures, and its other columns become metadata.

    Raises BadData for what cannot be items: another type, missing values, rows of different widths, mixed types;
    BadRecipe for a column of ids that is not there.
    """
    if isinstance(value, Read):
        return value
    frame = frame_of(value, what)
    if frame is not None:
        return _of_frame(frame, what, ids)
    if ids is not None:
        raise BadRecipe(f"ids='{ids}' names a column, but {what} is no table; give the ids themselves: ids=[…]")
    form, values = _form(_checked(value, what), what)
    return Read(what, form, values, name=name_of(value))


def _checked(value: Any, what: str) -> Any:
    """An argument as an array or list. Raises BadData for what is no sequence of items."""
    examples = "an array (n, d), or a list of texts, paths or pictures"
    if value is None:
        raise BadData(f"{what} is None; expected {examples}")
    if isinstance(value, (str, bytes, os.PathLike)) or is_picture(value):
        kind = {str: "one text", bytes: "bytes"}.get(type(value), "one item")
        raise BadData(f"{what} is {kind}; expected a list of them: {what}=[…]")
    if isinstance(value, (set, frozenset)):
        raise BadData(f"{what} is a set, which has no order; expected {examples}: sorted({what})")
    values = column_of(value, what)
    if not isinstance(values, (list, np.ndarray)):
        if isinstance(values, Sequence) and not isinstance(values, (bytearray, memoryview)):
            values = list(values)
        elif isinstance(values, Iterable) and not isinstance(values, Sized):
            raise BadData(f"{what} is {type(value).__name__}, which can be read once only; give list({what})")
        else:
            raise BadData(f"{what} is {type(value).__name__}; expected {examples}")
    if isinstance(values, np.ndarray) and values.ndim == 0:
        raise BadData(f"{what} is one number; expected {examples}")
    if not len(values):
        raise BadData(f"{what} is empty; expected {examples}")
    return values


def _form(values: Any, what: str) -> tuple[Form, Any]:
    if isinstance(values, np.ndarray):
        return _of_array(values, what)
    gone = [row for row, one in enumerate(values) if is_missing(one)]
    if gone:
        raise BadData(
            f"{len(gone)} of {len(values)} values of {what} are missing (None or NaN), such as in row {gone[0]}; "
            "fill or drop these rows on both sides"
        )
    kinds = Counter(_kind(one) for one in values)
    if len(kinds) > 1 and set(kinds) != {"text", "path"}:
        first = {kind: next(row for row, one in enumerate(values) if _kind(one) == kind) for kind in kinds}
        listed = " and ".join(f"{n} of {kind} (row {first[kind]})" for kind, n in kinds.most_common())
        raise BadData(f"{what} mixes kinds: {listed}; expected one kind of item")
    kind = next(iter(kinds))
    if kind == "text" and len(kinds) == 1:
        texts = [str(one) for one in values]
        blank = [row for row, text in enumerate(texts) if not text.strip()]
        if blank:
            raise BadData(f"{len(blank)} of {len(texts)} texts of {what} are empty, such as in row {blank[0]}; "
                          "fill or drop these rows on both sides")  # fmt: skip
        return "texts", texts
    if kind in ("path", "text"):
        return "paths", [Path(one) for one in values]
    if kind == "number":
        return _of_array(np.asarray(values), what)
    if kind == "picture":
        from sensorium.modalities.image import files

        return "arrays", [files.read(one) for one in values]
    if kind == "array":
        return _of_arrays([np.asarray(column_of(one, what)) for one in values], what)
    if kind == "sound":
        return "arrays", list(values)
    raise BadData(f"{what} holds {kind}, such as in row 0; expected numbers, texts, paths, pictures or arrays")


def _kind(value: Any) -> str:
    if isinstance(value, str):
        return "text"
    if isinstance(value, os.PathLike):
        return "path"
    if isinstance(value, (bool, int, float, np.bool_, np.number)):
        return "number"
    if is_picture(value):
        return "picture"
    if (
        isinstance(value, tuple)
        and len(value) == 2
        and isinstance(value[0], np.ndarray)
        and _kind(value[1]) == "number"
    ):
        return "sound"  # samples and their rate
    if isinstance(value, (np.ndarray, list, tuple)) or is_tensor(value):
        return "array"
    return type(value).__name__


def _of_array(array: np.ndarray, what: str) -> tuple[Form, Any]:
    """What an array of numbers holds, by its shape and type."""
    shape, kind = array.shape, array.dtype.kind
    if kind in "OUST":
        return _form(array.tolist(), what) if array.ndim == 1 else _of_array(_numeric(array.tolist(), what), what)
    if kind not in "iufb":
        raise BadData(f"{what} holds {array.dtype}; expected numbers, texts, paths or pictures")
    if array.ndim == 1 and kind in "iub":
        return "labels", array
    if array.ndim == 1:
        raise BadData(f"{what} has shape {shape}, one number a row; expected vectors (n, d): "
                      f"{what}.reshape(-1, 1) where one number is a vector")  # fmt: skip
    if array.ndim == 2 and shape[1]:
        return "vectors", array.astype(np.float32, copy=False)
    if array.ndim in (3, 4) and array.dtype == np.uint8 and 0 not in shape:
        return "arrays", list(array)
    if array.ndim == 3 and 0 not in shape:
        raise BadData(f"{what} has shape {shape}; expected (n, d): where a row has {shape[1]} vectors, give "
                      f"{what}.reshape(-1, {shape[2]}) and the pairs of rows, pairs=(i, j)")  # fmt: skip
    raise BadData(f"{what} has shape {shape}; expected vectors (n, d), or pictures (n, h, w, 3) uint8")


def _of_arrays(arrays: list[np.ndarray], what: str) -> tuple[Form, Any]:
    """A list of arrays: vectors of one width, pictures, or sounds of unequal lengths."""
    if any(one.dtype.kind not in "iufb" for one in arrays):
        row = next(row for row, one in enumerate(arrays) if one.dtype.kind not in "iufb")
        raise BadData(f"{what}, row {row}: a list of {arrays[row].dtype}; expected numbers, one vector a row")
    if all(one.dtype == np.uint8 and one.ndim in (2, 3) for one in arrays):
        return "arrays", arrays
    shapes = Counter(one.shape for one in arrays)
    if len(shapes) == 1 and arrays[0].ndim in (1, 2, 3):
        return _of_array(np.stack(arrays), what)
    if all(one.ndim == 1 for one in arrays):
        return "arrays", arrays  # sounds; or rows of different widths, see values.items
    raise BadData(f"{what} holds arrays of different shapes ({', '.join(map(str, list(shapes)[:3]))}); expected one "
                  "vector a row, all of one width")  # fmt: skip


def _numeric(rows: list[Any], what: str) -> np.ndarray:
    try:
        return np.array(rows, np.float32)
    except (TypeError, ValueError) as error:
        raise BadData(f"{what} is no matrix of numbers ({error}); expected (n, d)") from None


def _of_frame(frame: Frame, what: str, ids: str | None) -> Read:
    """A table: its ids, its one column of items, and the others as metadata."""
    columns = dict(frame.columns)
    if ids is not None and ids not in columns:
        raise BadRecipe(f"{what} has no column '{ids}' for its ids; {nearest(ids, columns)}")
    name = ids or next((one for one in _IDS if one in columns), None)
    labels = column_of(columns.pop(name), f"{what}['{name}']") if name else frame.index
    found = {one: column_of(column, f"{what}['{one}']") for one, column in columns.items()}
    if not found:
        raise BadData(f"{what} has no column beside its ids; expected one of vectors, texts, paths or pictures")
    if all(_is_numbers(column) for column in found.values()):
        if len(found) == 1:
            form, values = _form(_checked(next(iter(found.values())), what), what)
            return Read(what, form, values, labels, name=next(iter(found)))
        return Read(what, "vectors", np.stack([np.asarray(c, np.float32) for c in found.values()], 1), labels)
    for test in (_is_vectors, _is_items, _is_text):
        named = [one for one, column in found.items() if test(column)]
        if len(named) > 1:
            raise BadData(
                f"{what} has several columns that could be the items: {', '.join(named)}; keep one of them and the "
                f"ids, such as {what}[['{name or 'id'}', '{named[0]}']]"
            )
        if named:
            form, values = _form(_checked(found.pop(named[0]), f"{what}['{named[0]}']"), f"{what}['{named[0]}']")
            return Read(what, form, values, labels, found, named[0])
    raise BadData(f"{what} has no column of vectors, texts, paths or pictures; it has {', '.join(found)}")


def _is_numbers(column: Any) -> bool:
    return isinstance(column, np.ndarray) and column.ndim == 1 and column.dtype.kind in "iufb"


def _is_vectors(column: Any) -> bool:
    if isinstance(column, np.ndarray):
        return column.ndim > 1
    there = (one for one in column if one is not None)
    first = next(there, None)
    return isinstance(first, np.ndarray) or (isinstance(first, (list, tuple)) and bool(first)
                                             and isinstance(first[0], (int, float, np.number)))  # fmt: skip


def _is_items(column: Any) -> bool:
    return isinstance(column, list) and any(is_picture(one) or isinstance(one, os.PathLike) for one in column)


def _is_text(column: Any) -> bool:
    return isinstance(column, list) and any(isinstance(one, str) for one in column)

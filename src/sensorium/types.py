"""Data types: Items (raw), Embeddings (vectors of an encoder), Hits (search results), affine maps.

Letters in shapes always mean the same: n m items, p pairs, b batch, d width, t frames,
q queries, k neighbours, c classes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from sensorium.errors import BadData


@runtime_checkable
class Rows(Protocol):
    """A (n, d) matrix read by rows: a NumPy array, a memory map or a sharded store.

    Indexing with a slice or an int64 array returns a fresh or viewed ``np.ndarray``.
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, d)."""
        ...

    @property
    def dtype(self) -> np.dtype:
        """Type of one number."""
        ...

    def __len__(self) -> int: ...
    def __getitem__(self, rows: Any) -> np.ndarray: ...


class RawRows:
    """Base of tables whose rows are raw items, not vectors: a fit that runs an encoder reads them anew in each step.

    ``rows[which]`` is what a head behind that encoder's network takes. shape, dtype: those of the vectors. stored: the
    vectors (n, d) that the encoder gave before the fit.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    stored: Rows


SIDES = ("left", "right")
LONGEST_ID = 1000  # characters


def blocks(n: int, size: int) -> Iterator[slice]:
    """Slices of at most ``size`` rows that cover ``range(n)`` in order."""
    for start in range(0, n, size):
        yield slice(start, min(start + size, n))


def rows_within(width: int, most: int, size: int = 32 << 20) -> int:
    """How many rows of ``width`` float32 numbers a block has: at most ``most``, and at most ``size`` bytes.

    >>> rows_within(768, 8192), rows_within(4096, 8192)
    (8192, 2048)
    """
    return min(most, max(64, size // (4 * max(width, 1))))


def is_missing(value: Any) -> bool:
    """Whether a value stands for "not there": None, NaN, NaT or pandas' NA."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    if isinstance(value, (float, np.floating)):
        return bool(value != value)
    return isinstance(value, (np.datetime64, np.timedelta64)) and bool(np.isnat(value))


def as_ids(ids: Sequence[Any] | np.ndarray) -> np.ndarray:
    """Ids as a (n,) unicode array; integers become their decimal text, so 7 and "7" are one id.

    Raises BadData, with the count, for ids that are missing (None, NaN, NaT or empty text), floats, not
    valid text, or longer than LONGEST_ID.
    """
    if isinstance(ids, np.ma.MaskedArray):
        ids = ids.tolist()  # masked ones as None
    if not isinstance(ids, np.ndarray):
        values = list(ids) if isinstance(ids, (list, tuple, set, frozenset)) else np.asarray(ids)
        if isinstance(values, list) and not all(isinstance(v, (int, np.integer)) for v in values):
            array = np.empty(len(values), object)  # NumPy would make "nan" of NaN beside text
            array[:] = values
        else:
            array = np.asarray(values)
    else:
        array = ids
    if array.ndim != 1:
        raise BadData(f"ids must be one-dimensional, got shape {array.shape}")
    if not array.size:
        return np.zeros(0, np.str_)
    if array.dtype.kind in "iub":
        return array.astype(np.str_)
    if array.dtype.kind != "U":
        array = _text_ids(array)
    absent = int(np.count_nonzero(array == ""))
    if absent:
        raise _missing_ids(absent, len(array))
    if array.dtype.itemsize > 4 * LONGEST_ID and (longest := int(np.char.str_len(array).max())) > LONGEST_ID:
        raise BadData(f"an id has {longest:,} characters, at most {LONGEST_ID:,} are taken; use a shorter key as id")
    try:
        for part in blocks(len(array), 1 << 16):
            "".join(array[part].tolist()).encode("utf-8")
    except UnicodeEncodeError:
        bad = [i for i, id in enumerate(array.tolist()) if any("\ud800" <= c <= "\udfff" for c in id)]
        raise BadData(f"{len(bad)} ids are not valid Unicode (lone surrogates), the first in row {bad[0]}") from None
    return array


def _text_ids(array: np.ndarray) -> np.ndarray:
    """Ids that are neither integers nor fixed-width text as fixed-width text; see :func:`as_ids`."""
    values = list(array) if array.dtype.kind in "Mm" else array.tolist()
    absent = sum(is_missing(v) or v == "" for v in values)
    if absent:
        raise _missing_ids(absent, len(values))
    if any(isinstance(v, (float, np.floating)) for v in values):
        raise BadData("ids are floating-point numbers; convert them to integers or text first")
    try:
        texts = [v.decode("utf-8") if isinstance(v, bytes) else str(v) for v in values]
    except UnicodeDecodeError as error:
        raise BadData(f"ids are bytes that are not UTF-8 ({error}); decode them first") from None
    if max(map(len, texts)) > LONGEST_ID:  # before an array of that width is made
        longest = max(map(len, texts))
        raise BadData(f"an id has {longest:,} characters, at most {LONGEST_ID:,} are taken; use a shorter key as id")
    if any("\0" in text for text in texts):
        raise BadData("an id holds a NUL character; correct it")
    return np.array(texts, np.str_)


def _missing_ids(absent: int, n: int) -> BadData:
    return BadData(
        f"{absent} of {n} ids are missing (null, NaN, NaT or empty); every item needs an id: fill or drop them"
    )


def check_unique(ids: np.ndarray, what: str) -> None:
    """Raise :class:`BadData` with the count and three examples when ids repeat."""
    unique, counts = np.unique(ids, return_counts=True)
    if len(unique) != len(ids):
        repeated = unique[counts > 1]
        raise BadData(
            f"{what}: {len(ids) - len(unique)} duplicate ids, such as "
            f"{', '.join(map(repr, repeated[:3].tolist()))}; every id must be unique"
        )


USUAL_TEXT = "auto"  #: data.text: the usual column of texts, where it is there and the encoder takes texts too


class Pictured(NamedTuple):
    """An item of two parts, a picture and a text, for an encoder that joins both; either may be missing: None.

    image: a path, or pixels. Such items are of kind "image".
    """

    image: Any
    text: str | None

    @classmethod
    def of(cls, value: Any) -> Pictured:
        """The value itself, or a picture without a text."""
        return value if isinstance(value, cls) else cls(value, None)


class Excerpt(NamedTuple):
    """A part of a recording: the path of its file, and where the part begins and ends in seconds.

    It is read when it is needed, and stands wherever a path of a sound can, as an item of its own.
    """

    path: str
    begin: float
    end: float


class VideoFrame(NamedTuple):
    """A picture of a video: the path of its file, and its time in seconds from the beginning.

    It is read when it is needed, and stands wherever a path of a picture of kind "face" can.
    """

    path: str
    second: float


class FoundFace(NamedTuple):
    """One face of a picture, found before: of kind "face", where each face of a picture is an item of its own.

    picture: a path, pixels or a :class:`VideoFrame`. landmarks: (478, 3) float32, of the whole picture.
    """

    picture: Any
    landmarks: np.ndarray


def shown_part(value: Any) -> Any:
    """What an item can be shown by: of a :class:`Pictured` its picture, else the item itself."""
    return value.image if isinstance(value, Pictured) else value


@dataclass(frozen=True)
class Items:
    """Raw things before any model.

    ids: (n,) unique text. values: n things of one ``kind``. meta: columns of n values each.
    kind: "text", "image", "audio", "face" or "vector" (already encoded: values is (n, d) Rows).
    source: for kind "vector", what made the vectors (becomes their fingerprint).
    searchable: (n,) bool, False for items that are there to train on only, such as augmented copies; None is all.
    name: what the data call them, such as "caption"; "" for "left" and "right".
    """

    ids: np.ndarray
    values: Any
    kind: str
    meta: Mapping[str, np.ndarray] = field(default_factory=dict)
    source: Mapping[str, Any] = field(default_factory=dict)
    searchable: np.ndarray | None = None
    name: str = ""

    def __post_init__(self) -> None:
        check_unique(self.ids, f"{self.kind} items")
        for name, column in [("values", self.values), *self.meta.items(), ("searchable", self.searchable)]:
            if column is not None and len(column) != len(self.ids):
                raise BadData(f"{name}: {len(column)} values for {len(self.ids)} ids")

    def __len__(self) -> int:
        return len(self.ids)


def side_names(left: Items, right: Items | None) -> dict[str, str]:
    """What people call each side: its name in the data, else the kinds where they differ, else left and right.

    >>> side_names(Items(np.array(["a"]), ["x"], "text"), None)
    {'left': 'text'}
    """
    if right is None:
        return {"left": left.name or ("left" if left.kind == "vector" else left.kind)}
    kinds = (left.kind, right.kind) if left.kind != right.kind and "vector" not in (left.kind, right.kind) else None
    first, second = (left.name or (kinds or SIDES)[0]), (right.name or (kinds or SIDES)[1])
    return dict(zip(SIDES, (first, second) if first != second else SIDES, strict=True))


def without_vectors(name: str) -> str:
    """The name of an array or column of vectors as people call what they stand for.

    >>> without_vectors("image_emb"), without_vectors("audio_embeddings"), without_vectors("emb")
    ('image', 'audio', 'emb')
    """
    return re.sub(r"[_\- ](emb|embs|embedding|embeddings|vec|vector|vectors|features?)$", "", name, flags=re.IGNORECASE)


def check_text(items: Items, side: str) -> None:
    """Raise BadData, with the count and ids, for text that UTF-8 cannot hold: lone surrogates, halves of a character.

    Looks at ids, texts and metadata. Such text cannot be stored, and would be found only after the fit.
    """
    columns = {"id": items.ids, **({"text": items.values} if items.kind == "text" else {}), **items.meta}
    for name, column in columns.items():
        rows = _not_utf8(column)
        if len(rows):
            some = ", ".join(ascii(str(id)) for id in items.ids[rows[:3]].tolist())
            called = items.name or side
            raise BadData(
                f"{len(rows)} of {len(items)} {called} items have a lone surrogate (half a character, which UTF-8 "
                f"cannot hold) in '{name}', such as id {some}; correct the text, for example with "
                "str.encode('utf-8', 'replace')"
            )


def _not_utf8(column: Any) -> np.ndarray:
    """Rows of a column whose text holds a lone surrogate."""
    if isinstance(column, np.ndarray) and column.dtype.kind == "U":
        codes = np.ascontiguousarray(column).view(np.uint32).reshape(len(column), -1)
        return np.flatnonzero(((codes >= 0xD800) & (codes < 0xE000)).any(axis=1))
    if isinstance(column, np.ndarray) and column.dtype.kind != "O":
        return np.zeros(0, np.int64)
    broken = []
    for row, value in enumerate(column):
        try:
            value.encode("utf-8") if isinstance(value, str) else None
        except UnicodeEncodeError:
            broken.append(row)
    return np.array(broken, np.int64)


@dataclass(frozen=True)
class Embeddings:
    """Vectors as the encoder gave them, with ids, metadata and the maker's fingerprint.

    vectors: (n, d) Rows; or, when ``offsets`` (n + 1,) is given, (t, d) frames of which item i
    owns ``vectors[offsets[i]:offsets[i + 1]]``. centers: by how much vectors were moved, of
    :mod:`sensorium.numerics.centers`; None where they are as the encoder gave them.
    """

    ids: np.ndarray
    vectors: Rows
    fingerprint: Mapping[str, Any]
    meta: Mapping[str, np.ndarray] = field(default_factory=dict)
    offsets: np.ndarray | None = None
    centers: Any = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def dim(self) -> int:
        """Width d of one vector."""
        return int(self.vectors.shape[1])


class _Hits(NamedTuple):
    rows: np.ndarray
    scores: np.ndarray


class Hits(_Hits):
    """The nearest of q queries: rows (q, k) int64 and scores (q, k) float32, best first, higher is nearer.

    rows count the rows of the index's ``table``. Where fewer than k match, the row is -1 and the score -inf.
    """

    table: Any = None  # of the index, where it gave one along

    @property
    def ids(self) -> np.ndarray:
        """Ids (q, k), read off the table; "" where there is no hit. Raises BadData for hits without a table."""
        if self.table is None:
            raise BadData("these hits carry no table; read the ids off the index: index.table.ids[hits.rows]")
        return np.where(self.rows >= 0, np.append(self.table.ids, "")[self.rows], "")


@dataclass(frozen=True)
class Affine:
    """z = x @ weight + bias: what every closed form solves for. weight (d_in, d_out), float64."""

    weight: np.ndarray
    bias: np.ndarray

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Map (n, d_in) to (n, d_out)."""
        return x @ self.weight + self.bias


@dataclass(frozen=True)
class Votes(Affine):
    """Shares of classes that points vote for: softmax(x @ weight + bias) @ classes. classes (points, c), float64."""

    classes: np.ndarray

    def shares(self, x: np.ndarray) -> np.ndarray:
        """Rows (n, d_in) to (n, c)."""
        logits = self(x)
        powers = np.exp(logits - logits.max(1, keepdims=True))
        return powers / powers.sum(1, keepdims=True) @ self.classes


class Solution(NamedTuple):
    """The solution of a closed form: a map for each side, None meaning identity; notes for the report."""

    left: Affine | None
    right: Affine | None
    notes: Mapping[str, Any]


class TableColumns(NamedTuple):
    """Which columns of a table hold more items of a data set, for ``sensorium add``.

    sides: by side, the column of its items. ids: the column of their ids. text: the column of the texts beside the
    left side's pictures. renamed: metadata column → the column of the table that it comes from.
    """

    sides: Mapping[str, Any]
    ids: str | None = None
    text: str | None = None
    renamed: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class Data:
    """What a dataset gives: items of both sides, their pairs, and what was dropped and why.

    right is None when both sides are the same table under one tied head.
    """

    left: Items
    right: Items | None
    pairs: Any  # sensorium.pairs.Pairs
    notes: Mapping[str, Any] = field(default_factory=dict)

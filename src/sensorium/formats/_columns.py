"""The named columns of a file, each loaded at first access."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from sensorium.errors import BadData, SensoriumError
from sensorium.formats import _text
from sensorium.types import is_missing

VECTORS, IDS = "vectors", "ids"
#: What the column of ids may be called, and what a column of splits.
IDS_NAMES = ("ids", "id", "filename", "fname", "file_name", "stem", "image_path", "key", "names", "path")
SPLIT_NAMES = ("split", "split_set")
#: Arrays that are taken as left and right where none is named: as the files of the field call them.
PAIR_NAMES = (
    ("text_emb", "emo_emb"),
    ("text_emb", "audio_emb"),
    ("perception_embeddings", "clip_embeddings"),
    ("audio_embeddings", "text_embeddings"),
    ("image", "text"),
    ("audio", "text"),
    ("left", "right"),
)


class Column(NamedTuple):
    """A column that is not loaded yet. shape: of the header; -1 for widths known only after loading.

    exact, texts: what :meth:`Columns.exact` and :meth:`Columns.texts` give, where ``load`` gives something else.
    """

    shape: tuple[int, ...]
    load: Callable[[], np.ndarray]
    exact: Callable[[], np.ndarray] | None = None
    texts: Callable[[], np.ndarray] | None = None


class Columns(Mapping[str, np.ndarray]):
    """Named arrays, each loaded at first access.

    Numbers, booleans, dates (datetime64) have their own dtype; arrays of two or more dimensions may be
    memory maps, of any byte order. Text, and everything else, is an object array of Python values with
    None where a value is missing: a fixed width would take the longest text's room for every row.

    ids, key: the names of the ids and of the vectors, where the file itself states them. first: what messages
    call its first row; 2 in a CSV, whose header is row 1 of the spreadsheet.
    """

    def __init__(
        self,
        columns: Mapping[str, Column],
        where: object,
        ids: str | None = None,
        key: str | None = None,
        first: int = 1,
    ) -> None:
        self._columns, self.where, self.ids, self.key, self.first = dict(columns), str(where), ids, key, first
        self._loaded: dict[str, np.ndarray] = {}

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of the file's header, without loading; -1 for widths known only after loading."""
        return self._loaded[name].shape if name in self._loaded else self._columns[name].shape

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._loaded:
            column = self._columns[name]
            with reading(f"{self.where}:{name}"):
                self._loaded[name] = _native(column.load(), f"{self.where}:{name}")
        return self._loaded[name]

    def exact(self, name: str) -> np.ndarray:
        """A column (n,) as metadata takes it: whole numbers stay whole where some are missing, lists stay lists."""
        column = self._columns[name]
        if column.exact is None:
            array = self[name]
            return array if array.ndim == 1 else _text.objects(array.tolist())
        with reading(f"{self.where}:{name}"):
            return column.exact()

    def texts(self, name: str) -> np.ndarray:
        """A column (n,) as text, as it is written in the file where that is text; None where a value is missing."""
        column = self._columns[name]
        with reading(f"{self.where}:{name}"):
            if column.texts is not None:
                return column.texts()
            values = self.exact(name)
            plain = list(values) if values.dtype.kind in "Mm" else values.tolist()
            return _text.objects([v if type(v) is str else None if is_missing(v) else str(v) for v in plain])

    def __contains__(self, name: object) -> bool:
        return name in self._columns

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    def taken(self) -> dict[str, Column]:
        """The columns, not loaded, to build other Columns of."""
        return {
            name: Column(self.shape(name), lambda n=name: self[n], lambda n=name: self.exact(n),
                         lambda n=name: self.texts(n))
            for name in self
        }  # fmt: skip


@contextmanager
def reading(where: object, remedy: str = "save or download it again") -> Iterator[None]:
    """Turn whatever a parser raises at a damaged file into BadData with the file's name.

    A parser that meets arbitrary bytes fails in as many ways as it has lines, so every Exception is
    caught; the first cause stays attached.
    """
    try:
        yield
    except SensoriumError:
        raise
    except MemoryError as error:
        raise BadData(f"{where} needs more memory than there is; {remedy}") from error
    except Exception as error:
        reason = printable(str(error)) or type(error).__name__
        raise BadData(f"{where} cannot be read ({reason}); {remedy}") from error


def printable(reason: str) -> str:
    """A parser's own message for one line of a terminal: no control characters, 160 characters at most."""
    return " ".join("".join(c if c.isprintable() else " " for c in reason).split())[:160]


def native(array: np.ndarray, where: str) -> np.ndarray:
    """Numbers in this machine's byte order; longdouble as float64. Raises BadData where that changes a value."""
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        with np.errstate(over="ignore"):
            narrow = array.astype(np.float64)
        same = (narrow == array) | (np.isnan(narrow) & np.isnan(array))
        if not same.all():
            raise BadData(f"{where} holds {array.dtype} numbers that float64 cannot hold; save it as float64")
        return narrow
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _native(array: Any, where: str) -> np.ndarray:
    kind = array.dtype.kind
    if kind in "US":
        return _text.to_objects(array, where)
    if kind == "O":
        _text.check(array, where)
        return array
    return native(np.asarray(array), where) if array.ndim < 2 and kind in "fiubcmM" else array

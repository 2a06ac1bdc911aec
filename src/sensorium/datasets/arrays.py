"""Your own vectors: two arrays of one file by row, or of two files joined by their ids."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from sensorium.contracts import Dataset
from sensorium.errors import BadData, BadRecipe, nearest
from sensorium.formats import arrays
from sensorium.heads import check_finite
from sensorium.pairs import Pairs, csr
from sensorium.types import Data, Items, as_ids, check_unique

#: Keys that are looked for where none is named: (left, right) as people's files call them.
VECTORS = (
    ("text_emb", "emo_emb"),
    ("text_emb", "audio_emb"),
    ("perception_embeddings", "clip_embeddings"),
    ("audio_embeddings", "text_embeddings"),
    ("image", "text"),
    ("audio", "text"),
    ("left", "right"),
)
IDS = ("ids", "id", "filename", "fname", "file_name", "stem", "names")
SPLIT = ("split", "split_set")


class Arrays(Dataset):
    """Vectors that exist already, from .npz, .npy, .pt, Parquet or a store.

    One file: ``file`` with ``left`` and ``right`` naming arrays of the same number of rows; row i
    goes with row i. Two files: ``left`` and ``right`` are ``path`` or ``path:key``, and rows are
    joined by their ids, never by position.

    An array is [n, d], or [n, c, d] with c partners a row, such as five captions of a picture.
    ids, split, group: names of optional columns [n] (looked for under their usual names when left
    out; ``split=""`` ignores a split that the file brings). split holds train, dev or validation,
    and test. Rows of one group never stand in two splits; by default what is paired is a group.
    Every other column [n], and text [n, c], goes along as metadata that searches print.

    allow_missing: drop ids that only one file has, instead of refusing. repeat: an id may stand on
    several rows, each of them a partner.
    """

    def __init__(
        self,
        file: str | None = None,
        left: str | None = None,
        right: str | None = None,
        ids: str | None = None,
        split: str | None = None,
        group: str | None = None,
        allow_missing: bool = False,
        repeat: bool = False,
    ) -> None:
        self.file, self.left, self.right = file, left, right
        self.ids, self.split, self.group = ids, split, group
        self.allow_missing, self.repeat = allow_missing, repeat

    def load(self) -> Data:
        """Read, check and join.

        Raises BadRecipe when a file or key is not there (naming the nearest) or ids are needed,
        BadData for vectors or columns that cannot be used: another number of rows, NaN, zeros,
        repeated or unmatched ids, unknown split words.
        """
        left, right = self._sides()
        if left.path == right.path and not left.same_rows(right):
            raise BadData(
                f"{left.where} has shape {left.array.shape}, {right.where} {right.array.shape}; rows of one file go "
                "together, so their numbers must be equal (arrays in two files are joined by ids)"
            )
        left_keys, right_keys = (side.keys(self.ids, left.path != right.path, self.repeat) for side in (left, right))
        i, j, notes = _match(left_keys, right_keys)
        if not self.allow_missing and (notes["only_left"] or notes["only_right"]):
            raise BadData(
                f"{notes['only_left']} ids are only in {left.where}{_some(left_keys, right_keys)} and "
                f"{notes['only_right']} only in {right.where}{_some(right_keys, left_keys)}; "
                "mend the ids, or drop these: data.allow_missing=true"
            )
        if not len(i):
            raise BadData(f"{left.where} and {right.where} have no id in common")
        split = _agreed("split", self.split, SPLIT, (left, i), (right, j))
        group = _agreed("group", self.group, (), (left, i), (right, j))
        if group is None and (names := left.column(self.ids, IDS, "ids")) is not None:
            group = _groups_of(as_ids(names)[i])
        c, d = left.partners, right.partners
        a, b = np.divmod(np.arange(c * d), d)  # every partner of a left row with every partner of its right row
        rows = (i[:, None] * c + a).ravel(), (j[:, None] * d + b).ravel()
        there = left.there[rows[0]] & right.there[rows[1]]
        pairs = Pairs.of(
            *((np.cumsum(side.there) - 1)[at[there]] for side, at in zip((left, right), rows, strict=True)),
            split=None if split is None else np.repeat(split, c * d)[there],
            group=None if group is None else np.repeat(group, c * d)[there],
        )
        notes["blank_partners_dropped"] = int(sum(np.count_nonzero(~side.there) for side in (left, right)))
        notes |= {"left": left.where, "right": right.where, "split": "drawn" if split is None else "given"}
        return Data(left.items(left_keys), right.items(right_keys), pairs, notes)

    def _sides(self) -> tuple[Side, Side]:
        """The two arrays that are meant."""
        if self.file is None:
            for name, value in (("left", self.left), ("right", self.right)):
                if value is None:
                    raise BadRecipe(
                        f"arrays: no data.{name}; type: data.file=pairs.npz data.left=KEY data.right=KEY, "
                        "or data.left=a.npz:KEY data.right=b.npz:KEY"
                    )
            return _open(self.left, VECTORS, 0), _open(self.right, VECTORS, 1)
        path, columns = Path(self.file), arrays.read(self.file)
        known = [pair for pair in VECTORS if all(key in columns for key in pair)]
        if self.left is None and self.right is None and known:
            names = known[0]
        elif self.left is None or self.right is None:
            raise BadRecipe(f"arrays: name data.left and data.right; {path.name} holds {_listed(columns)}")
        else:
            names = (self.left, self.right)
        return tuple(Side.of(path, columns, name) for name in names)


@dataclass(frozen=True)
class Side:
    """One array of vectors (n, d) or (n, c, d) with the columns that lie beside it."""

    path: Path
    key: str
    array: np.ndarray
    columns: Mapping[str, np.ndarray]

    @classmethod
    def of(cls, path: Path, columns: Mapping[str, np.ndarray], key: str) -> Side:
        """The array called ``key``, checked to be vectors."""
        if key not in columns:
            raise BadRecipe(f"{path.name} has no '{key}' ({nearest(key, columns)}); it holds {_listed(columns)}")
        array = columns[key]
        side = cls(path, key, array, {name: column for name, column in _readable(columns) if name != key})
        if array.dtype.kind not in "fiu" or array.ndim not in (2, 3) or 0 in array.shape:
            raise BadData(f"{side.where} is {array.dtype} {array.shape}; expected numbers [n, d], or [n, c, d]")
        return side

    @property
    def where(self) -> str:
        """What messages call it."""
        return f"{self.path.name}:{self.key}" if self.key else self.path.name

    @property
    def partners(self) -> int:
        """c, the vectors of one row."""
        return self.array.shape[1] if self.array.ndim == 3 else 1

    def same_rows(self, other: Side) -> bool:
        """Whether both arrays have n rows."""
        return len(self.array) == len(other.array)

    def column(self, name: str | None, usual: tuple[str, ...], what: str) -> np.ndarray | None:
        """Column [n] of this name, or of a usual one when no name is given; None where there is none."""
        if name is not None:
            found = self.columns.get(name) if name else None
            if found is not None and found.shape != (len(self.array),):
                raise BadData(
                    f"{self.path.name}:{name}, the {what}, has shape {found.shape}; expected "
                    f"({len(self.array)},), one for each row of '{self.key}'"
                )
            return found
        fitting = (self.columns[u] for u in usual if u in self.columns)
        return next((f for f in fitting if f.shape == (len(self.array),)), None)

    def missing(self, name: str) -> str:
        """The message for a column that is not there."""
        return f"{self.path.name} has no '{name}' ({nearest(name, self.columns)}); it holds {_listed(self.columns)}"

    def keys(self, name: str | None, needed: bool, repeat: bool) -> np.ndarray:
        """Id (n,) of each row: what joins two files; row numbers where one file needs none."""
        found = self.column(name, IDS, "ids")
        if found is None:
            if name:
                raise BadRecipe(f"data.ids={name}: {self.missing(name)}")
            if needed:
                raise BadRecipe(
                    f"{self.where} has no ids to join it by, and rows are never joined by position; "
                    f"type: data.ids=COLUMN ({self.path.name} holds {_listed(self.columns)})"
                )
            return as_ids(np.arange(len(self.array)))
        ids = as_ids(found)
        if not repeat:
            if name is None and not needed and len(np.unique(ids)) != len(ids):
                return as_ids(np.arange(len(self.array)))  # a usual name, but no ids
            try:
                check_unique(ids, f"ids of {self.where}")
            except BadData as error:
                raise BadData(f"{error}, or type data.repeat=true where each row of an id is a partner") from None
        return ids

    @cached_property
    def there(self) -> np.ndarray:
        """Which of the n · c vectors exist: of [n, c, d], one that is all zeros stands for no partner.

        A row must keep one partner at least, and a row of [n, d] is always there (to be refused).
        """
        if self.array.ndim == 2:
            return np.ones(len(self.array), bool)
        there = self.array.any(axis=-1)
        return (there | ~there.any(axis=1, keepdims=True)).ravel()

    def items(self, keys: np.ndarray) -> Items:
        """The vectors as items, up to n · c of them, with the other columns as metadata."""
        n, c, there = len(self.array), self.partners, self.there
        ids = keys if len(np.unique(keys)) == n else _numbered(keys)
        if self.array.ndim == 3:
            ids = np.char.add(np.repeat(ids, c), np.tile([f"#{k + 1}" for k in range(c)], n))[there]
        vectors = self.array.reshape(n * c, -1)
        vectors = (vectors if there.all() else vectors[there]).astype(np.float32, copy=False)
        check_finite(vectors, ids, self.where)
        meta = {}
        for name, column in self.columns.items():
            if column.shape == (n,) and column.dtype.kind in "Uiufb":
                meta[name] = np.repeat(column, c)[there]
            elif self.array.ndim == 3 and column.shape == (n, c) and column.dtype.kind == "U":
                meta[name] = column.ravel()[there]
        return Items(ids, vectors, "vector", meta, {"name": "vectors", "key": self.key})


def _open(spec: str, usual: tuple[tuple[str, str], ...], side: int) -> Side:
    """The array that ``path`` or ``path:key`` means."""
    where, key = arrays.split(spec)
    columns = arrays.read(where)
    if not key:
        known = [k for k in dict.fromkeys(pair[side] for pair in usual) if k in columns]
        vectors = [k for k, x in _readable(columns) if x.dtype.kind == "f" and x.ndim in (2, 3)]
        if not known and len(vectors) != 1:
            raise BadRecipe(f"which array of {where.name}? type: {spec}:KEY; it holds {_listed(columns)}")
        key = known[0] if known else vectors[0]
    return Side.of(where, columns, key)


def _match(left: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray, dict[str, int]]:
    """Rows i, j (p,) of equal ids, many to many, in left order; and how many ids have no partner."""
    order = np.argsort(right, kind="stable")
    first = np.searchsorted(right, left, "left", sorter=order)
    last = np.searchsorted(right, left, "right", sorter=order)
    count = last - first
    i = np.repeat(np.arange(len(left)), count)
    notes = {
        "pairs_of_rows": len(i),
        "only_left": int(np.count_nonzero(count == 0)),
        "only_right": int(np.count_nonzero(~np.isin(right, left))),
    }
    return i, order[csr.ranges(first, count)], notes


def _agreed(what: str, name: str | None, usual: tuple[str, ...], *sides: tuple[Side, np.ndarray]) -> np.ndarray | None:
    """A column of the pairs (p,) from whichever side has it; where both have it they must agree."""
    found = [column[rows] for side, rows in sides if (column := side.column(name, usual, what)) is not None]
    if not found:
        if name:
            raise BadRecipe(f"data.{what}={name}: {sides[0][0].missing(name)}")
        return None
    differ = np.flatnonzero(found[0].astype(np.str_) != found[-1].astype(np.str_))
    if len(differ):
        one, other = (str(column[differ[0]]) for column in found)
        raise BadData(f"the two files disagree on the {what} of {len(differ)} pairs, such as {one!r} against {other!r}")
    return found[0]


def _groups_of(names: np.ndarray) -> np.ndarray | None:
    """Groups that names tell: "x.wav#1" … "x.wav#5" are of one clip, and so are rows of one name; else None."""
    stem, sign, number = np.array([name.rpartition("#") for name in names.tolist()]).T
    if (sign == "#").all() and np.char.isdecimal(number).all():
        return stem
    return names if len(np.unique(names)) < len(names) else None


def _readable(columns: Mapping[str, np.ndarray]) -> Iterator[tuple[str, np.ndarray]]:
    """Names and arrays, without those that only running code could read (pickled objects)."""
    for name in columns:
        with contextlib.suppress(BadData):
            yield name, columns[name]


def _numbered(ids: np.ndarray) -> np.ndarray:
    """Repeated ids told apart: "a", "a" become "a#1", "a#2"."""
    order = np.argsort(ids, kind="stable")
    sorted_ids = ids[order]
    start = np.searchsorted(sorted_ids, sorted_ids)
    number = np.empty(len(ids), np.int64)
    number[order] = np.arange(len(ids)) - start + 1
    return np.char.add(np.char.add(ids, "#"), number.astype(np.str_))


def _some(ids: np.ndarray, others: np.ndarray) -> str:
    """An example of an id that has no partner."""
    alone = ids[~np.isin(ids, others)]
    return f" (such as {str(alone[0])!r})" if len(alone) else ""


def _listed(columns: Mapping[str, np.ndarray]) -> str:
    """Names with their shapes."""
    return ", ".join(f"{name} {list(x.shape)}" for name, x in _readable(columns)) or "nothing else"

"""Your own vectors: two arrays of one file by row, or of two files joined by their ids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from sensorium import formats
from sensorium.contracts import Dataset
from sensorium.datasets import _array_values, _relevant
from sensorium.errors import BadData, BadRecipe, nearest
from sensorium.formats import IDS_NAMES, PAIR_NAMES, SPLIT_NAMES, Columns
from sensorium.heads import check_finite
from sensorium.pairs import Pairs, csr
from sensorium.pairs.classes import Classes
from sensorium.table import as_column
from sensorium.types import Data, Items, as_ids, check_unique, without_vectors


class Arrays(Dataset):
    """Vectors that exist already, from .npz, .npy, .pt, Parquet or a store.

    file: one file of all arrays. left, right: arrays by their names in it, or files.

    One file: ``file`` with ``left`` and ``right`` naming arrays of the same number of rows; row i
    goes with row i. Two files: ``left`` and ``right`` are ``path`` or ``path:key``, and rows are
    joined by their ids, never by position.

    An array is [n, d], or [n, c, d] with c vectors a row, such as five captions of a picture.
    ids, split, group: names of optional columns [n] (looked for under their usual names when left
    out; ``split=""`` and ``ids=""`` ignore what the file brings). split holds train, dev or validation,
    and test. Rows of one group never stand in two splits; a row without a group is a group of its own;
    by default rows that are paired form a group.
    relevant: a column [n] of labels, such as emotion: rows of one split that share it are all related, instead of row i
    with row i alone. A row without a label is related to its own row.
    Every other column [n], and text [n, c], becomes metadata that searches print; columns: which of
    them, all when left out.

    allow_missing: drop ids that only one file has, instead of refusing. repeat: an id may stand on
    several rows, each of them related.
    """

    def __init__(
        self,
        file: str | None = None,
        left: str | None = None,
        right: str | None = None,
        ids: str | None = None,
        split: str | None = None,
        group: str | None = None,
        relevant: str | None = None,
        allow_missing: bool = False,
        repeat: bool = False,
        columns: Sequence[str] | None = None,
    ) -> None:
        self.file, self.left, self.right = file, left, right
        self.ids, self.split, self.group, self.relevant = ids, split, group, relevant
        self.allow_missing, self.repeat = allow_missing, repeat
        self.columns = None if columns is None else list(columns)

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
                "correct the ids, or drop these: data.allow_missing=true"
            )
        if not len(i):
            raise BadData(f"{left.where} and {right.where} have no id in common")
        split = _common("split", self.split, SPLIT_NAMES, (left, i), (right, j))
        group = _common("group", self.group, (), (left, i), (right, j))
        if group is None and (names := left.column(self.ids, IDS_NAMES, "ids")) is not None:
            group = _groups_of(np.array([str(name) for name in names.tolist()], np.str_)[i])
        elif group is not None:
            group, notes["rows_without_group"] = _own_groups(group)
        c, d = left.each, right.each
        a, b = np.divmod(np.arange(c * d), d)  # every vector of a left row with every vector of its right row
        rows = (i[:, None] * c + a).ravel(), (j[:, None] * d + b).ravel()
        there = left.there[rows[0]] & right.there[rows[1]]
        pairs = Pairs.of(
            *((np.cumsum(side.there) - 1)[at[there]] for side, at in zip((left, right), rows, strict=True)),
            split=None if split is None else np.repeat(_split_words(split), c * d)[there],
            group=None if group is None else np.repeat(group, c * d)[there],
        )
        if self.relevant:
            labels = _common("relevant", self.relevant, (), (left, i), (right, j))
            notes["said"] = _relevant.checked(labels.tolist(), self.relevant)
            listed = np.repeat(np.asarray(labels, object), c * d)[there].tolist()
            sizes = (np.count_nonzero(side.there) for side in (left, right))
            pairs = replace(pairs, classes=Classes.of(listed, pairs.left, pairs.right, *sizes))
            notes["relevant"] = self.relevant
        notes["blank_partners_dropped"] = int(sum(np.count_nonzero(~side.there) for side in (left, right)))
        notes |= {"left": left.where, "right": right.where, "split": "drawn" if split is None else "given"}
        same_file = left.path == right.path
        items = [side.items(keys, self.columns, (other.key,) if same_file else ())
                 for side, keys, other in ((left, left_keys, right), (right, right_keys, left))]  # fmt: skip
        scales = [
            note
            for side, one in zip((left, right), items, strict=True)
            for note in _array_values.of_scale(one.values, side.where)
        ]
        if scales:
            notes["said"] = [*notes.get("said", []), *scales]
        return Data(items[0], items[1], pairs, notes)

    def _sides(self) -> tuple[Side, Side]:
        """The two arrays."""
        if self.file is None:
            for name, value in (("left", self.left), ("right", self.right)):
                if value is None:
                    raise BadRecipe(
                        f"arrays: no data.{name}; type: data.file=pairs.npz data.left=KEY data.right=KEY, "
                        "or data.left=a.npz:KEY data.right=b.npz:KEY"
                    )
            return _open(self.left, 0), _open(self.right, 1)
        path, columns = Path(self.file), _read(self.file)
        known = [pair for pair in PAIR_NAMES if all(key in columns for key in pair)]
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
    columns: Columns

    @classmethod
    def of(cls, path: Path, columns: Columns, key: str) -> Side:
        """The array called ``key``, checked to be vectors."""
        if key not in columns:
            raise BadRecipe(f"{path.name} has no '{key}' ({nearest(key, columns)}); it holds {_listed(columns)}")
        side = cls(path, key, np.asarray(columns[key]), columns)
        array = side.array
        if array.dtype.kind not in "fiub" or array.ndim not in (2, 3) or 0 in array.shape:
            raise BadData(f"{side.where} is {formats.described(array)}; expected numbers [n, d], or [n, c, d]"
                          f"{_array_values.instead(array, path, key)}")  # fmt: skip
        return side

    @property
    def where(self) -> str:
        """The array's name in messages."""
        return f"{self.path.name}:{self.key}" if self.key else self.path.name

    @property
    def each(self) -> int:
        """c, the vectors of one row."""
        return self.array.shape[1] if self.array.ndim == 3 else 1

    def same_rows(self, other: Side) -> bool:
        """Whether both arrays have n rows."""
        return len(self.array) == len(other.array)

    def column(self, name: str | None, usual: tuple[str, ...], what: str) -> np.ndarray | None:
        """Column [n] of this name, or of a usual one when the name is None; None where there is none.

        Raises BadData when it has another number of rows.
        """
        if name is None:
            name = next((u for u in usual if u in self.columns and u != self.key), None)
        if not name or name not in self.columns:
            return None
        found = self.columns[name]
        if found.shape != (len(self.array),):
            raise BadData(
                f"{self.path.name}:{name}, the {what}, has shape {found.shape}; expected ({len(self.array)},), one for "
                f"each row of '{self.key}'; correct it, name another column, or ignore it: data.{what}=\"\""
            )
        return found

    def missing(self, name: str) -> str:
        """The message for a column that is not there."""
        return f"{self.path.name} has no '{name}' ({nearest(name, self.columns)}); it holds {_listed(self.columns)}"

    def keys(self, name: str | None, needed: bool, repeat: bool) -> np.ndarray:
        """Id (n,) of each row: what joins two files; row numbers where one file needs none."""
        found = self.column(name, IDS_NAMES, "ids")
        if found is None:
            if name:
                raise BadRecipe(f"data.ids={name}: {self.missing(name)}")
            if needed:
                raise BadRecipe(
                    f"{self.where} has no ids to join it by, and rows are never joined by position; "
                    f"type: data.ids=COLUMN ({self.path.name} holds {_listed(self.columns)})"
                )
            return as_ids(np.arange(len(self.array)))
        try:
            ids = as_ids(found)
        except BadData as error:
            raise BadData(f"ids of {self.where}: {error}") from None
        if not repeat:
            if name is None and not needed and len(np.unique(ids)) != len(ids):
                return as_ids(np.arange(len(self.array)))  # a usual name, but no ids
            try:
                check_unique(ids, f"ids of {self.where}")
            except BadData as error:
                raise BadData(f"{error}, or type data.repeat=true where each row of an id is related") from None
        return ids

    @cached_property
    def there(self) -> np.ndarray:
        """Which of the n · c vectors exist: of [n, c, d], one that is all zeros stands for none.

        A row must keep one vector at least, and a row of [n, d] is always there (to be refused).
        """
        if self.array.ndim == 2:
            return np.ones(len(self.array), bool)
        there = self.array.any(axis=-1)
        return (there | ~there.any(axis=1, keepdims=True)).ravel()

    def items(self, keys: np.ndarray, columns: Sequence[str] | None = None, others: tuple[str, ...] = ()) -> Items:
        """The vectors as items, up to n · c of them, with the other columns as metadata.

        columns: which columns, all when None. others: arrays that are no columns.
        """
        n, c, there = len(self.array), self.each, self.there
        ids = keys if len(np.unique(keys)) == n else _numbered(keys)
        if self.array.ndim == 3:
            ids = np.char.add(np.repeat(ids, c), np.tile([f"#{k + 1}" for k in range(c)], n))[there]
        vectors = self.array.reshape(n * c, -1)
        vectors = _array_values.as_float32(vectors if there.all() else vectors[there], self.where)
        check_finite(vectors, ids, self.where)
        meta = {}
        for name in self.columns if columns is None else columns:
            if name not in self.columns:
                raise BadRecipe(f"data.columns: {self.missing(name)}")
            if name not in (self.key, *others) and (column := self._metadata(name)) is not None:
                meta[name] = column[there]
        source = {"name": "vectors", "key": self.key}
        return Items(ids, vectors, "vector", meta, source, name=without_vectors(self.key or self.path.stem))

    def _metadata(self, name: str) -> np.ndarray | None:
        """A column as one value for each of the n · c vectors; None for an array that is no column."""
        n, c, shape = len(self.array), self.each, self.columns.shape(name)
        if shape[:1] != (n,) or not (len(shape) == 1 or shape == (n, c) or -1 in shape):
            return None
        try:
            column = self.columns[name]
            if self.array.ndim == 3 and column.dtype.kind == "O":
                spread = column.ravel().tolist() if column.shape == (n, c) else _spread(column, c)
                if spread is not None:
                    return as_column(spread, name)
            return np.repeat(as_column(column, name), c) if column.shape == (n,) else None
        except BadData as error:
            raise BadData(f"{error}; or keep only other columns: data.columns='[…]', '[]' for none") from None


def _read(path: str | Path) -> Columns:
    """A store or a file of any format as columns."""
    from sensorium.store import importing, manifest

    folder = Path(path).expanduser()
    return importing.columns_of(folder) if folder.is_dir() and manifest.exists(folder) else formats.read(folder)


def _open(spec: str, side: int) -> Side:
    """The array that ``path`` or ``path:key`` names."""
    where, key = formats.split(spec)
    columns = _read(where)
    if not key:
        known = [k for k in dict.fromkeys(pair[side] for pair in PAIR_NAMES) if k in columns]
        vectors = known or ([columns.key] if columns.key else formats.names_of_vectors(columns))
        if not known and len(vectors) != 1:
            raise BadRecipe(f"which array of {where.name}? type: {spec}:KEY; it holds {_listed(columns)}")
        key = vectors[0]
    return Side.of(where, columns, key)


def _spread(column: np.ndarray, c: int) -> list[Any] | None:
    """Lists of c values each, one after the other; None where a row has another number of them."""
    rows = column.tolist()
    if column.ndim != 1 or not all(isinstance(row, list) and len(row) == c for row in rows):
        return None
    return [value for row in rows for value in row]


def _split_words(split: np.ndarray) -> np.ndarray:
    """The words of a split column. Raises BadData, with a count, where some are missing."""
    words = split.tolist()
    if missing := [row for row, word in enumerate(words) if word is None or word != word]:
        raise BadData(f"the split of {len(missing)} pairs is missing, such as in row {missing[0]}; expected train, "
                      'dev|validation or test: fill them in, or type data.split=""')  # fmt: skip
    return np.array([str(word) for word in words], np.str_)


def _own_groups(group: np.ndarray) -> tuple[np.ndarray, int]:
    """Groups (p,), each missing one (null, NaN, NaT) a group of its own, and how many these are."""
    values = group.tolist()
    missing = [value is None or value != value for value in values]
    if not any(missing):
        return np.array([str(v) for v in values], np.str_) if group.dtype.kind == "O" else group, 0
    named = [
        f"(no group, row {row})" if lost else str(v) for row, (v, lost) in enumerate(zip(values, missing, strict=True))
    ]
    return np.array(named, np.str_), sum(missing)


def _match(left: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray, dict[str, int]]:
    """Rows i, j (p,) of equal ids, many to many, in left order; and how many ids have no match."""
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


def _common(what: str, name: str | None, usual: tuple[str, ...], *sides: tuple[Side, np.ndarray]) -> np.ndarray | None:
    """A column of the pairs (p,) from whichever side has it; where both have it they must agree."""
    found = [column[rows] for side, rows in sides if (column := side.column(name, usual, what)) is not None]
    if not found:
        if name:
            raise BadRecipe(f"data.{what}={name}: {sides[0][0].missing(name)}")
        return None
    one, other = ([str(value) for value in column.tolist()] for column in (found[0], found[-1]))
    differ = [row for row, (a, b) in enumerate(zip(one, other, strict=True)) if a != b]
    if differ:
        examples = f"{one[differ[0]]!r} against {other[differ[0]]!r}"
        raise BadData(f"the two files disagree on the {what} of {len(differ)} pairs, such as {examples}")
    return found[0]


def _groups_of(names: np.ndarray) -> np.ndarray | None:
    """Groups by name: rows of one name; and "x.wav#1" … "x.wav#5", where every stem has the same numbers 1 … m.

    Other ids with "#", such as "owner/repo#17", are not cut: their numbers have gaps.
    """
    stems: dict[str, set[str]] = {}
    cut = [name.rpartition("#") for name in names.tolist()]
    for stem, _, number in cut:
        stems.setdefault(stem, set()).add(number)
    numbers = next(iter(stems.values()), set())
    complete = numbers == {str(k + 1) for k in range(len(numbers))} and len(numbers) > 1
    if len(stems) > 1 and complete and all(one == numbers for one in stems.values()):
        return np.array([stem for stem, _, _ in cut], np.str_)
    return names if len(np.unique(names)) < len(names) else None


def _numbered(ids: np.ndarray) -> np.ndarray:
    """Repeated ids made unique: "a", "a" become "a#1", "a#2"."""
    order = np.argsort(ids, kind="stable")
    sorted_ids = ids[order]
    start = np.searchsorted(sorted_ids, sorted_ids)
    number = np.empty(len(ids), np.int64)
    number[order] = np.arange(len(ids)) - start + 1
    return np.char.add(np.char.add(ids, "#"), number.astype(np.str_))


def _some(ids: np.ndarray, others: np.ndarray) -> str:
    """An example of an id that only one file has."""
    alone = ids[~np.isin(ids, others)]
    return f" (such as {str(alone[0])!r})" if len(alone) else ""


def _listed(columns: Columns) -> str:
    """Names with their shapes."""
    shapes = {name: ", ".join("?" if k < 0 else str(k) for k in columns.shape(name)) for name in columns}
    return ", ".join(f"{name} [{shape}]" for name, shape in shapes.items()) or "nothing else"

"""Pairs of rows from index arrays, a 0/1 matrix, class labels, a table of ids, or row by row; groups and splits."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sensorium.errors import BadData, BadRecipe, nearest
from sensorium.pairs import Pairs, csr
from sensorium.pairs.classes import Classes
from sensorium.types import Items, as_ids, is_missing
from sensorium.values.frames import column_of, frame_of

MOST = 20_000_000  # pairs
_FORMS = (
    "index arrays (i, j), a 0/1 matrix (rows of X, rows of Y), class labels (one a row), or a table of the columns "
    "left and right with ids"
)


@dataclass(frozen=True)
class Relation:
    """Which rows go with which, as the caller of ``sensorium.fit`` says it; see :func:`relate` for each field."""

    pairs: Any = None
    relevant: Any = None
    group: Any = None
    split: Any = None
    test: Any = 0.1
    validation: Any = 0.1
    seed: int = 0


def relate(
    given: Relation,
    left: Items,
    left_rows: np.ndarray,
    right: Items | None,
    right_rows: np.ndarray | None,
    *,
    joined: bool = False,
    classes: bool = False,
) -> Pairs:
    """Pairs of items. left_rows (n,), right_rows (m,): the item that each row of X and Y is; right None: one table.

    ``pairs``: None for row i with row i (or by equal ids, ``joined``), index arrays (i, j), a matrix (n, m) whose
    nonzero places are related, labels (n,), or a table of ids. ``relevant``: labels of X's rows, or (of X, of Y);
    rows of equal labels are related, within their split. ``group``, ``split``: one value for each row of X.
    ``test``, ``validation``: a share, a number of groups, or the rows of X that are held out. Without ``group``,
    pairs that share an item are one group; where the right side is a class table, each row of X is one.

    Raises BadData, naming the argument, for what does not fit the rows; BadRecipe where no pairs follow from them.
    """
    either = left_rows if right_rows is None else right_rows
    n, m = len(left_rows), len(either)
    pairs, relevant = given.pairs, given.relevant
    if pairs is not None and relevant is None and _is_labels(pairs, n, m):
        pairs, relevant = None, pairs
    if pairs is not None and relevant is not None:
        raise BadRecipe("both pairs and relevant are given; give one of them: pairs=(i, j), or relevant=labels")
    for name in ("test", "validation"):
        _check_share(name, getattr(given, name))
    if relevant is not None:
        return _of_labels(relevant, given, left_rows, right_rows)
    label = split = None
    if pairs is None and right_rows is None:
        raise BadRecipe("Y is left out, so both sides are X; say which of its rows go together: pairs=(i, j), or "
                        "relevant=labels")  # fmt: skip
    if pairs is None and joined:
        i, j = _by_ids(left.ids, right.ids)
    elif pairs is None:
        if n != m:
            raise BadData(f"X has {n} rows and Y has {m}; expected as many, as row i goes with row i: or say which go "
                          "together: pairs=(i, j), or ids on both sides")  # fmt: skip
        i = j = np.arange(n)
    elif (table := _table(pairs)) is not None:
        i, j, label, split = _of_table(table, left, left_rows, right or left, either)
    else:
        i, j = _indices(pairs, n, m)
    group = None if given.group is None else _rows_of("group", given.group, n)[i]
    words = _splits(given, n)
    words = None if words is None else words[i]
    if split is not None:
        if words is not None:
            raise BadRecipe(
                "the table of pairs has a split, and test, validation or split gives another; drop one of them"
            )
        words = split
    if classes and group is None:
        group = np.asarray(left_rows)[i]
    a, b = np.asarray(left_rows)[i], np.asarray(either)[j]
    if right_rows is None and (kept := a != b).sum() < len(a):  # an item is not paired with itself
        a, b = a[kept], b[kept]
        label, group, words = (None if x is None else x[kept] for x in (label, group, words))
    first = np.sort(np.unique(np.stack([a, b], 1), axis=0, return_index=True)[1]) if len(a) else np.zeros(0, np.int64)
    if not len(first):
        raise BadData("pairs: no row of X goes with a row of Y; expected one pair at least")
    label, group, words = (None if x is None else np.asarray(x)[first] for x in (label, group, words))
    made = Pairs.of(a[first], b[first], label, group, words, same_table=right is None)
    return _held_out(made, given, words)


def _held_out(pairs: Pairs, given: Relation, words: np.ndarray | None) -> Pairs:
    """Pairs with a test share drawn where only the validation rows were named."""
    share = given.test if isinstance(given.test, (int, float)) else 0
    if words is None or share == 0 or (pairs.split == "test").any():
        return pairs
    return pairs.hold_out("test", share, given.seed)


def _check_share(name: str, value: Any) -> None:
    if isinstance(value, (bool, np.bool_, str)) or (isinstance(value, (int, float)) and not 0 <= value < 1e12):
        raise BadRecipe(
            f"{name}={value!r}; expected a share of the groups from 0 to 1, their number, or the rows of X: "
            f"{name}=[0, 1, …]"
        )


def _splits(given: Relation, n: int) -> np.ndarray | None:
    """The split (n,) of each row of X, where rows were named; None where all of it is drawn by share."""
    named = {name: _chosen(name, getattr(given, name), n) for name in ("test", "validation")}
    if given.split is not None:
        if any(rows is not None for rows in named.values()):
            raise BadRecipe(
                "split names the split of every row, and test or validation names rows too; give one of them"
            )
        words = _rows_of("split", given.split, n)
        gone = [row for row, word in enumerate(words.tolist()) if is_missing(word)]
        if gone:
            raise BadData(f"split: {len(gone)} of {n} values are missing, such as in row {gone[0]}; expected train, "
                          "validation or test")  # fmt: skip
        return np.array([str(word) for word in words.tolist()], np.str_)
    if all(rows is None for rows in named.values()):
        return None
    words = np.full(n, "train", "<U10")
    for name, rows in named.items():
        if rows is not None:
            if (words[rows] != "train").any():
                both = int(np.flatnonzero(words[rows] != "train")[0])
                raise BadData(f"row {int(rows[both])} of X is in test and in validation; expected one of them")
            words[rows] = name
    return words


def _chosen(name: str, value: Any, n: int) -> np.ndarray | None:
    """Rows of X that an index or mask names; None for a share."""
    if isinstance(value, (int, float)):
        return None
    rows = np.asarray(column_of(value, name))
    if rows.dtype == bool and rows.shape == (n,):
        return np.flatnonzero(rows)
    if rows.ndim != 1 or (len(rows) and rows.dtype.kind not in "iu"):
        raise BadData(
            f"{name} is {rows.dtype} {rows.shape}; expected a share such as 0.1, or rows of X as whole numbers or a "
            f"mask ({n},)"
        )
    rows = np.unique(rows.astype(np.int64))
    if len(rows) and not (rows[0] >= 0 and rows[-1] < n):
        wrong = rows[0] if rows[0] < 0 else rows[-1]
        raise BadData(f"{name} names row {wrong}, but X has {n} rows; expected 0 to {n - 1}")
    return rows


def _rows_of(name: str, values: Any, n: int) -> np.ndarray:
    found = column_of(values, name)
    if isinstance(found, (str, bytes)) or not isinstance(found, (list, np.ndarray)):
        raise BadData(f"{name} is {type(values).__name__}; expected one value for each of the {n} rows of X")
    array = np.empty(len(found), object) if isinstance(found, list) else found
    if isinstance(found, list):
        array[:] = found
    if array.shape != (n,):
        raise BadData(f"{name} has shape {array.shape}; expected ({n},), one value for each row of X")
    return array


def _is_labels(pairs: Any, n: int, m: int) -> bool:
    """Whether pairs are class labels: one value for each row, where both sides have as many."""
    if frame_of(pairs, "pairs") is not None or isinstance(pairs, tuple):
        return False
    found = column_of(pairs, "pairs")
    flat = (isinstance(found, np.ndarray) and found.ndim == 1) or (
        isinstance(found, list) and all(isinstance(one, (str, int, np.integer)) for one in found))  # fmt: skip
    return flat and len(found) == n == m


def _indices(pairs: Any, n: int, m: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows i, j of index arrays or of a 0/1 matrix."""
    sparse = sys.modules.get("scipy.sparse")
    if sparse is not None and sparse.issparse(pairs):
        matrix = pairs.tocoo()
        _check_matrix(matrix.shape, matrix.data, n, m)
        keep = matrix.data != 0
        order = np.lexsort((matrix.col[keep], matrix.row[keep]))
        return matrix.row[keep][order].astype(np.int64), matrix.col[keep][order].astype(np.int64)
    if isinstance(pairs, (tuple, list)) and len(pairs) == 2 and not (n == 2 and isinstance(pairs, list)):
        i, j = (np.asarray(column_of(one, "pairs")) for one in pairs)
        return _index(i, j, n, m)
    array = np.asarray(column_of(pairs, "pairs"))
    if array.shape == (n, m) and array.dtype.kind in "biuf":
        _check_matrix(array.shape, array, n, m)
        return np.nonzero(array)  # type: ignore[return-value]
    if array.ndim == 2 and array.shape[1] == 2 and array.dtype.kind in "iu":
        return _index(array[:, 0], array[:, 1], n, m)
    raise BadData(f"pairs has shape {array.shape} of {array.dtype} for {n} rows of X and {m} of Y; expected {_FORMS}")


def _index(i: np.ndarray, j: np.ndarray, n: int, m: int) -> tuple[np.ndarray, np.ndarray]:
    for name, rows, count, side in (("i", i, n, "X"), ("j", j, m, "Y")):
        if rows.ndim != 1 or (len(rows) and rows.dtype.kind not in "iu"):
            raise BadData(f"pairs: {name} is {rows.dtype} {rows.shape}; expected whole numbers, rows of {side}")
        wrong = np.flatnonzero((rows < 0) | (rows >= count))
        if len(wrong):
            raise BadData(f"pairs: {name} names row {rows[wrong[0]]} ({len(wrong)} such), but {side} has {count} rows; "
                          f"expected 0 to {count - 1}")  # fmt: skip
    if len(i) != len(j):
        raise BadData(f"pairs: i has {len(i)} rows and j {len(j)}; expected as many")
    return i.astype(np.int64), j.astype(np.int64)


def _check_matrix(shape: Sequence[int], values: np.ndarray, n: int, m: int) -> None:
    if tuple(shape) != (n, m):
        raise BadData(f"pairs is a matrix {tuple(shape)}; expected ({n}, {m}): rows of X, rows of Y")
    if not np.isin(values, (0, 1)).all():
        raise BadData("pairs is a matrix with other numbers than 0 and 1; expected 1 where a row of X and a row of Y "
                      "are related: pairs = scores > 0.5")  # fmt: skip


def _by_ids(left: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows of equal ids. Raises BadData, with counts, when one side has ids that the other lacks."""
    _, i, j = np.intersect1d(left, right, return_indices=True)
    alone = [np.setdiff1d(left, right), np.setdiff1d(right, left)]
    if any(map(len, alone)):
        some = ", ".join(repr(str(ids[0])) for ids in alone if len(ids))
        raise BadData(
            f"{len(alone[0])} ids are only in X and {len(alone[1])} only in Y, such as {some}; rows with ids are "
            "joined by them: correct the ids, drop these rows, or say which go together: pairs=(i, j)"
        )
    order = np.argsort(i)
    return i[order], j[order]


def _table(pairs: Any) -> dict[str, Any] | None:
    frame = frame_of(pairs, "pairs")
    return None if frame is None else {name: column_of(c, f"pairs['{name}']") for name, c in frame.columns.items()}


def _of_table(
    table: dict[str, Any], left: Items, left_rows: np.ndarray, right: Items, right_rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, np.ndarray | None]:
    """Rows, labels and splits of a table with the columns left and right (ids), and perhaps label and split."""
    for name in ("left", "right"):
        if name not in table:
            raise BadRecipe(f"pairs has no column '{name}' ({nearest(name, table)}); expected left and right with ids, "
                            "and perhaps label and split")  # fmt: skip
    rows = []
    for side, items, at, what in (("left", left, left_rows, "X"), ("right", right, right_rows, "Y")):
        names = as_ids(table[side])
        known = {id: row for row, id in zip(range(len(at) - 1, -1, -1), items.ids[at][::-1].tolist(), strict=True)}
        lost = [name for name in names.tolist() if name not in known]
        if lost:
            raise BadData(
                f"pairs: {len(lost)} of {len(names)} name an id that {what} does not have, such as {lost[0]!r}; "
                f"{nearest(lost[0], list(known)[:20000])}"
            )
        rows.append(np.array([known[name] for name in names.tolist()], np.int64))
    label = None if "label" not in table else np.asarray(table["label"])
    split = None if "split" not in table else np.array([str(one) for one in table["split"]], np.str_)
    return rows[0], rows[1], label, split


def _of_labels(relevant: Any, given: Relation, left_rows: np.ndarray, right_rows: np.ndarray | None) -> Pairs:
    """The relation of rows of equal labels within each split; rows, by group where given, are what is split.

    The rows of Y that have a label are put into the splits that the rows of X of that label are in, in turn; where row
    i has one label on both sides, both are in one split. Between two tables the labels say the relation, and of each
    class only as many pairs are listed as name every row. Within one table, and where an item has several labels, all
    pairs are listed.
    """
    one_table, n = right_rows is None, len(left_rows)
    right_rows = left_rows if right_rows is None else right_rows
    m = len(right_rows)
    both = relevant if isinstance(relevant, tuple) and len(relevant) == 2 else (relevant, relevant)
    x, y = (_labels(one, k, side) for one, k, side in zip(both, (n, m), ("X", "Y"), strict=True))
    group = _codes(np.arange(n) if given.group is None else _rows_of("group", given.group, n))
    words = _splits(given, n)
    words = _drawn(group, given) if words is None else words
    other = words if one_table else _as_in(x, words, y)
    of_rows = Classes.of_rows(x, y)
    of_items = None if one_table else _of_items(of_rows, left_rows, right_rows)
    found: list[tuple[np.ndarray, np.ndarray, str]] = []
    for word in ("train", "validation", "test"):
        rows, others = np.flatnonzero(words == word), np.flatnonzero(other == word)
        if of_items is not None:
            i, j = of_rows.spanning(rows, others)
            first = np.unique(np.stack([left_rows[i], right_rows[j]], 1), axis=0, return_index=True)[1]
            keep = np.sort(first)
        else:
            i, j = _equal(x, y, rows, others, one_table)
            keep = np.flatnonzero(i < j) if one_table else np.arange(len(i))
        found.append((i[keep], j[keep], word))
    i, j = (np.concatenate([part[at] for part in found]) for at in (0, 1))
    if not len(i):
        raise BadData("relevant: no row of X has the label of a row of Y in its split; expected labels that rows share")
    split = np.repeat([word for *_, word in found], [len(part[0]) for part in found])
    made = Pairs.of(left_rows[i], right_rows[j], None, group[i], split, same_table=one_table)
    return replace(made, classes=of_items)


def _of_items(classes: Classes, left_rows: np.ndarray, right_rows: np.ndarray) -> Classes | None:
    """The codes of rows as codes of the items that they are; None where an item has rows of different labels."""
    sides = []
    for codes, rows in zip(classes, (left_rows, right_rows), strict=True):
        known = np.full(1 + int(rows.max(initial=-1)), -1, np.int64)
        known[rows] = codes
        if (known[rows] != codes).any():
            return None
        sides.append(known)
    return Classes(*sides)


def _labels(values: Any, n: int, side: str) -> np.ndarray:
    labels = _rows_of("relevant", values, n).tolist()
    gone = [row for row, one in enumerate(labels) if is_missing(one)]
    if gone:
        raise BadData(f"relevant: {len(gone)} of {n} labels of {side} are missing, such as in row {gone[0]}; fill them")
    return np.array([str(one) for one in labels], np.str_)


def _codes(group: np.ndarray) -> np.ndarray:
    return np.unique(np.array([str(one) for one in group.tolist()], np.str_), return_inverse=True)[1].astype(np.int64)


def _drawn(group: np.ndarray, given: Relation) -> np.ndarray:
    """A split (n,) of rows by whole groups, by the shares."""
    rows, shares = np.arange(len(group)), {"test": given.test, "validation": given.validation}
    return Pairs.of(rows, rows, None, group).split_by_group(shares, given.seed).split


def _as_in(x: np.ndarray, words: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The split (m,) of rows of labels y: the k-th of a label is where the k-th row of x of that label is, in turn."""
    order, others = np.argsort(x, kind="stable"), np.argsort(y, kind="stable")
    first, last = (np.searchsorted(x[order], y[others], side) for side in ("left", "right"))
    place = np.arange(len(y)) - np.searchsorted(y[others], y[others], "left")
    found = np.full(len(y), "train", words.dtype if words.dtype.itemsize > 20 else "<U10")
    known = last > first
    at = first[known] + place[known] % (last - first)[known]
    found[others[known]] = words[order[at]]
    return found


def _equal(
    x: np.ndarray, y: np.ndarray, rows: np.ndarray, others: np.ndarray, one_table: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of rows of x and y, among these, that have equal labels. Raises BadData beyond MOST."""
    order = others[np.argsort(y[others], kind="stable")]
    first, last = (np.searchsorted(y[order], x[rows], side) for side in ("left", "right"))
    count = last - first
    if (total := int(count.sum())) > MOST:
        raise BadData(
            f"relevant: rows of equal labels make {total:,} pairs; at most {MOST:,} are listed where "
            f"{'both sides are one table' if one_table else 'an item has several labels'}: "
            + (
                "give X as both sides: sensorium.fit(X, X, relevant=labels)"
                if one_table
                else "give each item one label"
            )
            + ", use finer labels, or fit a classification: sensorium.fit(X, labels)"
        )
    return np.repeat(rows, count), order[csr.ranges(first, count)]

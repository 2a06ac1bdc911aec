"""Which cells of the two sides go together: by row, by ids, by a table of pairs, or by a label that they share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from sensorium.datasets import _relevant
from sensorium.datasets._items import Side, ids_of
from sensorium.datasets._source import Source
from sensorium.errors import BadData, BadRecipe
from sensorium.pairs import csr
from sensorium.types import is_missing

MOST = 50_000_000  # pairs that one data set may have
#: What the columns of a table of pairs may be called; those of BEIR and TREC among them.
LEFT_NAMES = ("left", "left_id", "query-id", "query_id", "query", "qid")
RIGHT_NAMES = ("right", "right_id", "corpus-id", "corpus_id", "doc_id", "docid", "document_id")
LABEL_NAMES = ("label", "score", "relevance", "related", "rel")


class Links(NamedTuple):
    """p pairs of cells. label (p,) 0 or 1, all 1 when None; rows (p,) of the table of pairs, None without one.

    shared (p,): the label of each pair's row, None where some have none; cells of one label are related, listed or not.
    None where the listed pairs are all.
    """

    left: np.ndarray
    right: np.ndarray
    label: np.ndarray | None = None
    table: Source | None = None
    rows: np.ndarray | None = None
    shared: np.ndarray | None = None

    def take(self, which: np.ndarray) -> Links:
        """The pairs at these positions."""
        return Links(self.left[which], self.right[which], None if self.label is None else self.label[which],
                     self.table, None if self.rows is None else self.rows[which],
                     None if self.shared is None else self.shared[which])  # fmt: skip


def by_row(left: Side, right: Side) -> Links:
    """Cells of one row of one table."""
    return Links(*_match(left.cells.rows, right.cells.rows))


def by_shared_label(left: Side, right: Side, name: str) -> tuple[Links, list[str]] | None:
    """Cells of one row of one table, with the rows' labels, and notes; None where an item has several labels.

    Raises BadData for fewer than two labels.
    """
    source = left.cells.source
    source.column(name, "data.relevant")
    texts = np.array([None if v is None or not v.strip() else v for v in source.columns.texts(name).tolist()], object)
    for side in (left, right):
        of_cells = texts[side.cells.rows]
        if (of_cells != of_cells[side.first][side.code]).any():
            return None
    links = by_row(left, right)
    return links._replace(shared=texts[left.cells.rows[links.left]]), _relevant.checked(texts.tolist(), name)


def by_label(left: Side, right: Side, name: str) -> Links:
    """Cells whose rows have one label. Raises BadData for missing labels, and for more pairs than can be."""
    columns = []
    for side in (left, right):
        source = side.cells.source
        source.column(name, "data.relevant")
        texts = source.columns.texts(name)
        gone = [i for i, v in enumerate(texts.tolist()) if v is None or not v.strip()]
        if gone:
            raise BadData(f"{source.where}: the label '{name}' of {len(gone)} rows is missing ({source.rows(gone)}); "
                          "fill it in, or drop the rows")  # fmt: skip
        columns.append(texts[side.cells.rows])
    a, b = codes_of(*columns)
    return Links(*_match(a, b))


def by_ids(left: Side, right: Side, names: tuple[str | None, str | None], allow_missing: bool, repeat: bool):
    """Cells of two tables whose rows have one id, of which either table may repeat some; and notes.

    Raises BadRecipe without ids, BadData for ids that only one table has, unless ``allow_missing``, and for ids that
    both repeat, unless ``repeat``.
    """
    for side, name in zip((left, right), names, strict=True):
        if side.ids is None:
            source = side.cells.source
            raise BadRecipe(
                f"{source.where} has no ids to join it by, and rows are never joined by position; type: data.ids=COLUMN"
                f", or data.left_ids=COLUMN data.right_ids=COLUMN ({source.where} has {', '.join(source.columns)})"
                if name is None else source.missing(name))  # fmt: skip
    a, b = codes_of(left.ids, right.ids)
    only = [~np.isin(a, b), ~np.isin(b, a)]
    if only[0].all():
        raise BadData(f"{left.cells.source.where} and {right.cells.source.where} have no id in common: "
                      f"{_example(left, names[0])} on the left, {_example(right, names[1])} on the right; "
                      "convert one, or name other columns: data.left_ids= data.right_ids=")  # fmt: skip
    if not allow_missing and (only[0].any() or only[1].any()):
        said = [f"{len(np.unique(side.ids[mask]))} ids are only in {side.cells.source.where}"
                f" (such as {str(side.ids[mask][0])!r}, {side.cells.source.rows(side.cells.rows[mask])})"
                for side, mask in zip((left, right), only, strict=True) if mask.any()]  # fmt: skip
        raise BadData(f"{' and '.join(said)}; correct the ids, or drop these: data.allow_missing=true")
    if not repeat and (twice := np.intersect1d(_repeated(left, a), _repeated(right, b))).size:
        id = left.ids[np.flatnonzero(a == twice[0])[0]]
        raise BadData(f"{len(twice)} ids stand in several rows of both tables, such as {str(id)!r}; each row of one is "
                      "then related to each row of the other: correct the ids, or type: data.repeat=true")  # fmt: skip
    notes = {"ids_only_left": len(np.unique(a[only[0]])), "ids_only_right": len(np.unique(b[only[1]]))}
    return Links(*_match(a, b)), notes


def by_pairs(
    left: Side, right: Side, table: Source, names: Sequence[str | None], allow_missing: bool
) -> tuple[Links, dict[str, Any]]:
    """Cells whose ids a row of the table of pairs names, with its label; and notes.

    names: of its columns of left ids, right ids and labels, found by their usual names where None. A label above 0
    is related. Raises BadData, with rows, for pairs that name an unknown id, unless ``allow_missing``.
    """
    found = [_column_of(table, name, usual, key) for name, usual, key in zip(
        names, (LEFT_NAMES, RIGHT_NAMES, LABEL_NAMES), ("data.pairs_left", "data.pairs_right", "data.label"),
        strict=True)]  # fmt: skip
    ids = [ids_of(table, name, side) for name, side in zip(found[:2], ("left", "right"), strict=True)]
    for side in (left, right):
        if side.ids is None:
            raise BadRecipe(f"{side.cells.source.where} has no column of ids that pairs could name; type: "
                            f"data.{side.cells.side}_ids=COLUMN ({', '.join(side.cells.source.columns)})")  # fmt: skip
    (a, of_left), (b, of_right) = codes_of(ids[0], left.ids), codes_of(ids[1], right.ids)
    unknown = [~np.isin(a, of_left), ~np.isin(b, of_right)]
    if (unknown[0] | unknown[1]).any() and (not allow_missing or (unknown[0] | unknown[1]).all()):
        said = [f"{mask.sum()} name a {side.cells.side} id that is not in {side.cells.source.where}, such as "
                f"{str(one[mask][0])!r} in {table.rows(np.flatnonzero(mask))}"
                for side, mask, one in zip((left, right), unknown, ids, strict=True) if mask.any()]  # fmt: skip
        raise BadData(f"{table.where}: of {table.n} pairs, {' and '.join(said)}; correct the ids, or drop these pairs: "
                      "data.allow_missing=true")  # fmt: skip
    rows = np.flatnonzero(~(unknown[0] | unknown[1]))
    at, i = _match(a[rows], of_left)
    more, j = _match(b[rows][at], of_right)
    rows = rows[at][more]
    label = None if found[2] is None else labels(table, found[2])[rows]
    notes = {"pairs_read": table.n, "pairs_of_unknown_left": int(unknown[0].sum()),
             "pairs_of_unknown_right": int((unknown[1] & ~unknown[0]).sum())}  # fmt: skip
    return Links(i[more], j, label, table, rows), notes


def labels(source: Source, name: str) -> np.ndarray:
    """A column of labels or graded scores (n,) as 1, related, where it is above 0, else 0."""
    column = source.column(name, "data.label").tolist()
    bad = [i for i, v in enumerate(column) if is_missing(v) or not isinstance(v, (int, float))]
    if bad:
        raise BadData(f"{source.where}: the label '{name}' of {len(bad)} pairs is no number ({source.rows(bad)}); "
                      "expected 1 (related) or 0, or a score of which above 0 is related")  # fmt: skip
    return np.array([v > 0 for v in column], np.int8)


def codes_of(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Codes of two columns of texts, equal where these are."""
    known: dict[str, int] = {}
    first, second = (np.array([known.setdefault(v, len(known)) for v in x.tolist()], np.int64) for x in (a, b))
    return first, second


def _match(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions i, j (p,) of equal codes, many to many, in the order of ``a``."""
    order = np.argsort(b, kind="stable")
    first = np.searchsorted(b, a, "left", sorter=order)
    count = np.searchsorted(b, a, "right", sorter=order) - first
    if (total := int(count.sum())) > MOST:
        raise BadData(
            f"that makes {total:,} pairs; at most {MOST:,} are taken: name a column with more distinct values"
        )
    return np.repeat(np.arange(len(a)), count), order[csr.ranges(first, count)]


def _repeated(side: Side, code: np.ndarray) -> np.ndarray:
    """Codes of ids that stand in several rows."""
    rows = np.unique(np.stack([code, side.cells.rows], 1), axis=0)[:, 0]
    ids, counts = np.unique(rows, return_counts=True)
    return ids[counts > 1]


def _example(side: Side, name: str | None) -> str:
    column = side.cells.source.columns[name] if name and name in side.cells.source.columns else side.ids
    kind = "whole numbers" if column.dtype.kind in "iu" else "text"
    return f"ids are {kind} such as {str(side.ids[0])!r}"


def _column_of(table: Source, name: str | None, usual: Sequence[str], key: str) -> str | None:
    if name:
        table.column(name, key)
        return name
    found = next((one for one in usual if one in table.columns), None)
    if found is None and key != "data.label":
        raise BadRecipe(f"{table.where} has no column called {', '.join(usual[:3])}; type: {key}=COLUMN "
                        f"({', '.join(table.columns)})")  # fmt: skip
    return None if name == "" else found

"""Rules of indexes."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sensorium.errors import BadData
from sensorium.numerics import unit
from sensorium.types import Hits

_N, _D, _K = 400, 24, 10
_RECALL = 0.9


class Subject:
    """An index of 400 unit vectors of width 24 with two columns, and 20 queries."""

    def __init__(self, make: Callable[[], Any], values: Sequence[Any] | None) -> None:
        random = np.random.default_rng(0)
        self.make = make
        self.vectors = unit(random.standard_normal((_N, _D)).astype(np.float32))
        self.queries = unit(random.standard_normal((20, _D)).astype(np.float32))
        self.ids = np.array([f"item {i}" for i in range(_N)])
        self.columns = {"kind": np.array(list("abcd"))[np.arange(_N) % 4], "size": np.arange(_N)}
        make()

    def filled(self) -> Any:
        """A new index of everything, added in two parts."""
        index = self.make()
        for rows in (slice(0, 300), slice(300, None)):
            index.add(self.ids[rows], self.vectors[rows], {k: c[rows] for k, c in self.columns.items()})
        return index


def added(s: Subject) -> None:
    """Items that were added are counted, listed with their columns, and their vectors come back unchanged."""
    index = s.filled()
    assert len(index) == _N, f"{len(index)} items of {_N}"
    order = _order(index, s.ids)
    np.testing.assert_array_equal(np.asarray(index.vectors(np.arange(_N)))[order], s.vectors)
    for name, column in s.columns.items():
        np.testing.assert_array_equal(np.asarray(index.table.columns[name])[order], column, err_msg=name)


def best_first(s: Subject) -> None:
    """Hits are rows of the table with their inner products as scores, best first and none twice."""
    index = s.filled()
    hits = _searched(index, s.queries, _K)
    for query, rows, scores in zip(s.queries, hits.rows, hits.scores, strict=True):
        assert len(set(rows.tolist())) == _K, f"rows {rows.tolist()} repeat"
        np.testing.assert_allclose(scores, np.asarray(index.vectors(rows)) @ query, atol=1e-5)
        assert (np.diff(scores) <= 1e-6).all(), f"scores {scores.tolist()} are not best first"


def nearest(s: Subject) -> None:
    """At least 90% of the exact ten nearest are among the ten hits."""
    index = s.filled()
    exact = np.argsort(-(s.queries @ np.asarray(index.vectors(np.arange(_N))).T), axis=1)[:, :_K]
    hits = _searched(index, s.queries, _K)
    recall = np.mean([len(set(a) & set(b)) / _K for a, b in zip(exact.tolist(), hits.rows.tolist(), strict=True)])
    assert recall >= _RECALL, f"{100 * recall:.0f}% are"


def filtered(s: Subject) -> None:
    """Conditions on columns and excluded ids hold for every hit, and leave no place empty that could be filled."""
    index = s.filled()
    banned = s.ids[np.arange(0, 40)]
    hits = _searched(index, s.queries, _K, where={"kind": "b"}, exclude=banned)
    assert (hits.rows >= 0).all(), f"{np.count_nonzero(hits.rows < 0)} places are empty, though 90 items remain"
    rows = hits.rows.ravel()
    kinds = np.unique(np.asarray(index.table.columns["kind"])[rows])
    assert kinds.tolist() == ["b"], f"hits of kind {kinds.tolist()}, expected b"
    assert not np.isin(index.table.ids[rows], banned).any(), "an excluded id is among the hits"


def short(s: Subject) -> None:
    """Where fewer than k items remain, the other places have row -1 and score -inf; of an empty index all have."""
    index = s.make()
    index.add(s.ids[:3], s.vectors[:3], {k: c[:3] for k, c in s.columns.items()})
    hits = _searched(index, s.queries, 5)
    assert (hits.rows[:, 3:] == -1).all(), f"rows {hits.rows[0].tolist()} of 3 items"
    assert np.isneginf(hits.scores[:, 3:]).all(), f"scores {hits.scores[0].tolist()} of 3 items"
    assert (hits.rows[:, :3] >= 0).all(), f"rows {hits.rows[0].tolist()} leave out some of 3 items"
    empty = _searched(s.make(), s.queries, 2)
    assert (empty.rows == -1).all() and np.isneginf(empty.scores).all(), "an empty index answers with items"


def removed(s: Subject) -> None:
    """Removed items are counted once, found no more, and their ids may be added again."""
    index = s.filled()
    count = index.remove([*s.ids[:150], "no such item"])
    assert count == 150 and len(index) == _N - 150, f"{count} removed, {len(index)} left; expected 150 and 250"
    hits = _searched(index, s.vectors[:20], _K)
    assert not np.isin(index.table.ids[hits.rows.ravel()], s.ids[:150]).any(), "a removed item is found"
    index.add(s.ids[:1], s.vectors[:1], {k: c[:1] for k, c in s.columns.items()})
    hits = _searched(index, s.vectors[:1], 1)
    assert index.table.ids[hits.rows[0, 0]] == s.ids[0], "an item that was added again is not found"


def refused(s: Subject) -> None:
    """Vectors with NaN, of another width, or with an id that is there are refused by BadData, and nothing changes."""
    index = s.filled()
    more = {k: c[:1] for k, c in s.columns.items()}
    for what, ids, vectors in (("NaN", ["new"], np.full((1, _D), np.nan, np.float32)),
                               ("another width", ["new"], np.ones((1, _D + 1), np.float32)),
                               ("an id that is there", [s.ids[0]], s.vectors[:1])):  # fmt: skip
        try:
            index.add(ids, vectors, more)
        except BadData:
            assert len(index) == _N, f"{what} was refused, but {len(index)} items are there, {_N} before"
        else:
            raise AssertionError(f"{what} was taken")


def saved(s: Subject) -> None:
    """A saved and loaded index gives the same hits."""
    index = s.filled()
    index.remove(s.ids[:10])
    before = _named(index, _searched(index, s.queries, _K))
    with tempfile.TemporaryDirectory() as folder:
        index.save(Path(folder))
        again = type(index).load(Path(folder))
        assert len(again) == _N - 10, f"{len(again)} items after loading, {_N - 10} before"
        after = _named(again, _searched(again, s.queries, _K))
        assert before[0] == after[0], "other hits after loading"
        np.testing.assert_allclose(before[1], after[1], atol=1e-5)
        del again


def _order(index: Any, ids: np.ndarray) -> np.ndarray:
    at = {name: row for row, name in enumerate(index.table.ids.tolist())}
    return np.array([at[name] for name in ids.tolist()])


def _searched(index: Any, queries: np.ndarray, k: int, **options: Any) -> Hits:
    hits = index.search(queries, k, **options)
    for name, array in zip(("rows", "scores"), hits, strict=True):
        assert np.shape(array) == (len(queries), k), f"{name} of shape {np.shape(array)}, expected {(len(queries), k)}"
    return Hits(np.asarray(hits[0]), np.asarray(hits[1]))


def _named(index: Any, hits: Hits) -> tuple[list, np.ndarray]:
    return [index.table.ids[row].tolist() for row in hits.rows], hits.scores


RULES = (added, best_first, nearest, filtered, short, removed, refused, saved)

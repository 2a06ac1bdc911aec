"""Pairs: which left rows go with which right rows. Losses, splits and metrics read the same relation.

Rows inside, ids at the edges: :meth:`Pairs.join` turns id pairs into row pairs and reports
what it had to drop; nothing is ever paired by position.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from sensorium.errors import BadData, BadRecipe
from sensorium.pairs.classes import Classes
from sensorium.pairs.components import components
from sensorium.types import as_ids, is_missing

if TYPE_CHECKING:
    from sensorium.pairs.sets import ItemSets, Questions

SPLITS = ("train", "validation", "test")
#: What a column of splits may say, and the split that each word means.
SPLIT_WORDS = {
    "train": "train",
    "dev": "validation",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "development": "train",
    "evaluation": "test",
}


@dataclass(frozen=True)
class Relevance:
    """What each query should find, as positions into the candidates (CSR layout).

    queries (q,) and candidates (m,) are rows of their tables; query i's relevants are the
    candidate positions ``relevant[offsets[i]:offsets[i + 1]]``, at least one and sorted.
    group (q,): code of the query's group, the unit of the bootstrap.
    own (q,): the position of the query itself among the candidates, which is never a hit; -1 if absent.
    """

    queries: np.ndarray
    candidates: np.ndarray
    offsets: np.ndarray
    relevant: np.ndarray
    group: np.ndarray
    own: np.ndarray

    def counts(self) -> np.ndarray:
        """Number of relevants of each query, (q,)."""
        return np.diff(self.offsets)


@dataclass(frozen=True)
class Pairs:
    """p labelled pairs of rows.

    left, right: (p,) int64 rows. label: (p,) int8, 1 related or 0 known to be unrelated.
    group: (p,) int64 codes; pairs of one group never stand in two splits.
    split: (p,) "train", "validation", "test", or "" where not assigned yet.
    same_table: both sides are rows of one table; a relation then holds in both directions.
    group_names: text of each group code, when known.
    sets, questions: within one table, the sets that the pairs come from, such as outfits, and fill-in-the-blank
        questions; :meth:`where` and :meth:`take` leave them whole.
    classes: between two tables, labels of all rows. Rows of one split that have the same label are then related, listed
        or not; the listed pairs say which rows a split has, and their groups. :meth:`where` and :meth:`take` leave
        them whole.
    """

    left: np.ndarray
    right: np.ndarray
    label: np.ndarray
    group: np.ndarray
    split: np.ndarray
    same_table: bool = False
    group_names: np.ndarray | None = None
    sets: ItemSets | None = None
    questions: Questions | None = None
    classes: Classes | None = None

    def __len__(self) -> int:
        return len(self.left)

    @classmethod
    def of(
        cls,
        left: np.ndarray,
        right: np.ndarray,
        label: np.ndarray | None = None,
        group: np.ndarray | None = None,
        split: np.ndarray | None = None,
        same_table: bool = False,
    ) -> Pairs:
        """Pairs from rows; label defaults to 1, group to the connected component of the pair.

        With the default group no item, on either side, can stand in two splits.
        group may hold any text or integers; pairs whose group is missing (None, NaN, NaT or empty text) are in
        no group that is named: connected ones share one, and a warning counts them. split accepts dev, val,
        valid, development and evaluation as other words for validation, train and test.

        Raises BadData on unequal lengths, labels other than 0/1, or an unknown split word.
        """
        left, right = np.asarray(left, np.int64), np.asarray(right, np.int64)
        p = len(left)
        label = np.ones(p, np.int8) if label is None else np.asarray(label)
        if label.dtype.kind not in "iub" or not np.isin(label, (0, 1)).all():
            raise BadData("pair labels must be 1 (related) or 0 (unrelated)")
        if group is None:
            codes, group_names = components_of(left, right, same_table), None
        else:
            codes, group_names = _groups(group, left, right, same_table)
        split = np.full(p, "", "<U10") if split is None else _split_words(split)
        for name, column in (("right", right), ("label", label), ("group", codes), ("split", split)):
            if len(column) != p:
                raise BadData(f"pairs: {len(column)} values in '{name}' for {p} in 'left'")
        return cls(left, right, label.astype(np.int8), codes.astype(np.int64), split, same_table, group_names)

    @classmethod
    def join(
        cls,
        left_ids: np.ndarray,
        right_ids: np.ndarray,
        pair_left: Sequence[Any],
        pair_right: Sequence[Any],
        *,
        same_table: bool = False,
        allow_missing: bool = False,
        **columns: Any,
    ) -> tuple[Pairs, dict[str, int]]:
        """Join id pairs to the rows of two tables.

        Returns the pairs and a report: pairs read, retained, and how many were dropped for an
        unknown left id, an unknown right id, being repeated, or joining an item with itself.
        Raises BadData naming the count and three examples when ids are unknown, unless
        ``allow_missing``; and always when nothing is left.
        """
        pair_left, pair_right = as_ids(pair_left), as_ids(pair_right)
        left, left_ok = rows_of(pair_left, left_ids)
        right, right_ok = rows_of(pair_right, right_ids)
        if not allow_missing:
            for side, ok, names in (("left", left_ok, pair_left), ("right", right_ok, pair_right)):
                if not ok.all():
                    some = ", ".join(map(repr, np.unique(names[~ok])[:3].tolist()))
                    raise BadData(
                        f"pairs: {np.count_nonzero(~ok)} of {len(ok)} name a {side} id that is not in the "
                        f"{side} items, such as {some}; correct the ids, or type: data.allow_missing=true"
                    )
        known = left_ok & right_ok
        keep = known & (left != right) if same_table else known  # an item is not paired with itself
        keys = np.stack([left, right], 1)
        _, first = np.unique(keys[keep], axis=0, return_index=True)
        chosen = np.flatnonzero(keep)[np.sort(first)]
        report = {
            "pairs_read": len(pair_left),
            "pairs_kept": len(chosen),
            "dropped_unknown_left": int(np.count_nonzero(~left_ok)),
            "dropped_unknown_right": int(np.count_nonzero(left_ok & ~right_ok)),
            "dropped_repeated": int(np.count_nonzero(keep) - len(chosen)),
            "dropped_self": int(np.count_nonzero(known) - np.count_nonzero(keep)),
        }
        if not len(chosen):
            raise BadData(f"pairs: none of {len(pair_left)} pairs joins a left id to a right id")
        columns = {name: None if c is None else np.asarray(c)[chosen] for name, c in columns.items()}
        return cls.of(left[chosen], right[chosen], same_table=same_table, **columns), report

    def where(self, split: str | None = None, label: int | None = None) -> Pairs:
        """The pairs of one split and/or one label, same row numbering."""
        keep = np.ones(len(self), bool)
        if split is not None:
            keep &= self.split == split
        if label is not None:
            keep &= self.label == label
        return self.take(np.flatnonzero(keep))

    def take(self, which: np.ndarray) -> Pairs:
        """The pairs at positions ``which``."""
        return replace(
            self,
            left=self.left[which],
            right=self.right[which],
            label=self.label[which],
            group=self.group[which],
            split=self.split[which],
        )

    def split_by_group(self, fractions: Mapping[str, float], seed: int = 0) -> Pairs:
        """Assign whole groups to splits at random.

        fractions: share of groups, one at least, or absolute number of groups when > 1, for
        "validation" and "test"; the rest trains. Raises BadData where there are none, BadRecipe when nothing would be
        left to train on.
        """
        groups = np.unique(self.group)
        if not len(groups):
            raise BadData("the data have no pairs, so nothing can be fitted or evaluated; expected some rows that are "
                          "related")  # fmt: skip
        order = np.random.default_rng(seed).permutation(groups)
        assigned = np.full(int(groups.max()) + 1 if len(groups) else 1, "train", "<U10")
        start = 0
        for name in ("test", "validation"):
            count = _groups_of(fractions.get(name, 0), len(groups))
            assigned[order[start : start + count]] = name
            start += count
        if start >= len(groups):
            raise BadRecipe(
                f"{start} groups requested for validation and test, but there "
                f"{'is only 1 group' if len(groups) == 1 else f'are only {len(groups)} groups'} of items that "
                "must stay in one split; name other groups by data.group (data.group=row: each item its "
                "own, where the data set takes it), or hold out less: data.validation=0"
            )
        return self._with(lambda one: assigned[one.group])

    def fold(self, number: int, folds: int, seed: int = 0) -> Pairs:
        """One of several folds of whole groups, drawn at random: ``number``, from 1, tests, and the next validates.

        The last fold is validated by the first, so that each group is tested once and validates once. Raises BadRecipe
        for fewer groups than folds.
        """
        groups = np.unique(self.group)
        if len(groups) < folds:
            raise BadRecipe(f"{folds} folds need {folds} groups of items that must stay in one split, but there are "
                            f"{len(groups)}; type: data.folds={max(3, len(groups))}, or data.group=COLUMN")  # fmt: skip
        parts = np.array_split(np.random.default_rng(seed).permutation(groups), folds)
        test, validation = parts[number - 1], parts[number % folds]
        return self._with(
            lambda one: np.where(
                np.isin(one.group, test), "test", np.where(np.isin(one.group, validation), "validation", "train")
            ).astype("<U10")
        )

    def hold_out(self, name: str, fraction: float, seed: int = 0) -> Pairs:
        """Move a share of the training groups, or a number above 1 of them, into the split ``name``.

        Raises BadData or BadRecipe when no group would be left to train on.
        """
        train = np.unique(self.group[self.split == "train"])
        if len(train) < 2:
            raise BadData(f"cannot hold out a {name} split: {len(train)} training groups, at least 2 needed")
        count = max(1, _groups_of(fraction, len(train)))
        if count >= len(train):
            raise BadRecipe(f"{count} groups requested for {name}, but there are only {len(train)} training groups")
        chosen = np.random.default_rng(seed).permutation(train)[:count]
        return self._with(lambda one: np.where((one.split == "train") & np.isin(one.group, chosen), name, one.split))

    def _with(self, split: Callable[[Any], np.ndarray]) -> Pairs:
        """The pairs, sets and questions with new splits; split: of any of them, by its groups."""
        sets, questions = (
            None if one is None else replace(one, split=split(one)) for one in (self.sets, self.questions)
        )
        return replace(self, split=split(self), sets=sets, questions=questions)

    def relevance(self, direction: str, split: str | None = None, among: np.ndarray | None = None) -> Relevance:
        """Queries, candidates and relevants of one direction: "left->right" or "right->left".

        Queries are the rows with at least one relevant candidate in the split; candidates are all
        rows of the other side that the split names, related or not, and those of ``among``, such as
        classes that the split happens to lack. Within one table a relation counts both ways, every
        row of the split is a candidate, and ``own`` marks the query itself.
        """
        if direction not in ("left->right", "right->left"):
            raise BadRecipe(f"direction '{direction}'; expected 'left->right' or 'right->left'")
        chosen = self if split is None else self.where(split)
        query, other, group, label = chosen.left, chosen.right, chosen.group, chosen.label
        if self.same_table:
            query, other = np.concatenate([query, other]), np.concatenate([other, query])
            group, label = np.tile(group, 2), np.tile(label, 2)
        elif direction == "right->left":
            query, other = other, query
        candidates, position = np.unique(other, return_inverse=True)
        if among is not None:
            candidates = np.union1d(candidates, among)
            position = np.searchsorted(candidates, other)
        related = label == 1
        if self.classes is not None:
            queries, first = np.unique(query[related], return_index=True)
            found = self.classes.relevants(queries, candidates, direction, split)
            there = np.flatnonzero(found.counts)
            found = found.take(there)
            own = np.full(len(there), -1, np.int64)
            return Relevance(queries[there], candidates, *found, group[related][first][there], own)
        edges, first = np.unique(np.stack([query[related], position[related]], 1), axis=0, return_index=True)
        queries, starts = np.unique(edges[:, 0], return_index=True)
        own = np.full(len(queries), -1, np.int64)
        if self.same_table:
            at = np.searchsorted(candidates, queries)
            own = np.where(candidates[np.minimum(at, len(candidates) - 1)] == queries, at, -1)
        return Relevance(
            queries,
            candidates,
            np.append(starts, len(edges)).astype(np.int64),
            edges[:, 1].astype(np.int64),
            group[related][first][starts],
            own,
        )


def rows_of(names: np.ndarray, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Row of each of ``names`` in ``ids`` (0 where unknown) and whether it is known, both (len(names),)."""
    if not len(ids):
        return np.zeros(len(names), np.int64), np.zeros(len(names), bool)
    order = np.argsort(ids, kind="stable")
    at = np.minimum(np.searchsorted(ids, names, sorter=order), len(ids) - 1)
    rows = order[at]
    known = ids[rows] == names
    return np.where(known, rows, 0).astype(np.int64), known


def _groups_of(share: float, n: int) -> int:
    """How many of n groups a share means, one at least; or an absolute number, above 1."""
    return int(share) if share > 1 else max(share > 0, round(share * n))


def _groups(group: Any, left: np.ndarray, right: np.ndarray, same_table: bool) -> tuple[np.ndarray, np.ndarray]:
    """Codes (p,) and names of given groups; missing ones become the connected components of their pairs."""
    if isinstance(group, np.ma.MaskedArray) or not isinstance(group, np.ndarray):
        group = group.tolist() if isinstance(group, np.ma.MaskedArray) else list(group)
        array = np.empty(len(group), object)
        array[:] = group
    else:
        array = group
    if array.dtype.kind in "iub":
        names, codes = np.unique(array, return_inverse=True)
        return codes, names.astype(np.str_)
    values = list(array) if array.dtype.kind in "Mm" else array.tolist()
    absent = np.array([is_missing(v) or v == "" for v in values], bool)
    named = np.array([v for v, gap in zip(values, absent.tolist(), strict=True) if not gap])
    names, codes = np.unique(named.astype(np.str_) if len(named) else np.zeros(0, np.str_), return_inverse=True)
    if not absent.any() or len(absent) != len(left):
        return codes if not absent.any() else np.zeros(len(absent), np.int64), names
    warnings.warn(
        f"{np.count_nonzero(absent)} of {len(absent)} pairs have no group (null, NaN or empty); they are not put "
        "together: only those that share an item are one group",
        stacklevel=3,
    )
    own = np.unique(components_of(left[absent], right[absent], same_table), return_inverse=True)[1]
    merged = np.empty(len(absent), np.int64)
    merged[~absent], merged[absent] = codes, len(names) + own
    return merged, np.concatenate([names, np.array([f"(no group {i + 1})" for i in range(int(own.max()) + 1)])])


def _split_words(split: Any) -> np.ndarray:
    words, codes = np.unique(np.asarray(split).astype(np.str_), return_inverse=True)
    unknown = [w for w in words.tolist() if w and w.lower() not in SPLIT_WORDS]
    if unknown:
        raise BadData(f"split value {unknown[0]!r}; expected train, dev|validation or test")
    return np.array([SPLIT_WORDS.get(w.lower(), "") for w in words.tolist()], "<U10")[codes]


def components_of(left: np.ndarray, right: np.ndarray, same_table: bool) -> np.ndarray:
    """Code of every pair's connected component, (p,) int64, in order of each component's first left row."""
    if not len(left):
        return np.zeros(0, np.int64)
    a, b = left, right if same_table else right + int(left.max()) + 1
    label = components(int(max(a.max(), b.max())) + 1, a, b)
    return np.unique(label[a], return_inverse=True)[1].astype(np.int64)

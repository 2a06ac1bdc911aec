"""A drop list, ``data.drop=FILE``: pairs and items that any data set leaves out, such as those of the doctor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from sensorium import formats
from sensorium.contracts import Dataset
from sensorium.errors import BadData, BadRecipe, nearest
from sensorium.pairs import Pairs, csr
from sensorium.pairs.pairs import rows_of
from sensorium.pairs.sets import ItemSets, Questions
from sensorium.types import SIDES, Data, Items, TableColumns, is_missing

COLUMNS = (*SIDES, "id")
_NAMED = 3  # ids that a message names


@dataclass(frozen=True)
class DropList:
    """What to leave out: ids left (n,) and right (n,), one of them "" where a row names an item; ids of either side."""

    path: Path
    left: np.ndarray
    right: np.ndarray
    either: np.ndarray

    @classmethod
    def read(cls, path: str | Path) -> DropList:
        """A table of the columns ``left`` and ``right``, or ``id``; a .txt file has an id a line.

        A row with both is a pair: the pair is left out, its items stay. A row with one of them is an item of that side.
        An ``id`` is an item of whichever side has it; in a table that has them too, it is read where both are empty.
        Further columns are for people. Raises BadRecipe for a file or columns that are not there, BadData for a row
        that names nothing.
        """
        where = Path(path).expanduser()
        if not where.is_file():
            raise BadRecipe(
                f"data.drop={path}: no such file; to write one type: sensorium doctor RUN --pairs --out FILE"
            )
        if where.suffix == ".txt":
            lines = where.read_text("utf-8").splitlines()
            found = {"id": np.array([line.strip() for line in lines if line.strip()], np.str_)}
        else:
            table = formats.read(where)
            found = {name: _texts(table, name) for name in COLUMNS if name in table}
            if not found:
                raise BadRecipe(f"data.drop={path} has no column left, right or id; {nearest('left', table)}")
        n = len(next(iter(found.values())))
        left, right, either = (found.get(name, np.full(n, "", np.str_)) for name in COLUMNS)
        if empty := np.flatnonzero((left == "") & (right == "") & (either == "")).tolist():
            raise BadData(f"data.drop={path}: {len(empty)} of {n} rows name no item, such as row {empty[0] + 1}; "
                          "expected the ids left and right of a pair, or one id")  # fmt: skip
        one = (left != "") | (right != "")
        return cls(where, left[one], right[one], either[~one])

    def rows(self) -> list[dict[str, str]]:
        """What the list names, as rows of the columns left, right and id."""
        one = [{"left": a, "right": b} for a, b in zip(self.left.tolist(), self.right.tolist(), strict=True)]
        return one + [{"id": name} for name in self.either.tolist()]

    def apply(self, data: Data) -> Data:
        """The data without what the list names; notes say how much.

        Raises BadData, with counts and examples, for ids and pairs that the data do not have, and where nothing is
        left.
        """
        tied = data.right is None
        ids = data.left.ids, (data.left if tied else data.right).ids
        rows, known = zip(
            *(rows_of(names, of) for names, of in zip((self.left, self.right), ids, strict=True)), strict=True
        )
        either = [rows_of(self.either, of) for of in ids]
        lost = [self.left[(self.left != "") & ~known[0]], self.right[(self.right != "") & ~known[1]],
                self.either[~(either[0][1] | either[1][1])]]  # fmt: skip
        self._check("ids", np.unique(np.concatenate(lost)), len(self.left) + len(self.either))
        alone = self.right == "", self.left == ""
        gone = [np.union1d(at[one], of[ok]) for at, one, (of, ok) in zip(rows, alone, either, strict=True)]
        if tied:
            gone = [np.union1d(*gone)] * 2
        both = (self.left != "") & (self.right != "")
        pairs, missing, cut = _without_pairs(data.pairs, rows[0][both], rows[1][both])
        named = [f"{a} ~ {b}" for a, b in zip(self.left[both][missing], self.right[both][missing], strict=True)]
        self._check("pairs", np.array(named, np.str_), int(both.sum()))
        kept = [np.setdiff1d(np.arange(len(of)), at) for of, at in zip(ids, gone, strict=True)]
        if any(map(len, gone)):
            pairs = _of_rows(pairs, *kept)
        if not (pairs.label == 1).any():
            raise BadData(f"data.drop={self.path}: nothing is left of {len(data.pairs)} pairs; list fewer")
        sides = {
            side: _items(items, rows) for side, items, rows in zip(SIDES, (data.left, data.right), kept, strict=True)
        }
        count = {"pairs": cut, **{side: len(at) for side, at in zip(SIDES[: 2 - tied], gone, strict=False)}}
        return Data(**sides, pairs=pairs, notes=_notes(data, self.path, count, len(data.pairs) - len(pairs)))

    def _check(self, what: str, lost: np.ndarray, n: int) -> None:
        if len(lost):
            some = ", ".join(map(repr, lost[:_NAMED].tolist()))
            raise BadData(f"data.drop={self.path}: {len(lost)} of {n} {what} are not in the data, such as {some}; "
                          "correct the list, or make it anew: sensorium doctor RUN --pairs --out FILE")  # fmt: skip


class Without(Dataset):
    """A data set less what a drop list names; everything else is the data set's own.

    of: the data set. drop: the file.
    """

    def __init__(self, of: Dataset, drop: str) -> None:
        self.of, self.drop, self.asks_encoder = of, drop, of.asks_encoder

    def load(self) -> Data:
        """The data set's items and pairs, less the list's. Raises what both do, the list's own faults first."""
        listed = DropList.read(self.drop)
        self.of.stores, self.of.progress, self.of.encoder = self.stores, self.progress, self.encoder
        return listed.apply(self.of.load())

    def obtain(self) -> list[Path]:
        """As the data set's."""
        return self.of.obtain()

    def columns_of(self, names: Sequence[str]) -> TableColumns | None:
        """As the data set's."""
        return self.of.columns_of(names)

    def filled(self, side: str, items: Items) -> Items:
        """As the data set's."""
        return self.of.filled(side, items)

    def folds(self) -> int:
        """As the data set's."""
        return self.of.folds()


def _texts(table: formats.Columns, name: str) -> np.ndarray:
    """A column of ids as they are written, "" where one is missing."""
    return np.array(["" if is_missing(value) else str(value).strip() for value in table.texts(name)], np.str_)


def _without_pairs(pairs: Pairs, left: np.ndarray, right: np.ndarray) -> tuple[Pairs, np.ndarray, int]:
    """The pairs less those of these rows, which of the rows (n,) are no pair, and how many pairs went.

    Raises BadData for pairs of sets of items.
    """
    if not len(left):
        return pairs, np.zeros(0, bool), 0
    if pairs.sets is not None:
        raise BadData(f"data.drop: {len(left)} rows name pairs, but these data are sets of items, such as outfits; "
                      "name items: leave one of the columns left and right empty")  # fmt: skip
    width = 1 + int(max(pairs.right.max(initial=0), pairs.left.max(initial=0), right.max(), left.max()))

    def keys(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        low, high = (np.minimum(a, b), np.maximum(a, b)) if pairs.same_table else (a, b)
        return low * width + high

    there, listed = keys(pairs.left, pairs.right), keys(left, right)
    gone = np.isin(there, listed)
    return pairs.take(np.flatnonzero(~gone)), ~np.isin(listed, there), int(gone.sum())


def _of_rows(pairs: Pairs, left: np.ndarray, right: np.ndarray) -> Pairs:
    """The pairs, sets and questions of the items that stay, with rows counted anew."""
    keep = np.flatnonzero(np.isin(pairs.left, left) & np.isin(pairs.right, right))
    pairs = pairs.take(keep)
    classes = None if pairs.classes is None else pairs.classes.take(left, right)
    rows = {"left": np.searchsorted(left, pairs.left), "right": np.searchsorted(right, pairs.right)}
    sets, questions = _sets(pairs.sets, left), _questions(pairs.questions, left)
    return replace(pairs, **rows, classes=classes, sets=sets, questions=questions)


def _sets(sets: ItemSets | None, rows: np.ndarray) -> ItemSets | None:
    """Sets of the items that stay; those of which one item or none is left go."""
    if sets is None:
        return None
    stays = np.isin(sets.items.values, rows)
    counts = np.bincount(np.repeat(np.arange(len(sets)), sets.items.counts)[stays], minlength=len(sets))
    items = csr.Ragged(csr.offsets_of(counts), np.searchsorted(rows, sets.items.values[stays]))
    return replace(sets, items=items).take(np.flatnonzero((counts > 1) | (counts == sets.items.counts)))


def _questions(asked: Questions | None, rows: np.ndarray) -> Questions | None:
    """Questions all of whose items stay."""
    if asked is None:
        return None
    lost = ~np.isin(asked.context.values, rows)
    owner = np.repeat(np.arange(len(asked)), asked.context.counts)
    whole = np.isin(asked.answers, rows).all(axis=1) & (np.bincount(owner[lost], minlength=len(asked)) == 0)
    asked = asked.take(np.flatnonzero(whole))
    context = csr.Ragged(asked.context.offsets, np.searchsorted(rows, asked.context.values))
    return replace(asked, context=context, answers=np.searchsorted(rows, asked.answers))


def _items(items: Items | None, rows: np.ndarray) -> Items | None:
    """Some rows of a side; the side itself where these are all."""
    if items is None or len(rows) == len(items):
        return items
    of = items.values
    values = of[rows] if isinstance(of, np.ndarray) or items.kind == "vector" else [of[row] for row in rows.tolist()]
    return replace(items, ids=items.ids[rows], values=values, meta={k: c[rows] for k, c in items.meta.items()},
                   searchable=None if items.searchable is None else items.searchable[rows])  # fmt: skip


def _notes(data: Data, path: Path, count: dict[str, int], went: int) -> dict[str, Any]:
    named = {"pairs": "pairs", "left": f"{data.left.name or 'left'} items",
             "right": f"{(data.right or data.left).name or 'right'} items"}  # fmt: skip
    listed = [f"{n:,} {named[what]}" for what, n in count.items() if n]
    said = f"data.drop={path} leaves out {' and '.join(listed)}: {went:,} of {len(data.pairs):,} pairs in all"
    return {**data.notes, "dropped": {**count, "pairs_in_all": went}, "said": [*data.notes.get("said", []), said]}

"""Labels as pairs, ``data.labels=FILE``: what people said of hits joins the pairs of any data set of pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from sensorium import formats
from sensorium.contracts import Dataset
from sensorium.errors import BadData, BadRecipe, nearest
from sensorium.pairs import Pairs
from sensorium.pairs.components import components
from sensorium.pairs.pairs import rows_of
from sensorium.types import Data, TableColumns

COLUMNS = ("side", "query", "to", "item", "label")


class Labelled(Dataset):
    """A data set and labelled pairs of its items; everything else is the data set's own.

    of: the data set. labels: a table as ``sensorium labels RUN --out labels.csv`` writes it.
    """

    def __init__(self, of: Dataset, labels: str) -> None:
        self.of, self.labels, self.asks_encoder = of, labels, of.asks_encoder

    def load(self) -> Data:
        """The data set's items, and its pairs with the labelled ones. Raises what both do."""
        table = _read(self.labels)
        self.of.stores, self.of.progress, self.of.encoder = self.stores, self.progress, self.encoder
        return joined(self.of.load(), table, self.labels)

    def obtain(self) -> list[Path]:
        """As the data set's."""
        return self.of.obtain()

    def columns_of(self, names: Sequence[str]) -> TableColumns | None:
        """As the data set's."""
        return self.of.columns_of(names)


def _read(path: str) -> dict[str, np.ndarray]:
    where = Path(path).expanduser()
    if not where.is_file():
        raise BadRecipe(f"data.labels={path}: no such file; to write one type: sensorium labels RUN --out labels.csv")
    table = formats.read(where)
    for name in COLUMNS:
        if name not in table:
            raise BadRecipe(f"data.labels={path} has no column '{name}'; {nearest(name, table)}")
    return {name: np.array(["" if value is None else str(value).strip() for value in np.asarray(table[name]).tolist()])
            for name in COLUMNS}  # fmt: skip


def joined(data: Data, table: dict[str, np.ndarray], path: str) -> Data:
    """The data with the labelled pairs: label 1 is related, 0 known to be unrelated.

    Left out, and counted in a note: rows whose query is no item, whose annotators disagree evenly, or that join two
    items of one side of two; and rows that would join items of different splits. Where the data bring no splits,
    groups that a label joins become one group. Raises BadData, with counts and examples, for ids that are not there.
    """
    pairs, tied = data.pairs, data.right is None
    if pairs.sets is not None or pairs.classes is not None:
        raise BadData(f"data.labels={path}: these data are sets or classes of items, which take no pairs of their own")
    ids = {"left": data.left.ids, "right": (data.left if data.right is None else data.right).ids}
    asks, finds, label = table["side"], table["to"], np.array([value.partition(".")[0] for value in table["label"]])
    usable = (table["query"] != "") & np.isin(label, ("0", "1")) & (tied | (asks != finds))
    turned = asks == "right"
    left_ids = np.where(turned, table["item"], table["query"])[usable]
    right_ids = np.where(turned, table["query"], table["item"])[usable]
    (left, left_known), (right, right_known) = rows_of(left_ids, ids["left"]), rows_of(right_ids, ids["right"])
    lost = np.unique(np.concatenate([left_ids[~left_known], right_ids[~right_known]]))
    if len(lost):
        some = ", ".join(map(repr, lost[:3].tolist()))
        raise BadData(f"data.labels={path}: {len(lost)} ids are not in the data, such as {some}; take those rows out")
    keep = left != right if tied else np.ones(len(left), bool)
    known = set(zip(pairs.left.tolist(), pairs.right.tolist(), strict=True))
    keep &= np.array([pair not in known for pair in zip(left.tolist(), right.tolist(), strict=True)], bool)
    left, right, values = left[keep], right[keep], label[usable][keep].astype(np.int8)
    split = _splits(pairs, left, right, tied, len(ids["left"]))
    there = split != "-"
    left, right, values, split = left[there], right[there], values[there], split[there]
    whole = replace(
        pairs,
        group_names=None,  # groups may be joined, and new ones have no names
        left=np.concatenate([pairs.left, left]), right=np.concatenate([pairs.right, right]),
        label=np.concatenate([pairs.label, values]),
        split=np.concatenate([pairs.split, split]).astype("<U10"),
        group=_groups(pairs, left, right, tied, len(ids["left"])),
    )  # fmt: skip
    said = (f"data.labels={path} adds {len(left):,} pairs, {int((values == 0).sum()):,} of them unrelated; "
            f"{len(label) - len(left):,} rows left out")  # fmt: skip
    notes = {**data.notes, "labels": len(left), "said": [*data.notes.get("said", []), said]}
    return replace(data, pairs=whole, notes=notes)


def _splits(pairs: Pairs, left: np.ndarray, right: np.ndarray, tied: bool, n: int) -> np.ndarray:
    """The split of each new pair: that of its items, train where they have none; "-" where they are of two."""
    if not (pairs.split != "").any():
        return np.full(len(left), "", "<U10")
    offset = 0 if tied else n
    of: dict[int, str] = {}
    for a, b, split in zip(pairs.left.tolist(), (pairs.right + offset).tolist(), pairs.split.tolist(), strict=True):
        of[a] = of[b] = split
    found = [{of.get(a), of.get(b)} - {None} for a, b in zip(left.tolist(), (right + offset).tolist(), strict=True)]
    return np.array(["-" if len(one) > 1 else next(iter(one), "train") for one in found], "<U10")


def _groups(pairs: Pairs, left: np.ndarray, right: np.ndarray, tied: bool, n: int) -> np.ndarray:
    """Group codes of all pairs, (p + new,), where groups that share an item of a new pair are one group."""
    offset, codes = 0 if tied else n, {}
    for a, b, group in zip(pairs.left.tolist(), (pairs.right + offset).tolist(), pairs.group.tolist(), strict=True):
        codes[a] = codes[b] = group
    free, first, second = int(pairs.group.max(initial=-1)) + 1, [], []
    for a, b in zip(left.tolist(), (right + offset).tolist(), strict=True):
        for item in (a, b):
            if item not in codes:
                codes[item], free = free, free + 1
        first.append(codes[a])
        second.append(codes[b])
    merged = components(free, np.array(first, np.int64), np.array(second, np.int64))
    return np.concatenate([merged[pairs.group], merged[np.array(first, np.int64)]]).astype(np.int64)

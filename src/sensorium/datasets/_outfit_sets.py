"""From lists of ids to outfits, questions and pairs of one table: joined by id, split, and grouped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from sensorium.datasets._outfit_lists import Lists
from sensorium.errors import BadData
from sensorium.pairs import csr
from sensorium.pairs.components import components
from sensorium.pairs.csr import Ragged

_BITS = {"train": 1, "validation": 2, "test": 4}
_ALONE = 0.5  # share of the outfits that one connected component may have, for splits by component


@dataclass(frozen=True, eq=False)
class Known:
    """The items that lists are joined to. rows: row of each id. left_out: ids of items that were left out."""

    rows: Mapping[str, int]
    left_out: frozenset[str]
    where: str

    @property
    def n(self) -> int:
        """Number of items."""
        return len(self.rows)


class Joined(NamedTuple):
    """Lists as rows of the table. whole (o,): whether every id of the list is there."""

    lists: Lists
    items: Ragged
    whole: np.ndarray

    def take(self, which: np.ndarray) -> Joined:
        """Those at these positions."""
        return Joined(self.lists.take(which), self.items.take(which), self.whole[which])


def joined(lists: Lists, known: Known, allow_missing: bool, notes: dict[str, Any], what: str) -> Joined:
    """Lists joined to the items by id; ids that are not there are left out and counted in the notes.

    Raises BadData, with the count and rows, for ids of no item, unless ``allow_missing``.
    """
    rows = np.array([known.rows.get(id, -1) for id in lists.ids], np.int64)
    gone = np.flatnonzero(rows < 0)
    if gone.size:
        lost = np.array([i for i in gone.tolist() if lists.ids[i] not in known.left_out], np.int64)
        if lost.size:
            text = (f"{what}: {len(lost)} of {len(rows)} ids are not in {known.where}, such as "
                    f"'{lists.ids[lost[0]]}' ({lists.place(lost)})")  # fmt: skip
            if not allow_missing or len(gone) == len(rows):
                raise BadData(f"{text}; correct the ids, or leave these out: data.allow_missing=true")
            notes |= {f"{what}_unknown_ids": len(lost), f"{what}_unknown_ids_such_as": text}
        if len(lost) < len(gone):
            notes[f"{what}_ids_of_items_left_out"] = len(gone) - len(lost)
    owner = lists.owners()
    whole = np.bincount(owner[rows < 0], minlength=len(lists)) == 0
    keep = rows >= 0
    counts = np.bincount(owner[keep], minlength=len(lists))
    return Joined(lists, Ragged(csr.offsets_of(counts), rows[keep]), whole)


def as_outfits(one: Joined, notes: dict[str, Any], what: str) -> Joined:
    """Outfits of two different items or more; repeated items, and outfits of one item, are counted in the notes."""
    n = len(one.lists)
    owner = np.repeat(np.arange(n), one.items.counts)
    keys = owner * (int(one.items.values.max(initial=0)) + 1) + one.items.values
    first = np.sort(np.unique(keys, return_index=True)[1])
    if len(first) < len(keys):
        notes[f"{what}_items_named_twice"] = len(keys) - len(first)
    items = Ragged(csr.offsets_of(np.bincount(owner[first], minlength=n)), one.items.values[first])
    short = np.flatnonzero(items.counts < 2)
    if short.size:
        places = one.lists.place(one.lists.offsets[:-1][short[np.diff(one.lists.offsets)[short] > 0]])
        notes |= {f"{what}_of_one_item": len(short), f"{what}_of_one_item_such_as": places}
    return Joined(one.lists, items, one.whole).take(np.flatnonzero(items.counts > 1))


def with_splits(parts: dict[str, Joined | None], of_items: np.ndarray | None, n: int, notes: dict[str, Any]):
    """The same with a split for each list, where some of them bring one; else with none.

    A list without a split takes that of its items: of the table's own column, ``of_items`` (n,), where no list brings
    one. Raises BadData for lists whose items stand in several splits.
    """
    brought = [one for one in parts.values() if one is not None and (one.lists.split != "").any()]
    bits = np.zeros(n, np.int64)
    for one in brought:
        for split, bit in _BITS.items():
            rows = one.items.take(np.flatnonzero((one.lists.split == split) & (one.lists.label == 1))).values
            bits[rows] |= bit
    if not brought and of_items is not None:
        bits = np.array([_BITS.get(word, 0) for word in of_items.tolist()], np.int64)
    if not bits.any():
        notes["split"] = "drawn"
        return parts
    notes["split"] = "given" if brought else "of the items"
    shared = int(np.count_nonzero(bits & (bits - 1)))
    if shared:
        notes["items_in_several_splits"] = shared
    return {what: None if one is None else _inherited(one, bits, what) for what, one in parts.items()}


def _inherited(one: Joined, bits: np.ndarray, what: str) -> Joined:
    open_ones = np.flatnonzero(one.lists.split == "")
    if not open_ones.size:
        return one
    items = one.items.take(open_ones)
    of_item = np.where(bits[items.values] == 0, 7, bits[items.values])
    common = np.full(len(open_ones), 7, np.int64)
    np.bitwise_and.at(common, np.repeat(np.arange(len(open_ones)), items.counts), of_item)
    common[common == 7] = 1  # of new items alone: to train on
    words = {bit: split for split, bit in _BITS.items()}
    found = [words.get(bit, "") for bit in common.tolist()]
    if bad := [at for at, word in zip(open_ones.tolist(), found, strict=True) if not word]:
        place = one.lists.place(one.lists.offsets[:-1][bad])
        raise BadData(f"{len(bad)} of {len(one.lists)} {what} have no split, and their items stand in several "
                      f"({place}); say theirs in a column 'split', or draw new splits: data.split=\"\"")  # fmt: skip
    split = one.lists.split.copy()
    split[open_ones] = found
    return one._replace(lists=replace(one.lists, split=split))


def groups(n: int, outfits: Ragged, pairs: np.ndarray, by: str, notes: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Group of each outfit (o,) and, of what is in no outfit, of each item (n,), for splits that are to be drawn.

    pairs (p, 2): related ones beside the outfits. by: "item": outfits and pairs that share an item are one group;
    "outfit": each outfit is a group; "auto": by item, but by outfit where fewer than three groups would be left, or
    one of them would hold half of all.
    """
    first = np.repeat(outfits.values[outfits.offsets[:-1]], outfits.counts)
    label = components(n, np.concatenate([first, pairs[:, 0]]), np.concatenate([outfits.values, pairs[:, 1]]))
    own = outfits.values[outfits.offsets[:-1]]
    members = label[own] if len(own) else label[pairs[:, 0]]
    _, counts = np.unique(members, return_counts=True)
    if by == "item" or (by == "auto" and len(counts) >= 3 and counts.max() <= _ALONE * len(members)):
        notes |= {"group": "by shared items", "groups": len(counts)}
        return label[own], label
    notes |= {"group": "by outfit", "groups": len(own) or len(np.unique(pairs[:, 0]))}
    if len(own):
        notes["largest_component"] = int(counts.max())
    return n + np.arange(len(own)), np.arange(n)


def pairs_of(items: Ragged) -> tuple[np.ndarray, np.ndarray]:
    """Every pair of items of each list: rows (p, 2), the smaller first, and the list (p,) of each."""
    rows, owner = [np.zeros((0, 2), np.int64)], [np.zeros(0, np.int64)]
    counts = items.counts
    for size in np.unique(counts[counts > 1]).tolist():
        which = np.flatnonzero(counts == size)
        members = items.take(which).values.reshape(-1, size)
        a, b = np.triu_indices(size, 1)
        rows.append(np.stack([members[:, a], members[:, b]], 2).reshape(-1, 2))
        owner.append(np.repeat(which, len(a)))
    made, owner = np.concatenate(rows), np.concatenate(owner)
    order = np.argsort(owner, kind="stable")
    return np.sort(made[order], axis=1), owner[order]

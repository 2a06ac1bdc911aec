"""The data of outfits: a catalogue of items, and the lists of ids that name them, joined, split and paired."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from sensorium.datasets import _outfit_pairs, _outfit_sets
from sensorium.datasets._catalogue import Catalogue
from sensorium.datasets._outfit_lists import Lists
from sensorium.datasets._outfit_sets import Joined, Known
from sensorium.errors import BadData
from sensorium.types import Data


def assembled(
    catalogue: Catalogue, lists: dict[str, Lists | None], of_items: np.ndarray | None, where: str, group: str,
    conflicts: str, allow_missing: bool,
) -> Data:  # fmt: skip
    """The data of a catalogue and the lists that name its items. of_items: split (n,) of each item, where known."""
    items, notes = catalogue.items, dict(catalogue.notes)
    known = Known({id: row for row, id in enumerate(items.ids.tolist())}, catalogue.left_out, where)
    parts: dict[str, Joined | None] = {}
    for what, one in lists.items():
        found = None if one is None else _outfit_sets.joined(one, known, allow_missing, notes, what)
        if found is not None and what in ("outfits", "compat"):
            found = _outfit_sets.as_outfits(found, notes, what)
        elif found is not None:
            if lost := int(np.count_nonzero(~found.whole)):
                notes[f"{what}_left_out"] = lost
            found = found.take(np.flatnonzero(found.whole))
        parts[what] = found
    parts = _outfit_sets.with_splits(parts, of_items, len(items), notes)
    pairs = _outfit_pairs.made(len(items), parts["outfits"], parts["pairs"], parts["compat"], parts["questions"],
                               group, conflicts, notes)  # fmt: skip
    if not (pairs.label == 1).any():
        raise BadData(f"{where}: no two items go together; outfits have one item, or every pair is labelled 0")
    return Data(items, None, pairs, {**notes, "said": said(notes)})


def said(notes: Mapping[str, Any]) -> list[str]:
    """What a run says of its data before it starts: what was left out, with rows, and items that splits share."""
    found = []
    for key, text in (
        ("left_left_out", "items left out: {left_left_out_such_as}"),
        ("items_without_vector", "{n} items without a vector left out"),
        ("items_without_category", "{n} items have no category ({items_without_category_such_as})"),
        ("items_without_text", "{n} items have no text ({items_without_text_such_as})"),
        ("pairs_labelled_both_ways", "{n} pairs left out: {pairs_labelled_both_ways_such_as}"),
        ("items_in_several_splits", "{n} items stand in several splits, whose outfits share them"),
    ):
        if notes.get(key):
            found.append(text.format(n=f"{notes[key]:,}", **notes))
    for what in ("outfits", "pairs", "compat", "questions"):
        for key, text in (
            (f"{what}_unknown_ids", f"{what}: {{n}} unknown ids left out"),
            (f"{what}_ids_of_items_left_out", f"{what}: {{n}} ids of items that were left out"),
            (f"{what}_left_out", f"{what}: {{n}} left out, which name such items"),
            (f"{what}_of_one_item", f"{what}: {{n}} of one item left out"),
        ):
            if notes.get(key):
                such = notes.get(f"{key}_such_as")
                found.append(text.format(n=f"{notes[key]:,}") + (f" ({such})" if such else ""))
    if notes.get("group") == "by outfit":
        found.append(
            f"splits are drawn by outfit, as {notes.get('largest_component', 0):,} of "
            f"{notes.get('outfits', 0):,} outfits are connected by shared items: items may stand in several "
            "splits"
        )
    return found

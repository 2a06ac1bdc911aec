"""The data of outfits: a catalogue of items, and the lists of ids that name them, joined, split and paired."""

from __future__ import annotations

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
            found = found.take(np.flatnonzero(found.whole))
        parts[what] = found
    parts = _outfit_sets.with_splits(parts, of_items, len(items), notes)
    pairs = _outfit_pairs.made(len(items), parts["outfits"], parts["pairs"], parts["compat"], parts["questions"],
                               group, conflicts, notes)  # fmt: skip
    if not (pairs.label == 1).any():
        raise BadData(f"{where}: no two items go together; outfits have one item, or every pair is labelled 0")
    return Data(items, None, pairs, notes)

"""Row numbers that a page holds: whether they still mean the items that they meant when it was given them."""

from __future__ import annotations

import numpy as np
import xxhash

from sensorium.serve.engine.registry import Shown
from sensorium.serve.problems import Problem
from sensorium.table import Table


def of(ids: np.ndarray) -> str:
    """Name of these ids (n,) in their order: how many they are, and a hash of them whatever their type's width."""
    text = "\0".join(ids.tolist()).encode("utf-8", "surrogatepass")
    return f"{len(ids):x}-{xxhash.xxh3_64_hexdigest(text)}"


def check(shown: Shown, side: str, table: Table, generation: str) -> None:
    """Raise a 410 problem unless a table begins with the ids that a generation names. Others may follow them.

    So items that were added leave a map as it is, and one that was removed or replaced asks for another.
    """
    known = shown.kept.get(f"generation {side}")
    if known is not None and known[0] is table and known[1] == generation:
        return
    count = generation.partition("-")[0]
    try:
        n = int(count, 16) if len(count) < 12 else -1
    except ValueError:
        n = -1
    if not 0 <= n <= len(table) or of(table.ids[:n]) != generation:
        raise Problem(410, f"the {side} items have changed since these rows were told; load the map again")
    shown.kept[f"generation {side}"] = (table, generation)

"""Row versions: tokens that detect stale row numbers of a client."""

from __future__ import annotations

import numpy as np
import xxhash

from sensorium.serve.engine.registry import ServedRun
from sensorium.serve.problems import Problem
from sensorium.table import Table


def of(ids: np.ndarray) -> str:
    """The version of ids (n,) in their order: their count and a hash, the same for every width of text type."""
    text = "\0".join(ids.tolist()).encode("utf-8", "surrogatepass")
    return f"{len(ids):x}-{xxhash.xxh3_64_hexdigest(text)}"


def check(served: ServedRun, side: str, table: Table, version: str) -> None:
    """Raise a 410 problem unless a table begins with the ids of a version. Others may follow them.

    So items that were added leave a map valid, and one that was removed or replaced does not.
    """
    known = served.cache.get(f"row version {side}")
    if known is not None and known[0] is table and known[1] == version:
        return
    count = version.partition("-")[0]
    try:
        n = int(count, 16) if len(count) < 12 else -1
    except ValueError:
        n = -1
    if not 0 <= n <= len(table) or of(table.ids[:n]) != version:
        name = served.run.names[side]
        raise Problem(410, f"the {name} items have changed since these rows were sent; load the map again")
    served.cache[f"row version {side}"] = (table, version)

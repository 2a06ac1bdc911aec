"""Facet counts and collapsed searches over a catalogue, against plain group-bys and a plain search in the same run.

    python -m bench.facets [--quick] [--rows 100000]

The catalogue has a category (11 values), a gender (5), a brand (2,000), a price, a stock flag with missing values and a
list of tags. "ours" is ``table.facets.count`` of all six under a filter of two conditions, each facet without its own;
the first call encodes the columns, later ones count. Peers, with the same rule: "numpy" masks each column and calls
``np.unique``; "pandas" (where it is installed) masks a frame with categorical columns and calls ``value_counts``; both
have their columns ready, and count tags by a loop over lists in Python. Collapsing: a search of 10 groups of a column
of about five items a value, and of five items of each, against a search of 10 items; exact index, one query at a time.
The figure of each is the median processor time of the turns, taken turn by turn.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

import sensorium
from sensorium.table import Table, as_column
from sensorium.table.facets import count

COLUMNS = ("category", "gender", "brand", "price", "stock", "tags")
WHERE = {"category": ["c1", "c2", "c3"], "price": {">=": 20, "<": 120}}


def catalogue(rows: int) -> dict[str, np.ndarray]:
    """The columns, and the product that an item belongs to."""
    random = np.random.default_rng(0)
    stock, tags = random.integers(0, 3, rows).tolist(), random.integers(0, 8, rows).tolist()
    made = {
        "category": [f"c{n}" for n in random.integers(0, 11, rows)],
        "gender": [f"g{n}" for n in random.integers(0, 5, rows)],
        "brand": [f"brand {n}" for n in (2000 * random.random(rows) ** 3).astype(int)],
        "price": random.lognormal(4, 0.8, rows).round(2),
        "stock": [None if n == 2 else bool(n) for n in stock],
        "tags": [[name for bit, name in enumerate(("sale", "new", "eco")) if n >> bit & 1] for n in tags],
        "product": [f"p{n}" for n in random.integers(0, max(1, rows // 5), rows)],
    }
    return {name: as_column(values, name) for name, values in made.items()}


def masks_of(columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """For each facet, the rows that meet the conditions on the other columns, as plain NumPy writes it."""
    category = np.isin(columns["category"], WHERE["category"])
    price = (columns["price"] >= 20) & (columns["price"] < 120)
    return {
        name: price if name == "category" else category if name == "price" else category & price for name in COLUMNS
    }


def by_numpy(columns: dict[str, np.ndarray]) -> dict[str, Any]:
    masks, found = masks_of(columns), {}
    for name in COLUMNS:
        values = columns[name][masks[name]]
        if name == "tags":
            found[name] = Counter(tag for tags in values for tag in tags)
        elif name == "price":
            found[name] = np.histogram(values, bins=12)
        elif name == "stock":
            found[name] = Counter(values.tolist())
        else:
            found[name] = np.unique(values, return_counts=True)
    return found


def by_pandas(frame: Any, columns: dict[str, np.ndarray]) -> dict[str, Any]:
    import pandas

    masks, found = masks_of(columns), {}
    for name in COLUMNS:
        values = frame[name][masks[name]]
        if name == "tags":
            found[name] = Counter(tag for tags in values for tag in tags)
        else:
            found[name] = pandas.cut(values, 12).value_counts() if name == "price" else values.value_counts()
    return found


def milliseconds(function: Callable[[], Any]) -> float:
    """Processor time, which other work on the machine changes less than time by the clock."""
    start = time.process_time()
    function()
    return 1000 * (time.process_time() - start)


def turns(ways: dict[str, Callable[[], Any]], times: int) -> dict[str, float]:
    """The median of each way, taken turn by turn."""
    measured: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(times):
        for name, way in ways.items():
            measured[name].append(milliseconds(way))
    return {name: statistics.median(found) for name, found in measured.items()}


def check(columns: dict[str, np.ndarray], found: dict[str, Any]) -> None:
    """Ours and NumPy's must be the same counts."""
    expected = by_numpy(columns)
    for name in ("category", "gender"):
        ours = {one["value"]: one["count"] for one in found[name]["values"]}
        assert ours == dict(zip(*(one.tolist() for one in expected[name]), strict=True)), name
    assert {one["value"]: one["count"] for one in found["tags"]["values"]} == expected["tags"]


def facets(rows: int, times: int) -> None:
    columns = catalogue(rows)
    table = Table(np.arange(rows).astype(str), columns)
    first = milliseconds(lambda: count(table, COLUMNS, WHERE))
    check(columns, count(table, COLUMNS, WHERE))
    ways: dict[str, Callable[[], Any]] = {
        "ours": lambda: count(table, COLUMNS, WHERE),
        "ours, no filter": lambda: count(table, COLUMNS),
        "numpy": lambda: by_numpy(columns),
    }
    try:
        import pandas
    except ModuleNotFoundError:
        print("pandas is not installed: left out")
    else:
        frame = pandas.DataFrame({name: columns[name] for name in COLUMNS})
        frame = frame.astype({name: "category" for name in ("category", "gender", "brand")})
        ways["pandas"] = lambda: by_pandas(frame, columns)
    found = turns(ways, times)
    print(f"six facets of {rows:,} items: the first call, which encodes the columns, {first:.1f} ms")
    for name, took in found.items():
        print(f"  {name:16} {took:8.2f} ms   {found['ours'] / took:6.3f} × (ours against it)")


def collapsed(rows: int, times: int) -> None:
    random = np.random.default_rng(1)
    x = random.standard_normal((1000, 64)).astype(np.float32)
    run = sensorium.fit(x, x[:, :32], objective="ridge", index="exact", evaluate={"resamples": 20, "baselines": []},
                        metadata={"right": {name: column[:1000] for name, column in catalogue(1000).items()}},
                        ids=[f"first{n}" for n in range(1000)])  # fmt: skip
    more = random.standard_normal((rows, 32)).astype(np.float32)
    run.add(more, ids=[f"i{n}" for n in range(rows)], side="right", metadata=catalogue(rows))
    queries = iter(random.standard_normal((100 * times, 64)).astype(np.float32))

    def ask(**options: Any) -> Callable[[], Any]:
        return lambda: run.search(vector=next(queries), side="left", k=10, corrected=False, **options)

    ways = {
        "10 items": ask(),
        "10 groups": ask(collapse="product"),
        "10 groups, five of each": ask(collapse="product", collapse_size=5),
        "11 groups there are": ask(collapse="category"),
        "10 items, a filter": ask(where=WHERE),
        "10 groups, a filter": ask(where=WHERE, collapse="product"),
        "a least score, a fallback": ask(where=WHERE, min_score=0.6, fallback={}),
    }
    for way in ways.values():
        way()
    found = turns(ways, times)
    print(f"searches of {len(run.index('right')):,} items of 32 numbers")
    for name, took in found.items():
        print(f"  {name:26} {took:8.2f} ms   {took / found['10 items']:6.2f} × of 10 items")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--quick", action="store_true", help="20,000 rows, 7 turns")
    told = parser.parse_args()
    rows, times = (20_000, 7) if told.quick else (told.rows, 15)
    facets(rows, times)
    collapsed(rows, times)


if __name__ == "__main__":
    main()

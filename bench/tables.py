"""Rows a second read from CSV, JSON lines and Parquet into typed columns, against pyarrow alone and the csv module.

    python -m bench.tables [--quick] [--rows 200000]

The table has a path, a caption, a price, a whole number, a boolean with missing values, a day and a category.
"ours" is ``formats.read`` with every column loaded as metadata takes it: numbers and times as NumPy arrays, texts as
Python strings. Peers, in the same process and turn by turn: "pyarrow" reads with its own inference of types and gives
every column as NumPy (``to_numpy``), which is what a user who needs arrays would write; "pyarrow bare" stops at
Arrow's own memory, without a Python object; "csv" and "json" are the standard library's, all cells as they come.
"data=table" is the whole data set of two text columns: read, check, tell items apart, pair, group, metadata.
The figure of each is the median of the turns; the ratio is that of the medians.
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet as pq

from sensorium import formats, parts


def made(rows: int) -> pa.Table:
    """A table of ``rows`` rows, as of pictures with captions."""
    random = np.random.default_rng(0)
    words = np.array(["dog", "red", "house", "runs", "over", "green", "hill", "two", "people", "near"])
    captions = [" ".join(row) for row in words[random.integers(0, 10, (rows, 9))]]
    return pa.table({
        "path": [f"images/{i:08d}.jpg" for i in range(rows)],
        "caption": [f"{text} {i}" for i, text in enumerate(captions)],
        "price": random.normal(50, 10, rows).round(2),
        "stock": random.integers(0, 10_000, rows),
        "sold": pa.array([None if v == 2 else bool(v) for v in random.integers(0, 3, rows).tolist()]),
        "day": (np.datetime64("2020-01-01") + random.integers(0, 2000, rows)).astype("M8[D]"),
        "category": words[random.integers(0, 10, rows)].tolist(),
    })  # fmt: skip


def write(table: pa.Table, folder: Path) -> dict[str, Path]:
    paths = {kind: folder / f"t.{kind}" for kind in ("csv", "jsonl", "parquet")}
    pyarrow.csv.write_csv(table, paths["csv"])
    pq.write_table(table, paths["parquet"])
    with open(paths["jsonl"], "w", encoding="utf-8") as file:
        for row in table.to_pylist():
            file.write(json.dumps({**row, "day": row["day"].isoformat()}) + "\n")
    return paths


def ours(path: Path) -> None:
    columns = formats.read(path)
    for name in columns:
        columns.exact(name)


def arrays(table: pa.Table) -> None:
    for column in table.columns:
        column.to_numpy()


def standard_csv(path: Path) -> None:
    with open(path, encoding="utf-8", newline="") as file:
        list(zip(*csv.reader(file), strict=True))


def standard_json(path: Path) -> None:
    with open(path, encoding="utf-8") as file:
        [json.loads(line) for line in file]


def data_set(path: Path) -> None:
    spec = {"name": "table", "file": str(path), "left": "path", "right": "caption", "left_kind": "text"}
    parts.make("datasets", spec, "data").load()


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    asked.add_argument("--quick", action="store_true", help="20,000 rows, 3 turns")
    asked.add_argument("--rows", type=int, default=200_000)
    given = asked.parse_args()
    rows, turns = (20_000, 3) if given.quick else (given.rows, 7)
    with tempfile.TemporaryDirectory() as folder:
        paths = write(made(rows), Path(folder))
        work: dict[str, dict[str, Callable[[], object]]] = {
            "csv": {
                "ours": lambda: ours(paths["csv"]),
                "pyarrow": lambda: arrays(pyarrow.csv.read_csv(paths["csv"])),
                "pyarrow bare": lambda: pyarrow.csv.read_csv(paths["csv"]),
                "csv": lambda: standard_csv(paths["csv"]),
                "data=table": lambda: data_set(paths["csv"]),
            },
            "parquet": {
                "ours": lambda: ours(paths["parquet"]),
                "pyarrow": lambda: arrays(pq.read_table(paths["parquet"])),
                "pyarrow bare": lambda: pq.read_table(paths["parquet"]),
                "data=table": lambda: data_set(paths["parquet"]),
            },
            "jsonl": {
                "ours": lambda: ours(paths["jsonl"]),
                "pyarrow": lambda: arrays(pyarrow.json.read_json(paths["jsonl"])),
                "json": lambda: standard_json(paths["jsonl"]),
            },
        }
        print(f"{rows:,} rows, 7 columns, {turns} turns; rows a second (median), and ours against each peer")
        for kind, each in work.items():
            seconds: dict[str, list[float]] = {name: [] for name in each}
            for turn in range(turns + 1):  # the first warms up
                for name, one in each.items():
                    start = time.perf_counter()
                    one()
                    if turn:
                        seconds[name].append(time.perf_counter() - start)
            median = {name: statistics.median(found) for name, found in seconds.items()}
            for name, found in median.items():
                peer = "" if name in ("ours", "data=table") else f"   ours / {name}: {found / median['ours']:.2f}"
                print(f"{kind:8} {name:13} {rows / found:12,.0f} rows/s{peer}")
                sys.stdout.flush()


if __name__ == "__main__":
    main()

"""Cost of serving a seed ensemble: one head of 1,280 → 512 → 256 against ten of them, on made vectors.

    python -m bench.ensembles [--items 100000] [--members 10]

For each: milliseconds for one query through its head, for exact search among the items, and for both, as the median of
repeats that alternate; then the ratio. Distilled, an ensemble costs what one head costs.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time

import numpy as np
import torch

from sensorium import heads, scores
from sensorium.heads.ensemble import Ensemble
from sensorium.heads.mlp import MLP

WIDTH, REPEATS = 1280, 30


def made(members: int) -> Ensemble | MLP:
    """A head of random weights, or an ensemble of them."""
    found = []
    for _ in range(members):
        one = MLP(dim=256, hidden=512, preprocess="none")
        one.build(WIDTH)
        found.append(one.eval())
    return found[0] if members == 1 else Ensemble.of("mlp", found)


def main() -> None:
    """Print one JSON line a count of members, and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--members", type=int, default=10)
    asked = parser.parse_args()
    torch.manual_seed(0)
    x = np.random.default_rng(0).standard_normal((REPEATS, WIDTH)).astype(np.float32)
    counts = (1, asked.members)
    modules = {k: made(k) for k in counts}
    rows = np.random.default_rng(1).standard_normal((asked.items, WIDTH)).astype(np.float32)
    tables = {k: heads.apply(module, rows) for k, module in modules.items()}
    took: dict[int, dict[str, list[float]]] = {k: {"head": [], "search": []} for k in counts}
    for i in range(REPEATS):
        for k in counts:
            start = time.perf_counter()
            z = heads.apply(modules[k], x[i : i + 1])
            middle = time.perf_counter()
            scores.topk(z, tables[k], 10)
            took[k]["head"].append(1e3 * (middle - start))
            took[k]["search"].append(1e3 * (time.perf_counter() - middle))
    rows_of = []
    for k in counts:
        each = {name: statistics.median(values) for name, values in took[k].items()}
        rows_of.append({"members": k, "width": tables[k].shape[1], "items": asked.items,
                        **{f"{name}_ms": round(value, 3) for name, value in each.items()},
                        "both_ms": round(sum(each.values()), 3)})  # fmt: skip
        print(json.dumps(rows_of[-1]))
    print(
        json.dumps(
            {name: round(rows_of[1][name] / rows_of[0][name], 2) for name in ("head_ms", "search_ms", "both_ms")}
        )
    )


if __name__ == "__main__":
    main()

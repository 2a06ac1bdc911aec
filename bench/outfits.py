"""A fit of Polyvore's size on made vectors, and the cost of a query of an ensemble.

    python -m bench.outfits [--part fit|score] [--share 1.0] [--head set_mean] [--members 1] [--epochs 15]

251,000 × 1,536 float32 vectors and 53,000 outfits of 3 to 8 items in 11 categories, times ``--share``; the style of an
outfit is a hidden cause of its vectors. fit: objective and options of the recipe ``outfits``, one member; time is
of the fit with its validation, not of making the data. score: queries of sets of 4 items against 1,000 candidates.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace

import numpy as np
import torch

from sensorium import fitting, heads, parts, recipe
from sensorium.pairs import Pairs
from sensorium.pairs.sets import ItemSets
from sensorium.types import Embeddings

ITEMS, OUTFITS, DIM, KINDS, STYLES = 251_000, 53_000, 1536, 11, 64


def made(share: float, dim: int = DIM) -> tuple[Embeddings, Pairs]:
    """Vectors, categories and outfits: nine tenths train, the rest validate."""
    random = np.random.default_rng(0)
    n, o = int(ITEMS * share), int(OUTFITS * share)
    style, kind = random.integers(STYLES, size=n), random.integers(KINDS, size=n)
    causes = random.standard_normal((STYLES, dim), dtype=np.float32)
    x = random.standard_normal((n, dim), dtype=np.float32)
    for part in range(0, n, 10_000):  # in blocks: no second copy of all
        rows = slice(part, part + 10_000)
        x[rows] += 0.5 * causes[style[rows]]
    of = [np.flatnonzero(style == s) for s in range(STYLES)]
    sizes = random.integers(3, 9, o)
    sets = [
        random.choice(of[int(s)], k, replace=False) for s, k in zip(random.integers(STYLES, size=o), sizes, strict=True)
    ]
    split = np.where(np.arange(o) % 10, "train", "validation")
    first = np.array([one[:2] for one in sets])
    pairs = Pairs.of(first[:, 0], first[:, 1], group=np.arange(o), split=split, same_table=True)
    ids = np.arange(n).astype(np.str_)
    table = Embeddings(ids, x, {"made": 1}, {"category": np.array([f"kind {k}" for k in range(KINDS)])[kind]})
    return table, replace(pairs, sets=ItemSets.of(sets, split=split))


def fit(arguments: argparse.Namespace) -> dict:
    """Seconds of one fit."""
    plan = recipe.load("outfits", [f"train.members={arguments.members}", f"train.epochs={arguments.epochs}"])
    items, pairs = made(arguments.share)
    head = parts.make("heads", {"name": arguments.head, "hidden": 512, "dim": 256, "dropout": 0.2})
    started = time.perf_counter()
    done = fitting.train(items, items, pairs, head, head, plan.part("objective"), plan.train_options(), None, 0,
                         names={"left": arguments.head})  # fmt: skip
    seconds = time.perf_counter() - started
    return {"part": "fit", "head": arguments.head, "items": len(items), "outfits": len(pairs.sets), "seconds": seconds,
            "epochs": done.notes["epochs"], "steps": done.notes["steps"], "validation": done.notes["validation"],
            "precision": done.notes["precision"], "threads": torch.get_num_threads()}  # fmt: skip


def score(arguments: argparse.Namespace) -> dict:
    """Milliseconds of a query: composed, and scored against 1,000 candidates that are projected already."""
    from sensorium.heads.ensemble import Ensemble
    from sensorium.pairs.sets import ragged

    random = np.random.default_rng(0)
    x = random.standard_normal((20_000, DIM), dtype=np.float32)
    members = []
    for seed in range(arguments.members):
        torch.manual_seed(seed)
        one = parts.make("heads", {"name": arguments.head, "hidden": 512, "dim": 256, "preprocess": "none",
                                   "categories": [f"kind {k}" for k in range(KINDS)]})  # fmt: skip
        one.build(DIM)
        members.append(one.eval())
    head = Ensemble.of(arguments.head, members)
    z = heads.apply(head, x[:1000])
    sets = ragged([random.choice(len(x), 4, replace=False) for _ in range(4000)])
    category, slot = random.integers(0, KINDS, len(x)), random.integers(0, KINDS, 4000)
    times = []
    for _ in range(3):
        started = time.perf_counter()
        heads.compose(head, x, sets, category, slot) @ z.T
        times.append((time.perf_counter() - started) / 4000 * 1000)
    return {"part": "score", "head": arguments.head, "members": arguments.members, "ms_a_query": min(times),
            "threads": torch.get_num_threads()}  # fmt: skip


def main() -> None:
    """Runs the parts asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--part", choices=("fit", "score"), default="fit")
    parser.add_argument("--share", type=float, default=1.0)
    parser.add_argument("--head", default="set_mean")
    parser.add_argument("--members", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=15)
    arguments = parser.parse_args()
    print(json.dumps((fit if arguments.part == "fit" else score)(arguments)))


if __name__ == "__main__":
    main()

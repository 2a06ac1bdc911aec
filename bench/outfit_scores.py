"""Outfits scored at the size of Polyvore's test split, made vectors: processor time, against plain NumPy.

47,854 items of 11 categories, 10,000 outfits of 53,506 items, 10,000 made-up ones, 10,000 questions; outputs of one
model (256 numbers) and of ten side by side (2,560), the items of an outfit alike. The peer is the usual way on the same
vectors: contexts averaged one by one, a float32 product for each category, every leave-one-out task on its own.

python -m bench.outfit_scores [--members 1 10]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from sensorium.evaluate.card import markdown
from sensorium.evaluate.projected import Projected
from sensorium.evaluate.protocols import _negatives
from sensorium.evaluate.protocols._cir import Retrieval
from sensorium.evaluate.protocols._scorer import Scorer
from sensorium.evaluate.protocols._trials import Labelled
from sensorium.numerics import unit
from sensorium.pairs import Pairs
from sensorium.pairs.csr import Ragged
from sensorium.pairs.sets import ItemSets

ITEMS, OUTFITS, SLOTS, DIM, STYLES, NOISE = 47_854, 10_000, 53_506, 256, 32, 3.0
SHARES = (7783, 8551, 7937, 3254, 6143, 5480, 3212, 2202, 1254, 1194, 844)  # test items of each category


def made(seed: int = 0) -> tuple[ItemSets, np.ndarray, np.ndarray]:
    """Outfits of distinct random items, the category of every item, and ids."""
    random = np.random.default_rng(seed)
    ends = np.cumsum(np.full(OUTFITS, SLOTS // OUTFITS) + (np.arange(OUTFITS) < SLOTS % OUTFITS))
    rows = np.concatenate([random.permutation(ITEMS), random.integers(0, ITEMS, SLOTS - ITEMS)])
    sets = [np.unique(part) for part in np.split(rows, ends[:-1])]
    category = np.repeat(np.arange(len(SHARES)), SHARES)[random.permutation(ITEMS)]
    return ItemSets.of(sets), category, np.array([f"{i:09d}" for i in random.permutation(ITEMS)])


def outputs(sets: ItemSets, members: int) -> np.ndarray:
    """What so many models say of the items: the style of the outfit, and noise; side by side, of unit length."""
    random, of = np.random.default_rng(1), np.zeros(ITEMS, np.int64)
    of[sets.items.values] = np.repeat(np.arange(OUTFITS), sets.items.counts)
    style, parts = random.standard_normal((OUTFITS, STYLES), np.float32), []
    for _ in range(members):
        turned = style @ (random.standard_normal((STYLES, DIM), np.float32) / np.float32(np.sqrt(STYLES)))
        parts.append(unit(turned[of] + NOISE * random.standard_normal((ITEMS, DIM), np.float32)))
    return np.concatenate(parts, axis=1) / np.float32(np.sqrt(members))


def seconds(call: Callable[[], Any]) -> tuple[float, Any]:
    """Processor time of a call, of all its threads, and what it gave."""
    start = time.process_time()
    found = call()
    return time.process_time() - start, found


def plain_ranks(z: np.ndarray, retrieval: Retrieval) -> np.ndarray:
    """A product for each category, contexts averaged one by one."""
    out = np.empty(len(retrieval), np.int64)
    for kind in range(len(retrieval.kinds)):
        mine, pool = np.flatnonzero(retrieval.kind == kind), retrieval.pools.take(np.array([kind])).values
        queries = retrieval.queries.take(mine)
        asked = np.stack([z[part].mean(0) for part in np.split(queries.context.values, queries.context.offsets[1:-1])])
        place = {row: i for i, row in enumerate(pool.tolist())}
        score = asked @ z[pool].T
        right = score[np.arange(len(mine)), [place[row] for row in queries.target.tolist()]]
        out[mine] = (score >= right[:, None]).sum(1)
    return out


def plain_leave_one_out(z: np.ndarray, sets: Ragged) -> np.ndarray:
    """Every task on its own."""
    out = []
    for look in np.split(sets.values, sets.offsets[1:-1]):
        x = z[look]
        out.append(np.mean([x[i] @ np.delete(x, i, 0).mean(0) for i in range(len(look))]))
    return np.array(out)


def measured(members: int, sets: ItemSets, category: np.ndarray, ids: np.ndarray) -> list[dict[str, str]]:
    """Rows of the table for so many models."""
    retrieval, questions = Retrieval.of(sets, category, ids), _negatives.hard_questions(sets, category)
    both = Labelled.of(sets.items, sets.group, _negatives.hard_sets(sets, category), sets.group)
    z, nothing = outputs(sets, members), np.zeros(0, np.int64)
    scorer = Scorer(Projected.of(z, z, Pairs.of(nothing, nothing, same_table=True)), np.full(ITEMS, -1))
    tasks, rows = int(both.items.counts.sum()), []
    for name, n, ours, plain in (
        ("retrieval", len(retrieval), lambda: retrieval.ranks(scorer.compose, z), lambda: plain_ranks(z, retrieval)),
        ("leave one out", tasks, lambda: scorer.leave_one_out(both.items), lambda: plain_leave_one_out(z, both.items)),
        ("fill in the blank", len(questions), lambda: scorer.answers(questions), None),
    ):
        start = time.perf_counter()
        took, found = seconds(ours)
        wall = time.perf_counter() - start
        row = {"models": f"{members}", "what": name, "queries": f"{n:,}", "processor s": f"{took:.2f}",
               "s": f"{wall:.2f}", "processor ms a query": f"{1e3 * took / n:.3f}"}  # fmt: skip
        if name == "retrieval":
            row["recall@10 %"] = f"{100 * np.mean(found <= 10):.1f}"
        if plain is not None:
            theirs, expected = seconds(plain)
            same = found == expected if found.dtype.kind == "i" else np.isclose(found, expected, atol=1e-6)
            row |= {"plain / ours": f"{theirs / took:.1f}", "equal %": f"{100 * same.mean():.2f}"}
        rows.append(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--members", type=int, nargs="+", default=[1, 10])
    members = parser.parse_args().members
    data = made()
    print(markdown([row for one in members for row in measured(one, *data)]))


if __name__ == "__main__":
    main()

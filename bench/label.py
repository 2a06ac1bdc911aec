"""Labelling, simulated: hit@10 and precision@10 of classes unknown to the head, after 20 to 100 thumbs.

    python -m bench.label DATA/uci-mfeat-two-views-2000.npz
    python -m bench.label runs/glyphs category      # a finished run's own vectors of its left side, classes by a column
    python -m bench.label vectors.npz x label

The run finds items by items of one table; three of the classes (two of five) are in the index, but no pair of them is
known to the fit: of the digits 7, 8 and 9, else those that the seed draws. An annotator who knows the classes labels
the first two hits of queries that ``labels.choosing`` proposes, or that are drawn at random; a third of the unknown
items is never labelled, and measures. Five seeds. Of large data 2,000 items of the classes with 30 or more are drawn.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

import sensorium
from sensorium.numerics import unit
from sensorium.search.raw import RawVectors
from sensorium.serve.labels.choosing import choose
from sensorium.serve.labels.journal import Asked
from sensorium.serve.labels.merged import Pair
from sensorium.serve.labels.refit import refit

DIGITS, THUMBS, HITS, SEEDS = (7, 8, 9), (20, 50, 100), 2, 5
ITEMS, LEAST = 2000, 30


def main(path: str, x: str = "P_tr", label: str = "L_tr") -> None:
    X, of = vectors(Path(path), x, label)
    digits, rows = x == "P_tr", []
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(SEEDS):
            drawn = np.random.default_rng(200 + seed).choice(
                np.unique(of), min(3, len(np.unique(of)) - 3), replace=False
            )
            unknown = np.array(DIGITS) if digits else drawn
            run = fitted(X, of, unknown, Path(folder) / f"run{seed}", seed)
            for way in ("chosen", "random"):
                rows += [(way, *one) for one in simulate(run, X, of, unknown, way, seed)]
    print(f"{'queries':8} {'thumbs':>6} {'hit@10':>14} {'P@10':>14} {'P@10 of known':>14}")
    for way in ("chosen", "random"):
        for thumbs in (0, *THUMBS):
            values = np.array([row[2:] for row in rows if row[:2] == (way, thumbs)])
            cells = [f"{100 * m:6.1f} ± {100 * d:4.1f}" for m, d in zip(values.mean(0), values.std(0), strict=True)]
            print(f"{way:8} {thumbs:6} {cells[0]:>14} {cells[1]:>14} {cells[2]:>14}")


def vectors(path: Path, x: str, label: str) -> tuple[np.ndarray, np.ndarray]:
    """The vectors (n, d) and the class (n,) of each as a number, of an .npz file or of a run and its column ``x``."""
    if path.is_dir():
        run = sensorium.open(path)
        table = run.index("left").table
        X, of = RawVectors(run, "left").of(table.ids), table.columns[x].astype(str)
    else:
        found = np.load(path)
        X, of = found[x], found[label]
    _, of, counts = np.unique(of, return_inverse=True, return_counts=True)
    rows = np.flatnonzero(counts[of] >= LEAST)
    if len(rows) > ITEMS:
        rows = np.sort(np.random.default_rng(0).choice(rows, ITEMS, replace=False))
    return X[rows], of[rows]


def fitted(x, label, unknown, out, seed):
    """A run over all items, whose pairs are of the known classes alone."""
    random, known = np.random.default_rng(seed), np.flatnonzero(~np.isin(label, unknown))
    pairs = []
    for one in np.unique(label[known]):
        of_class = random.permutation(np.flatnonzero(label == one))
        pairs += [*zip(of_class[:-1].tolist(), of_class[1:].tolist(), strict=True)]
    left, right = (np.array(side) for side in zip(*pairs, strict=True))
    return sensorium.fit(
        x, pairs=(left, right), group=None, objective="cca", out=out, seed=seed, evaluate={"plots": False}
    )


def simulate(run, x, label, classes, way, seed):
    """(thumbs, hit@10, P@10 of the unknown, P@10 of the known) before and after each number of thumbs."""
    random = np.random.default_rng(100 + seed)
    ids = run.index("left").table.ids
    of = label[ids.astype(int)]
    unknown = np.flatnonzero(np.isin(of, classes))
    measuring = set(ids[random.permutation(unknown)[: len(unknown) // 3]].tolist())
    others = np.flatnonzero(~np.isin(of, classes))
    known = random.choice(others, min(200, len(others)), replace=False)
    tests = [np.flatnonzero(np.isin(ids, [*measuring])), known]
    asked, pairs, found = set(measuring), [], [(0, *measured(run, None, x, of, ids, tests))]
    for thumbs in THUMBS:
        while len(pairs) < thumbs:
            if way == "chosen":
                queries = [one for one, _ in choose(run, "left", "left", 4, asked, seed)]
            else:
                queries = random.choice([id for id in ids.tolist() if id not in asked], 4, replace=False).tolist()
            for query in queries:
                asked.add(query)
                truth = label[int(query)]
                for hit in run.search(id=query, k=HITS, side="left"):
                    if len(pairs) < thumbs and hit["id"] not in measuring:
                        fits = int(label[int(hit["id"])] == truth)
                        pairs.append(Pair(Asked("left", id=query), "left", hit["id"], fits, 1, 1))
        found.append((thumbs, *measured(run, refit(run, pairs, seed).heads["left"], x, of, ids, tests)))
    return found


def measured(run, head, x, of, ids, tests):
    from sensorium import heads

    z = unit(heads.apply(head or run.head("left"), x[ids.astype(int)]))
    values = []
    for rows in tests:
        scores = z[rows] @ z.T
        scores[np.arange(len(rows)), rows] = -np.inf
        first = np.argsort(-scores, axis=1)[:, :10]
        fits = of[first] == of[rows][:, None]
        values.append((fits.any(1).mean(), fits.mean()))
    return values[0][0], values[0][1], values[1][1]


if __name__ == "__main__":
    main(*sys.argv[1:])

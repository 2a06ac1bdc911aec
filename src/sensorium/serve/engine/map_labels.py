"""Labels of a map: its dense regions, and the words that are typical of the items in each.

Regions are the hills of the point density (mean-shift clustering on a grid, Comaniciu & Meer 2002), at two widths.
Words are rated by class-based TF-IDF (Grootendorst 2022).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

CELLS = 128  # of the grid, along each axis
WIDTHS = (8.0, 6.0, 4.5, 3.4, 2.5, 1.9)  # of the density in cells, of which the first with ENOUGH regions is taken
FINER = 0.45  # of that width: the width of the small regions
ENOUGH = 7
REGIONS = (14, 60)  # labelled at most, large and small
SHARE = (0.01, 0.0015)  # of the points a region has at least
READ = 40_000  # points whose texts are read
_LEAST = 5  # points of a region
_MOST_WORDS = 3
_WORD = re.compile(r"[^\W\d_][\w'’-]+")
_COMMON = frozenset(
    """a about after all also am an and any are as at be been but by can did do does for from had has have he
    her him his how i if in into is it its just me more my near next no not of off on one onto or other our
    out over own she so some than that the their them then there these they this those through to too two
    under up very was we were what when which while who will with would you your""".split()  # noqa: SIM905
)


@dataclass(frozen=True)
class Region:
    """A labelled region: the middle of its densest cell, its words, its number of points, and its width (0: large)."""

    x: float
    y: float
    text: str
    count: int
    level: int


def words(text: str) -> list[str]:
    """The words of a text in lower case, without the commonest of English and without numbers."""
    return [word for word in _WORD.findall(text.lower()) if word not in _COMMON]


def regions(xy: np.ndarray, width: float, level: int) -> tuple[np.ndarray, np.ndarray]:
    """The region of each point (n,), -1 for none, and the densest place of each region (r, 2), largest region first.

    xy (n, 2): places, of which those outside -1.2 … 1.2 belong to no region. level: 0 for large regions, 1 for small.
    """
    from scipy.ndimage import gaussian_filter

    low, high = -1.2, 1.2
    within = (np.abs(xy) < high).all(1)
    cell = np.clip(((xy - low) / (high - low) * CELLS).astype(int), 0, CELLS - 1)
    flat = np.where(within, cell[:, 0] * CELLS + cell[:, 1], 0)
    heights = np.bincount(flat[within], minlength=CELLS * CELLS).reshape(CELLS, CELLS).astype(float)
    heights = gaussian_filter(heights, width, mode="constant", truncate=3)
    top = _hill(heights)[flat]
    found, counts = np.unique(top[within], return_counts=True)
    least = max(_LEAST, SHARE[level] * len(xy))
    kept = found[np.argsort(-counts, kind="stable")][: REGIONS[level]]
    kept = kept[np.sort(-counts, kind="stable")[: REGIONS[level]] <= -least]
    place = np.full(CELLS * CELLS, -1)
    place[kept] = np.arange(len(kept))
    middles = (np.column_stack([kept // CELLS, kept % CELLS]) + 0.5) / CELLS * (high - low) + low
    return np.where(within, place[top], -1), middles


def _hill(heights: np.ndarray) -> np.ndarray:
    """For each cell (flat) the cell at the top of its hill: steps to the highest neighbour until there is none."""
    size = heights.shape[0]
    padded = np.pad(heights, 1, constant_values=-1)
    offsets = [(i, j) for i in (0, -1, 1) for j in (0, -1, 1)]
    around = np.stack([padded[1 + i : 1 + i + size, 1 + j : 1 + j + size] for i, j in offsets])
    steps = np.array([i * size + j for i, j in offsets])
    top = np.arange(size * size) + steps[around.argmax(0).ravel()]
    while True:
        further = top[top]
        if np.array_equal(further, top):
            return top
        top = further


def typical(region: np.ndarray, documents: Sequence[Sequence[str]], r: int) -> list[list[str]]:
    """The most typical words of each of r regions, most typical first, at most three.

    region (n,): that of each document, -1 for none. A word's weight is its share of the region's words times
    log(1 + A / f), with f how often it occurs in all and A the mean number of words of a region. A word that
    fewer than a tenth as many documents have as the first, or less than a twentieth of the region's, is left out.
    """
    number: dict[str, int] = {}
    pairs = [
        (at, number.setdefault(word, len(number)))
        for at, found in zip(region.tolist(), documents, strict=True)
        if at >= 0
        for word in dict.fromkeys(found)
    ]
    if not pairs:
        return [[] for _ in range(r)]
    rows, columns = np.array(pairs).T
    counts = np.zeros((r, len(number))) if r * len(number) < 1 << 24 else np.zeros((r, len(number)), np.float32)
    np.add.at(counts, (rows, columns), 1)
    total = counts.sum(0)
    weights = counts / np.maximum(counts.sum(1, keepdims=True), 1) * np.log1p(counts.sum() / r / total)
    sizes = np.bincount(region[region >= 0], minlength=r)
    names = list(number)
    found = []
    for at in range(r):
        order = np.argsort(-weights[at], kind="stable")[: 2 * _MOST_WORDS]
        least = max(2.0, sizes[at] / 20, counts[at, order[0]] / 10)
        found.append([names[i] for i in order if counts[at, i] >= least][:_MOST_WORDS])
    return found


def classes(region: np.ndarray, values: Sequence[str], r: int) -> list[list[str]]:
    """The class of each of r regions that at least half of its classed items have, in a list; else an empty list."""
    names, codes = np.unique(np.asarray(values, str), return_inverse=True)
    there = (region >= 0) & (names != "")[codes]
    counts = np.zeros((r, len(names)), int)
    np.add.at(counts, (region[there], codes[there]), 1)
    best = counts.argmax(1)
    return [
        [str(names[best[at]])] if counts[at].sum() and 2 * counts[at, best[at]] >= counts[at].sum() else []
        for at in range(r)
    ]


def labelled(xy: np.ndarray, texts: Sequence[Sequence[str]], is_class: bool) -> list[Region]:
    """The labelled regions of both widths. xy (n, 2); texts: words of each point, or its class alone (or none)."""
    for width in WIDTHS:
        large = regions(xy, width, 0)
        if len(large[1]) >= ENOUGH:
            break
    found = []
    for level, (region, middles) in enumerate((large, regions(xy, FINER * width, 1))):
        r = len(middles)
        if not r:
            continue
        counts = np.bincount(region[region >= 0], minlength=r).tolist()
        classed = [one[0] if one else "" for one in texts] if is_class else []
        named = classes(region, classed, r) if is_class else typical(region, texts, r)
        found += [
            Region(round(x, 4), round(y, 4), ", ".join(one), n, level)
            for (x, y), one, n in zip(middles.tolist(), named, counts, strict=True)
            if one
        ]
    return found


def sampled(n: int) -> Any:
    """Which of n points are read: all, or READ of them at random."""
    return slice(None) if n <= READ else np.sort(np.random.default_rng(0).choice(n, READ, replace=False))

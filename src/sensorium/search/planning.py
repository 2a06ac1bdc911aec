"""Several gaps of a look filled together: exact where there are few ways, beam search otherwise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sensorium.contracts import Head
from sensorium.pairs.sets import ItemSets, ragged
from sensorium.search import sets
from sensorium.search.sets import Members

WIDTH = 64  # partial looks that are kept from gap to gap
EXACT, EXACT_SETS = 5_000, 256  # ways up to which all are tried; fewer where each look passes through a head


def plan(
    head: Head, members: Members, board: np.ndarray, pools: Sequence[np.ndarray], gaps: Sequence[str], k: int = 1
) -> list[np.ndarray]:
    """The k best choices, each (g,): a row of the members for each gap, -1 where its pool has nothing that is free.

    board (m,): rows of the items that are there. pools: rows of the candidates of each gap. A choice is as good as the
    mean over all items of their score by the others; no item is chosen twice, and choices that differ only in
    which of two equal gaps has which item are one.
    """
    ways = float(np.prod([max(1, len(pool)) for pool in pools], dtype=np.float64))
    most = EXACT_SETS if head.takes_sets else EXACT
    width = int(max(ways, WIDTH, k)) if ways <= most else max(WIDTH, 2 * k)
    beams = np.full((1, 0), -1, np.int64)
    total = np.zeros(1)
    for pool, gap in zip(pools, gaps, strict=True):
        gain = _gain(head, members, board, beams, pool, gap)
        taken = (beams[:, :, None] == pool[None, None, :]).any(1)
        gain[taken] = -np.inf
        stuck = ~np.isfinite(gain).any(1)  # nothing is left for the gap: it stays empty
        score = np.concatenate([total[:, None] + gain, np.where(stuck, total, -np.inf)[:, None]], 1).ravel()
        order = np.argsort(-score, kind="stable")[: int(np.isfinite(score).sum())]
        options = np.append(pool, -1)
        grown = np.concatenate([beams[order // len(options)], options[order % len(options), None]], 1)
        keep = _first_of_equal(grown, list(gaps[: grown.shape[1]]))[:width]
        beams, total = grown[keep], score[order][keep]
    if head.takes_sets and beams.shape[1] and (beams >= 0).any():
        sizes = [np.concatenate([board, one[one >= 0]]) for one in beams]
        better = np.argsort(-sets.compatibility(head, members, ItemSets.of(sizes)), kind="stable")
        beams = beams[better]
    return list(beams[:k])


def _gain(head: Head, members: Members, board: np.ndarray, beams: np.ndarray, pool: np.ndarray, gap: str) -> np.ndarray:
    """What each candidate adds to the sum of scores of each partial look: (b, p)."""
    looks = [np.concatenate([board, one[one >= 0]]) for one in beams]
    query = sets.queries(head, members, ragged(looks), [gap] * len(looks)).astype(np.float64)
    size = np.array([len(look) for look in looks])
    return (query @ members.z[pool].astype(np.float64).T) * size[:, None]


def _first_of_equal(choices: np.ndarray, gaps: Sequence[str]) -> np.ndarray:
    """Places of the choices (b, g), in order, that no earlier one equals but for the order within equal gaps."""
    named = choices.copy()
    for gap in set(gaps):
        at = [place for place, one in enumerate(gaps) if one == gap]
        named[:, at] = np.sort(named[:, at], axis=1)
    return np.sort(np.unique(named, axis=0, return_index=True)[1])

"""Made-up outfits, wrong answers and unrelated pairs, which categories alone do not tell from the real ones."""

from __future__ import annotations

import numpy as np

from sensorium.errors import BadData
from sensorium.pairs import csr
from sensorium.pairs.csr import Ragged
from sensorium.pairs.sets import ItemSets, Questions

ANSWERS = 4  # of a made-up question
SEED = 0  # of everything made up: equal for every run, so that runs of other seeds answer the same questions
_ROUNDS = 30  # of drawing again what collides, before it is chosen from a list of what is free


def matchable(sets: ItemSets, category: np.ndarray) -> np.ndarray:
    """Places of the sets that have made-up counterparts: (s,) of o sets.

    category (n,): code of every row, -1 where it has none. For each of its categories, the items of the other
    matchable sets must suffice for a whole counterpart, and for the wrong answers of a question.
    """
    kept = np.arange(len(sets))
    while len(kept):  # leaving one set out may leave another without others of its category
        items = sets.items.take(kept)
        kind, owner = category[items.values], np.repeat(np.arange(len(kept)), items.counts)
        there = np.bincount(category[np.unique(items.values)] + 1, minlength=int(category.max()) + 2)
        each, of, own = np.unique(owner * len(there) + kind + 1, return_inverse=True, return_counts=True)
        wanting = there[each % len(there)] - own < np.maximum(ANSWERS - 1, own)
        short = (kind < 0) | wanting[of.reshape(-1)]
        good = np.bincount(owner, short, len(kept)) == 0
        if good.all():
            break
        kept = kept[good]
    return kept


def hard_sets(sets: ItemSets, category: np.ndarray, seed: int = SEED) -> Ragged:
    """One made-up set for each: every item replaced by another of its category, none of its own.

    Drawn from the items that the sets name. Raises BadData where a category has too few.
    """
    items, random = sets.items, np.random.default_rng(seed)
    owner = np.repeat(np.arange(len(sets)), items.counts)
    return Ragged(items.offsets, _draw(items.values, owner, category[items.values], items, category, random))


def hard_questions(sets: ItemSets, category: np.ndarray, answers: int = ANSWERS, seed: int = SEED) -> Questions:
    """One question a set: an item at random is hidden; the wrong answers share its category and are not of the set.

    Raises BadData where a category has fewer than ``answers`` items outside the set.
    """
    items, random, q = sets.items, np.random.default_rng(seed), len(sets)
    at = items.offsets[:-1] + random.integers(0, items.counts)
    hidden, others = items.values[at], np.ones(len(items.values), bool)
    others[at] = False
    owner = np.repeat(np.arange(q), answers - 1)
    wrong = _draw(items.values, owner, category[hidden][owner], items, category, random).reshape(q, answers - 1)
    correct, table = random.integers(0, answers, q), np.empty((q, answers), np.int64)
    place = np.ones((q, answers), bool)
    place[np.arange(q), correct] = False
    table[place], table[np.arange(q), correct] = wrong.ravel(), hidden
    context = Ragged(csr.offsets_of(items.counts - 1), items.values[others])
    return Questions(context, table, correct, sets.split, sets.group)


def hard_pairs(left: np.ndarray, right: np.ndarray, category: np.ndarray, seed: int = SEED) -> tuple[np.ndarray, ...]:
    """Unrelated counterparts of related pairs (p,): (places of the pairs that have one, the item instead of the right).

    Drawn from the items of the pairs: of the right item's category, and related to the left one in none of them.
    """
    items = np.unique(np.concatenate([left, right]))
    both = np.concatenate([left, right]), np.concatenate([right, left])
    at = np.searchsorted(items, both[0])
    related = csr.group(np.concatenate([at, np.arange(len(items))]), np.concatenate([both[1], items]), len(items))
    avoid = related.take(np.searchsorted(items, left))
    owner = np.repeat(np.arange(len(left)), avoid.counts)
    taken = np.unique(owner * (int(items[-1]) + 1) + avoid.values)
    of, other = taken // (int(items[-1]) + 1), taken % (int(items[-1]) + 1)
    same = np.bincount(of, category[other] == category[right][of], len(left))
    size = np.bincount(category[items] + 1, minlength=int(category.max()) + 2)[category[right] + 1]
    which = np.flatnonzero((category[right] >= 0) & (size - same > 0))
    owner = np.arange(len(which))
    kinds = category[right[which]]
    return which, _draw(items, owner, kinds, avoid.take(which), category, np.random.default_rng(seed))


def _draw(
    pool: np.ndarray, owner: np.ndarray, kind: np.ndarray, avoid: Ragged, category: np.ndarray,
    random: np.random.Generator,
) -> np.ndarray:  # fmt: skip
    """For each of w wishes an item of its category ``kind`` from the pool, (w,).

    owner (w,): who wishes, ascending; one owner gets no item twice and none that it avoids.
    """
    pool = np.unique(pool)
    pool = pool[np.argsort(category[pool], kind="stable")]
    start, stop = (np.searchsorted(category[pool], kind, side) for side in ("left", "right"))
    if (stop == start).any():
        raise _too_few(int((stop == start).sum()))
    wide = int(max(pool.max(), avoid.values.max(initial=0))) + 1
    forbidden = np.unique(np.repeat(np.arange(len(avoid.counts)), avoid.counts) * wide + avoid.values)
    out, open_ = np.empty(len(owner), np.int64), np.arange(len(owner))
    for _ in range(_ROUNDS):
        out[open_] = pool[random.integers(start[open_], stop[open_])]
        open_ = _colliding(owner * wide + out, forbidden)
        if not len(open_):
            return out
    settled = np.ones(len(owner), bool)
    settled[open_] = False
    for wish in open_.tolist():  # nearly nothing is free for these
        mine = out[settled & (owner == owner[wish])]
        free = np.setdiff1d(pool[start[wish] : stop[wish]], np.append(mine, avoid.take(owner[wish : wish + 1]).values))
        if not len(free):
            raise _too_few(len(open_))
        out[wish], settled[wish] = random.choice(free), True
    return out


def _colliding(keys: np.ndarray, forbidden: np.ndarray) -> np.ndarray:
    """Places of the keys (w,) that are forbidden, or equal to an earlier one."""
    again = np.ones(len(keys), bool)
    again[np.unique(keys, return_index=True)[1]] = False
    return np.flatnonzero(again | np.isin(keys, forbidden))


def _too_few(count: int) -> BadData:
    return BadData(
        f"{count} items have too few others of their category for a hard variant; "
        "leave out outfits with rare categories"
    )

"""How well items fit the class that they are said to have, by linear discriminants that have not seen them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sensorium.errors import BadData
from sensorium.fitting.out_of_fold import View, folds
from sensorium.numerics.discriminants import Discriminants
from sensorium.pairs import Pairs
from sensorium.types import Embeddings, blocks

_NULL = 20_000  # items with another class than theirs, at least
_SHRINKAGES = (0.1, 0.3, 0.5, 0.7)  # chosen on the first fold
_NUMBERS = 8_000_000  # of the rows that one fit takes; more are thinned
_BLOCK = 8192
_LARGEST = 1e6  # of a logit: items that are their class itself have no spread


@dataclass(frozen=True)
class ClassScores:
    """Items by fits that have not seen them.

    rows (p,): of the table. code (p,): the class that each is said to have. logits (p, c). similarity (p,): by how much
    the logit of its class exceeds the best other one. shuffled (s,): the same for another class, drawn by their shares.
    """

    rows: np.ndarray
    code: np.ndarray
    logits: np.ndarray
    similarity: np.ndarray
    shuffled: np.ndarray
    notes: dict[str, object]

    def rank(self, which: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of some items (q,): the rank of their class, ties against it, and the best other class."""
        at, some = np.arange(len(which)), self.logits[which].copy()
        own = some[at, self.code[which]].copy()
        some[at, self.code[which]] = -np.inf
        return 1 + (some >= own[:, None]).sum(1), some.argmax(1)


def score(
    table: Embeddings,
    code: np.ndarray,
    group: np.ndarray,
    *,
    seed: int = 0,
    advance: Callable[[int], None] = lambda n: None,
) -> ClassScores:
    """Score items against their own class out of fold.

    code (n,): class 0 … c - 1 of each row, -1 for rows without one. group (n,): rows of one group stand in one fold.
    Raises BadData where there are fewer than two groups, or a class is in one fold alone.
    """
    random, view, rows = np.random.default_rng(seed), View.of(table), np.flatnonzero(code >= 0)
    code, classes = code[rows], int(code.max()) + 1
    fold, notes = folds(Pairs.of(rows, rows, group=group[rows]), random)
    for one in range(int(fold.max()) + 1):
        lost = np.setdiff1d(np.arange(classes), code[fold != one])
        if len(lost):
            raise BadData(f"{len(lost)} of {classes} classes are in one group alone, so no fit without it knows them; "
                          "add items of other groups")  # fmt: skip
    share = np.bincount(code, minlength=classes) / len(code)
    each = max(1, -(-_NULL // len(rows)))
    others = _others(np.tile(code, each), share, random).reshape(each, -1)
    logits, shrinkage = np.empty((len(rows), classes), np.float32), None
    for one in range(int(fold.max()) + 1):
        here, seen = np.flatnonzero(fold == one), np.flatnonzero(fold != one)
        most = max(50 * classes, _NUMBERS // view.dim)
        seen = np.sort(random.permutation(seen)[:most])
        fit = Discriminants(view.rows(rows[seen]).astype(np.float64), np.eye(classes)[_known(code[seen], classes)])
        if shrinkage is None:
            tried = {s: _logits(fit, s, view, rows[here]) for s in _SHRINKAGES}
            shrinkage = max(tried, key=lambda s: _apart(tried[s], code[here], others[0][here]))
        logits[here] = _logits(fit, shrinkage, view, rows[here])
        advance(len(here))
    shuffled = np.concatenate([_margin(logits, one) for one in others])
    return ClassScores(rows, code, logits, _margin(logits, code), shuffled, {**notes, "shrinkage": shrinkage})


def _known(code: np.ndarray, classes: int) -> np.ndarray:
    """The codes, once each class is there: thinning may have lost a rare one. Raises BadData."""
    if len(np.unique(code)) < classes:
        raise BadData(f"{classes - len(np.unique(code))} of {classes} classes are too rare among {len(code):,} items")
    return code


def _others(code: np.ndarray, share: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Another class (n,) than each item's, drawn by the shares of the others."""
    free = share[None] * (np.arange(len(share)) != np.arange(len(share))[:, None])
    limits = np.cumsum(free / free.sum(1, keepdims=True), axis=1)
    return np.minimum((random.random(len(code))[:, None] > limits[code]).sum(1), len(share) - 1)


def _logits(fit: Discriminants, shrinkage: float, view: View, rows: np.ndarray) -> np.ndarray:
    affine = fit.affine(shrinkage, 1.0)
    out = np.empty((len(rows), len(affine.bias)), np.float32)
    for part in blocks(len(rows), _BLOCK):
        out[part] = np.clip(affine(view.rows(rows[part]).astype(np.float64)), -_LARGEST, _LARGEST)
    return out


def _margin(logits: np.ndarray, code: np.ndarray) -> np.ndarray:
    """By how much the logit of a class exceeds the best of the others, (n,)."""
    out, at = np.empty(len(code), np.float32), np.arange(len(code))
    for part in blocks(len(code), _BLOCK):
        some, own = logits[part].copy(), logits[at[part], code[part]]
        some[np.arange(len(some)), code[part]] = -np.inf
        out[part] = own - some.max(1)
    return out


def _apart(logits: np.ndarray, code: np.ndarray, other: np.ndarray) -> float:
    """Chance that an item fits its own class better than another item fits a class that is not its own."""
    shuffled = np.sort(_margin(logits, other))
    return float(np.searchsorted(shuffled, _margin(logits, code)).mean())

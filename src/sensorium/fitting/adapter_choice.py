"""The choice among adapters: by the reciprocal rank of true partners, each item judged by a fit that left it out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sensorium.fitting import adapters
from sensorium.fitting.adapters import Adapter, LinearFits

FOLDS = 5
NETWORK = "residual mlp"
_NETWORK_FOLDS = 2  # of the five, in which it is compared with the best linear adapter
_ENOUGH, _LARGEST = 500, 1_000_000  # items from which the residual perceptron is tried, and most weights of its line
_EXACT = 1e-4  # a held-out error below this share of the deviation: the same space, turned

#: The reciprocal rank of some items (their places in the sample, (m,)) by their adapted vectors (m, d_old): (m,).
Judge = Callable[[np.ndarray, np.ndarray], np.ndarray]
Held = list[tuple[np.ndarray, np.ndarray]]  #: by fold: places of the items held out, and their adapted vectors


@dataclass(frozen=True)
class Choice:
    """The adapter, fitted on the whole sample, and what each was worth on items that its fit left out.

    tried: name and mean reciprocal rank, the simplest first. error: of the chosen one on those items, as a share of
    the old vectors' deviation.
    """

    adapter: Adapter
    tried: list[dict[str, Any]]
    error: float


def choose(
    x: np.ndarray, y: np.ndarray, judge: Judge, head: Any, groups: np.ndarray, seed: int = 0, network: bool = True
) -> Choice:
    """Fit every adapter of x (n, d_new) to y (n, d_old), and keep the one whose held-out items are found best.

    head: the head that the adapted vectors go through. groups (n,): items of one group are held out together.
    network: also try the residual perceptron, from 500 items on, where the widths' product is at most
    1,000,000. Of equal ones the simplest is kept; and one that
    reproduces the old vectors of held-out items is kept at once, as no other can be nearer.
    """
    folds, values, errors = _folds(groups, seed), {}, {}
    sides = [(np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)) for fold in range(folds.max() + 1)]
    fits, whole = [LinearFits(x[inside], y[inside]) for inside, _ in sides], LinearFits(x, y)
    spread = float(np.sqrt(np.square(y - y.mean(0)).mean())) or 1.0
    held: dict[str, Held] = {}

    def try_(names: list[str]) -> None:
        for name in names:
            held[name] = [(outside, one.fit(name)(x[outside])) for one, (_, outside) in zip(fits, sides, strict=True)]
            values[name], errors[name] = float(_judged(judge, held[name]).mean()), _error(held[name], y) / spread

    try_(whole.names())
    exact = next((name for name in values if errors[name] < _EXACT), None)
    ridge = max((name for name in values if name.startswith("ridge")), key=lambda name: values[name])
    if exact is None:
        try_(whole.ranks(ridge))
    best = exact or max(values, key=lambda name: values[name])
    chosen = whole.fit(best)
    if network and exact is None and len(x) >= _ENOUGH and x.shape[1] * y.shape[1] <= _LARGEST:
        found = []
        for one, (inside, outside) in list(zip(fits, sides, strict=True))[:_NETWORK_FOLDS]:
            trained = adapters.residual(one.fit(ridge), x[inside], y[inside], head, seed)
            found.append((outside, trained(x[outside])))
        # On the items of these folds, against the best linear one on the same items.
        gain = float(_judged(judge, found).mean()) - float(_judged(judge, held[best][:_NETWORK_FOLDS]).mean())
        values[NETWORK], errors[NETWORK] = values[best] + gain, _error(found, y) / spread
        if gain > 0:
            best, chosen = NETWORK, adapters.residual(whole.fit(ridge), x, y, head, seed)
    tried = [{"adapter": name, "MRR": values[name], "error": errors[name]} for name in values]
    return Choice(replace(chosen, name=best), tried, errors[best])


def _folds(groups: np.ndarray, seed: int) -> np.ndarray:
    """A fold for each item, (n,) int64; items of one group share it."""
    _, code = np.unique(groups, return_inverse=True)
    if code.max() + 1 < FOLDS:
        code = np.arange(len(groups))
    order = np.random.default_rng(seed).permutation(code.max() + 1)
    return order[code] % FOLDS


def _judged(judge: Judge, held: Held) -> np.ndarray:
    places = np.concatenate([rows for rows, _ in held])
    return judge(places, np.concatenate([z for _, z in held]))


def _error(held: Held, y: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.concatenate([np.square(z - y[rows]).ravel() for rows, z in held]))))

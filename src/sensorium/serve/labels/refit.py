"""Refit: a run's heads fitted on with labels, in seconds, and measured before and after on queries held out from it.

The heads start from what they are. Let z(x) be a head's output at unit length, s = z(query) · z(item) / τ the score,
and for each labelled query P its positives, N its negatives and R items drawn at random. The loss is

    mean over P of  -log( e^s / (e^s + Σ_N e^s + Σ_R e^s) )    InfoNCE; labelled negatives are among its negatives
  + mean over N of  -log( 1 - e^s / (e^s + Σ_R e^s) )          a labelled negative ranks below items drawn at random
  + λ mean over drawn items of  |z(x) - z_before(x)|²          items stay where they were

(van den Oord et al., 2018; learning without forgetting: Li and Hoiem, 2016). All vectors are those of the encoders, as
they lie beside the run.
"""

from __future__ import annotations

import copy
import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sensorium.errors import BadData, BadRecipe
from sensorium.evaluate.compare import paired
from sensorium.numerics import unit
from sensorium.search import related
from sensorium.search.raw import RawVectors
from sensorium.search.run import Run
from sensorium.serve.labels.journal import Asked
from sensorium.serve.labels.merged import Pair, usable

LEAST = 6  # labelled queries with an item that fits
HELD_OUT = 3  # every third query measures, by the digest of its key, so that it stays held out as labels are added
STEPS, RATE, TEMPERATURE, KEEP = 150, 3e-3, 0.07, 1.0
_ANCHORS, _RANDOM = 1024, 256
_CHECKED = 500  # pairs of the run's own validation split


@dataclass(frozen=True)
class Measured:
    """One measure before and after, over the same n queries, with the paired 95% interval of the difference."""

    measure: str
    queries: str  # whose: "labelled" ones that were held out, or of the "validation" split of the run's own data
    n: int
    before: float
    after: float
    low: float
    high: float


@dataclass(frozen=True)
class Refitted:
    """The heads by side, as the fit leaves them, and what it is worth. seconds: of the fit and the measurement."""

    heads: Mapping[str, Any]
    measured: Sequence[Measured]
    labels: int
    queries: int
    held_out: int
    seconds: float
    of_test: int = 0  # queries fitted on that are items of the run's test split

    def about(self) -> dict[str, Any]:
        """All but the heads, for JSON."""
        return {"labels": self.labels, "queries": self.queries, "held_out": self.held_out, "of_test": self.of_test,
                "seconds": round(self.seconds, 2), "measured": [vars(one) for one in self.measured]}  # fmt: skip


@dataclass(frozen=True)
class _Group:
    """One query: its raw vector (d_in,), its side, and rows of the searched side that fit and that do not."""

    key: str
    side: str
    raw: np.ndarray
    own: int  # row of the query itself among the searched items; -1 for none
    up: np.ndarray
    down: np.ndarray


def refit(run: Run, pairs: Sequence[Pair], seed: int = 0) -> Refitted:
    """Fit a run's heads on with labelled pairs.

    In the thread of the indexes, or on a run of one's own. Raises BadData for too few labels, Mismatch where the
    embeddings do not lie beside the run, BadRecipe for heads that cannot be fitted on.
    """
    start = time.perf_counter()
    pairs = usable(pairs)
    to = _target(pairs)
    sides = run.sides if len(run.sides) > 1 else ("left",)
    raw = {side: _raw(run, side) for side in sides}
    groups = _groups(run, pairs, to, raw)
    useful = [group for group in groups if len(group.up)]
    if len(useful) < LEAST:
        raise BadData(
            f"{len(useful)} labelled queries have an item that fits; a refit takes at least {LEAST}, as every third "
            "of them measures it: label more, such as those that are proposed next"
        )
    held = _held_out(useful)
    training = [group for group in groups if group.key not in held]
    measuring = [group for group in useful if group.key in held]
    before = {side: run.head(side) for side in sides}
    after = _fit(before, raw, training, to, seed)
    z = [{side: _project(heads[side], raw[side]) for side in sides} for heads in (before, after)]
    measured = _labelled(z, (before, after), measuring, to) + _own(run, z, sides, seed)
    seconds, of_test = time.perf_counter() - start, _of_test(run, training)
    return Refitted(after, measured, len(pairs), len(groups), len(measuring), seconds, of_test)


def _of_test(run: Run, groups: Sequence[_Group]) -> int:
    """How many of the queries are items of the test split."""
    pairs = related.open(run.folder)
    if pairs is None:
        return 0
    test = pairs[2] == "test"
    sides = zip((run.sides[0], run.sides[-1]), pairs[:2], strict=True)
    keys = {Asked(side, id=id).key for side, ids in sides for id in ids[test].tolist()}
    return sum(one.key in keys for one in groups)


def _target(pairs: Sequence[Pair]) -> str:
    """The side that the labelled items are of. Raises BadData where they are of both."""
    sides = sorted({pair.to for pair in pairs})
    if len(sides) > 1:
        counts = {side: sum(pair.to == side for pair in pairs) for side in sides}
        return max(counts, key=lambda side: counts[side])
    return sides[0] if sides else "left"


def _raw(run: Run, side: str) -> np.ndarray:
    """What the head takes of every indexed item, (n, d_in)."""
    if not run.head(side).takes_vectors:
        raise BadRecipe(f"the {run.names[side]} head takes frames; a refit is for heads that take vectors")
    return RawVectors(run, side).of(run.index(side).table.ids)


def _groups(run: Run, pairs: Sequence[Pair], to: str, raw: Mapping[str, np.ndarray]) -> list[_Group]:
    """The labels of each query; those of items that are no longer there are left out."""
    found: dict[str, list[Pair]] = {}
    for pair in pairs:
        if pair.to == to:
            found.setdefault(pair.query.key, []).append(pair)
    groups, places = [], run.places(to)
    for key, members in found.items():
        query, vector, own = members[0].query, members[0].query.raw, -1
        if query.id is not None:
            row = run.places(query.side).row(query.id)
            if row < 0:
                continue
            vector, own = raw[query.side][row], row if query.side == to else -1
        if vector is None or len(vector) != raw[query.side].shape[1]:
            continue  # of another encoder
        rows = {label: [places.row(one.item) for one in members if one.label == label] for label in (1, 0)}
        up, down = (np.array([row for row in rows[label] if row >= 0 and row != own], np.int64) for label in (1, 0))
        if len(up) or len(down):
            groups.append(_Group(key, query.side, vector, own, up, down))
    return groups


def _held_out(groups: Sequence[_Group]) -> set[str]:
    """The keys of the queries that measure: about a third, at least two; at least two are left to train on."""
    digests = {one.key: int(hashlib.sha256(one.key.encode()).hexdigest(), 16) for one in groups}
    order = sorted(digests, key=lambda key: (digests[key] % HELD_OUT != 0, digests[key]))
    count = sum(digest % HELD_OUT == 0 for digest in digests.values())
    return set(order[: min(max(2, count), len(groups) - 2)])


def _fit(
    heads: Mapping[str, Any], raw: Mapping[str, np.ndarray], groups: Sequence[_Group], to: str, seed: int
) -> dict[str, Any]:
    import torch
    from torch.nn import functional

    after = {side: copy.deepcopy(head).eval() for side, head in heads.items()}
    weights = [p for head in after.values() for p in head.parameters() if p.dtype.is_floating_point]
    if not weights:
        raise BadRecipe("the heads of this run have no weights to fit on, as identity and pca; make it with another "
                        "head, such as left.head=linear")  # fmt: skip
    for weight in weights:
        weight.requires_grad_(True)
    random = np.random.default_rng(seed)
    optimizer = torch.optim.AdamW(weights, RATE, weight_decay=0.0)

    def z(side: str, rows: np.ndarray) -> Any:
        return functional.normalize(after[side](torch.from_numpy(np.ascontiguousarray(rows, np.float32))), dim=1)

    anchors = {}
    for side, rows in raw.items():
        drawn = rows[random.choice(len(rows), min(_ANCHORS, len(rows)), replace=False)]
        anchors[side] = drawn[np.any(drawn != 0, axis=1)]
    with torch.no_grad():
        stay = {side: z(side, rows).clone() for side, rows in anchors.items()}
    n = len(raw[to])
    items = np.unique(np.concatenate([rows for one in groups for rows in (one.up, one.down)]))
    fits = np.zeros((len(groups), n), bool)  # and what must not be drawn as a negative
    up, down = (torch.zeros(len(groups), len(items)) for _ in range(2))
    for at, one in enumerate(groups):
        fits[at, [*one.up, *([one.own] if one.own >= 0 else [])]] = True
        up[at, np.searchsorted(items, one.up)] = 1 / max(1, len(one.up))
        down[at, np.searchsorted(items, one.down)] = 1 / max(1, len(one.down))
    terms = float((up.any(1).sum() + down.any(1).sum()).clamp(min=1))
    sides = {side: [at for at, one in enumerate(groups) if one.side == side] for side in raw}
    queries = {side: np.stack([groups[at].raw for at in places]) for side, places in sides.items() if places}
    for _ in range(STEPS):
        drawn = random.choice(n, min(_RANDOM, n), replace=False)
        both = z(to, raw[to][np.concatenate([items, drawn])]) / TEMPERATURE
        loss = 0.0
        for side, rows in queries.items():
            at = sides[side]
            scores = z(side, rows) @ both.T
            own, others = scores[:, : len(items)], scores[:, len(items) :]
            rest = torch.logsumexp(others.masked_fill(torch.from_numpy(fits[at][:, drawn]), -1e4), 1, keepdim=True)
            labelled = own.masked_fill(down[at] == 0, -1e4)
            below = torch.logsumexp(torch.cat([labelled, rest], 1), 1, keepdim=True)
            loss = loss + (up[at] * functional.softplus(below - own)).sum()
            loss = loss + (down[at] * functional.softplus(own - rest)).sum()
        moved = sum(((z(side, rows) - stay[side]) ** 2).sum(1).mean() for side, rows in anchors.items())
        optimizer.zero_grad()
        (loss / terms + KEEP * moved).backward()
        optimizer.step()
    for weight in weights:
        weight.requires_grad_(False)
        if not torch.isfinite(weight).all():
            raise BadData("the refit did not converge: its weights are not finite; correct contradicting labels")
    return after


def _project(head: Any, rows: np.ndarray) -> np.ndarray:
    from sensorium import heads

    return unit(heads.apply(head, rows))


def _labelled(
    z: Sequence[Mapping[str, np.ndarray]], heads: Sequence[Mapping[str, Any]], groups: Sequence[_Group], to: str
) -> list[Measured]:
    """Measures of the held-out labelled queries: the best rank of what fits, how often it is above what does not."""
    ranks, orders = [], []
    for vectors, by_side in zip(z, heads, strict=True):
        own_ranks, own_orders = [], []
        for one in groups:
            scores = vectors[to] @ _project(by_side[one.side], one.raw[None])[0]
            if one.own >= 0:
                scores[one.own] = -np.inf
            own_ranks.append(int((scores > scores[one.up].max()).sum()) + 1)
            if len(one.down):
                own_orders.append(float(np.mean(scores[one.up][:, None] > scores[one.down][None])))
        ranks.append(np.array(own_ranks, np.float64))
        orders.append(np.array(own_orders))
    found = [_measured("hit@10", "labelled", *(one <= 10 for one in ranks)),
             _measured("MRR", "labelled", *(1 / one for one in ranks))]  # fmt: skip
    return found + ([_measured("fitting above unfitting", "labelled", *orders)] if len(orders[0]) else [])


def _own(run: Run, z: Sequence[Mapping[str, np.ndarray]], sides: Sequence[str], seed: int) -> list[Measured]:
    """hit@10 of the run's own validation pairs, so that what was learnt before is seen not to be lost."""
    pairs = related.open(run.folder)
    if pairs is None or not (pairs[2] == "validation").any():
        return []
    left, right = (sides[0], sides[-1])
    chosen = np.flatnonzero(pairs[2] == "validation")
    a, b = run.places(left).rows(pairs[0][chosen].tolist()), run.places(right).rows(pairs[1][chosen].tolist())
    there = np.flatnonzero((a >= 0) & (b >= 0))
    if len(there) > _CHECKED:
        there = np.random.default_rng(seed).choice(there, _CHECKED, replace=False)
    if len(there) < 2:
        return []
    among = np.unique(b[(a >= 0) & (b >= 0)])
    hits = []
    for vectors in z:
        scores = vectors[left][a[there]] @ vectors[right][among].T
        if left == right:
            scores[a[there][:, None] == among[None]] = -np.inf
        target = scores[np.arange(len(there)), np.searchsorted(among, b[there])]
        hits.append((scores > target[:, None]).sum(1) < 10)
    return [_measured("hit@10", "validation", *hits)]


def _measured(measure: str, queries: str, before: np.ndarray, after: np.ndarray) -> Measured:
    before, after = np.asarray(before, np.float64), np.asarray(after, np.float64)
    one = paired(before, after, np.arange(len(before)))
    return Measured(measure, queries, len(before), one.a, one.b, one.low, one.high)

"""Similarities of pairs by closed forms that have not seen them: CCA fitted on the other folds.

Every pair is scored once, by the fit of the folds that it is not in; so are pairs of one fold put together at random.
An item with several partners says more: a right partner is like the others. So beside the similarity of a pair stand
the agreement of its left item with the other partners of its right item, and the other way round.
Memory is that of the moments of each fold and of one fold's projections, however many pairs there are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import xxhash

from sensorium import parts
from sensorium.contracts import Validate
from sensorium.errors import BadData
from sensorium.numerics import unit
from sensorium.numerics.moments import Moments
from sensorium.pairs import Pairs, csr
from sensorium.pairs.pairs import components_of
from sensorium.types import Affine, Embeddings, Solution, blocks

FOLDS = 5
MOST = 1024  # numbers of a vector, above which it is narrowed to its first principal components
_NARROW, _SAMPLE = 512, 4096  # components; rows that they are found from
_DIM = 256  # canonical directions
_STRENGTHS, _POWERS = (
    (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0),
    (0.5, 1.0, 2.0),
)  # chosen on the first fold, for all of them
_JUDGED = 4000  # pairs by which they are chosen
_BLOCK = 8192
_NULL = 20_000  # shuffled pairs at least
_TRIES = 20  # to shuffle without meeting a related pair


@dataclass(frozen=True)
class View:
    """Rows of a table as vectors: frames by their mean, wide ones by their principal components."""

    table: Embeddings
    basis: np.ndarray | None = None

    @classmethod
    def of(cls, table: Embeddings) -> View:
        """The view of a table; the components are found without the pairs, from some of its rows."""
        whole = cls(table)
        if table.dim <= MOST:
            return whole
        some = np.unique(np.linspace(0, len(table) - 1, min(len(table), _SAMPLE)).astype(np.int64))
        x = whole.rows(some)
        x -= x.mean(axis=0)
        start = np.random.default_rng(0).standard_normal((x.shape[1], min(_NARROW, len(some))), np.float32)
        span = np.linalg.qr(x.T @ (x @ np.linalg.qr(x.T @ (x @ start))[0]))[0]
        return cls(table, span)

    @property
    def dim(self) -> int:
        """Width of a row."""
        return self.table.dim if self.basis is None else self.basis.shape[1]

    def rows(self, rows: np.ndarray) -> np.ndarray:
        """(n, dim) float32."""
        table = self.table
        if table.offsets is None:
            x = np.asarray(table.vectors[rows], np.float32)
        else:
            x = csr.means(table.vectors, csr.Ragged(table.offsets, np.arange(len(table.vectors))).take(rows))
        return x if self.basis is None else x @ self.basis

    def mapped(self, rows: np.ndarray, affine: Affine) -> np.ndarray:
        """Rows in the space of a fit, (n, d) float32 of unit length."""
        out = np.empty((len(rows), len(affine.bias)), np.float32)
        for part in blocks(len(rows), _BLOCK):
            out[part] = _through(self.rows(rows[part]), affine)
        return out


@dataclass(frozen=True)
class Scored:
    """Pairs by fits that have not seen them.

    pairs: the related ones. similarity (p,): cosine of each. shuffled (s,): of pairs put together at random.
    agreement (p, 2), shuffled_agreement (s, 2): mean cosine of a pair's left item with the other partners of its right
    item, and of its right item with the other partners of its left item; NaN where there are no others.
    fold (p,). maps: of each fold, left and right. sides: what they take. notes: strength and power of the fits.
    """

    pairs: Pairs
    similarity: np.ndarray
    shuffled: np.ndarray
    fold: np.ndarray
    maps: tuple[tuple[Affine, Affine], ...]
    sides: tuple[View, View]
    notes: dict[str, object]
    agreement: np.ndarray
    shuffled_agreement: np.ndarray

    @property
    def evidence(self) -> tuple[np.ndarray, np.ndarray]:
        """What speaks for each pair, (p, 3), and for shuffled ones, (s, 3)."""
        return (np.column_stack([self.similarity, self.agreement]),
                np.column_stack([self.shuffled, self.shuffled_agreement]))  # fmt: skip

    def mapped(self, fold: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Left rows (n,) and right rows (m,) of a fold, and both mapped by its fit; one table's rows on both sides."""
        here, tied = self.fold == fold, self.pairs.same_table
        left, right = self.pairs.left[here], self.pairs.right[here]
        rows = [np.unique(np.concatenate([left, right]))] * 2 if tied else [np.unique(left), np.unique(right)]
        return *rows, *(side.mapped(at, to) for side, at, to in zip(self.sides, rows, self.maps[fold], strict=True))


def score(
    left: Embeddings, right: Embeddings, pairs: Pairs, *, seed: int = 0, advance: Callable[[int], None] = lambda n: None
) -> Scored:
    """Score the related pairs of all splits out of fold. advance: is told how many more pairs are done.

    Folds are of pairs, not of groups: a name of which other pictures were fitted is known, so that its right pairs are
    told from wrong ones. Pairs of equal vectors are one pair: a copy of it in another fold would speak for it, right or
    wrong. Raises BadData for fewer than two pairs, or where a side is constant.
    """
    sides, pairs = (View.of(left), View.of(left if pairs.same_table else right)), pairs.where(label=1)
    some, place = _distinct(sides, pairs)
    found = _score(sides, some, np.random.default_rng(seed), advance)
    if len(some) == len(pairs):
        return found
    advance(len(pairs) - len(some))
    return replace(found, pairs=pairs, similarity=found.similarity[place], fold=found.fold[place],
                   agreement=found.agreement[place])  # fmt: skip


def _distinct(sides: tuple[View, View], pairs: Pairs) -> tuple[Pairs, np.ndarray]:
    """Pairs that differ in their vectors, with the first row of each vector, and the place of each pair among them."""
    firsts = [_first_rows(sides[0], np.concatenate([pairs.left, pairs.right]))] * 2 if pairs.same_table else [
        _first_rows(side, rows) for side, rows in zip(sides, (pairs.left, pairs.right), strict=True)]  # fmt: skip
    a, b = (
        first[np.searchsorted(rows, of)] for (rows, first), of in zip(firsts, (pairs.left, pairs.right), strict=True)
    )
    low, high = (np.minimum(a, b), np.maximum(a, b)) if pairs.same_table else (a, b)
    _, at, place = np.unique(low * (1 + int(high.max(initial=0))) + high, return_index=True, return_inverse=True)
    order = np.argsort(at)  # as the pairs are listed
    rank = np.empty(len(at), np.int64)
    rank[order] = np.arange(len(at))
    at = at[order]
    return replace(pairs.take(at), left=a[at], right=b[at]), rank[place]


def _first_rows(side: View, of: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct rows (n,) among some, and for each the first of them with an equal vector."""
    rows = np.unique(of)
    digests = np.empty(len(rows), np.uint64)
    for part in blocks(len(rows), _BLOCK):
        x = np.ascontiguousarray(side.rows(rows[part]) + np.float32(0))  # -0 and 0 are equal
        digests[part] = [xxhash.xxh3_64_intdigest(row) for row in x]
    _, at, place = np.unique(digests, return_index=True, return_inverse=True)
    return rows, rows[at][place]


def _score(
    sides: tuple[View, View], pairs: Pairs, random: np.random.Generator, advance: Callable[[int], None]
) -> Scored:
    """:func:`score` of pairs that differ."""
    if len(pairs) < 2:
        raise BadData(f"{len(pairs)} pairs cannot be held out from one another; expected two at least")
    fold = np.empty(len(pairs), np.int64)
    fold[random.permutation(len(pairs))] = np.arange(len(pairs)) % FOLDS
    notes: dict[str, object] = {"folds": min(FOLDS, len(pairs))}
    k = int(fold.max()) + 1
    moments = [_moments(sides, pairs.take(np.flatnonzero(fold == one))) for one in range(k)]
    judge = _judge(sides, pairs.take(np.flatnonzero(fold == 0)), random)
    chosen = _solve(moments, 0, _STRENGTHS, _POWERS, judge, pairs.same_table).notes
    notes |= {"strength": chosen["strength"], "power": chosen["power"]}
    each = max(1, -(-_NULL // len(pairs)))
    similarity, shuffled, maps = np.empty(len(pairs), np.float32), [], []
    agreement, of_shuffled = np.full((len(pairs), 2), np.nan, np.float32), []
    for one in range(k):
        found = _solve(moments, one, [chosen["strength"]], [chosen["power"]], None, pairs.same_table)
        maps.append((found.left, found.left if found.right is None else found.right))
        at = np.flatnonzero(fold == one)
        here = Scored(pairs, similarity, similarity, fold, tuple(maps), sides, {}, agreement, agreement)
        (rows, others, zl, zr), own = here.mapped(one), pairs.take(at)
        a, b = np.searchsorted(rows, own.left), np.searchsorted(others, own.right)
        similarity[at] = _cosines(zl, zr, a, b)
        agree = Agreement.of(here, one, rows, others, zl, zr)
        agreement[at] = agree(a, b, True)
        related = _among(pairs, rows, others)
        for _ in range(each):
            c, d = shuffled_places(a, b, pairs.same_table, random, related)
            shuffled.append(_cosines(zl, zr, c, d))
            of_shuffled.append(agree(c, d, False))
        advance(len(at))
    both = np.concatenate(shuffled), np.concatenate(of_shuffled)
    if not len(both[0]):
        raise BadData("each item is paired with all of the other side, so that no pair can be told from a shuffled one")
    return Scored(pairs, similarity, both[0], fold, tuple(maps), sides, notes, agreement, both[1])


@dataclass(frozen=True)
class Agreement:
    """How well items agree with the partners of others, in the space of one fold's fit.

    zl (n, d), zr (m, d): the fold's items. left (m, d), right (n, d): sums over the partners, of either side, of each
    right and each left item, in all folds; None where no item has two. counts: of the partners, (m,) and (n,).
    """

    zl: np.ndarray
    zr: np.ndarray
    left: np.ndarray | None
    right: np.ndarray | None
    counts: tuple[np.ndarray, np.ndarray]

    @classmethod
    def of(cls, scored: Scored, fold: int, rows: np.ndarray, others: np.ndarray, zl: np.ndarray, zr: np.ndarray):
        """Sums of the partners of a fold's left items ``rows`` (n,) and right items ``others`` (m,)."""
        pairs, sums, counts = scored.pairs, [], []
        if pairs.same_table:
            return cls(zl, zr, None, None, (np.zeros(len(others), np.int64), np.zeros(len(rows), np.int64)))
        for place, (wanted, of, partner) in enumerate(
            ((others, pairs.right, pairs.left), (rows, pairs.left, pairs.right))
        ):
            there = np.isin(of, wanted)
            code, items = np.searchsorted(wanted, of[there]), partner[there]
            order = np.argsort(code, kind="stable")
            code, items = code[order], items[order]
            counts.append(np.bincount(code, minlength=len(wanted)))
            if counts[-1].max(initial=0) < 2:
                sums.append(None)
                continue
            total = np.zeros((len(wanted), (zl if place == 0 else zr).shape[1]), np.float32)
            for part in blocks(len(code), _BLOCK):
                z = scored.sides[place].mapped(items[part], scored.maps[fold][place])
                first = np.flatnonzero(np.concatenate([[True], np.diff(code[part]) > 0]))
                total[code[part][first]] += np.add.reduceat(z, first)
            sums.append(total)
        return cls(zl, zr, *sums, (counts[0], counts[1]))

    def __call__(self, a: np.ndarray, b: np.ndarray, related: bool) -> np.ndarray:
        """(p, 2) of pairs of places; related: whether they are, so that each is among the other's partners itself."""
        out = np.full((len(a), 2), np.nan, np.float32)
        for column, (z, at, sums, of, count) in enumerate(
            ((self.zl, a, self.left, b, self.counts[0]), (self.zr, b, self.right, a, self.counts[1]))
        ):
            others = count[of] - related
            has = np.flatnonzero(others > 0)
            if sums is not None and len(has):
                out[has, column] = (_cosines(z, sums, at[has], of[has]) - related) / others[has]
        return out


def folds(pairs: Pairs, random: np.random.Generator) -> tuple[np.ndarray, dict[str, object]]:
    """The fold (p,) of each pair: whole groups, so that folds are about equal; connected items for few groups."""
    group, notes = pairs.group, {"groups": "of the data"}
    counts = np.unique(group, return_counts=True)[1]
    if len(counts) < 2 or counts.max() > 0.6 * len(pairs):
        group, notes = components_of(pairs.left, pairs.right, pairs.same_table), {"groups": "connected items"}
    names, code, counts = np.unique(group, return_inverse=True, return_counts=True)
    if len(names) < 2:
        raise BadData("all pairs are in one group, connected by the items that they share, so no fold can be held out; "
                      "name what is apart: data.group=COLUMN")  # fmt: skip
    k, size = min(FOLDS, len(names)), np.zeros(min(FOLDS, len(names)), np.int64)
    of = np.empty(len(names), np.int64)
    order = random.permutation(len(names))
    for name in order[np.argsort(-counts[order], kind="stable")].tolist():
        of[name] = size.argmin()
        size[of[name]] += counts[name]
    return of[code], {**notes, "folds": k}


def _moments(sides: tuple, pairs: Pairs) -> Moments:
    made = Moments(sides[0].dim, sides[1].dim, products="float32")
    for part in blocks(len(pairs), _BLOCK):
        x, y = sides[0].rows(pairs.left[part]), sides[1].rows(pairs.right[part])
        made.update(x, y)
        if pairs.same_table:
            made.update(y, x)
    return made


def _solve(
    moments: list[Moments],
    out: int,
    strengths: Sequence[float],
    powers: Sequence[float],
    judge: Validate | None = None,
    tied: bool = False,
) -> Solution:
    """CCA of all folds but one. judge: chooses the strength and the power."""
    rest = Moments(len(moments[0].mean_x), len(moments[0].mean_y), products="float32")
    for one, part in enumerate(moments):
        if one != out:
            rest.merge(part)
    dim = min(_DIM, len(rest.mean_x), len(rest.mean_y))
    objective = parts.make("objectives", {"name": "cca", "dim": dim, "strengths": strengths, "powers": powers})
    return (objective.solve_tied if tied else objective.solve)(rest, judge)


def _judge(sides: tuple[View, View], pairs: Pairs, random: np.random.Generator) -> Validate:
    """How well two maps tell pairs from shuffled ones: the chance that a pair is the more similar of the two."""
    some = pairs.take(np.sort(random.permutation(len(pairs))[:_JUDGED]))
    rows, a = np.unique(some.left, return_inverse=True)
    others, b = np.unique(some.right, return_inverse=True)
    c, d = shuffled_places(some.left, some.right, pairs.same_table, random)
    c, d = np.searchsorted(rows, c), np.searchsorted(others, d)
    x, y = sides[0].rows(rows), sides[1].rows(others)

    def measure(left: Affine | None, right: Affine | None) -> float:
        zl, zr = (_through(of, left if to is None else to) for of, to in ((x, left), (y, right)))
        listed, shuffled = _cosines(zl, zr, a, b), np.sort(_cosines(zl, zr, c, d))
        return float(np.searchsorted(shuffled, listed).mean() / max(1, len(shuffled)))

    return measure


def _through(x: np.ndarray, affine: Affine) -> np.ndarray:
    return unit(x @ affine.weight.astype(np.float32) + affine.bias.astype(np.float32))


def _cosines(zl: np.ndarray, zr: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    out = np.empty(len(a), np.float32)
    for part in blocks(len(a), _BLOCK):
        out[part] = np.einsum("nd,nd->n", zl[a[part]], zr[b[part]])
    return out


def shuffled_places(
    a: np.ndarray,
    b: np.ndarray,
    tied: bool,
    random: np.random.Generator,
    related: tuple[np.ndarray, np.ndarray] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The places a (n,) with places of b that they are not related to; fewer than n where there are hardly any.

    related: places (r,) of all related pairs, where these are more than (a, b).
    """
    known = (a, b) if related is None else related
    width = 1 + int(max(x.max(initial=0) for x in (a, b, *known)))

    def keys(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.minimum(x, y) * width + np.maximum(x, y) if tied else x * width + y

    taken = np.unique(keys(*known))
    other = b[random.permutation(len(b))]
    for _ in range(_TRIES):
        bad = np.isin(keys(a, other), taken) | ((a == other) & tied)
        if not bad.any():
            break
        other[bad] = b[random.integers(0, len(b), int(bad.sum()))]
    good = ~(np.isin(keys(a, other), taken) | ((a == other) & tied))
    return a[good], other[good]


def _among(pairs: Pairs, rows: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places of the pairs whose items are both among these rows (n,) and (m,), sorted."""
    there = np.isin(pairs.left, rows) & np.isin(pairs.right, others)
    return np.searchsorted(rows, pairs.left[there]), np.searchsorted(others, pairs.right[there])

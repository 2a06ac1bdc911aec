"""From a query to ranked hits: the one place that Python, the command line and the server share.

A query passes five steps. Each is a function of an opened run (:class:`sensorium.search.run.Run`):

1. :func:`side_of` says which side an input belongs to: ``side_of(run, "text", "arrow") -> "right"``.
   Encoding is the caller's (``Run.encode``, ``Run.project``, ``Run.vector_of_id``; the server batches it).
2. :func:`resolve` turns the inputs' sides and ids and the caller's :class:`Options` into a :class:`Query`:
   the side to search, the direction, the ids that are no answer, the number of hits to fetch, and
   whether a hubness correction and a calibration apply.
3. :func:`combine` makes one vector (d,) of several weighted inputs.
4. :func:`search` takes vectors (q, d) and their queries; those that one pass of the index can answer are
   answered in one. It returns rows of the index's table, scores and probabilities (:class:`Ranked`).
5. :func:`hits` reads ids and metadata of the rows; :func:`no_match` says whether the best hit is too weak.

Raises BadRecipe for an invalid query, BadData for an unknown id or a vector of another width.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sensorium import io
from sensorium.errors import BadData, BadRecipe, Corrupt, nearest
from sensorium.numerics import unit
from sensorium.search import mmr

if TYPE_CHECKING:
    from sensorium.search.run import Run

SIDES = ("left", "right")
#: A corrected search corrects the best DEPTH × k raw hits, at least DEPTH_LEAST of them.
DEPTH = 10
DEPTH_LEAST = 200
#: A hit's own fields; a metadata column of one of these names is found under ``metadata`` only.
FIELDS = ("rank", "id", "score", "probability", "metadata")


@dataclass(frozen=True)
class Options:
    """The caller's choices, beside the inputs. where: see ``Table.where``.

    to: the side to search; None: the other one. corrected: apply the direction's hubness correction, if the
    run has one. mmr: λ of maximal marginal relevance, chosen among ``pool`` candidates (None: mmr.POOL × k).
    space: "head", or "encoder" for the frozen encoder's own vectors.
    """

    k: int = 10
    to: str | None = None
    where: Mapping[str, Any] | None = None
    corrected: bool = True
    mmr: float | None = None
    pool: int | None = None
    space: str = "head"


@dataclass(frozen=True)
class Input:
    """One encoded input. vector (d,) in the space that is searched; id: of the item, when the input is one."""

    side: str
    id: str | None = None
    weight: float = 1.0
    vector: np.ndarray | None = None


@dataclass(frozen=True)
class Query:
    """One search, resolved: see :func:`resolve`. exclude: ids that are never hits."""

    to: str
    direction: str
    k: int
    where: Mapping[str, Any] | None = None
    exclude: frozenset[str] = frozenset()
    corrected: bool = False  # a hubness correction is applied
    calibrated: bool = False  # the run's calibration was fitted on such scores
    mmr: float | None = None
    pool: int = 0

    @property
    def depth(self) -> int:
        """Hits to fetch so that k are left after exclusion and diversification."""
        return (self.k if self.mmr is None else max(self.pool, self.k)) + len(self.exclude)

    @cached_property
    def key(self) -> tuple[Any, ...]:
        """Equal for queries that one pass of an index can answer."""
        where = json.dumps(dict(self.where), sort_keys=True, default=_as_text) if self.where else ""
        return self.to, self.direction, self.depth, where, self.corrected, self.calibrated


class Ranked(NamedTuple):
    """The hits of one query, best first: rows (m,) of the index's table, scores (m,), m ≤ k.

    probability (m,): that each hit is right; None where the run has no calibration for such scores.
    """

    rows: np.ndarray
    scores: np.ndarray
    probability: np.ndarray | None

    @property
    def best(self) -> float | None:
        """The highest score; None without hits."""
        return float(self.scores.max()) if len(self.scores) else None

    def take(self, places: np.ndarray) -> Ranked:
        """The hits at these places."""
        return Ranked(*(None if x is None else x[places] for x in self))  # type: ignore[arg-type]


def side_of(run: Run, name: str, value: Any, side: str | None = None) -> str:
    """The side of an input: the argument, checked, or the only side that takes it.

    name: "id", "vector", or the kind of item that an encoder takes, such as "text".
    """
    if side is not None:
        side = run.key_of(side)
        if side not in run.sides:
            raise BadRecipe(
                f"{run.folder} has no {side} side: both sides are one table; leave the side out, or say left"
            )
        return side
    if len(run.sides) == 1:
        return run.sides[0]
    if name == "id":
        sides = [s for s in run.sides if str(value) in run.places(s)]
        if not sides:
            raise BadData(f"no item '{value}' in {run.folder}; {nearest(str(value), _some_ids(run))}")
    elif name == "vector":
        widths = {s: run.head(s).dim_in for s in run.sides}
        sides = [s for s in run.sides if widths[s] == np.shape(value)[-1]]
        if not sides:
            raise BadData(
                f"vector has {np.shape(value)[-1]} values; {run.names['left']} takes {widths['left']}, "
                f"{run.names['right']} {widths['right']}"
            )
    else:
        takes = {s: "vectors" if (e := run.encoder(s)) is None else e.takes for s in run.sides}
        sides = [s for s in run.sides if takes[s] == name]
        if not sides:
            listed = ", ".join(f"{run.names[s]} takes {kind}" for s, kind in takes.items())
            raise BadRecipe(f"no side of {run.folder} takes {name}: {listed}")
    if len(sides) > 1:
        first, second = run.names.values()
        raise BadRecipe(f"both sides take this {name}; say which with --from {first} or --from {second} "
                        f"(in Python: side='{first}')")  # fmt: skip
    return sides[0]


def resolve(run: Run, inputs: Sequence[Input], options: Options) -> Query:
    """The query of one input, or of several that :func:`combine` makes one.

    Inputs of both sides need ``options.to``; their scores have neither correction nor calibration.
    """
    if options.k < 1:
        raise BadRecipe(f"k={options.k}; expected 1 or more")
    sides, one_table = sorted({one.side for one in inputs}), len(run.sides) == 1
    if options.to is not None:
        options = replace(options, to=run.key_of(options.to, "to"))
    if options.space == "encoder":
        if len(inputs) > 1:
            raise BadRecipe("space=encoder takes one input; the encoders of two sides have nothing in common")
        if options.to not in (None, sides[0]):
            raise BadRecipe(f"space=encoder searches the input's own side, {run.names[sides[0]]}; leave out to")
        to, direction = sides[0], f"{sides[0]}->{sides[0]}"
    elif one_table:
        to, direction = options.to or run.sides[0], "left->right"
    elif len(sides) == 1:
        to = options.to or SIDES[1 - SIDES.index(sides[0])]
        direction = f"{sides[0]}->{to}"
    elif options.to is None:
        raise BadRecipe(
            f"the inputs belong to both sides; say which side to search with to: {' or '.join(run.names.values())}"
        )
    else:
        to, direction = options.to, f"both->{options.to}"
    if to not in run.sides:
        there = " and ".join(run.names[side] for side in run.sides)
        raise BadRecipe(f"{run.folder} has no {run.names[to]} side to search; it has {there or 'no index'}")
    corrects = direction in run.corrections and options.space == "head"
    corrected = options.corrected and corrects
    return Query(
        to,
        direction,
        options.k,
        options.where,
        frozenset(one.id for one in inputs if one.id is not None and (one.side == to or one_table)),
        corrected,
        # A calibration was fitted on the scores that the run searches with, and holds for no others.
        options.space == "head" and direction in run.trust and corrected == corrects,
        options.mmr,
        options.pool or mmr.POOL * options.k,
    )


def combine(inputs: Sequence[Input]) -> np.ndarray:
    """The weighted sum of the inputs' vectors, each at unit length, at unit length (d,).

    Raises BadData when the inputs cancel each other out.
    """
    total: Any = 0.0
    for one in inputs:
        total = total + one.weight * unit(np.asarray(one.vector, np.float32))
    length = float(np.linalg.norm(total))
    if not length > 1e-6:
        raise BadData("the weighted inputs cancel each other out; change a weight")
    return (total / length).astype(np.float32)


def search(run: Run, vectors: np.ndarray, queries: Sequence[Query], index: Any = None) -> list[Ranked]:
    """The hits of each query, whose vectors are (q, d). In the thread of the index, whose rows must not move.

    index: searched instead of the run's own; it must hold the same items in the same rows.
    """
    groups: dict[tuple[Any, ...], list[int]] = {}
    for i, query in enumerate(queries):
        groups.setdefault(query.key, []).append(i)
    answers: dict[int, Ranked] = {}
    for places in groups.values():
        ranked = _find(run, vectors[places], queries[places[0]], index)
        for place, one in zip(places, ranked, strict=True):
            answers[place] = _select(run, one, queries[place], index)
    return [answers[i] for i in range(len(queries))]


def _find(run: Run, vectors: np.ndarray, query: Query, index: Any) -> list[Ranked]:
    """The nearest ``query.depth`` rows of each vector, corrected and calibrated as the query says."""
    index = run.index(query.to) if index is None else index
    shift = run.shift(query.direction, query.to) if query.corrected else None
    depth = min(query.depth, max(1, len(index)))
    fetched = depth if shift is None else min(max(DEPTH * depth, DEPTH_LEAST), max(1, len(index)))
    rows, scores = index.search(vectors, fetched, where=query.where)
    if shift is not None:
        rows, scores = shift.rerank(rows, scores, depth)
    chances = _probability(run, query, scores)
    return [
        Ranked(rows[q], scores[q], None if chances is None else chances[q]).take(np.flatnonzero(rows[q] >= 0))
        for q in range(len(rows))
    ]


def _probability(run: Run, query: Query, scores: np.ndarray) -> np.ndarray | None:
    if not query.calibrated:
        return None
    from sensorium.evaluate import calibration

    try:
        return calibration.from_dict(run.trust[query.direction]["probability"])(scores)
    except (KeyError, TypeError, ValueError, StopIteration, AttributeError) as error:
        raise Corrupt(
            f"{run.folder}: the calibration of {query.direction} is damaged ({error}); evaluate the run again"
        ) from None


def _select(run: Run, ranked: Ranked, query: Query, index: Any) -> Ranked:
    """A query's hits without the excluded ids, diversified: at most k."""
    if query.exclude:
        ranked = ranked.take(~np.isin(ranked.rows, run.places(query.to).rows(query.exclude)))
    if query.mmr is not None:
        index = run.index(query.to) if index is None else index
        ranked = ranked.take(mmr.mmr(ranked.scores, index.vectors(ranked.rows), query.k, query.mmr))
    return ranked.take(np.arange(min(query.k, len(ranked.rows))))


def hits(run: Run, query: Query, ranked: Ranked) -> list[dict[str, Any]]:
    """Ranked hits as dicts: rank (from 1), id, score, probability where calibrated, and the item's columns.

    ``metadata`` holds all columns; they are beside the hit's own fields too, except those of such a name.
    """
    table = run.index(query.to).table
    chances = [None] * len(ranked.rows) if ranked.probability is None else ranked.probability.tolist()
    made = []
    for place, (row, score, chance) in enumerate(
        zip(ranked.rows.tolist(), ranked.scores.tolist(), chances, strict=True)
    ):
        own = {"rank": place + 1, "id": str(table.ids[row]), "score": score}
        if chance is not None:
            own["probability"] = round(chance, 4)
        columns = table.metadata(row)
        flat = {name: value for name, value in columns.items() if name not in FIELDS}
        made.append({**own, **flat, "metadata": columns})
    return made


def no_match(run: Run, query: Query, best: float | None) -> bool | None:
    """Whether the best score is below the rejection threshold; None where the run has none."""
    threshold = run.trust.get(query.direction, {}).get("no_match") if query.calibrated else None
    if not threshold or best is None or threshold["score"] is None:
        return None
    return bool(best < threshold["score"])


def _some_ids(run: Run) -> list[str]:
    """A few ids to suggest from; a close match over a million would take longer than the search."""
    return [i for side in run.sides for i in run.index(side).table.ids[:20000].tolist()]


def _as_text(value: Any) -> Any:
    """Values of a filter that JSON has no word for, such as sets, arrays and dates."""
    try:
        return io.plain(value)
    except TypeError:
        return sorted(map(repr, value)) if isinstance(value, (set, frozenset)) else repr(value)

"""From a query to ranked hits: the one place that Python, the command line and the server share.

A query passes five steps. Each is a function of an opened run (:class:`sensorium.search.run.Run`):

1. :func:`side_of` says which side an input belongs to: ``side_of(run, "text", "arrow") -> "right"``.
   Encoding is the caller's (``Run.encode``, ``Run.project``, ``Run.vector_of_id``; the server batches it).
2. :func:`resolve` turns the inputs' sides and ids and the caller's :class:`Options` into a :class:`Query`:
   the side to search, the direction, the ids that are no answer, the number of hits to fetch, and
   whether a hubness correction and a calibration apply.
3. :func:`combine` makes one vector (d,) of several weighted inputs.
4. :func:`search` (:mod:`sensorium.search.ranking`) takes vectors (q, d) and their queries; those that one pass of
   the index can answer are answered in one. It returns rows of the index's table, scores and probabilities
   (:class:`Ranked`), one for each group where they are collapsed (:mod:`sensorium.search.collapse`).
5. :func:`hits` reads ids and metadata of the rows; :func:`no_match` says whether the best hit is too weak.
   :func:`facets` counts the values of columns.

Raises BadRecipe for an invalid query, BadData for an unknown id or a vector of another width.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from sensorium import io
from sensorium.errors import BadData, BadRecipe, nearest
from sensorium.numerics import unit
from sensorium.search import class_table, joined, mmr, moments
from sensorium.search.ranking import Ranked, search
from sensorium.table import facets as facet_counts
from sensorium.table.columns import kind_of

if TYPE_CHECKING:
    from sensorium.search.run import Run
    from sensorium.table import Table

__all__ = ["FIELDS", "SIDES", "Input", "Options", "Query", "Ranked", "combine", "facets", "hits", "no_match", "resolve",
           "search", "side_of"]  # fmt: skip
SIDES = ("left", "right")
#: A hit's own fields; a metadata column of one of these names is found under ``metadata`` only.
FIELDS = ("rank", "id", "score", "probability", "metadata")
#: Fields of a hit only where the search has such options; a column of one of these names gives way then, too.
OPTION_FIELDS = ("fallback", "group_size", "collapsed")


@dataclass(frozen=True)
class Options:
    """The caller's choices, beside the inputs. where: see ``Table.where``.

    to: the side to search; None: the other one. corrected: apply the direction's hubness correction, if the
    run has one. mmr: λ of maximal marginal relevance, chosen among ``pool`` candidates (None: mmr.POOL × k).
    space: "head", or "encoder" for the frozen encoder's own vectors.

    facets: columns whose values are counted, see :func:`sensorium.table.facets.count`. collapse: a column of which
    each value gets one hit, its best item, so that k counts groups; items without a value are a group each.
    Items that are windows of a recording collapse by it unless another column is named; "none" gives every window.
    collapse_size: items of a group that are given, the further ones within its hit. min_score: hits of a lower
    score are left out. fallback: a filter like ``where``; where fewer than k hits are left, the others come from a
    second search with this filter in place of ``where``, and without min_score ({}: no filter).
    """

    k: int = 10
    to: str | None = None
    where: Mapping[str, Any] | None = None
    corrected: bool = True
    mmr: float | None = None
    pool: int | None = None
    space: str = "head"
    facets: Sequence[str] = ()
    collapse: str | None = None
    collapse_size: int = 1
    min_score: float | None = None
    fallback: Mapping[str, Any] | None = None


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
    classes: bool = False  # probabilities are the softmax of the run's class table
    mmr: float | None = None
    pool: int = 0
    facets: tuple[str, ...] = ()
    collapse: str | None = None
    collapse_size: int = 1
    min_score: float | None = None
    fallback: Mapping[str, Any] | None = None

    @property
    def wanted(self) -> int:
        """Hits, or groups, to choose from."""
        return self.k if self.mmr is None else max(self.pool, self.k)

    @property
    def depth(self) -> int:
        """Hits to fetch so that k are left after exclusion and diversification."""
        return self.wanted + len(self.exclude)

    @cached_property
    def key(self) -> tuple[Any, ...]:
        """Equal for queries that one pass of an index can answer."""
        where = _text_of(self.where) if self.where else ""
        return self.to, self.direction, self.depth, where, self.corrected, self.calibrated, self.classes, self.collapse


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
        takes = {s: joined.taken(run.encoder(s)) or ("vectors",) for s in run.sides}
        sides = [s for s in run.sides if name in takes[s]]
        if not sides:
            listed = ", ".join(f"{run.names[s]} takes {' and '.join(kinds)}" for s, kinds in takes.items())
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
    _check(options)
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
    _check_side(run, to)
    options = replace(options, collapse=moments.collapse(run, to, options.collapse))
    _check_columns(run, to, options)
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
        # A weighted sum has unit length, which the softmax of free logits does not.
        _is_plain(inputs) and direction in ("left->right", "right->left") and class_table.exists(run),
        options.mmr,
        options.pool or mmr.POOL * options.k,
        tuple(options.facets),
        options.collapse,
        options.collapse_size,
        options.min_score,
        options.fallback,
    )


def side_of_facets(run: Run, options: Options) -> str:
    """The side whose values a search without an input counts: ``options.to``, or the only one. Raises BadRecipe."""
    _check(options)
    if options.to is None and len(run.sides) != 1:
        raise BadRecipe(f"say which side's facets with to: {' or '.join(run.names.values())}")
    to = run.sides[0] if options.to is None else run.key_of(options.to, "to")
    _check_side(run, to)
    return to


def facets(run: Run, to: str, options: Options | Query) -> dict[str, dict[str, Any]]:
    """The facets of a search: by column, see :func:`sensorium.table.facets.count`; of the side, whatever the query."""
    return facet_counts.count(run.index(to).table, list(options.facets), options.where)


def _check(options: Options) -> None:
    """Raise BadRecipe for values that no run takes."""
    if options.k < 1:
        raise BadRecipe(f"k={options.k}; expected 1 or more")
    if isinstance(options.facets, str):
        raise BadRecipe(f"facets is text; expected a list of columns: facets=['{options.facets}']")
    if options.collapse_size < 1:
        raise BadRecipe(f"collapse_size={options.collapse_size}; expected 1 or more items of a group")
    if options.min_score is not None and not math.isfinite(options.min_score):
        raise BadRecipe(f"min_score={options.min_score}; expected a number")
    if options.fallback is not None and not isinstance(options.fallback, Mapping):
        raise BadRecipe(
            f"fallback is {type(options.fallback).__name__}; expected a filter like where, or {{}} for no filter"
        )


def _is_plain(inputs: Sequence[Input]) -> bool:
    """Whether a query is one input as it is, not a weighted sum."""
    return len(inputs) == 1 and inputs[0].weight == 1.0


def _check_side(run: Run, to: str) -> None:
    if to not in run.sides:
        there = " and ".join(run.names[side] for side in run.sides)
        raise BadRecipe(f"{run.folder} has no {run.names[to]} side to search; it has {there or 'no index'}")


def _check_columns(run: Run, to: str, options: Options) -> None:
    """Raise BadRecipe for columns that the side does not have, before a search is done for nothing."""
    if options.collapse_size > 1 and options.collapse is None:
        raise BadRecipe("collapse_size needs a column to collapse by; give collapse='product', for example")
    if options.collapse is None and not options.fallback:
        return
    table = run.index(to).table
    for name in options.fallback or ():
        table.column_name(name, "fallback")
    if options.collapse is not None:
        name = table.column_name(options.collapse, "collapse")
        if name == "id" or kind_of(table.columns[name]) == "list":
            what = "is each item's own" if name == "id" else "holds lists"
            raise BadRecipe(
                f"collapse: '{options.collapse}' {what}; expected a column of single values that items share"
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


def hits(run: Run, query: Query, ranked: Ranked) -> list[dict[str, Any]]:
    """Ranked hits as dicts: rank (from 1), id, score, probability where calibrated, and the item's columns.

    ``metadata`` holds all columns; they are beside the hit's own fields too, except those of such a name.
    Where the query has a fallback, ``fallback`` says whether the hit is of it. Where it collapses, ``group_size``
    counts the group's items that pass the filter, and ``collapsed`` holds its further hits, ranked from 2.
    """
    return _hits(run.index(query.to).table, ranked)


def _hits(table: Table, ranked: Ranked, first: int = 1) -> list[dict[str, Any]]:
    rows, scores = ranked.rows.tolist(), ranked.scores.tolist()
    chances = None if ranked.probability is None else ranked.probability.tolist()
    made = []
    for place, (row, score) in enumerate(zip(rows, scores, strict=True)):
        own = {"rank": place + first, "id": str(table.ids[row]), "score": score}
        if chances is not None:
            own["probability"] = round(chances[place], 4)
        if ranked.fallback is not None:
            own["fallback"] = bool(ranked.fallback[place])
        if ranked.group_size is not None:
            own["group_size"] = int(ranked.group_size[place])
            own["collapsed"] = [] if ranked.collapsed is None else _hits(table, ranked.collapsed[place], 2)
        columns = table.metadata(row)
        flat = {name: value for name, value in columns.items() if name not in FIELDS and name not in own}
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


def _text_of(where: Mapping[str, Any]) -> str:
    """A filter as text, equal for equal ones."""
    return json.dumps(dict(where), sort_keys=True, default=_as_text)


def _as_text(value: Any) -> Any:
    """Values of a filter that JSON has no word for, such as sets, arrays and dates."""
    try:
        return io.plain(value)
    except TypeError:
        return sorted(map(repr, value)) if isinstance(value, (set, frozenset)) else repr(value)

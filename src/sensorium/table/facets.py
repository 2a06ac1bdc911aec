"""Facet counts: how many items have each value of a column, among those that pass a filter."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sensorium.table.codes import Codes
from sensorium.table.columns import value_of

if TYPE_CHECKING:
    from sensorium.table import Table

VALUES = 100  #: values of a facet that are listed; a number with more gets ranges
RANGES = 12  #: ranges of a number, at most
_EXACT = 2**53  # integers from which ranges, whose limits are floats in JSON, would be wrong


def count(table: Table, columns: Sequence[str], where: Mapping[str, Any] | None = None) -> dict[str, dict[str, Any]]:
    """The facet of each column, by its name.

    Counted are the items that meet every condition of ``where`` but those on the facet's own column (disjunctive
    facets): so each value says how many items choosing it would add or leave. A facet has

    * ``count``: the items that are counted; ``missing``: those of them without a value;
    * ``distinct``: how many values they have; ``values``: the most frequent ``VALUES`` of them, each with its
      ``value`` and ``count``, equal counts in order of value. An item counts for each value of its list;
    * ``min`` and ``max`` of numbers, times and durations (of finite ones);
    * ``ranges`` in place of ``values`` for numbers of more than ``VALUES`` values: ``from`` ≤ value < ``to``.

    Raises BadRecipe for an unknown column, or an invalid condition.
    """
    conditions = dict(where or {})
    facets = {name: table.codes(name, "facets") for name in columns}
    masks = {name: table.holds(name, condition) for name, condition in conditions.items()}
    own = {name: table.column_name(name) for name in (*columns, *conditions)}
    found = {}
    for name, codes in facets.items():
        others = [mask for other, mask in masks.items() if own[other] != own[name]]
        found[name] = _facet(codes, np.logical_and.reduce(others) if others else None)
    return found


def _facet(codes: Codes, mask: np.ndarray | None) -> dict[str, Any]:
    counts, gaps = codes.counts(mask)
    there = np.flatnonzero(counts)
    facet: dict[str, Any] = {
        "count": codes.n if mask is None else int(np.count_nonzero(mask)),
        "missing": gaps,
        "distinct": len(there),
    }
    values = codes.values[there]
    ordered = codes.kind in ("integer", "number", "time", "duration")
    finite = np.isfinite(values) if values.dtype.kind == "f" else np.ones(len(values), bool)
    if ordered:
        some = values[finite]
        facet |= {
            "min": value_of(some.min()) if len(some) else None,
            "max": value_of(some.max()) if len(some) else None,
        }
    if codes.kind in ("integer", "number") and len(there) > VALUES and finite.any():
        facet["ranges"] = _ranges(values[finite], counts[there][finite])
        return facet
    facet["values"] = _most_frequent(codes, there, counts[there])
    return facet


def _most_frequent(codes: Codes, there: np.ndarray, counts: np.ndarray) -> list[dict[str, Any]]:
    """The values of most items, equal counts in order of value."""
    if len(there) > VALUES:  # those that may be among them: all of the last one's count
        least = np.partition(counts, len(counts) - VALUES)[len(counts) - VALUES]
        there, counts = there[counts >= least], counts[counts >= least]
    pairs = [(codes.value(code), n) for code, n in zip(there.tolist(), counts.tolist(), strict=True)]
    pairs.sort(key=lambda pair: (-pair[1], _order(pair[0])))
    return [{"value": value, "count": n} for value, n in pairs[:VALUES]]


def _order(value: Any) -> tuple[str, Any]:
    """Values of one kind in their own order; a list may hold several kinds."""
    return ("number", value) if isinstance(value, (bool, int, float)) else (type(value).__name__, value)


def _ranges(values: np.ndarray, counts: np.ndarray) -> list[dict[str, Any]]:
    """Ranges of equal width with round limits; none for integers that a float cannot hold."""
    low, high = value_of(values.min()), value_of(values.max())
    if not (abs(low) < _EXACT and abs(high) < _EXACT) and values.dtype.kind in "iu":
        return []
    step = _step(high / (RANGES - 1) - low / (RANGES - 1), whole=values.dtype.kind in "iu")
    if not 0 < step < math.inf:
        return []
    limits = [_multiple(math.floor(low / step) + i, step) for i in range(-1, RANGES + 2)]
    with np.errstate(over="ignore"):  # in the column's own precision, as a condition on the column compares
        edges = np.array(limits).astype(values.dtype if values.dtype.kind == "f" else np.int64)
    first = np.searchsorted(edges, values.min(), side="right") - 1
    last = np.searchsorted(edges, values.max(), side="right")
    edges, limits = edges[first : last + 1], limits[first : last + 1]
    if first < 0 or last >= len(limits) + first or (np.diff(edges) <= 0).any():
        return []
    place = np.searchsorted(edges, values, side="right") - 1
    sums = np.bincount(place, weights=counts, minlength=len(limits) - 1)
    return [
        {"from": low, "to": high, "count": round(n)}
        for low, high, n in zip(limits, limits[1:], sums.tolist(), strict=False)
    ]


def _step(width: float, whole: bool) -> float | int:
    """The least of 1, 2 and 5 times a power of ten that is not below a width; a whole one for integers."""
    if not 0 < width < math.inf:
        return 0
    power = math.floor(math.log10(width))
    found = next((n * 10.0**p for p in (power, power + 1) for n in (1, 2, 5) if n * 10.0**p >= width), 0.0)
    return max(1, round(found)) if whole else found


def _multiple(n: int, step: float | int) -> float | int:
    """n steps, written as short as they are: 0.3, not 0.30000000000000004."""
    return n * step if isinstance(step, int) else float(f"{n * step:.12g}")

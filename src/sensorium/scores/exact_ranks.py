"""Exact ranks of every relevant, by counting the candidates that score at least as high.

A target is a (query, relevant) pair with its score as threshold. Targets are counted by
whichever way suits them: where few candidates come near (most targets of a good head) by
:mod:`int8 products <sensorium.scores.ranks_int8>`, elsewhere by :mod:`bfloat16 products
<sensorium.scores.ranks_bfloat16>`, queries with many relevants by :mod:`sorting <sensorium.scores.ranks_sorted>`,
and small problems, or machines without fast narrow products, by :mod:`float32 products
<sensorium.scores.ranks_float32>`. All give the same integers.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sensorium.errors import BadData
from sensorium.pairs import Relevance
from sensorium.scores import cpu_features, ranks_bfloat16, ranks_float32, ranks_int8, ranks_sorted
from sensorium.scores.similarity import scores_at
from sensorium.scores.source import Source, same_width
from sensorium.scores.targets import Targets
from sensorium.types import Rows, blocks

_QUERY_NUMBERS = 1 << 24  # float32 numbers of one block of queries: 64 MB
_MANY = 16  # relevants of a query from which sorting its scores beats one comparison each


def ranks(queries: Rows, candidates: Rows, relevance: Relevance) -> np.ndarray:
    """Pessimistic rank, 1-based, of every relevant, (r,) int64 in the order of ``relevance.relevant``.

    1 + the number of non-relevant candidates that score at least as high + the number of
    relevants before it (equal relevants in order of position); the query itself never counts.
    ``relevance.queries`` and ``relevance.candidates`` choose rows of queries (·, d) and
    candidates (·, d); both may be memory maps larger than memory.
    Raises BadData on NaN, infinite or overlong vectors, on different widths, and where a query
    is listed as relevant to itself.
    """
    same_width(queries, candidates)
    counts = relevance.counts()
    if (relevance.relevant == np.repeat(relevance.own, counts)).any():
        raise BadData("a query is listed as relevant to itself; drop the pairs of an item with itself")
    source = Source(candidates, relevance.candidates)
    query_source = Source(queries, relevance.queries, "queries")
    use = cpu_features.choose(float(len(query_source)) * len(source) * source.width)
    out = np.empty(len(relevance.relevant), np.int64)
    for rows in blocks(len(query_source), max(1024, _QUERY_NUMBERS // max(1, source.width))):
        start, stop = int(relevance.offsets[rows.start]), int(relevance.offsets[rows.stop])
        offsets = relevance.offsets[rows.start : rows.stop + 1] - start
        q, length = query_source.read(rows)
        relevant = relevance.relevant[start:stop]
        targets = Targets(q, length, offsets, _scores_of(q, source, relevant, offsets))
        above = _count(targets, source, use)
        above -= _own_scores(q, source, relevance.own[rows])[targets.row] >= targets.score
        out[start:stop] = 1 + above - _relevants_not_before(targets)
    return out


def _count(targets: Targets, source: Source, use: cpu_features.Machine) -> np.ndarray:
    """How many candidates score at least each target's score, (r,) int64."""
    sorting = (np.diff(targets.offsets) > _MANY)[targets.row]
    rest, few = ~sorting, np.zeros(len(targets), bool)
    if use.int8 and rest.any():
        targets = replace(targets, narrowed=ranks_int8.quantized_queries(targets, source, use.torch))
        few[rest] = ranks_int8.suits(targets.take(rest), source, use.torch)
    product = ranks_bfloat16.count if use.bf16 else ranks_float32.count
    above = np.zeros(len(targets), np.int64)
    for mask, count in ((sorting, ranks_sorted.count), (few, ranks_int8.count), (rest & ~few, product)):
        if mask.any():
            above[mask] = count(targets.take(mask), source, use.torch)
    return above


def _scores_of(q: np.ndarray, source: Source, relevant: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Score of every relevant, (r,) float32."""
    row = np.repeat(np.arange(len(q)), np.diff(offsets))
    out = np.empty(len(relevant), np.float32)
    for part in blocks(len(relevant), 8192):
        c = source.take(relevant[part])
        out[part] = scores_at(q, c, row[part], np.arange(len(c)))
    return out


def _own_scores(q: np.ndarray, source: Source, own: np.ndarray) -> np.ndarray:
    """Score of each query with itself, (b,) float32; -inf where it is no candidate."""
    out = np.full(len(q), -np.inf, np.float32)
    there = np.flatnonzero(own >= 0)
    for part in blocks(len(there), 8192):
        c = source.take(own[there[part]])
        out[there[part]] = scores_at(q, c, there[part], np.arange(len(c)))
    return out


def _relevants_not_before(targets: Targets) -> np.ndarray:
    """Of its query's relevants that score at least as high, how many do not stand before each target.

    That is itself and those equal to it further on: counted among the candidates above, yet not ahead.
    """
    r = len(targets)
    order = np.lexsort((np.arange(r), -targets.score, targets.row))
    change = (np.diff(targets.row[order]) != 0) | (np.diff(targets.score[order]) != 0)
    last = np.flatnonzero(np.append(change, True))  # where each run of equal relevants ends
    out = np.empty(r, np.int64)
    place = np.arange(r)
    out[order] = last[np.searchsorted(last, place)] + 1 - place
    return out

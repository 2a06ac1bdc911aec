"""A search request from its inputs to its answer; the logic is :mod:`sensorium.search.query`'s."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from sensorium.search import joined
from sensorium.search.looks import POOL, LookOptions
from sensorium.search.query import Input, Options, Query, Ranked, combine, facets, resolve, side_of_facets
from sensorium.serve.engine import looks
from sensorium.serve.engine.inputs import InputValue, Vector, gather, vector_of
from sensorium.serve.engine.requests import SearchRequest
from sensorium.serve.engine.workers import SearchAnswer, SearchTask, Workers
from sensorium.serve.problems import Problem
from sensorium.table import json_value

if TYPE_CHECKING:
    from sensorium.serve.context import Context

_OTHERS = ("id", "vector")  # inputs besides modalities


async def encode_inputs(
    request: SearchRequest, files: Mapping[str, bytes], workers: Workers, context: Context
) -> list[Vector]:
    """Every input of a search as numbers. files: uploaded ones, by modality."""
    own = request.inputs(*_OTHERS)
    if request.queries is None:
        both = joined.together(workers.run, {**own, **files}, request.from_)
        if len(both) == 1 and len(own) + len(files) > 1:
            own, files = both, {}
        if len(own) + len(files) != 1:
            named, every = ", ".join([*own, *files]) or "none", ", ".join((*request.modalities, *_OTHERS))
            raise Problem(400, f"give exactly one of {every}, or several in queries; got {named}")
        ((name, value),) = {**own, **files}.items()
        return [await vector_of(InputValue(name, value, request.from_), workers, context)]
    if own:
        raise Problem(400, "give one input, or several in queries, not both")
    if len(request.queries) + len(files) > context.settings.max_queries:
        raise Problem(413, f"{len(request.queries) + len(files)} inputs; at most {context.settings.max_queries}")
    inputs = [InputValue(*one.single(*_OTHERS), one.from_ or request.from_, one.weight) for one in request.queries]
    inputs += [InputValue(name, content, request.from_) for name, content in files.items()]
    return await gather([vector_of(one, workers, context) for one in inputs])


def options_of(request: SearchRequest) -> Options:
    """The options of a search."""
    return Options(
        request.k, request.to, request.where, request.corrected, request.mmr, request.pool, request.space,
        tuple(request.facets or ()), request.collapse, request.collapse_size, request.min_score, request.fallback,
    )  # fmt: skip


def has_input(request: SearchRequest, files: Mapping[str, bytes]) -> bool:
    """Whether a search has an input; without one, facets alone can be asked for."""
    return bool(files or request.queries is not None or request.inputs(*_OTHERS))


async def count_facets(request: SearchRequest, workers: Workers, to: str | None = None) -> tuple[str, dict[str, Any]]:
    """The side that is searched, and its facets as JSON can carry them; to: the side, where a query has said it.

    Counted in a thread of its own, beside the searches: the table of an index is never changed, only replaced.
    """
    options = options_of(request)
    side = to or side_of_facets(workers.run, options)
    return side, json_value(await asyncio.to_thread(facets, workers.run, side, options))


async def run_query(request: SearchRequest, vectors: list[Vector], workers: Workers) -> tuple[SearchAnswer, Query]:
    """The answer to a search, and the query as it was resolved."""
    if request.gap_category is not None:
        return await _completed(request, vectors, workers)
    inputs = [Input(vector.side, vector.id, vector.weight) for vector in vectors]
    options = options_of(request)
    query, first = resolve(workers.run, inputs, options), vectors[0]
    if request.space == "encoder":
        if request.queries is not None:
            raise Problem(400, "space=encoder takes one input; leave out queries")
        return await workers.search_raw(SearchTask(query, raw=await _raw(first, workers), side=first.side)), query
    if request.queries is None and first.query is None:
        return await workers.search(SearchTask(query, raw=first.raw, side=first.side)), query
    vector = first.query
    if request.queries is not None:
        parts = [Input(v.side, v.id, v.weight, await _projected(v, workers)) for v in vectors]
        alone = len(parts) == 1 and parts[0].weight == 1.0  # the search of that input itself, at its own length
        vector = parts[0].vector if alone else combine(parts)
    return await workers.search(SearchTask(query, vector=vector)), query


async def _completed(request: SearchRequest, vectors: list[Vector], workers: Workers) -> tuple[SearchAnswer, Query]:
    """The items of ``gap_category`` that complete the set of a search's inputs."""
    sides = {vector.side for vector in vectors}
    if len(sides) > 1 or request.to not in (None, *sides):
        raise Problem(400, "gap_category: the inputs and the hits are items of one side; leave out to")
    if request.space == "encoder":
        raise Problem(400, "gap_category is answered by the run's head; leave out space")
    if request.collapse is not None or request.min_score is not None or request.fallback is not None:
        raise Problem(400, "gap_category takes where, k, pool and mmr; leave out collapse, min_score and fallback")
    side = vectors[0].side
    options = LookOptions(request.k, max(request.k, request.pool or POOL), request.mmr, request.where or {})
    outside = [vector for vector in vectors if vector.id is None]
    if any(vector.raw is None for vector in outside):
        raise Problem(422, "gap_category takes items of one vector each, not sequences of frames")
    raw = np.stack([np.asarray(vector.raw) for vector in outside]) if outside else None
    ids = [vector.id for vector in vectors if vector.id is not None]
    found = await looks.complete(workers, side, looks.Gap(ids, request.gap_category, options, raw))
    hits = await workers.sides[side].searching.do(
        lambda: workers.fragments(side, Ranked(workers.run.places(side).rows(found.ids), found.scores))
    )
    best = float(found.scores.max()) if len(found.scores) else None
    return SearchAnswer(hits, best), Query(side, f"{side}->{side}", request.k, mmr=request.mmr)


async def _projected(vector: Vector, workers: Workers) -> object:
    """An input in the shared space, (d,)."""
    if vector.query is not None:
        return vector.query
    return (await workers.sides[vector.side].encoding.do(lambda: workers.run.project(vector.side, vector.raw)))[0]


async def _raw(vector: Vector, workers: Workers) -> object:
    """An input in the encoder's own space, (d_in,). Raises a 422 problem for frames."""
    if vector.id is not None:
        return await workers.sides[vector.side].searching.do(lambda: workers.raw_vector(vector.side, vector.id))
    if vector.raw is None:
        raise Problem(422, "the input is a sequence of frames, which are not compared raw; leave out space")
    return vector.raw

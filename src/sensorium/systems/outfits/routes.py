"""Routes of the original fashion server, ``GET /similar`` and ``GET /complete-look``, and looks of several gaps.

The answers of the GET routes hold ``query_id``, ``neighbors`` (ids) and ``scores`` (higher is nearer).
"""

from __future__ import annotations

import time
from typing import Annotated, Any, Literal

import numpy as np
import orjson
from fastapi import APIRouter, Query, Response

from sensorium.errors import BadRecipe
from sensorium.search.looks import CATEGORY, MMR, POOL, LookOptions
from sensorium.serve.context import Context
from sensorium.serve.engine import looks
from sensorium.serve.engine.inputs import InputValue, Vector, gather, stored, vector_of
from sensorium.serve.engine.requests import RunQuery, SideQuery
from sensorium.serve.engine.workers import Workers
from sensorium.serve.problems import Problem, responses
from sensorium.systems.outfits import answers, requests

_ERRORS = responses(400, 404, 409, 413, 422, 503)
Number = Annotated[int, Query(ge=1, lt=2**31)]


def routes(context: Context) -> APIRouter:
    """The routes of looks, for every run."""
    router, registry, settings = APIRouter(tags=["looks"]), context.registry, context.settings

    def check(*counts: int) -> None:
        if max(counts) > settings.max_k:
            raise Problem(422, f"k or pool is {max(counts)}; at most {settings.max_k}")

    @router.get("/similar", summary="Items like one", response_model=requests.SimilarAnswer, responses=_ERRORS)
    async def similar(
        item_id: Annotated[str, Query(description="id of the item")],
        k: Number = 10,
        space: Annotated[
            Literal["encoder", "head"] | None,
            Query(description="encoder: by the encoder's own vectors, the default where they lie beside the run"),
        ] = None,
        run: RunQuery = None,
        side: SideQuery = None,
    ) -> Any:
        check(k)
        workers = registry.get(run).workers
        at = await _side(workers, side, item_id)
        chosen = space or ("encoder" if workers.has_raw(at) else "head")
        found = await looks.similar(workers, at, looks.Similar(item_id, k, chosen))
        return _json({"run": workers.name, "query_id": item_id, "neighbors": found.ids, "scores": found.scores,
                      "space": chosen})  # fmt: skip

    @router.get(
        "/complete-look",
        summary="Items of a category that complete a look",
        response_model=requests.CompleteAnswer,
        responses=_ERRORS,
    )
    async def complete_look(
        context_ids: Annotated[list[str], Query(description="ids of the look, with commas between or repeated")],
        gap_category: Annotated[
            str | None, Query(description="category of the missing item; any where left out")
        ] = None,
        k: Number = 10,
        pool: Annotated[int, Query(ge=1, lt=2**31, description="candidates that are scored exactly")] = POOL,
        use_mmr: Annotated[bool, Query(description="choose results that differ from each other")] = False,
        mmr_lambda: Annotated[float, Query(ge=0, le=1, description="1 is relevance alone, 0 variety alone")] = MMR,
        column: Annotated[str, Query(description="the column that holds the categories")] = CATEGORY,
        run: RunQuery = None,
        side: SideQuery = None,
    ) -> Any:
        check(k, pool)
        workers = registry.get(run).workers
        ids = _split(workers, context_ids)
        if not ids:
            raise Problem(422, "context_ids names no item; send ids with commas between")
        at = await _side(workers, side, ids[0])
        options = LookOptions(k, max(k, pool), mmr_lambda if use_mmr else None)
        found = await looks.complete(workers, at, looks.Gap(ids, gap_category, options), column)
        return _json({"run": workers.name, "query_id": ",".join(ids), "context_ids": ids,
                      "gap_category": gap_category, "neighbors": found.ids, "scores": found.scores,
                      "reasons": found.reasons})  # fmt: skip

    async def look(body: Any) -> Any:
        start = time.perf_counter()
        check(body.k, body.pool)
        workers = registry.get(body.run).workers
        vectors = await gather([_vector(one, workers, context, body.side) for one in body.context])
        sides = {vector.side for vector in vectors}
        if len(sides) > 1:
            raise Problem(400, "the items of a look are of one side; name it, or ask for each side alone")
        side = vectors[0].side
        found = looks.looks(workers, side, body.column)
        found_looks = await workers.sides[side].searching.do(lambda: answers.answer(found, workers, body, vectors))
        return _json({"run": workers.name, "side": side, "took_ms": round(1000 * (time.perf_counter() - start), 3),
                      **found_looks})  # fmt: skip

    look.__annotations__["body"] = requests.document()  # known only now, as modalities are found
    router.add_api_route(
        "/complete-look",
        look,
        methods=["POST"],
        summary="Explain a look, complete it, and plan several gaps together",
        response_model=requests.LookAnswer,
        responses={**_ERRORS, **responses(408, 415)},
    )
    return router


def _json(value: dict[str, Any]) -> Response:
    return Response(orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY), media_type="application/json")


def _split(workers: Workers, texts: list[str]) -> list[str]:
    """Ids that were repeated, or sent with commas between; an id may hold commas of its own where it is repeated."""
    if len(texts) == 1 and not any(texts[0] in workers.run.places(side) for side in workers.run.sides):
        texts = texts[0].split(",")
    return [text for one in texts if (text := one.strip())]


async def _side(workers: Workers, side: str | None, id: str) -> str:
    """The side of an item. Raises a 404 problem, or 400 where both have it."""
    if len(workers.run.sides) == 1:
        return workers.run.sides[0]
    return (await stored(workers, side, id))[0]


async def _vector(item: Any, workers: Workers, context: Context, side: str | None) -> Vector:
    """An item of a look: by its id, or as the encoder gives what was sent of it."""
    name, value = item.single("id", "vector")
    if name == "id":
        return Vector(await _side(workers, item.from_ or side, value), 1.0, id=value)
    found = await vector_of(InputValue(name, value, item.from_ or side), workers, context)
    if found.raw is None:
        raise BadRecipe("an item of a look is one vector, not a sequence of frames")
    if not np.isfinite(found.raw).all():
        raise Problem(422, "an item of the look has no usable vector; send another picture of it")
    return found

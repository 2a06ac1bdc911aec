"""``/labels``, with ``sensorium serve --label``: thumbs on hits, the next queries, feedback, and the refit."""

from __future__ import annotations

import dataclasses
import time
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from sensorium.search.query import Input, combine, resolve
from sensorium.serve import bodies
from sensorium.serve.context import Context
from sensorium.serve.engine.query import encode_inputs, options_of
from sensorium.serve.engine.registry import ServedRun
from sensorium.serve.engine.requests import Id, Name, RunQuery, SearchRequest, Side
from sensorium.serve.engine.workers import SearchTask
from sensorium.serve.labels.choosing import choose
from sensorium.serve.labels.feedback import rocchio
from sensorium.serve.labels.job import Measures, Refit, State
from sensorium.serve.labels.journal import Asked, Journal, Label, packed
from sensorium.serve.labels.merged import as_csv, counts, merge
from sensorium.serve.problems import Problem, responses
from sensorium.serve.routes.search import respond

_MOST = 1000  # labels of one request


class Thumb(BaseModel):
    """A label of one hit: 1 fits, 0 does not, null takes it back."""

    model_config = ConfigDict(extra="forbid", strict=True)

    item: Id
    label: Literal[0, 1] | None


class LabelsRequest(BaseModel):
    """Labels of the hits of one search."""

    model_config = ConfigDict(extra="forbid")

    search: dict[str, Any] = Field(description="the search as POST /search takes it, of one input")
    labels: list[Thumb] = Field(min_length=1, max_length=_MOST)
    annotator: Name = ""
    session: Name = ""


class FeedbackRequest(BaseModel):
    """A search, and which of its hits fit and do not: the query moves (Rocchio), nothing is stored."""

    model_config = ConfigDict(extra="forbid")

    search: dict[str, Any] = Field(description="the search as POST /search takes it")
    up: list[Id] = Field(default_factory=list, max_length=_MOST)
    down: list[Id] = Field(default_factory=list, max_length=_MOST)


class Counts(BaseModel):
    """How many labels a run has: of pairs of a query and an item, and pairs on which annotators disagree."""

    labels: int
    up: int
    down: int
    queries: int
    conflicts: int


class LabelList(Counts):
    """The labels: one row a query and item."""

    pairs: list[dict[str, Any]]


class Next(BaseModel):
    """Items to be asked next, most useful first, with the uncertainty of their hits (0 to 1)."""

    side: Side
    items: list[dict[str, Any]]


class RefitState(BaseModel):
    """The refit of a run. result: what it is worth, before and after, with paired 95% intervals.

    measures: of the evaluation that follows an accepted refit; "" where there is none.
    """

    state: State
    detail: str
    can_undo: bool
    result: dict[str, Any] | None
    measures: Measures
    measures_detail: str


def routes(context: Context) -> APIRouter:
    """The routes of labels."""
    registry, jobs = context.registry, dict[str, Refit]()
    router = APIRouter(tags=["labels"])

    def job(run: str | None) -> Refit:
        served = registry.get(run)
        if served.name not in jobs:
            jobs[served.name] = Refit(served.folder, context.redact, context.log.failure)
        return jobs[served.name]

    async def asked(body: dict[str, Any]) -> tuple[SearchRequest, ServedRun, list[Any], Any]:
        """The search of a request, its run, its inputs as numbers, and the resolved query."""
        request = context.documents.search.model_validate(body)
        served = registry.get(request.run)
        vectors = await encode_inputs(request, {}, served.workers, context)
        inputs = [Input(one.side, one.id, one.weight) for one in vectors]
        return request, served, vectors, resolve(served.run, inputs, options_of(request))

    @router.post("/labels", status_code=201, summary="Label hits, durably",
                 responses=responses(400, 404, 413, 422, 503, 507))  # fmt: skip
    async def label(request: Request) -> Counts:
        body = await bodies.document(request, LabelsRequest)
        search, served, vectors, query = await asked(body.search)
        if search.queries is not None or len(vectors) != 1:
            raise Problem(422, "search has several inputs; hits are labelled for one input")
        (vector,) = vectors
        if vector.id is None and vector.raw is None:
            raise Problem(422, "the input is a sequence of frames, of which a refit learns nothing; label by an id")
        text = search.inputs().get("text") if vector.id is None else None
        raw = None if vector.id is not None else packed(np.asarray(vector.raw))
        to, side = query.to, served.workers.sides[query.to]
        missing = await side.searching.do(
            lambda: [one.item for one in body.labels if served.run.places(to).row(one.item) < 0]
        )
        if missing:
            raise Problem(404, f"no item '{missing[0][:100]}' on the {served.run.names[to]} side")
        what, now = Asked(vector.side, vector.id, text, raw), time.time()
        new = [Label(what, to, one.item, one.label, body.annotator, body.session, now) for one in body.labels]
        return Counts(**counts(await side.searching.do(lambda: _added(served, new))))

    @router.get("/labels", summary="The labels of a run", responses=responses(400, 404, 503), response_model=LabelList)
    async def labels(run: RunQuery = None, format: Literal["json", "csv"] = "json") -> Any:
        served = registry.get(run)
        pairs = merge(Journal(served.folder).read())
        if format == "csv":
            headers = {"content-disposition": 'attachment; filename="labels.csv"'}
            return Response(as_csv(pairs), media_type="text/csv", headers=headers)
        return LabelList(**counts(pairs), pairs=[pair.row() for pair in pairs])

    @router.get("/labels/next", summary="Queries to label next", responses=responses(400, 404, 422, 503))
    async def following(
        run: RunQuery = None,
        side: Annotated[Side | None, Query(description="whose items ask; by default the first")] = None,
        n: Annotated[int, Query(ge=1, le=100)] = 8,
    ) -> Next:
        served = registry.get(run)
        sides = served.run.sides
        own = side or sides[0]
        if own not in sides:
            raise Problem(404, f"no side '{own}'; this run has {' and '.join(sides)}")
        to = next((one for one in sides if one != own), own)
        known = {pair.query.id for pair in merge(Journal(served.folder).read()) if pair.query.side == own}

        def look() -> list[dict[str, Any]]:
            found = choose(served.run, own, to, n, {id for id in known if id is not None})
            rows = served.run.places(own).rows([id for id, _ in found])
            return [served.workers.item(own, int(row)) | {"uncertainty": doubt}
                    for row, (_, doubt) in zip(rows, found, strict=True)]  # fmt: skip

        return Next(side=own, items=await served.workers.sides[to].searching.do(look))

    @router.post("/labels/search", summary="Search again with relevance feedback", response_class=Response,
                 responses=responses(400, 404, 413, 422, 503))  # fmt: skip
    async def feedback(request: Request) -> Response:
        start = time.perf_counter()
        body = await bodies.document(request, FeedbackRequest)
        search, served, vectors, query = await asked(body.search)
        if search.space == "encoder" or search.gap_category is not None:
            raise Problem(422, "feedback moves a query of the shared space; leave out space and gap_category")
        if search.k > context.settings.max_k:
            raise Problem(422, f"k is {search.k}; at most {context.settings.max_k}")
        workers = served.workers
        if search.queries is None and vectors[0].query is not None:
            base = vectors[0].query
        else:
            parts = []
            for one in vectors:
                z = one.query
                if z is None:
                    z = (
                        await workers.sides[one.side].encoding.do(lambda one=one: served.run.project(one.side, one.raw))
                    )[0]
                parts.append(Input(one.side, one.id, one.weight, z))
            base = combine(parts)

        def move() -> np.ndarray:
            both = [np.array([served.run.vector_of(query.to, id) for id in ids]) for ids in (body.up, body.down)]
            return rocchio(np.asarray(base), *both)

        vector = await workers.sides[query.to].searching.do(move)
        moved = dataclasses.replace(query, calibrated=False)  # the calibration is of scores of whole queries
        answer = await workers.search(SearchTask(moved, vector=vector))
        return respond(search, answer, moved, workers, start, query.to)

    @router.get("/labels/refit", summary="The state of the refit", responses=responses(400, 404, 503))
    async def state(run: RunQuery = None) -> RefitState:
        return RefitState(**job(run).about())

    @router.post("/labels/refit", status_code=202, summary="Fit the heads on with the labels, in the background",
                 responses=responses(400, 404, 409, 503))  # fmt: skip
    async def start(run: RunQuery = None) -> RefitState:
        job(run).start()
        return RefitState(**job(run).about())

    @router.post("/labels/refit/accept", status_code=202, summary="Put the fitted heads into the run",
                 responses=responses(400, 404, 409, 422, 503))  # fmt: skip
    async def accept(run: RunQuery = None) -> RefitState:
        job(run).accept()
        return RefitState(**job(run).about())

    @router.post("/labels/refit/undo", status_code=202, summary="Drop the fit, or put the heads before it back",
                 responses=responses(400, 404, 409, 422, 503))  # fmt: skip
    async def undo(run: RunQuery = None) -> RefitState:
        job(run).undo()
        return RefitState(**job(run).about())

    return router


def _added(served: ServedRun, new: list[Label]) -> list[Any]:
    journal = Journal(served.folder)
    journal.append(new)
    return merge(journal.read())

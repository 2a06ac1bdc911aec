"""Routes of generation: ``/generations``, pictures that a face conditions; events while they are made."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import asdict, fields
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import StreamingResponse

from sensorium.errors import SensoriumError
from sensorium.serve.admission import client_of
from sensorium.serve.context import Context
from sensorium.serve.engine import inputs
from sensorium.serve.engine.requests import RunQuery
from sensorium.serve.engine.workers import Workers
from sensorium.serve.problems import Problem, responses
from sensorium.systems.perception import conditioning, styles, text_space
from sensorium.systems.perception import generation_requests as requests
from sensorium.systems.perception.generation import Options
from sensorium.systems.perception.generation_service import Generation
from sensorium.systems.perception.jobs import Job

_OPTIONS = tuple(one.name for one in fields(Options))
_STORE = {"cache-control": "no-store"}


def routes(context: Context) -> APIRouter:
    """The routes of generation, for every run."""
    generation = Generation(context)

    @contextlib.asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        yield
        await generation.close()

    router = APIRouter(tags=["generation"], lifespan=lifespan)

    @router.get("/generations", summary="Whether and how pictures can be made", responses=responses(404, 422, 503))
    async def about(run: RunQuery = None) -> requests.GenerationAbout:
        told: dict[str, Any] = {}
        try:
            model = await asyncio.to_thread(generation.find)
            told = {name: getattr(model, name) for name in ("licence", "width", "size", "steps", "guidance")}
            told |= {"model": model.name, "safety_checker": model.checker}
            workers = context.registry.get(run).workers
            told["run"] = workers.name
            await asyncio.to_thread(text_space.check_width, workers.run, "left", model.width, model.name)
        except (Problem, SensoriumError) as error:
            told["detail"] = generation.told(error)
        return requests.GenerationAbout(
            ready="detail" not in told, **told, most_steps=generation.limits.steps, waiting=generation.waiting,
            keep_seconds=generation.limits.keep,
            styles=[requests.StyleAbout(name=name, **one._asdict()) for name, one in styles.STYLES.items()],
            modes=[requests.ModeAbout(name=name, about=text, strength=conditioning.STRENGTH[name])
                   for name, text in conditioning.MODES.items()],
        )  # fmt: skip

    @router.post(
        "/generations",
        status_code=202,
        summary="Ask for a picture that a face conditions",
        responses=responses(400, 404, 408, 409, 413, 415, 422, 501, 503),
    )
    async def ask(body: requests.GenerationRequest, request: Request, response: Response) -> requests.GenerationState:
        try:
            jobs = await generation.jobs()
        except SensoriumError as error:
            raise Problem(context.redact.problem(error).status, generation.told(error)) from None
        model, limits = generation.find(), generation.limits
        workers = context.registry.get(body.run).workers
        options = await asyncio.to_thread(Options(**{name: getattr(body, name) for name in _OPTIONS}).filled, model)
        if options.steps > limits.steps or options.width * options.height > limits.pixels:
            raise Problem(422, f"{options.steps} steps of {options.width} x {options.height} pixels; at most "
                               f"{limits.steps} steps and {limits.pixels} pixels")  # fmt: skip
        side = body.from_
        await asyncio.to_thread(text_space.check_width, workers.run, side, model.width, model.name)
        z = await _projected(body, workers, context)

        async def check(pooled: np.ndarray) -> None:
            key = ("generation", side, model.name)
            if key not in workers.kept:
                await asyncio.to_thread(text_space.check_texts, workers.run, side, pooled, model.name)
                workers.kept[key] = True

        job = jobs.add(Job(asdict(options), z, client_of(request.scope), check))
        response.headers["location"] = f"/generations/{job.id}"
        return state(job)

    @router.get(
        "/generations/{id}.png",
        summary="A picture that was made",
        response_class=Response,
        responses={200: {"description": "The picture", "content": {"image/png": {}}}, **responses(404, 409)},
    )
    async def picture(id: str) -> Response:
        _, job = generation.known(id)
        if job.png is None:
            raise Problem(409, f"there is no picture: it is {job.state}")
        return Response(job.png, media_type="image/png", headers=_STORE)

    @router.get(
        "/generations/{id}/events",
        summary="Server-sent events of a picture: queued, started, step, and at last done, failed or cancelled",
        response_class=StreamingResponse,
        responses={
            200: {"description": "Events until the end", "content": {"text/event-stream": {}}},
            **responses(404, 422),
        },
    )
    async def events(
        id: str,
        request: Request,
        after: Annotated[int, Query(ge=0, description="the id of the last event that is known")] = 0,
        last_event_id: Annotated[str | None, Header(description="the same, as browsers send it")] = None,
    ) -> StreamingResponse:
        _, job = generation.known(id)
        if last_event_id is not None and last_event_id.isascii() and last_event_id.isdigit():
            after = max(after, int(last_event_id[:15]))
        return StreamingResponse(
            job.follow(after, request.app.state.stopping), media_type="text/event-stream", headers=_STORE
        )

    @router.get("/generations/{id}", summary="The state of a picture", responses=responses(404))
    async def one(id: str) -> requests.GenerationState:
        return state(generation.known(id)[1])

    @router.delete(
        "/generations/{id}", status_code=204, summary="Cancel a picture, or forget one that was made",
        response_class=Response, responses=responses(404),
    )  # fmt: skip
    async def cancel(id: str) -> Response:
        jobs, job = generation.known(id)
        if job.ended is None:
            jobs.cancel(job)
        else:
            jobs.remove(job)
        return Response(status_code=204)

    return router


def state(job: Job) -> requests.GenerationState:
    """What a client is told of a job."""
    return requests.GenerationState(
        id=job.id, state=job.state, position=job.position, step=job.steps[0],
        steps=job.steps[1] or job.options["steps"],
        events=f"/generations/{job.id}/events", picture=f"/generations/{job.id}.png" if job.png is not None else None,
        settings=dict(job.about) if job.about is not None else None,
        problem=requests.ProblemDocument(**job.problem) if job.problem is not None else None,
    )  # fmt: skip


async def _projected(body: requests.GenerationRequest, workers: Workers, context: Context) -> np.ndarray:
    """The face of a request in the space of text vectors, (d,). Raises a problem for a wrong one."""
    given = {name: value for name in ("vector", "face", "id") if (value := getattr(body, name)) is not None}
    if len(given) != 1:
        raise Problem(400, f"give exactly one of vector, face and id; got {', '.join(given) or 'none'}")
    ((name, value),) = given.items()
    side = body.from_
    if side not in workers.sides:
        raise Problem(409, f"run '{workers.name}' has no {side} side that can be asked")
    if name == "vector" and len(value) == LANDMARKS and workers.takes(side) == "face":
        raw = await workers.encode(side, inputs.as_vector(value, context.settings).reshape(-1, 3))
        return (await workers.sides[side].encoding.do(lambda: workers.run.project(side, raw)))[0]
    found = await inputs.vector_of(inputs.InputValue(name, value, side), workers, context)
    if found.query is not None:
        return np.asarray(found.query, np.float32)
    return (await workers.sides[side].encoding.do(lambda: workers.run.project(side, found.raw)))[0]


LANDMARKS = 3 * 478  # numbers of a face without its emotions

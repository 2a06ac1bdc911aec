"""GET /pseudo-images/{id}: the vector of an item as the picture that head ``cnn`` takes, a PNG file."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from fastapi import APIRouter, Query, Request, Response

from sensorium.modalities.image import files
from sensorium.modalities.image.pseudo import PseudoImage
from sensorium.serve.context import Context
from sensorium.serve.engine.requests import RunQuery, SideQuery
from sensorium.serve.problems import Problem, responses
from sensorium.serve.routes import media
from sensorium.serve.routes.items import side_of

if TYPE_CHECKING:
    from sensorium.search.run import Run

LARGEST = 512  # pixels of a side


def routes(context: Context) -> APIRouter:
    """The route of pseudo-images."""
    router, registry = APIRouter(tags=["items"]), context.registry

    @router.get(
        "/pseudo-images/{id:path}",
        summary="The vector of an item as a picture",
        response_class=Response,
        responses={
            200: {"description": "The picture", "content": {"image/png": {}}},
            206: {"description": "The requested range", "content": {"image/png": {}}},
            304: {"description": "Unchanged"},
            **responses(400, 404, 416, 422, 503),
        },
    )
    async def pseudo_image(
        request: Request,
        id: str,
        run: RunQuery = None,
        side: SideQuery = None,
        size: Annotated[int | None, Query(ge=1, le=LARGEST, description="pixels of a side")] = None,
        mode: Annotated[Literal["nearest", "bilinear", "bicubic", "area"] | None, Query(description="resizing")] = None,
        channels: Annotated[Literal["split", "replicate"] | None, Query(description="how planes are filled")] = None,
    ) -> Response:
        workers = registry.get(run).workers
        at = await side_of(workers, side, id)
        if not workers.has_raw(at):
            raise Problem(404, f"the encoder's vectors of the {workers.run.names[at]} items are not beside the run")

        def look() -> np.ndarray | None:  # in the thread of live changes
            return None if workers.run.places(at).row(id) < 0 else workers.raw[at].of(np.array([id]))[0]

        vector = await workers.sides[at].searching.do(look)
        if vector is None or not vector.any():
            raise Problem(404, f"no vector of item '{id}' on the {workers.run.names[at]} side of run '{workers.name}'")
        given = {"size": size, "mode": mode, "channels": channels}
        transform = replace(transform_of(workers.run, at), **{k: v for k, v in given.items() if v is not None})
        content = await asyncio.to_thread(lambda: files.png(transform.pixels(vector)))
        return await media.respond(request, "image/png", content)

    return router


def transform_of(run: Run, side: str) -> PseudoImage:
    """How a side's vectors become pictures: as its head ``cnn`` takes them, else by default."""
    default = PseudoImage()
    if run.recipe.part_name(f"{side}.head") != "cnn":
        return default
    own = run.head(side).arguments
    found = PseudoImage(**{name: own.get(name, value) for name, value in default.asdict().items()})
    return found if found.minmax != "none" else replace(found, minmax="image", quantize=False)

"""``/faces/model``: the landmark model for browsers, where ``sensorium serve --face-model`` names one."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field
from starlette.responses import FileResponse

from sensorium.serve import guard
from sensorium.serve.context import Context
from sensorium.serve.problems import Problem
from sensorium.systems.perception import model_files

URL = "/faces/model/"
_FRESH = {"cache-control": "private, max-age=3600"}
_WORKER = Path(__file__).with_name("landmark_worker.js")
_FRAME = '<!doctype html><html lang="en"><title>Landmark model</title><body><script src="worker.js"></script></body>'
#: The model compiles WebAssembly and small functions: allowed to this worker and frame alone, which load nothing else.
_POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-eval' 'wasm-unsafe-eval'; connect-src 'self'; img-src blob: data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)


class FaceModel(BaseModel):
    """The landmark model that a browser can run."""

    kind: str | None = Field(description="face_mesh, or null where the server was given none")
    url: str | None = Field(description="where its files are, with worker.js, which runs it")
    why: str | None = Field(description="why there is none, and what to type")


def routes(context: Context) -> APIRouter:
    """The routes of the model. Raises BadData where the setting names one that cannot be used."""
    router = APIRouter(tags=["faces"])
    place = context.settings.browser_face_model
    files = {} if place is None else model_files.find(place)

    @router.get("/faces/model", summary="The landmark model that a browser can run itself")
    async def about() -> FaceModel:
        if not files:
            why = f"this server was given no landmark model for browsers; type: {model_files.GET}"
            return FaceModel(kind=None, url=None, why=why)
        return FaceModel(kind=model_files.KIND, url=URL, why=None)

    @router.get(URL + "{name}", include_in_schema=False)
    async def file(request: Request, name: str) -> Response:
        if not files:
            raise Problem(404, f"this server was given no landmark model for browsers; type: {model_files.GET}")
        if name in ("worker.js", "frame.html"):
            guard.allow(request.scope, _POLICY)
            if name == "frame.html":
                return Response(_FRAME, media_type="text/html")
            return FileResponse(_WORKER, media_type="text/javascript", headers={"cache-control": "no-cache"})
        if name not in files:
            raise Problem(404, f"the landmark model has no file '{name[:80]}'")
        content, kind = files[name], model_files.TYPES.get(Path(name).suffix, "application/octet-stream")
        if isinstance(content, bytes):
            return Response(content, media_type=kind, headers=_FRESH)
        return FileResponse(content, media_type=kind, headers=_FRESH)

    return router

"""Routes of prompts: ``POST /prompts``, clips for lines or their export; ``GET /prompts``, engines and formats."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
from fastapi import APIRouter, Response

from sensorium.errors import BadRecipe
from sensorium.search import query
from sensorium.search.script import Script
from sensorium.serve.context import Context
from sensorium.serve.engine import inputs
from sensorium.serve.engine.workers import Workers
from sensorium.serve.problems import Problem, responses
from sensorium.systems.emorag import archives, exports, profiles, requests, serving
from sensorium.systems.emorag.picker import Wanted

_ANSWER = {
    "content": {
        "application/json": {"schema": {"$ref": "#/components/schemas/PromptsAnswer"}},
        **{one: {} for one in ("text/plain", "application/toml", "application/zip", "application/x-ndjson")},
    },
    "description": "The clips for every line; with as, the export that was asked for",
}
_TITLES = {"any": "Any engine"}
ORIGINAL = "emorag"  # the format of those that no engine has


def routes(context: Context) -> APIRouter:
    """The routes of prompts, for every run."""
    router, registry, settings = APIRouter(tags=["prompts"]), context.registry, context.settings

    @router.get("/prompts", summary="Engines, their gates, and formats of exports")
    async def about() -> requests.PromptsAbout:
        return requests.PromptsAbout(engines=engines(), formats=formats(), lines=requests.MOST_LINES)

    @router.post(
        "/prompts",
        summary="Clips of a library that fit lines, as prompts for a text-to-speech engine",
        response_model=requests.PromptsAnswer,
        responses={200: _ANSWER, **responses(400, 404, 408, 409, 413, 415, 422, 503)},
    )
    async def prompts(body: requests.PromptsRequest) -> Any:
        start = time.perf_counter()
        if body.k * len(body.lines) > settings.max_k:
            raise Problem(422, f"k × lines is {body.k * len(body.lines)}; at most {settings.max_k}")
        check_export(body)
        workers = registry.get(body.run).workers
        if settings.log_queries:
            context.log.line("info", "prompts", run=workers.name, text=texts_of(body.lines), k=body.k)
        side, raw = await encoded(body, workers, context)
        to = serving.side_of_clips(workers, side)
        lines = [requests.PromptLine(text=one) if isinstance(one, str) else one for one in body.lines]
        chosen = {at: one.clip for at, one in enumerate(lines) if one.clip is not None}
        ask = serving.Ask(
            script_of(lines), raw, side, wanted(body, side, to), body.failing, chosen, body.as_ is not None
        )
        answer = await serving.prompts(workers, to, ask)
        if body.as_ is not None:
            return await asyncio.to_thread(archives.response, body.as_, answer, body.copies)
        head = {
            "run": workers.name,
            "side": to,
            "for": body.engine,
            "took_ms": round(1000 * (time.perf_counter() - start), 3),
            "cast": answer.cast,
        }
        lines = b",".join(b'{"line":%d,%b' % (at, line) for at, line in enumerate(answer.lines, 1))
        return Response(b'%b,"lines":[%b]}' % (orjson.dumps(head)[:-1], lines), media_type="application/json")

    @router.post(
        "/prompts/speaker",
        summary="The speaker of a library whose voice is nearest to a recording",
        responses=responses(400, 404, 408, 409, 413, 415, 422, 503),
    )
    async def speaker(body: requests.SpeakerRequest) -> requests.SpeakerAnswer:
        workers = registry.get(body.run).workers
        to = query.side_of(workers.run, "audio", body.audio, body.side)
        raw = await inputs.encode("audio", body.audio, to, workers, context)
        found, speakers = await serving.nearest_voice(workers, to, raw)
        return requests.SpeakerAnswer(run=workers.name, speaker=found.speaker, probability=found.probability,
                                      speakers=speakers)  # fmt: skip

    return router


def wanted(body: requests.PromptsRequest, side: str, to: str) -> Wanted:
    """What the prompts of a request are for."""
    return Wanted(
        body.engine, body.k, tuple(body.gates), body.where, body.speaker, body.speaker_of, body.keep_speaker,
        body.nonverbal, body.level, body.rate, body.vary, body.mmr, body.min_score, side=side, to=to, files=False,
    )  # fmt: skip


def check_export(body: requests.PromptsRequest) -> None:
    """Raise a problem for an export that there is not, or whose audio would have to be sent."""
    if body.as_ is None:
        if body.copies:
            raise Problem(400, "copies belongs to an export; say which with as")
        return
    exports.find(body.as_)
    if body.level and not body.copies:
        raise Problem(400, "level changes the audio, so an export has to bring it; send copies: true")
    if body.copies and body.k * len(body.lines) > requests.MOST_COPIES:
        raise Problem(422, f"copies of {body.k * len(body.lines)} clips; at most {requests.MOST_COPIES} at once")


def texts_of(lines: Sequence[Any]) -> list[str | None]:
    """The texts of lines."""
    return [one if isinstance(one, str) else one.text for one in lines]


def script_of(lines: Sequence[requests.PromptLine]) -> Script:
    """The lines of a request as a script."""
    columns = {name: [one.columns()[name] for one in lines] for name in lines[0].columns()}
    numbers = [None if one.text is not None else str(at) for at, one in enumerate(lines, 1)]
    columns["id"] = [id or number for id, number in zip(columns["id"], numbers, strict=True)]
    known = {name: values for name, values in columns.items() if any(value is not None for value in values)}
    return Script(texts_of(lines), None, known)


async def encoded(body: requests.PromptsRequest, workers: Workers, context: Context) -> tuple[str, np.ndarray]:
    """The side of the lines, and their vectors (m, d_in) as its encoder gives them; each text is encoded once."""
    run, texts = workers.run, texts_of(body.lines)
    if body.from_ is not None and body.from_ not in workers.sides:
        raise Problem(400, f"run '{workers.name}' has no {body.from_} side to ask from; leave out from")
    vectors = [None if isinstance(one, str) else one.vector for one in body.lines]
    bare = [at for at, text in enumerate(texts) if text is None and vectors[at] is None]
    if bare:
        raise Problem(422, f"lines.{bare[0]}: neither text nor vector; give one of them")
    blank = [at for at, text in enumerate(texts) if text is not None and not text.strip()]
    if blank:
        raise Problem(422, f"lines.{blank[0]}: the text is empty; leave empty lines out")
    asked = [at for at, vector in enumerate(vectors) if vector is None]
    if asked and len(asked) < len(texts):
        raise Problem(422, f"lines.{asked[0]} has no vector, but others have; give one to every line, or to none")
    if asked:
        side = query.side_of(run, "text", "", body.from_)
        inputs.check_takes("text", side, workers)
        for text in set(texts):
            inputs.check_text(str(text), context.settings)
        known = list(dict.fromkeys(texts))
        raw = dict(zip(known, await inputs.gather([_one(workers, side, text) for text in known]), strict=True))
        return side, np.stack([raw[text] for text in texts])
    found = [inputs.as_vector(vector, context.settings) for vector in vectors if vector is not None]
    side = query.side_of(run, "vector", found[0], body.from_)
    for vector in found:
        inputs.check_vector(vector, run, side)
    return side, np.stack(found)


async def _one(workers: Workers, side: str, text: str | None) -> np.ndarray:
    vector = await workers.encode(side, text)
    if vector.ndim != 1:
        raise BadRecipe(
            f"the {workers.run.names[side]} encoder gives frames; lines need an encoder of one vector a text"
        )
    return vector


def engines() -> list[requests.EngineAbout]:
    """Every engine; that which every other one covers comes first."""
    found, there = [], exports.known()
    for name in sorted(profiles.PROFILES, key=lambda one: one != "any"):
        profile = profiles.PROFILES[name]
        title = _TITLES.get(name) or profile.about.partition(":")[0].partition(",")[0]
        gates = [requests.GateAbout(name=gate.name, column=gate.column, low=gate.low, high=gate.high, unit=gate.unit,
                                    required=gate.required, about=gate.about) for gate in profile.gates]  # fmt: skip
        form = name if name in there else ORIGINAL
        found.append(requests.EngineAbout(name=name, title=title, about=profile.about, format=form, gates=gates))
    return found


def formats() -> list[requests.FormatAbout]:
    """Every format of exports."""
    return [
        requests.FormatAbout(name=name, about=one.about, file=archives.name(name, one.ending or ".zip"))
        for name, one in exports.known().items()
    ]

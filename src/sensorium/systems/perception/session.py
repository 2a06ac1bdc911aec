"""What is done with each frame: read, watched over time, compared with the run's prompts, and told as JSON."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson

from sensorium.modalities.face.landmarks import LandmarkSource
from sensorium.modalities.face.layout import EMOTIONS, POINTS
from sensorium.serve.context import Context
from sensorium.serve.engine.registry import ServedRun
from sensorium.serve.problems import Problem
from sensorium.systems.perception import nearest, runs
from sensorium.systems.perception.frames import Frames
from sensorium.systems.perception.limits import FaceLimits
from sensorium.systems.perception.messages import Frame
from sensorium.systems.perception.nearest import Near, Placers, Target
from sensorium.systems.perception.reader import Reader
from sensorium.systems.perception.requests import Asked, FaceRun
from sensorium.systems.perception.watch import Seen, Watch, box


@dataclass(frozen=True)
class Service:
    """What all sockets of one application share."""

    context: Context
    limits: FaceLimits
    frames: Frames
    placers: Placers = field(default_factory=Placers)


@dataclass(frozen=True)
class Chosen:
    """One version of a run as a session uses it."""

    served: ServedRun
    side: str
    reader: Reader
    target: Target


async def choose(service: Service, asked: Asked) -> Chosen:
    """The run that is asked for, or the newest that fits. Raises 404, 409, 413 and 503 problems."""
    if asked.k > service.limits.prompts:
        raise Problem(413, f"k is {asked.k}; at most {service.limits.prompts} prompts of a face")
    if asked.faces > service.limits.faces:
        raise Problem(413, f"faces is {asked.faces}; at most {service.limits.faces} in one frame")
    served, side = runs.choose(service.context.registry, asked.run)
    reader = await service.frames.reader(served, side)
    return Chosen(served, side, reader, nearest.target(served, side, asked.k))


def about(chosen: Chosen, redact: Any) -> FaceRun:
    """A run that takes faces, for a client."""
    reader = chosen.reader
    return FaceRun(
        name=chosen.served.name,
        side=chosen.side,  # type: ignore[arg-type]
        time=runs.made(chosen.served),
        encoder=reader.own,
        pictures=reader.source is not None,
        why=None if reader.why is None else redact(reader.why),
        source=reader.source.name if reader.source else None,
        emotions=reader.classifier.name if reader.classifier else None,
        numbers=reader.numbers.name if reader.numbers else None,
        prompts=len(chosen.target.table),
    )


class Session:
    """The frames of one client, in turn. Nothing of a frame is kept but the smoothed values of its faces."""

    def __init__(self, service: Service, asked: Asked, chosen: Chosen) -> None:
        self.service, self.asked, self.chosen = service, asked, chosen
        self.watch = Watch(asked.smooth)
        self._source: LandmarkSource | None = None  # of this stream's pictures
        self.last: dict[int, tuple[Seen, Near]] = {}  # by id, of the last frame
        self._clock: int | None = None  # the client's milliseconds of the frame before
        self._second, self._now = 0.0, time.monotonic()  # of the frame before: of this session, and by our clock

    async def begin(self) -> None:
        """Get ready for the pictures of a stream, in which faces are followed; :meth:`close` ends that."""
        self._source = await self.service.frames.following(self.chosen.reader, self.asked.faces)

    def close(self) -> None:
        """Give back what :meth:`begin` took."""
        source, self._source = self._source, None
        if source is not None:
            source.close()

    async def answer(self, frame: Frame, arrived: float, dropped: int, pixels: int | None = None) -> bytes:
        """The answer to a frame as JSON. Raises problems and SensoriumError, after which the next frame may come."""
        asked, chosen = self.asked, self.chosen
        read = await self.service.frames.read(frame, chosen.reader, asked.faces, self._source, pixels)
        seen = self.watch.push(read.found, self._seconds(frame.sent), read.size)
        near: list[Near] = []
        if seen:
            place = None
            if asked.place:
                method = asked.place if isinstance(asked.place, str) else "pca"
                place = await self.service.placers.get(chosen.served, chosen.side, method)
            vectors = np.stack([one.input(chosen.reader.blendshapes) for one in seen])
            near = await nearest.near(chosen.target, vectors, asked.k, place)
        self.last = {one.id: (one, two) for one, two in zip(seen, near, strict=True)}
        took = 1000 * (time.perf_counter() - arrived)
        head = {"frame": frame.number, "sent": frame.sent, "took_ms": round(took, 2), "dropped": dropped,
                "size": read.size, "faces": [_face(*one) for one in self.last.values()]}  # fmt: skip
        return orjson.dumps(head, option=orjson.OPT_SERIALIZE_NUMPY)

    def follow(self, before: Session) -> None:
        """Go on with the faces of another session of the same client, their ids, values and clock."""
        self.watch, self._clock = before.watch, before._clock
        self._second, self._now = before._second, before._now

    def vector(self, id: int) -> dict[str, Any]:
        """The vectors of a face of the last frame. Raises a 404 problem for another id."""
        if id not in self.last:
            there = ", ".join(map(str, self.last)) or "none"
            raise Problem(404, f"no face {id} in the last frame; there: {there}")
        seen, near = self.last[id]
        return {"id": id, "label": seen.label, "perception": seen.vector, "projected": near.z.astype(np.float32)}

    def _seconds(self, sent: int) -> float:
        """The time of a frame in seconds of this session: by the client's clock where it goes on, else by ours."""
        now = time.monotonic()
        if self._clock is not None:
            gone = ((sent - self._clock) % (1 << 32)) / 1000
            self._second += gone if 0 < gone < _JUMP else now - self._now
        self._clock, self._now = sent, now
        return self._second


def ready(chosen: Chosen, redact: Any) -> dict[str, Any]:
    """The answer to a first message: the run, what reads its frames, and the order of the emotions."""
    run = about(chosen, redact)
    return {**run.model_dump(exclude={"name", "emotions", "side", "time"}), "run": run.name, "side": run.side,
            "classifier": run.emotions, "emotions": list(EMOTIONS), "points": POINTS}  # fmt: skip


def _face(seen: Seen, near: Near) -> dict[str, Any]:
    return {
        "id": seen.id,
        "box": [round(one, 4) for one in box(seen.landmarks)],
        "landmarks": np.round(seen.landmarks[:, :2], 4),
        "emotions": np.round(seen.probabilities, 4),
        "label": seen.label,
        "prompts": near.prompts,
        "no_match": near.no_match,
        "place": near.place,
    }


async def warm(service: Service) -> None:
    """Load what the first frame of the newest run would have to wait for: models, decoder, map."""
    found = runs.fitting(service.context.registry)
    if not found:
        return
    chosen = await choose(service, Asked())
    session = Session(service, Asked(place=False), chosen)
    if chosen.reader.source is not None:
        await service.frames.warm()
        await session.answer(Frame(0, 0, picture=_blank()), time.perf_counter(), 0)
    wide = chosen.served.run.head(chosen.side).dim_in  # any numbers will do, but zeros
    await nearest.near(chosen.target, np.full((1, wide), 0.5, np.float32), 1, None)
    await service.placers.get(chosen.served, chosen.side, "pca")


def _blank() -> bytes:
    """A grey picture."""
    from sensorium.modalities.image.files import png

    return png(np.full((480, 640, 3), 128, np.uint8))


async def warm_quietly(service: Service) -> None:
    """:func:`warm`, whose faults are told with the first frame."""
    try:
        await warm(service)
    except asyncio.CancelledError:
        raise
    except Exception as error:
        service.context.log.line("warning", "faces not warm", fault=service.context.redact(str(error)))


_JUMP = 10.0  # seconds between two frames from which the client's clock is not believed

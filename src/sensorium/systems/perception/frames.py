"""Frames of all sockets: pictures decoded in processes of their own, faces found in a few threads, one frame a socket.

Each socket has at most one frame under way, and frames are taken in the order in which they came; so sockets share the
cores alike, however fast each of them sends.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from sensorium.modalities.face.landmarks import LandmarkSource
from sensorium.modalities.image.files import over_white
from sensorium.serve.context import Context
from sensorium.serve.engine.decode import Decoders, Undecodable
from sensorium.serve.engine.registry import ServedRun
from sensorium.serve.problems import Problem
from sensorium.systems.perception import reader
from sensorium.systems.perception.limits import FaceLimits
from sensorium.systems.perception.messages import Frame
from sensorium.systems.perception.reader import Found, Reader
from sensorium.systems.perception.runs import TAKES

READER = "faces reader"  # where the cache of a served run holds its reader


@dataclass(frozen=True)
class Read:
    """The faces of one frame. size: width and height of the picture; None for numbers."""

    found: Found
    size: tuple[int, int] | None


class Frames:
    """What decodes and reads the frames of one application."""

    def __init__(self, context: Context, limits: FaceLimits) -> None:
        self.limits, self.redact = limits, context.redact
        self._threads = ThreadPoolExecutor(max(1, min(4, os.cpu_count() or 1)), "faces")
        self._decoders: dict[int, Decoders] = {}
        self._settings = context.settings

    async def reader(self, served: ServedRun, side: str) -> Reader:
        """The reader of a run, loaded once for each version of it, also for sockets that come together."""
        if READER not in served.cache:
            load = partial(reader.of, served.run, side, self.limits.model)
            served.cache[READER] = asyncio.ensure_future(asyncio.to_thread(load))
        try:
            return await asyncio.shield(served.cache[READER])
        except Exception:  # what failed may be mended before the next frame
            served.cache.pop(READER, None)
            raise

    async def following(self, reader: Reader, most: int) -> LandmarkSource | None:
        """What finds the faces in the pictures of one stream, to be closed at its end; None without pictures."""
        if reader.source is None:
            return None
        making = asyncio.ensure_future(self.call(reader.source.following, most))
        try:
            return await asyncio.shield(making)
        except asyncio.CancelledError:  # the client went meanwhile; what is being made is closed once it is there
            making.add_done_callback(lambda made: made.cancelled() or made.exception() or made.result().close())
            raise

    async def read(
        self, frame: Frame, reader: Reader, most: int, source: LandmarkSource | None = None, pixels: int | None = None
    ) -> Read:
        """The faces of a frame; source: of a stream. Raises a 422 problem for bad content, and SensoriumError."""
        if frame.picture is not None:
            if reader.source is None:
                raise Problem(501, f"pictures cannot be read here: {self.redact(reader.why or '')}")
            rgb = await self._decode(frame.picture, self.limits.pixels if pixels is None else pixels)
            found = await self.call(reader.picture, rgb, most, source)
            return Read(found, (rgb.shape[1], rgb.shape[0]))
        if frame.landmarks is not None:
            if reader.numbers is None:
                raise Problem(501, f"landmarks alone cannot be read here: {self.redact(reader.why_numbers or '')}; "
                                   "send perception vectors (kind 3)")  # fmt: skip
            return Read(await self.call(reader.points, frame.landmarks, most), None)
        return Read(await self.call(reader.vectors, frame.vectors, most), None)

    async def close(self) -> None:
        """End the processes and threads."""
        for decoders in self._decoders.values():
            await decoders.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """A function's result, called in one of the threads."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)

    async def _decode(self, content: bytes, pixels: int) -> np.ndarray:
        """A picture file as (h, w, 3) uint8; decoders of their own, so that no upload keeps frames waiting."""
        try:
            picture = (await self._decoder(pixels).decode(TAKES, content)).value
        except Undecodable as error:
            raise Problem(422, self.redact(str(error))) from None
        picture = over_white(picture)
        return picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=2)

    async def warm(self) -> None:
        """Start the decoders of frames."""
        await self._decoder(self.limits.pixels).warm()

    def _decoder(self, pixels: int) -> Decoders:
        """The decoders of pictures up to a size."""
        if pixels not in self._decoders:
            told = {"max_pixels": pixels, "decode_seconds": self.limits.decode_seconds, "decoders": 2}
            self._decoders[pixels] = Decoders(self._settings.model_copy(update=told))
        return self._decoders[pixels]

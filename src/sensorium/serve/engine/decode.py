"""Uploaded media are decoded in a process of their own, which is killed when it takes too long or too much.

Run as ``python -m sensorium.serve.engine.decode``, this file is that process: it reads tasks from its
standard input and writes arrays to its standard output, one after the other.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import resource
import struct
import sys
from typing import Any, BinaryIO

import numpy as np

from sensorium.serve.settings import Settings

_SIZES = struct.Struct("<IQ")  # bytes of JSON, bytes of content
_FORMATS = {"PNG": "image/png", "JPEG": "image/jpeg", "GIF": "image/gif", "WEBP": "image/webp", "BMP": "image/bmp"}


class Undecodable(Exception):
    """What was uploaded is not a picture or sound within the limits."""


class Decoders:
    """Processes that decode, each one task at a time; a killed one is replaced by the next task."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.killed = 0
        self._free: asyncio.Queue[asyncio.subprocess.Process | None] = asyncio.Queue()
        for _ in range(settings.decoders):
            self._free.put_nowait(None)

    async def image(self, content: bytes) -> tuple[np.ndarray, str]:
        """A picture file as (h, w), (h, w, 3) or (h, w, 4) uint8, and its media type. Raises Undecodable."""
        array, told = await self._decode("image", content)
        return array, told["media_type"]

    async def audio(self, content: bytes) -> tuple[tuple[np.ndarray, int], str]:
        """A sound file as (samples (n,) float32, rate in Hz), and its media type. Raises Undecodable."""
        array, told = await self._decode("audio", content)
        return (array, told["rate"]), told["media_type"]

    async def close(self) -> None:
        """End the processes that are free; one at work ends with its pipe."""
        while not self._free.empty():
            process = self._free.get_nowait()
            if process is not None:
                await _end(process)

    async def _decode(self, kind: str, content: bytes) -> tuple[np.ndarray, dict[str, Any]]:
        process = await self._free.get()
        try:
            if process is None or process.returncode is not None:
                process = await self._start()
            try:
                async with asyncio.timeout(self.settings.decode_seconds):
                    return await self._ask(process, kind, content)
            except TimeoutError:
                reason = f"it took longer than {self.settings.decode_seconds:g} s to decode"
            except (OSError, asyncio.IncompleteReadError):
                reason = "decoding it took too much memory or ended the decoder"
            await _end(process)
            process, self.killed = None, self.killed + 1
            raise Undecodable(f"the {kind} cannot be used: {reason}")
        except asyncio.CancelledError:  # half an answer may still be in the pipe
            if process is not None:
                process.kill()
            process = None
            raise
        finally:
            self._free.put_nowait(process)

    async def _start(self) -> asyncio.subprocess.Process:
        limits = {
            "bytes": self.settings.decode_bytes,
            "pixels": self.settings.max_pixels,
            "seconds": self.settings.max_seconds,
            "time": self.settings.decode_seconds,
        }
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        environment.pop("SENSORIUM_TOKEN", None)
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "sensorium.serve.engine.decode", json.dumps(limits), env=environment,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=1 << 20,
        )  # fmt: skip

    async def _ask(
        self, process: asyncio.subprocess.Process, kind: str, content: bytes
    ) -> tuple[np.ndarray, dict[str, Any]]:
        assert process.stdin is not None and process.stdout is not None
        name = kind.encode()
        process.stdin.write(_SIZES.pack(len(name), len(content)) + name)
        process.stdin.write(content)
        await process.stdin.drain()
        size, count = _SIZES.unpack(await process.stdout.readexactly(_SIZES.size))
        told = json.loads(await process.stdout.readexactly(size))
        data = await process.stdout.readexactly(count)
        if "error" in told:
            raise Undecodable(f"the {kind} cannot be used: {told['error']}")
        return np.frombuffer(data, told["dtype"]).reshape(told["shape"]), told


async def _end(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    await process.wait()


def decode_image(content: bytes, pixels: int) -> tuple[np.ndarray, dict[str, Any]]:
    """The first picture of a file, upright; raises Undecodable."""
    from PIL import Image, ImageOps

    Image.MAX_IMAGE_PIXELS = None  # the limit below is ours, and known before anything is unpacked
    try:
        with Image.open(io.BytesIO(content), formats=list(_FORMATS)) as picture:
            kind, (width, height) = _FORMATS[picture.format or ""], picture.size
            if width * height > pixels:
                raise Undecodable(f"{width} × {height} pixels; at most {pixels:,}")
            upright = ImageOps.exif_transpose(picture)
            if upright.mode in ("1", "L", "I;16", "I", "F"):
                mode = "L"
            else:
                mode = "RGBA" if "A" in upright.getbands() or "transparency" in upright.info else "RGB"
            if upright.mode in ("I;16", "I"):
                upright = upright.point(lambda value: value / 256).convert("L")
            return np.asarray(upright.convert(mode)), {"media_type": kind}
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, IndexError, TypeError) as error:
        raise Undecodable(f"it is not a PNG, JPEG, GIF, WebP or BMP picture ({error})") from error


def decode_audio(content: bytes, seconds: float) -> tuple[np.ndarray, dict[str, Any]]:
    """A sound file as mono float32; raises Undecodable."""
    from sensorium.errors import SensoriumError
    from sensorium.modalities.audio import files

    try:
        samples, rate = files.read_channels(io.BytesIO(content), seconds)
        mono = files.to_mono(samples, "the recording")
    except SensoriumError as error:
        raise Undecodable(str(error)) from error
    return mono, {"rate": rate, "media_type": _sound_type(content)}


def _sound_type(content: bytes) -> str:
    marks = {b"RIFF": "audio/wav", b"fLaC": "audio/flac", b"OggS": "audio/ogg", b"ID3": "audio/mpeg",
             b"\xff\xfb": "audio/mpeg", b"\x1aE\xdf\xa3": "audio/webm"}  # fmt: skip
    if content[4:8] == b"ftyp":
        return "audio/mp4"
    return next((kind for mark, kind in marks.items() if content.startswith(mark)), "application/octet-stream")


def _answer(out: BinaryIO, told: dict[str, Any], data: bytes = b"") -> None:
    text = json.dumps(told).encode()
    out.write(_SIZES.pack(len(text), len(data)) + text)
    out.write(data)
    out.flush()


def _limit(told: dict[str, Any]) -> None:
    """Cap what this process may take from now on: memory, files it may write, and core dumps."""
    with open("/proc/self/statm", encoding="ascii") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    most = used + int(told["bytes"])
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main(told: dict[str, Any]) -> None:
    """Decode one task after the other until the input ends."""
    read, out = sys.stdin.buffer, sys.stdout.buffer
    import PIL.Image  # noqa: F401  before the limit, which counts from what is used already

    with contextlib.suppress(ImportError):
        import soundfile  # noqa: F401
    if sys.platform == "linux":
        _limit(told)
    while len(head := read.read(_SIZES.size)) == _SIZES.size:
        size, count = _SIZES.unpack(head)
        kind, content = read.read(size), read.read(count)
        try:
            if kind == b"image":
                array, found = decode_image(content, told["pixels"])
            else:
                array, found = decode_audio(content, told["seconds"])
        except Undecodable as error:
            _answer(out, {"error": str(error)})
            continue
        except MemoryError:
            _answer(out, {"error": "it unpacks to more memory than is allowed"})
            continue
        array = np.ascontiguousarray(array)
        _answer(out, {**found, "shape": array.shape, "dtype": array.dtype.str}, array.tobytes())


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))

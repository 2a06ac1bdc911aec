"""Uploaded media are decoded by their modality in a process of its own, which is killed beyond its time or memory.

Run as ``python -m sensorium.serve.engine.decode``, this file is that process: it reads tasks from its
standard input and writes values to its standard output, one after the other.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import struct
import sys
import warnings
from typing import Any, BinaryIO

import numpy as np

from sensorium import modalities
from sensorium.errors import BadData, SensoriumError
from sensorium.modalities import Decoded, Limits
from sensorium.serve.settings import Settings

_SIZES = struct.Struct("<IQ")  # bytes of JSON, bytes of content
_START = 60.0  # seconds that a process has to load its modules


class Undecodable(Exception):
    """An upload that its modality cannot decode within the limits."""


class Decoders:
    """Processes that decode, each one task at a time; a killed one is replaced by the next task."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.killed = 0
        self._free: asyncio.Queue[asyncio.subprocess.Process | None] = asyncio.Queue()
        for _ in range(settings.decoders):
            self._free.put_nowait(None)

    async def decode(self, kind: str, content: bytes) -> Decoded:
        """A file of modality ``kind`` as its value and media type. Raises Undecodable."""
        process = await self._free.get()
        try:
            if process is None or process.returncode is not None:
                process = await self._start()
            try:
                async with asyncio.timeout(self.settings.decode_seconds):
                    return await self._request(process, kind, content)
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

    async def warm(self) -> None:
        """Start the processes that are free and not started yet, so that no file has to wait for one."""
        for _ in range(self._free.qsize()):
            process = await self._free.get()
            try:
                if process is None or process.returncode is not None:
                    process = None
                    process = await self._start()
            finally:
                self._free.put_nowait(process)

    async def close(self) -> None:
        """End the processes that are free; one at work ends with its pipe."""
        while not self._free.empty():
            process = self._free.get_nowait()
            if process is not None:
                await _end(process)

    async def _start(self) -> asyncio.subprocess.Process:
        limits = {
            "memory": self.settings.decode_bytes,
            "limits": Limits(self.settings.max_pixels, self.settings.max_seconds)._asdict(),
            "folders": list(modalities.__path__),
        }
        # Modalities of other packages are found where this process finds them.
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
        }
        environment.pop("SENSORIUM_TOKEN", None)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "sensorium.serve.engine.decode", json.dumps(limits), env=environment,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=1 << 20,
        )  # fmt: skip
        assert process.stdout is not None
        try:  # loading its modules is no part of the time that a file may take
            async with asyncio.timeout(_START):
                size, _ = _SIZES.unpack(await process.stdout.readexactly(_SIZES.size))
                await process.stdout.readexactly(size)
        except BaseException as error:
            await _end(process)
            if isinstance(error, (TimeoutError, OSError, asyncio.IncompleteReadError)):
                raise Undecodable("it cannot be decoded now: the decoder does not start; try again") from None
            raise
        return process

    async def _request(self, process: asyncio.subprocess.Process, kind: str, content: bytes) -> Decoded:
        assert process.stdin is not None and process.stdout is not None
        name = kind.encode()
        process.stdin.write(_SIZES.pack(len(name), len(content)) + name)
        process.stdin.write(content)
        await process.stdin.drain()
        size, count = _SIZES.unpack(await process.stdout.readexactly(_SIZES.size))
        answer = json.loads(await process.stdout.readexactly(size))
        data = await process.stdout.readexactly(count)
        if "error" in answer:
            raise Undecodable(f"the {kind} cannot be used: {answer['error']}")
        return Decoded(_unpacked(answer["value"], memoryview(data)), answer["media_type"])


async def _end(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    await process.wait()


def _packed(value: Any, data: bytearray) -> Any:
    """A decoded value as JSON, its arrays' bytes appended to ``data``."""
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        array = np.ascontiguousarray(value)
        start = len(data)
        data += array.tobytes()
        return {"dtype": array.dtype.str, "shape": array.shape, "start": start, "stop": len(data)}
    if isinstance(value, (tuple, list)):
        return [_packed(one, data) for one in value]
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    raise BadData(f"a modality decoded it to {type(value).__name__}; expected arrays, text, numbers and tuples of them")


def _unpacked(value: Any, data: memoryview) -> Any:
    """The value that :func:`_packed` packed; lists as tuples."""
    if isinstance(value, dict):
        return np.frombuffer(data[value["start"] : value["stop"]], value["dtype"]).reshape(value["shape"])
    return tuple(_unpacked(one, data) for one in value) if isinstance(value, list) else value


def _answer(out: BinaryIO, answer: dict[str, Any], data: bytes | bytearray = b"") -> None:
    text = json.dumps(answer).encode()
    out.write(_SIZES.pack(len(text), len(data)) + text)
    out.write(data)
    out.flush()


def _limit(memory: int) -> None:
    """Cap what this process may take from now on: memory in bytes, files it may write, and core dumps."""
    with open("/proc/self/statm", encoding="ascii") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + memory, used + memory))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main(options: dict[str, Any]) -> None:
    """Decode one task after the other until the input ends."""
    read, out, limits = sys.stdin.buffer, sys.stdout.buffer, Limits(**options["limits"])
    warnings.simplefilter("ignore")  # decoders warn of damaged files; the log is for requests
    modalities.__path__[:] = options["folders"]
    for modality in modalities.found().values():  # loads their decoders before the limit, which counts from here
        with contextlib.suppress(Exception):
            modality.decode(b"", limits)
    if sys.platform == "linux":
        _limit(options["memory"])
    _answer(out, {"ready": True})
    while len(head := read.read(_SIZES.size)) == _SIZES.size:
        size, count = _SIZES.unpack(head)
        kind, content = read.read(size).decode(), read.read(count)
        try:
            value, media_type = modalities.find(kind).decode(content, limits)
            data = bytearray()
            packed = _packed(value, data)
        except MemoryError:
            _answer(out, {"error": "it unpacks to more memory than is allowed"})
        except SensoriumError as error:
            _answer(out, {"error": str(error)})
        except Exception as error:  # a decoder's own fault ends neither this process nor the request with a traceback
            _answer(out, {"error": f"its decoder failed ({type(error).__name__}: {error})"})
        else:
            _answer(out, {"value": packed, "media_type": media_type}, data)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))

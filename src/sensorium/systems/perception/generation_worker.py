"""The process that makes pictures for a server: one at a time, at low priority, killed where it does not stop.

Run as ``python -m sensorium.systems.perception.generation_worker``, this file is that process. It reads tasks from
its standard input and writes steps and pictures to its standard output. Memory that runs out ends it, not the server.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import struct
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from sensorium import errors
from sensorium.errors import SensoriumError
from sensorium.systems.perception import generation
from sensorium.systems.perception.generation import Cancelled, NotGenerated, Options
from sensorium.systems.perception.generation_limits import GenerationLimits
from sensorium.systems.perception.picture_model import PictureModel

_SIZES = struct.Struct("<IQ")  # bytes of JSON, bytes of content
_GONE = "the process that makes pictures ended ({}); if memory ran out, ask for a smaller size"
Told = Callable[[dict[str, Any], bytes], None]


class Worker:
    """The process of one model, started by the first task. In one event loop; one task at a time."""

    def __init__(self, model: PictureModel, limits: GenerationLimits) -> None:
        self.model, self.limits = model, limits
        self.pooled: np.ndarray | None = None  # of the probes of text_space, once it has started
        self._process: asyncio.subprocess.Process | None = None
        self._killer: asyncio.TimerHandle | None = None

    @property
    def running(self) -> bool:
        """Whether the model is loaded."""
        return self._process is not None and self._process.returncode is None

    async def start(self) -> np.ndarray:
        """Load the model, if it is not; returns its text vectors of the probes, (n, d). Raises SensoriumError."""
        if not self.running or self.pooled is None:
            await self.close()
            told = {"model": {**asdict(self.model), "folder": str(self.model.folder)}, "device": self.limits.device,
                    "dtype": self.limits.dtype, "threads": self.limits.threads, "nice": self.limits.nice}  # fmt: skip
            environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
            environment.pop("SENSORIUM_TOKEN", None)
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "sensorium.systems.perception.generation_worker", json.dumps(told),
                env=environment, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
            )  # fmt: skip
            try:
                async with asyncio.timeout(self.limits.start):
                    head, data = await self._read()
            except TimeoutError:
                await self.close()
                raise NotGenerated(f"the model did not load within {self.limits.start:g} s") from None
            if "problem" in head:
                await self.close()
                raise _error(head)
            self.pooled = np.frombuffer(data, np.float32).reshape(head["shape"])
        assert self.pooled is not None
        return self.pooled

    async def make(self, options: Mapping[str, Any], z: np.ndarray, on_step: Told) -> tuple[bytes, dict[str, Any]]:
        """The PNG file of a picture, and what it says of itself.

        on_step: called with each step's message and preview. Raises Cancelled after :meth:`cancel`, SensoriumError when
        there is no picture.
        """
        try:
            self._write({"options": dict(options)}, np.ascontiguousarray(z, np.float32).tobytes())
            while True:
                head, data = await self._read()
                if "step" in head:
                    on_step(head, data)
                elif "cancelled" in head:
                    raise Cancelled
                elif "problem" in head:
                    raise _error(head)
                else:
                    return data, head["about"]
        finally:
            if self._killer is not None:
                self._killer.cancel()
                self._killer = None

    def cancel(self) -> None:
        """End the picture that is being made after its present step; the process, where that takes too long."""
        if self.running and self._killer is None:
            with contextlib.suppress(OSError):
                self._write({"cancel": True})
            self._killer = asyncio.get_running_loop().call_later(self.limits.patience, self._kill)

    async def close(self) -> None:
        """End the process."""
        process, self._process, self.pooled = self._process, None, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    def _kill(self) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    def _write(self, head: Mapping[str, Any], data: bytes = b"") -> None:
        assert self._process is not None and self._process.stdin is not None
        text = json.dumps(head).encode()
        self._process.stdin.write(_SIZES.pack(len(text), len(data)) + text + data)

    async def _read(self) -> tuple[dict[str, Any], bytes]:
        """The next message. Raises NotGenerated, or Cancelled where we killed it, when the process has ended."""
        process = self._process
        assert process is not None and process.stdout is not None
        try:
            size, count = _SIZES.unpack(await process.stdout.readexactly(_SIZES.size))
            return json.loads(await process.stdout.readexactly(size)), await process.stdout.readexactly(count)
        except asyncio.IncompleteReadError:
            killed = self._killer is not None
            code = await process.wait()
            await self.close()
            if killed:
                raise Cancelled from None
            raise NotGenerated(_GONE.format(f"signal {-code}" if code < 0 else f"status {code}")) from None


def _error(head: Mapping[str, Any]) -> Exception:
    """The error that a message of the process tells; a RuntimeError with its traceback for a bug."""
    kind = {"NotGenerated": NotGenerated}.get(head["problem"]) or getattr(errors, head["problem"], None)
    if kind is errors.MissingExtra:
        return errors.MissingExtra(*head["arguments"])
    return kind(head["text"]) if kind is not None else RuntimeError(head["text"])


def _tell(out: BinaryIO, head: Mapping[str, Any], data: bytes = b"") -> None:
    text = json.dumps(head).encode()
    out.write(_SIZES.pack(len(text), len(data)) + text + data)
    out.flush()


def _problem(error: Exception) -> dict[str, Any]:
    if isinstance(error, errors.MissingExtra):
        return {"problem": "MissingExtra", "arguments": [error.module, error.extra], "text": str(error)}
    if isinstance(error, SensoriumError):
        return {"problem": type(error).__name__, "text": str(error)}
    return {"problem": "", "text": "".join(traceback.format_exception(error))}


def main(told: Mapping[str, Any]) -> None:
    """Load the model, then make one picture after the other until the input ends."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print is no message
    os.nice(told["nice"])
    try:
        import torch

        torch.set_num_threads(told["threads"] or max(1, (os.cpu_count() or 2) - 1))
        model = PictureModel(**{**told["model"], "folder": Path(told["model"]["folder"])})
        generator = generation.Generator(model, told["device"], told["dtype"])
        pooled = generator.pooled()
    except Exception as error:
        return _tell(out, _problem(error))
    _tell(out, {"shape": pooled.shape}, pooled.tobytes())
    tasks = _Tasks(sys.stdin.buffer)
    while (task := tasks.next()) is not None:
        options, z = task
        _make(generator, Options(**options), np.frombuffer(z, np.float32), tasks, out)


def _make(generator: generation.Generator, options: Options, z: np.ndarray, tasks: _Tasks, out: BinaryIO) -> None:
    def step(done: generation.Step) -> None:
        if tasks.cancelled.is_set():
            raise Cancelled
        _tell(out, {"step": done.number, "steps": done.total}, done.preview() or b"")

    try:
        made = generator.picture(z, options, step)
    except Cancelled:
        _tell(out, {"cancelled": True})
    except Exception as error:
        _tell(out, _problem(error))
    else:
        _tell(out, {"about": {**made.about, "seconds": round(made.seconds, 2)}}, made.png())


class _Tasks:
    """Tasks of the input, read in a thread so that a cancellation is seen while a picture is being made."""

    def __init__(self, file: BinaryIO) -> None:
        self.cancelled = threading.Event()
        self._there, self._waiting = threading.Condition(), []  # type: ignore[var-annotated]
        threading.Thread(target=self._read, args=(file,), daemon=True).start()

    def next(self) -> tuple[dict[str, Any], bytes] | None:
        """The next task; None at the end of the input."""
        with self._there:
            self._there.wait_for(lambda: self._waiting)
            return self._waiting.pop(0)

    def _read(self, file: BinaryIO) -> None:
        while len(head := file.read(_SIZES.size)) == _SIZES.size:
            size, count = _SIZES.unpack(head)
            told, data = json.loads(file.read(size)), file.read(count)
            if "cancel" in told:
                self.cancelled.set()
                continue
            self.cancelled.clear()
            with self._there:
                self._waiting.append((told["options"], data))
                self._there.notify()
        os._exit(0)  # the server has gone, whatever is being made


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))

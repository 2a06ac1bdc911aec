"""Faults at the n-th disk call of a process: SIGKILL, a full disk, a read-only disk. For forked children only.

Counted are what changes a disk: opening for writing, each write of a file's buffer, fsync, rename, exchange,
unlink, mkdir, rmdir, truncate and pwrite. Part of a write, ``share`` of it, is done before the fault.
"""

from __future__ import annotations

import builtins
import errno
import io as streams
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from sensorium import io

CALLS = ("fsync", "replace", "rename", "unlink", "remove", "mkdir", "rmdir", "ftruncate", "truncate", "pwrite")
FAULTS = ("kill", "full", "read-only")


class Ended(NamedTuple):
    """How a child ended: what it acknowledged, its exception ("Type: message"; "" without), disk calls, killed or not."""

    acknowledged: list[str]
    raised: str
    calls: int
    killed: bool


class Disk:
    """Counts the disk calls; at call number ``at`` (from 0) the fault happens. A full or read-only disk stays so."""

    def __init__(self, at: int | None, fault: str, share: float = 0.5) -> None:
        self.at, self.fault, self.share, self.calls = at, fault, share, 0

    def step(self, half: Callable[[], Any] = lambda: None, frees: bool = False) -> None:
        """One more disk call; ``half`` does part of a write; ``frees``: it only deletes, which a full disk allows."""
        number, self.calls = self.calls, self.calls + 1
        if self.at is None or number < self.at:
            return
        if self.fault == "kill":
            half()
            os.kill(os.getpid(), signal.SIGKILL)
        if self.fault == "full" and not frees:
            half()
            raise OSError(errno.ENOSPC, "No space left on device")
        if self.fault == "read-only":
            raise OSError(errno.EROFS, "Read-only file system")

    def install(self) -> None:
        """Patch this process for good."""
        for name in CALLS:
            setattr(os, name, self._counted(getattr(os, name), name))
        exchange, opener, disk = io._exchange, builtins.open, self

        def counted_exchange(a: Path, b: Path) -> bool:
            disk.step()
            return exchange(a, b)

        class Raw(streams.FileIO):
            def write(self, data: Any) -> int:
                content = memoryview(data).cast("B")
                disk.step(lambda: streams.FileIO.write(self, content[: int(len(content) * disk.share)]))
                return super().write(data)

        def counted_open(file: Any, mode: str = "r", buffering: int = -1, encoding: Any = None, errors: Any = None,
                         newline: Any = None, closefd: bool = True, opener_: Any = None) -> Any:  # fmt: skip
            if not set(mode) & set("wxa+") or isinstance(file, int):
                return opener(file, mode, buffering, encoding, errors, newline, closefd)
            disk.step()
            raw = Raw(file, mode.replace("b", "").replace("t", ""))
            buffered = streams.BufferedRandom(raw) if "+" in mode else streams.BufferedWriter(raw)
            return buffered if "b" in mode else streams.TextIOWrapper(buffered, encoding, errors, newline)

        io._exchange = counted_exchange
        builtins.open = streams.open = counted_open

    def _counted(self, function: Callable[..., Any], name: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            def half() -> None:
                if name == "pwrite":
                    function(args[0], bytes(args[1])[: int(len(args[1]) * self.share)], args[2])

            self.step(half, frees=name in ("unlink", "remove", "rmdir", "ftruncate"))
            return function(*args, **kwargs)

        return call


def child(
    work: Callable[[Callable[[str], None]], Any], at: int | None = None, fault: str = "kill", share: float = 0.5
) -> Ended:
    """Run ``work(acknowledge)`` in a forked child with a fault at disk call ``at``; None only counts the calls."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        disk, send = Disk(at, fault, share), os.write
        try:
            os.close(read)
            disk.install()
            try:
                work(lambda text: send(write, b"a" + text.encode() + b"\n") and None)
            except BaseException as error:
                send(write, b"e" + f"{type(error).__name__}: {error}".encode().replace(b"\n", b" ") + b"\n")
            send(write, b"n%d\n" % disk.calls)
        finally:
            os._exit(0)
    os.close(write)
    received = b""
    while chunk := os.read(read, 1 << 16):
        received += chunk
    os.close(read)
    status = os.waitpid(pid, 0)[1]
    lines = [line.decode() for line in received.split(b"\n")[:-1]]
    first = {key: [line[1:] for line in lines if line[0] == key] for key in "aen"}
    return Ended(first["a"], "".join(first["e"]), int((first["n"] or ["0"])[0]), os.WIFSIGNALED(status))

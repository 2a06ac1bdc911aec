"""Who may change a store in an object store: a small object that its process renews, as there are no locks."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

from sensorium.errors import Busy, SensoriumError
from sensorium.progress import say
from sensorium.scale.objects import Objects

NAME = ".lease.json"
RENEWED, ENDS = 15.0, 60.0  # seconds


@contextlib.contextmanager
def held(objects: Objects, progress: bool = False) -> Iterator[None]:
    """Hold the lease of a store within the block. One of a process that has ended is taken over.

    Raises Busy where another process holds it for longer than it lasts without being renewed.
    """
    token, said, began = secrets.token_hex(8), False, time.monotonic()
    while (other := _read(objects)) is not None and not _over(other):
        if time.monotonic() - began > ENDS + RENEWED:
            raise Busy(f"{objects.url} is being written by process {other['pid']} of {other['host']}; wait for it, or "
                       "choose another --stores")  # fmt: skip
        if progress and not said:
            say("wait", f"{objects.url} was being written by process {other['pid']} of {other['host']}")
            said = True
        time.sleep(1.0)
    _write(objects, token)
    if (other := _read(objects)) is not None and other["token"] != token:
        raise Busy(f"{objects.url} was taken by another process at the same time; type the command again")
    ended = threading.Event()
    renewing = threading.Thread(target=_renew, args=(objects, token, ended), daemon=True)
    renewing.start()
    try:
        yield
    finally:
        ended.set()
        renewing.join()
        with contextlib.suppress(SensoriumError):
            objects.delete([NAME])


def _renew(objects: Objects, token: str, ended: threading.Event) -> None:
    while not ended.wait(RENEWED):
        with contextlib.suppress(SensoriumError):  # the object store is away: what is written next says so
            _write(objects, token)


def _write(objects: Objects, token: str) -> None:
    about = {"token": token, "host": socket.gethostname(), "pid": os.getpid(), "time": time.time()}
    objects.put(NAME, json.dumps(about).encode())


def _read(objects: Objects) -> dict[str, Any] | None:
    try:
        found = json.loads(objects.get(NAME))
        return found if {"token", "host", "pid", "time"} <= set(found) else None
    except (FileNotFoundError, ValueError):
        return None


def _over(other: dict[str, Any]) -> bool:
    """Whether the process that wrote a lease has ended, or has not renewed it in time."""
    if other["host"] == socket.gethostname():
        try:
            os.kill(int(other["pid"]), 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            pass
    return time.time() - float(other["time"]) > ENDS

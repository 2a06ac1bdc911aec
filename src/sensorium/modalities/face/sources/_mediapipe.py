"""What both interfaces of MediaPipe share: the package, its version, and graphs that threads borrow."""

from __future__ import annotations

import contextlib
import ctypes
import importlib.metadata
import importlib.util
import os
import re
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from sensorium.errors import MissingExtra, SensoriumError

LAST_LEGACY = "0.10.21"  #: the newest mediapipe that carries the face mesh with its model
INSTALL_LEGACY = f"pip install --no-deps mediapipe=={LAST_LEGACY} && pip install 'sensorium[face]'"
FIRST = np.zeros((64, 64, 3), np.uint8)  #: a picture to begin a graph with
_making, _giving = threading.RLock(), threading.Lock()
_free: dict[Any, list[Any]] = {}  # graphs that no thread uses, by their settings
_OLD = (0, 10, 30)  # the first version without mediapipe.solutions


def version() -> tuple[int, ...] | None:
    """The installed version as numbers; None without the package."""
    try:
        found = importlib.metadata.version("mediapipe")
    except importlib.metadata.PackageNotFoundError:
        return None
    return tuple(int(part) for part in re.findall(r"\d+", found)[:3])


def has_solutions() -> bool:
    """Whether the installed package is one with ``mediapipe.solutions`` and their models; imports nothing."""
    found = version()
    return found is not None and found < _OLD


def load() -> Any:
    """The package, imported, its log kept to warnings. Raises MissingExtra."""
    if version() is None:
        raise NoMediapipe("is not installed")
    try:
        with _quiet():
            import mediapipe
    except (ImportError, OSError, TypeError, AttributeError) as error:  # another protobuf or NumPy than its own
        raise NoMediapipe(f"cannot be imported ({type(error).__name__}: {error})") from None
    return mediapipe


def folder() -> Path | None:
    """Where the package lies, which is not imported; None without it."""
    found = importlib.util.find_spec("mediapipe")
    return None if found is None or found.origin is None else Path(found.origin).parent


class NoMediapipe(MissingExtra):
    """MediaPipe is absent or broken; the message says how it installs."""

    def __init__(self, reason: str, install: str = INSTALL_LEGACY) -> None:
        SensoriumError.__init__(self, f"'mediapipe' {reason}; type: {install}")
        self.module, self.extra = "mediapipe", "face"


@contextlib.contextmanager
def borrowed(key: Any, make: Callable[[], Any]) -> Iterator[Any]:
    """A graph of these settings that no other thread uses meanwhile, made where none is free.

    make: a graph that has looked at one picture already. Graphs are kept for the process's life, as one takes a tenth
    of a second to make.
    """
    with _giving:
        free = _free.setdefault(key, [])
        graph = free.pop() if free else None
    if graph is None:
        with _quiet():
            graph = make()
    try:
        yield graph
    finally:
        with _giving:
            free.append(graph)


def never_finalised(graph: Any) -> Any:
    """The graph, which the garbage collector leaves alone from now on; it ends by its ``close``.

    A FaceLandmarker of mediapipe 1.2 that is found in a cycle, or at the interpreter's end, waits for its own thread,
    which has ended already: the process would hang.
    """
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(graph))
    return graph


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep what MediaPipe's own libraries print about themselves from the terminal; shown where something fails.

    They write to the process's standard error, past Python, while a module is imported and a graph is begun.
    """
    with _making, tempfile.TemporaryFile() as said:
        sys.stderr.flush()
        before = os.dup(2)
        os.dup2(said.fileno(), 2)
        try:
            yield
        except BaseException:
            said.seek(0)
            os.write(before, said.read()[-4000:])
            raise
        finally:
            os.dup2(before, 2)
            os.close(before)

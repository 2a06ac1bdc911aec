"""What both interfaces of MediaPipe share: the package, its version, and a detector for each thread."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sensorium.errors import MissingExtra, SensoriumError

LAST_LEGACY = "0.10.21"  #: the newest mediapipe that carries the face mesh with its model
INSTALL_LEGACY = f"pip install --no-deps mediapipe=={LAST_LEGACY} && pip install 'sensorium[face]'"
_importing = threading.Lock()
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
    os.environ.setdefault("GLOG_minloglevel", "2")
    try:
        with _importing:
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


class PerThread:
    """An object for each thread that asks, and for each key: MediaPipe's graphs take one picture at a time."""

    def __init__(self, make: Callable[[Any], Any]) -> None:
        self._make, self._kept = make, threading.local()

    def get(self, key: Any) -> Any:
        """This thread's object of a key, made at its first use."""
        made = self._kept.__dict__
        if key not in made:
            made[key] = self._make(key)
        return made[key]

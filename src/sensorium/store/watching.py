"""Observers of the shards that an embedding commits, such as a mirror that sends them while embedding goes on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Protocol


class Watcher(Protocol):
    """every: items after which it wants a shard at the latest. The thread that embeds calls it, so it must not wait."""

    every: int

    def begins(self, folder: Path) -> None:
        """A store is about to be filled; it may be there already, and whole."""

    def committed(self, folder: Path, items: int) -> None:
        """So many items more are durable in the store."""


_watcher: ContextVar[Watcher | None] = ContextVar("watcher", default=None)


@contextlib.contextmanager
def by(watcher: Watcher | None) -> Iterator[None]:
    """Tell ``watcher`` of every shard that :func:`sensorium.store.embed` commits within the block; None: nobody."""
    before = _watcher.set(watcher)
    try:
        yield
    finally:
        _watcher.reset(before)


def current() -> Watcher | None:
    """The observers within the block of :func:`by`."""
    return _watcher.get()

"""Where an embedding computes: in this process, or by an engine that encodes elsewhere, such as on a cluster."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from sensorium.contracts import Encoder
from sensorium.store.writing import Writer


@dataclass(frozen=True)
class Job:
    """What of a store's items has to be encoded.

    ids, keys, values: of all items of the call; meta: their columns, (n,) each. owners: by content key, the positions
    of the items with this content, of which the first one's value is encoded. width, dtype: of the store; dtype is None
    where the encoder decides. batch: items of a call at most. shard_rows: items of a shard at most, None for the usual
    number. committed: to be called with the number of items after each commit of ``writer``.
    """

    kind: str
    ids: Sequence[str]
    keys: Sequence[bytes]
    values: Sequence[Any]
    meta: Mapping[str, np.ndarray]
    owners: Mapping[bytes, Sequence[int]]
    encoder: Encoder
    writer: Writer
    width: int
    dtype: np.dtype | None
    batch: int
    shard_rows: int | None
    progress: bool
    committed: Callable[[int], None]


class Engine(Protocol):
    """Encodes elsewhere for :func:`sensorium.store.embed`."""

    whole: bool  #: whether the vectors lie in the folder afterwards; else its shards lack them, and are read elsewhere
    compacts: bool  #: whether the folder's small shards may be merged afterwards

    def opened(self, folder: Path) -> contextlib.AbstractContextManager[Path]:
        """The folder to work in, with what earlier calls have written, within the block; later it is made durable."""

    def keys(self, kind: str, ids: Iterable[str], values: Sequence[Any]) -> list[bytes]:
        """The content key of each item: see ``content_keys``."""

    def fetch(self, writer: Writer) -> None:
        """Bring every vector of the store into the writer's folder."""

    def encode(self, job: Job) -> None:
        """Encode and commit. Raises what the encoder raised; what was encoded before is committed then."""


_engine: ContextVar[Engine | None] = ContextVar("engine", default=None)


@contextlib.contextmanager
def by(engine: Engine | None) -> Iterator[None]:
    """Let ``engine`` encode for every :func:`sensorium.store.embed` within the block; None: this process."""
    before = _engine.set(engine)
    try:
        yield
    finally:
        _engine.reset(before)


def current() -> Engine | None:
    """The engine within the block of :func:`by`."""
    return _engine.get()

"""Giving freed memory back to the system, between the stages of large work."""

from __future__ import annotations

import ctypes
import functools
import gc
import os
import sys
from collections.abc import Callable, Sized
from typing import Any

from sensorium.numerics import memory_limits

TIGHT = 2 << 30  # bytes of free memory below which memory is worth more than page faults
_MMAP_THRESHOLD, _ARENA_MAX = -3, -8  # of mallopt(3)
_MAPPED = 1 << 20  # bytes from which on a block is mapped alone, and given back when it is freed
LARGE = 1 << 16  # items from which on it is worth the milliseconds, and the page faults of the next stage


def after(*tables: Sized | None) -> None:
    """After a stage over these items: :func:`give_back` where they are many, nothing where they are few."""
    if sum(len(table) for table in tables if table is not None) >= LARGE:
        give_back()


def give_back() -> None:
    """Return freed memory that the C library and Arrow keep for later. Does what it can; costs milliseconds.

    glibc keeps what lies between blocks that are still in use. Texts and lists of a million items leave hundreds of
    megabytes of such holes, which neither other processes nor a memory limit see as free.
    """
    gc.collect()
    if "pyarrow" in sys.modules:
        import pyarrow

        pyarrow.default_memory_pool().release_unused()
    if (trim := _trim()) is not None:
        trim(0)


def spare() -> bool:
    """Where less than 2 GB are free: blocks from 1 MB on go back to the system when freed, two arenas. Whether so.

    By default glibc raises that threshold to 32 MB and gives each thread an arena, so that freed blocks stay between
    others. It holds from then on for the whole process, and :func:`sensorium.numerics.threads.keep_freed_memory`
    has no effect any more. What the user set by ``MALLOC_`` variables stays.
    """
    if memory_limits.available() >= TIGHT or any(name.startswith("MALLOC_") for name in os.environ):
        return False
    mallopt = _of_c("mallopt")
    return mallopt is not None and bool(mallopt(_MMAP_THRESHOLD, _MAPPED) and mallopt(_ARENA_MAX, 2))


def _trim() -> Callable[[int], int] | None:
    """malloc_trim(3) of glibc; None elsewhere."""
    return _of_c("malloc_trim")


@functools.cache
def _of_c(name: str) -> Any:
    """A function of the C library; None where it has none of that name."""
    if sys.platform != "linux":
        return None
    try:
        return getattr(ctypes.CDLL(None), name)
    except (OSError, AttributeError):  # another C library
        return None

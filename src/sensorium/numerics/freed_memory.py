"""Giving freed memory back to the system, between the stages of large work."""

from __future__ import annotations

import ctypes
import functools
import gc
import sys
from collections.abc import Callable, Sized

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


@functools.cache
def _trim() -> Callable[[int], int] | None:
    """malloc_trim(3) of glibc; None elsewhere."""
    if sys.platform != "linux":
        return None
    try:
        return ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):  # another C library
        return None

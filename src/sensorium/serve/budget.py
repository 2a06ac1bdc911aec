"""Bytes that clients sent and that still take memory, counted over all connections."""

from __future__ import annotations


class Budget:
    """How much may be under way at once; who would go beyond is turned away and may try again."""

    def __init__(self, limit: int) -> None:
        self.limit, self.used = limit, 0

    def fits(self, size: int) -> bool:
        """Whether so many more bytes could be taken now."""
        return self.used + size <= self.limit

    def take(self, size: int) -> bool:
        """Count so many bytes; False, and nothing is counted, where they are too many."""
        if not self.fits(size):
            return False
        self.used += size
        return True

    def give(self, size: int) -> None:
        """They take no memory any more."""
        self.used -= size

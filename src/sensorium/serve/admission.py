"""Admission control: limits on requests in flight, and on bytes that clients sent and that still take memory.

Both are bounded in total and for each client address, so that one address cannot shut out the others. When
the places are full, a request whose body is incomplete is evicted for one that is complete.
"""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

GRACE = 1.0  # seconds for which a body may be coming before its place can be taken by another request


class Budget:
    """Bytes under way at once: ``limit`` in total, ``share`` of one client."""

    def __init__(self, limit: int, share: int | None = None) -> None:
        self.limit, self.share, self.used = limit, limit if share is None else share, 0
        self._clients: Counter[str] = Counter()

    def fits(self, size: int, client: str | None = None) -> bool:
        """Whether so many more bytes could be taken now."""
        if client is not None and self._clients[client] + size > self.share:
            return False
        return self.used + size <= self.limit

    def take(self, size: int, client: str | None = None) -> bool:
        """Count so many bytes; False, and nothing is counted, where they are too many."""
        if not self.fits(size, client):
            return False
        self.used += size
        if client is not None:
            self._clients[client] += size
        return True

    def give(self, size: int, client: str | None = None) -> None:
        """Give so many bytes back."""
        self.used -= size
        if client is not None:
            self._clients[client] -= size
            if not self._clients[client]:
                del self._clients[client]


@dataclass(eq=False)
class Place:
    """One request under way. waiting: the timer of the wait for a piece of its body, while there is one."""

    client: str
    began: float = field(default_factory=time.monotonic)
    waiting: asyncio.Timeout | None = None
    evicted: bool = False

    def evict(self) -> None:
        """End the wait for the body now."""
        assert self.waiting is not None
        self.evicted = True
        self.waiting.reschedule(asyncio.get_running_loop().time())


class Places:
    """Requests under way: ``total`` at once, ``share`` (0 … 1) of them from one client."""

    def __init__(self, total: int, share: float) -> None:
        self.total, self.most = total, max(1, int(total * share))
        self._taken: dict[Place, None] = {}  # oldest first
        self._clients: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._taken)

    def enter(self, client: str) -> Place | None:
        """A place for a request of a client; None when all, or all of this client, are taken by whole requests."""
        if self._clients[client] >= self.most and not self.evict(client):
            return None
        if len(self) >= self.total and not self.evict():
            return None
        place = Place(client)
        self._taken[place] = None
        self._clients[client] += 1
        return place

    def leave(self, place: Place) -> None:
        """Give a place back."""
        del self._taken[place]
        self._clients[place.client] -= 1
        if not self._clients[place.client]:
            del self._clients[place.client]

    def evict(self, client: str | None = None) -> bool:
        """End the request (of a client) whose body has been coming for longest; whether there was one."""
        last = time.monotonic() - GRACE
        for place in self._taken:
            if place.began > last:
                break
            if place.waiting is not None and not place.evicted and client in (None, place.client):
                place.evict()
                return True
        return False


def client_of(scope: Mapping[str, Any]) -> str:
    """The address that a request comes from; of IPv6 the network of 64 bits, which is one subscriber's."""
    host = (scope.get("client") or ("",))[0]
    if ":" in host:
        try:
            return str(ipaddress.ip_network((host.partition("%")[0], 64), strict=False))
        except ValueError:
            return host
    return host

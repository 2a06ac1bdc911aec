"""Shared by the WebSocket routes: validation of the parameters of an address, and limits on sockets of each client."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Iterable, Iterator

from starlette.websockets import WebSocket

from sensorium.errors import BadData
from sensorium.serve.admission import Places, client_of

_CLOSE = 0.5  # similarity from which a name is suggested


class Full(Exception):
    """No place for another socket."""


def parameters(websocket: WebSocket, known: Iterable[str]) -> dict[str, str]:
    """The query parameters of a socket's address. Raises BadData for an unknown one and for one that is repeated."""
    found: dict[str, str] = {}
    for name, value in websocket.query_params.multi_items():
        if name not in known:
            raise BadData(f"unknown parameter {name[:40]!r}; {_suggestion(name, known)}")
        if name in found:
            raise BadData(f"parameter {name!r} is given twice; give it once")
        found[name] = value
    return found


@contextlib.contextmanager
def place(places: Places, websocket: WebSocket) -> Iterator[None]:
    """A place for one socket while it is open. Raises Full where all, or all of this client's address, are taken."""
    taken = places.enter(client_of(websocket.scope))
    if taken is None:
        raise Full(f"{len(places)} streams are open, as many as this server takes from one address or in all; try "
                   "again later")  # fmt: skip
    try:
        yield
    finally:
        places.leave(taken)


def _suggestion(name: str, known: Iterable[str]) -> str:
    """The nearest known name, if any is near, and all of them."""
    word, names = name.lower(), sorted(known)
    near = [one for one in names if one in word] or difflib.get_close_matches(word, names, n=1, cutoff=_CLOSE)
    names = ", ".join(names)
    return f"did you mean '{near[0]}'? Known: {names}" if near else f"known: {names}"

"""The server as a process: settings, socket, uvicorn; what ``sensorium serve`` runs."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI
from pydantic import ValidationError

from sensorium.cli.output import console
from sensorium.errors import BadRecipe
from sensorium.search.run import open as open_run
from sensorium.serve import websocket
from sensorium.serve.app import create_app
from sensorium.serve.settings import Settings, read_token


def serve(runs: Sequence[Path], token_file: Path | None = None, **told: Any) -> None:
    """Serve run folders until a signal says to stop.

    token_file: file whose first line is the token. told: fields of Settings, over what the
    environment says. Raises BadRecipe for settings that cannot be meant or an address in use, BadData
    when none of the folders is a run.
    """
    if token_file is not None:
        told["token"] = read_token(token_file)
    try:
        settings = Settings(**told).check()
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise BadRecipe(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    if not any((Path(run) / "metrics.json").is_file() for run in runs):
        open_run(runs[0])  # says why not; a damaged one among others is said of while they are served
    app = create_app(runs, settings)
    listener = listen(settings.host, settings.port)
    address, port = listener.getsockname()[:2]
    console(stderr=True).print(
        f"[bold]http://{f'[{address}]' if ':' in address else address}:{port}[/bold]  Ctrl-C stops", highlight=False
    )
    sys.setswitchinterval(0.001)  # the thread that answers must not wait 5 ms for one that searches
    with contextlib.suppress(KeyboardInterrupt):
        Server(app).run(sockets=[listener])


def configured(app: FastAPI) -> uvicorn.Config:
    """How uvicorn serves one of our applications."""
    settings = app.state.settings
    return uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        h11_max_incomplete_event_size=settings.max_header,
        timeout_graceful_shutdown=int(settings.drain_seconds),
        ws=websocket.protocol(settings, app.state.budget),
        ws_max_size=settings.live.upload,
        ws_per_message_deflate=False,  # sound hardly shrinks, and each stream would pay for it
        # A sender who is held back answers no ping: its answer waits behind its sound. Silence is noticed elsewhere.
        ws_ping_timeout=None,
        proxy_headers=False,
    )


class Server(uvicorn.Server):
    """Uvicorn's server, which at a signal also ends long answers, and waits for no one for ever."""

    def __init__(self, app: FastAPI) -> None:
        super().__init__(configured(app))
        self.stopping, self.patience = app.state.stopping, app.state.settings.header_seconds
        self._since: dict[Any, float] = {}  # when each connection was first seen without a whole request

    async def on_tick(self, counter: int) -> bool:
        """Close connections that opened, or were kept, and sent no request, and sockets in the midst of a message."""
        if counter % 10 == 0:  # about once a second
            now = time.monotonic()
            idle = [one for one in self.server_state.connections if _idle(one)]
            self._since = {one: self._since.get(one, now) for one in idle}
            for one, since in self._since.items():
                if now - since > self.patience:
                    one.transport.abort()
            for one in [*self.server_state.connections]:
                if getattr(one, "stalled", bool)():
                    one.fail(1008, "a message was begun and did not go on")
        return await super().on_tick(counter)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to stop."""
        self.stopping.set()
        super().handle_exit(sig, frame)


def _idle(connection: Any) -> bool:
    """Whether a connection has no request under way; a WebSocket always has."""
    cycle = getattr(connection, "cycle", _SOCKET)
    return cycle is None or (cycle is not _SOCKET and cycle.response_complete)


_SOCKET = object()


def listen(host: str, port: int) -> socket.socket:
    """A socket that takes connections, which wait until they are served.

    Raises BadRecipe when the address is in use or not ours.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host.strip("[]"), port))
        listener.listen()  # two sockets may be bound to one address as long as neither does
    except OSError as error:
        listener.close()
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise BadRecipe(f"cannot listen on {host}:{port} ({reason}); type another: --port 0 takes a free one") from None
    return listener

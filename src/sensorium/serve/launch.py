"""The server as a process: settings, socket, uvicorn. ``sensorium serve`` runs it."""

from __future__ import annotations

import contextlib
import math
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI
from pydantic import ValidationError

from sensorium.errors import BadRecipe
from sensorium.serve import log, replicas, waiting, websocket
from sensorium.serve.app import create_app
from sensorium.serve.engine.replica import GRACE, Replica
from sensorium.serve.settings import Settings, read_token


def serve(
    runs: Sequence[Path],
    token_file: Path | None = None,
    announce: Callable[[str], None] | None = None,
    wait: float = 0.0,
    **options: Any,
) -> None:
    """Serve run folders until a signal says to stop.

    token_file: file whose first line is the token. announce: called with the address once connections are
    taken, and with a line while a run is waited for; without it log lines say so. wait: seconds that a folder which
    does not exist yet is waited for, where none of the folders is a run. options: fields of Settings, over those of
    the environment. Raises BadRecipe for invalid settings or an address in use, BadData when none of the folders is a
    run or one in the making.
    """
    if token_file is not None:
        options["token"] = read_token(token_file)
    try:
        settings = Settings(**options).check()
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise BadRecipe(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    say = announce or (lambda line: log.Log(settings).line("info", "waiting", message=line))
    waiting.for_a_run([Path(run) for run in runs], wait, say)
    app = create_app(runs, settings) if settings.workers == 1 else None
    lines = log.Log(settings)
    listener = listen(settings.host, settings.port)
    url = (
        f"{'https' if settings.tls_cert else 'http'}://{in_url(listener.getsockname()[0])}:{listener.getsockname()[1]}"
    )
    public = {} if settings.public_url is None else {"public_url": settings.public_url}

    def announced() -> None:
        if announce is None:
            lines.write("info", "listening", url=url, **public)
        else:
            announce(", for clients ".join([url, *public.values()]))

    if app is None:
        replicas.serve(runs, settings, options, listener, announced)
        return
    announced()
    log.capture(lines)
    tune()
    with contextlib.suppress(KeyboardInterrupt):
        Server(app).run(sockets=[listener])


def in_url(host: str) -> str:
    """An address as it is written in a URL: IPv6 in brackets."""
    return f"[{host.strip('[]')}]" if ":" in host else host


def tune() -> None:
    """Allow as many open connections as the system lets this process have, and shorter turns of its threads."""
    sys.setswitchinterval(0.001)  # the thread that answers must not wait 5 ms for one that searches
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def configured(app: FastAPI) -> uvicorn.Config:
    """How uvicorn serves one of our applications."""
    context = app.state.context
    settings = context.settings
    return uvicorn.Config(
        app,
        log_config=None,  # Python's logging is captured as JSON
        log_level="warning",
        access_log=False,
        server_header=False,
        h11_max_incomplete_event_size=settings.max_header,
        timeout_graceful_shutdown=int(settings.drain_seconds),
        ssl_certfile=settings.tls_cert,
        ssl_keyfile=None if settings.tls_key is None else str(settings.tls_key),
        ws=websocket.protocol(settings, context.budget),
        ws_max_size=settings.live.upload,
        ws_per_message_deflate=False,  # sound hardly shrinks, and each stream would pay for it
        # Under back-pressure a sender's pong waits behind its sound. Idle sockets are closed elsewhere.
        ws_ping_timeout=None,
        proxy_headers=False,
    )


class Server(uvicorn.Server):
    """Uvicorn's server, which at a signal also ends long answers, and closes connections that send nothing."""

    def __init__(self, app: FastAPI) -> None:
        super().__init__(configured(app))
        self.stopping, self.patience = app.state.stopping, app.state.context.settings.header_seconds
        self._since: dict[Any, float] = {}  # when each connection was first seen without a whole request
        self.replica: Replica | None = app.state.context.replica
        self._leaves = math.inf  # when a worker that is to end stops answering

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Take connections; a worker of several says so."""
        await super().startup(sockets)
        if self.replica is not None and self.started:
            self.replica.is_ready()

    async def on_tick(self, counter: int) -> bool:
        """Close connections, new or kept alive, that send no request, and sockets in the midst of a message."""
        if time.monotonic() > self._leaves:
            self.should_exit = True
        elif self._leaves < math.inf:
            for server in self.servers:
                server.close()  # new connections go to the other workers
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
        """Begin to stop; a worker of several answers on its connections a little longer, and closes each after it."""
        self.stopping.set()
        if self.replica is not None and sig == signal.SIGTERM and self.started and self._leaves == math.inf:
            self.replica.leaving, self._leaves = True, time.monotonic() + GRACE
            return
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
        raise BadRecipe(
            f"cannot listen on {in_url(host)}:{port} ({reason}); type another: --port 0 takes a free one"
        ) from None
    return listener

"""One worker of ``sensorium serve --workers N``: its settings come on standard input; it ends with the supervisor.

Started by :mod:`sensorium.serve.replicas`.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
import threading
from pathlib import Path

from sensorium.serve import launch, log
from sensorium.serve.app import create_app
from sensorium.serve.settings import Settings

_WAITING = 2048  # connections that may wait for a worker


class Shared(socket.socket):
    """A listening socket of several processes: each takes one connection at a time, so that an idle one takes it.

    The event loop takes as many in a row as it says may wait, and that number is 1 here; the system's stays.
    """

    def listen(self, backlog: int = _WAITING) -> None:
        """Listen, with room for connections that wait."""
        super().listen(_WAITING)


def main() -> None:
    """Serve until the supervisor says to stop, or is gone."""
    given = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_watch, daemon=True, name="supervisor").start()
    settings = Settings(**given["options"])
    app = create_app([Path(run) for run in given["runs"]], settings)
    log.capture(app.state.context.log)
    launch.tune()
    server = launch.Server(app)
    server.config.backlog, server.config.loop = 1, "asyncio"
    with contextlib.suppress(KeyboardInterrupt):
        server.run(sockets=[Shared(fileno=int(sys.argv[1]))])


def _watch() -> None:
    """End this process as SIGTERM does when the supervisor's end of the pipe is closed."""
    while os.read(sys.stdin.fileno(), 1):  # not through Python's buffer, whose lock would outlast the interpreter
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()

"""Any ASGI application on a real socket, in a thread of this process."""

import asyncio
import contextlib
import threading
import time

import uvicorn


@contextlib.contextmanager
def running(app, **more):
    """The port of an application while it is served. An application of ours is served as ``sensorium serve`` does."""
    from sensorium.serve.launch import Server

    ours = hasattr(app, "state") and hasattr(app.state, "stopping")
    server = Server(app) if ours else uvicorn.Server(uvicorn.Config(app, log_config=None, **more))
    server.config.port, server.config.host = 0, "127.0.0.1"
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()), daemon=True)
    thread.start()
    end = time.monotonic() + 60
    while not server.started:
        assert thread.is_alive() and time.monotonic() < end, "the server did not start"
        time.sleep(0.02)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(20)

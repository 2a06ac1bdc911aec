"""Servers over runs, in this process and as processes of their own; what every error must look like."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import tempfile
import time

import httpx
from processes import Process

#: A small run of symbols and their names.
KEYS = [
    "data.fonts=DejaVuSansMono", "data.test=300", "data.validation=200", "right.encoder=hashing", "objective=ridge",
    "left.head=linear", "right.head=linear", "evaluate.baselines=[]", "evaluate.resamples=50", "evaluate.plots=false",
]  # fmt: skip


@contextlib.contextmanager
def client_of(runs, **settings):
    """A client of an application, in this process."""
    from starlette.testclient import TestClient

    from sensorium.serve import Settings, create_app

    app = create_app(runs, Settings(log="off", **settings))
    with TestClient(app, base_url="http://127.0.0.1:8000", raise_server_exceptions=False) as client:
        yield client


class Server:
    """``sensorium serve`` as a process of its own."""

    def __init__(self, runs, **environment):
        self.runs = list(runs)
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            self.port = one.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        told = {key: value for key, value in os.environ.items() if not key.startswith("SENSORIUM_")}
        told |= {"SENSORIUM_RELOAD_SECONDS": "0.1", **environment}
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115  a pipe that nobody reads would fill
        self.process = Process(["serve", *runs, "--port", self.port], env=told, stderr=self._log)
        end = time.monotonic() + 120
        while time.monotonic() < end:
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(self.url + "/readyz", timeout=20).status_code == 200:
                    return
            assert self.process.poll() is None, self.log()
            time.sleep(0.1)
        raise AssertionError("the server does not get ready")

    def stop(self, sign=signal.SIGTERM) -> str:
        """End it; returns what it wrote."""
        self.process.send_signal(sign)
        self.process.wait(30)
        return self.log()

    def log(self) -> str:
        """What it wrote so far."""
        self._log.seek(0)
        return self._log.read()

    def kill(self):
        """kill -9."""
        self.process.kill()
        self.process.wait()


def problem(answer, status: int) -> str:
    """The detail of a problem document, whose form is checked."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    told = json.loads(answer.content)
    assert set(told) == {"type", "title", "status", "detail"}
    assert told["status"] == status and told["title"]
    return told["detail"]


def until(holds, patience: float = 120.0) -> None:
    """Ask again and again until it holds; a busy machine may take its time."""
    end = time.monotonic() + patience
    while not holds():
        assert time.monotonic() < end, "never"
        time.sleep(0.1)

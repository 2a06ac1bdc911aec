"""``sensorium serve`` as a process of its own, for the tests in a browser."""

import re
import signal
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from processes import Process

PATIENCE = 60.0  # seconds that a busy machine is waited for


def looks(*widths: Any) -> list[Any]:
    """Parameters ("width", "scheme"): each width once, in light and dark by turns; the rest is marked thorough."""
    return [
        pytest.param(width, scheme, marks=[] if (scheme == "dark") == bool(i % 2) else [pytest.mark.thorough])
        for i, width in enumerate(widths) for scheme in ("light", "dark")
    ]  # fmt: skip


class Server:
    """``sensorium serve`` as a process of its own, at ``url``. trust: an SSL context for a server that speaks https."""

    def __init__(self, *runs: Path, port: int = 0, token: Path | None = None, trust: Any = None) -> None:
        self.runs, self.token, self.trust = runs, token, trust
        self.start(port)

    def start(self, port: int) -> None:
        told = ["--token-file", str(self.token)] if self.token else []
        self.process = Process(
            ["serve", *self.runs, "--port", port, "--log", "off", *told],
            stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        line = self.process.stderr.readline()
        found = re.search(r"https?://[\w.:\[\]]+", line)
        assert found, f"the server did not start: {line}{self.process.stderr.read() if self.process.poll() else ''}"
        self.url = found[0]
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            try:
                urllib.request.urlopen(f"{self.url}/healthz", timeout=5, context=self.trust).read()
                return
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        raise AssertionError("the server does not answer")

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])

    def stop(self, how: int = signal.SIGTERM) -> None:
        if self.process.poll() is None:
            self.process.send_signal(how)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(10)
        self.process.stderr.close()

"""A real server that hears, in a thread, and a client of its socket; sounds to send."""

import contextlib
import json
import socket
import threading
import time
from pathlib import Path

import numpy as np
import scipy.signal

RATE = 16_000
FINAL = ("final", "error")


def speak(seconds: float, seed: int = 0, rate: int = RATE) -> np.ndarray:
    """A gliding buzz with pauses and a little noise, (n,) float32 within ±0.4."""
    rng = np.random.default_rng(seed)
    t = np.arange(int(seconds * rate)) / rate
    pitch = rng.uniform(90, 260) * (1 + 0.3 * np.sin(2 * np.pi * rng.uniform(0.5, 1.5) * t))
    buzz = scipy.signal.sawtooth(2 * np.pi * np.cumsum(pitch) / rate)
    talking = np.sin(2 * np.pi * 0.8 * t + rng.uniform(0, 6)) > -0.5
    return (rng.uniform(0.1, 0.3) * talking * buzz + 1e-3 * rng.normal(size=len(t))).astype(np.float32)


class Server:
    """The application on a real socket, in a thread of this process."""

    def __init__(self, folder: Path, port: int = 0, **limits) -> None:
        from sensorium.serve import Settings, create_app
        from sensorium.serve.launch import Server as Uvicorn
        from sensorium.serve.settings import LiveLimits

        told = {key: limits.pop(key) for key in [*limits] if key in Settings.model_fields}
        limits.setdefault("behind", 60)  # a busy machine is no reason to refuse a test
        settings = Settings(log="off", drain_seconds=1, live=LiveLimits(**limits), **told)
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(("127.0.0.1", port))
        self.port = self.socket.getsockname()[1]
        self.app = create_app([folder], settings)
        self.server = Uvicorn(self.app)
        self.thread = threading.Thread(target=self.server.run, args=([self.socket],), daemon=True)
        self.thread.start()
        until = time.monotonic() + 60
        while time.monotonic() < until and self.thread.is_alive():
            if self.server.started and self.ready():
                return
            time.sleep(0.05)
        raise AssertionError("the server did not start")

    def ready(self) -> bool:
        with contextlib.suppress(Exception), self.stream() as stream:
            return stream.told[0]["type"] == "ready"
        return False

    def stream(self, rate: int = RATE, format: str = "f32", **more) -> "Stream":
        query = "&".join(f"{key}={value}" for key, value in {"rate": rate, "format": format, **more}.items())
        return Stream(f"ws://127.0.0.1:{self.port}/stream?{query}")

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(20)
        self.socket.close()


class Stream:
    """A client of /stream."""

    def __init__(self, url: str) -> None:
        from websockets.sync.client import connect

        self._connection = connect(url, max_size=None)
        self.socket = self._connection.__enter__()
        self.told = [json.loads(self.socket.recv(10))]

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(Exception):
            self.socket.close()

    def until(self, *types: str, timeout: float = 30) -> dict:
        """Messages up to the first of one of these types, which is returned; all are kept in ``told``."""
        while True:
            self.told.append(json.loads(self.socket.recv(timeout)))
            if self.told[-1]["type"] in types:
                return self.told[-1]

    def end(self) -> dict:
        self.socket.send('{"type":"end"}')
        return self.until(*FINAL)

    def closed(self) -> int:
        """The code with which the server closes, after whatever it still says."""
        from websockets.exceptions import ConnectionClosed

        while True:
            try:
                self.told.append(json.loads(self.socket.recv(30)))
            except ConnectionClosed as closed:
                return closed.rcvd.code if closed.rcvd else 1006

"""A small run of made faces and prompts, made from vectors in a second, and a client of ``WS /faces``."""

from __future__ import annotations

import contextlib
import json
import struct
from pathlib import Path

import numpy as np
from made_faces import perception

import sensorium
from sensorium.modalities.face.layout import EMOTIONS

PROMPTS = [f"a person looking {one}" for one in EMOTIONS]


def make(folder: Path, people: int = 6, **keys):
    """The run in ``folder``: 210 perception vectors, and seven prompts with a column text; without an encoder."""
    made = perception(people=people, dim=32)
    rows = [made.prompts.index(one) for one in PROMPTS]
    split = ["train"] * 140 + ["validation"] * 35 + ["test"] * 35
    return sensorium.fit(
        made.vectors, made.targets[rows], pairs=(np.arange(210), np.array([PROMPTS.index(one) for one in made.prompts])),
        ids=([f"frame{i:03d}" for i in range(210)], [f"prompt{i}" for i in range(7)]),
        metadata={"left": {"label": made.labels}, "right": {"text": PROMPTS}}, group=made.persons, split=split,
        out=folder, **{"objective": "ridge", **keys},
    )  # fmt: skip


def numbers(faces: np.ndarray, number: int = 0, ms: int = 0) -> bytes:
    """A frame of kind 2, landmarks (n, 478, 3), or of kind 3, perception vectors (n, 1441)."""
    faces = np.asarray(faces, "<f4")
    return struct.pack("<IIBB", number, ms % (1 << 32), 2 if faces.ndim == 3 else 3, len(faces)) + faces.tobytes()


def picture(content: bytes, number: int = 0, ms: int = 0) -> bytes:
    """A frame of kind 1."""
    return struct.pack("<IIB", number, ms % (1 << 32), 1) + content


class Faces:
    """A client of the socket. ready: the answer to its first message."""

    def __init__(self, port: int, **asked) -> None:
        from websockets.sync.client import connect

        self._connection = connect(f"ws://127.0.0.1:{port}/faces", max_size=None)
        self.socket = self._connection.__enter__()
        self.ready = self.ask(**asked)

    def __enter__(self) -> Faces:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(Exception):
            self.socket.close()

    def ask(self, **asked) -> dict:
        """A text message, and the answer."""
        self.socket.send(json.dumps(asked))
        return self.read()

    def frame(self, data: bytes) -> dict:
        """A frame, and the answer."""
        self.socket.send(data)
        return self.read()

    def read(self, timeout: float = 30) -> dict:
        """The next answer."""
        return json.loads(self.socket.recv(timeout))

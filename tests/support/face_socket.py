"""A made-up server of ``WS /faces`` for tests of the page: made faces for each frame, and whatever a test does to them."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from typing import Any

import made_faces
import numpy as np

from sensorium.modalities.face.layout import EMOTIONS

PROMPTS = [f"a person looking {name}" for name in EMOTIONS]


def told(id: int, landmarks: np.ndarray, label: str = "happy", sure: float = 0.7) -> dict[str, Any]:
    """One face of an answer."""
    low, high = landmarks[:, :2].min(0), landmarks[:, :2].max(0)
    share = np.full(7, (1 - sure) / 6)
    share[EMOTIONS.index(label)] = sure
    order = np.argsort(-share, kind="stable")[:5]
    near = [{"id": f"p{i}", "text": PROMPTS[i], "score": round(0.9 - 0.1 * rank, 3)} for rank, i in enumerate(order)]
    return {"id": id, "box": [*low.tolist(), *(high - low).tolist()], "landmarks": landmarks[:, :2].round(4).tolist(),
            "emotions": share.tolist(), "label": label, "prompts": near, "place": [0.1 * id, 0.2]}  # fmt: skip


class FaceSocket:
    """Handler for Playwright's ``route_web_socket``.

    faces: gives the faces of frame i. Attributes: asked, the first messages; frames, each (number, kind, bytes);
    hold: True keeps the answers back; sockets, those that were opened.
    """

    def __init__(self, faces: Callable[[int], list[dict[str, Any]]] | None = None) -> None:
        self.faces = faces or (lambda i: [told(1, made_faces.face(smile=1))])
        self.asked: list[dict[str, Any]] = []
        self.frames: list[tuple[int, int, bytes]] = []
        self.sockets: list[Any] = []
        self.hold = False

    def __call__(self, socket: Any) -> None:
        self.sockets.append(socket)
        socket.on_message(lambda message: self.answer(socket, message))

    def answer(self, socket: Any, message: str | bytes) -> None:
        if isinstance(message, str):
            self.asked.append(json.loads(message))
            ready = {"run": self.asked[-1]["run"], "source": "made", "emotions": list(EMOTIONS), "prompts": 7}
            socket.send(json.dumps({"ready": ready}))
            return
        number, sent, kind = struct.unpack_from("<IIB", message)
        self.frames.append((number, kind, message[9:]))
        if not self.hold:
            head = {"frame": number, "sent": sent, "took_ms": 5.0, "dropped": 0, "size": [640, 480]}
            socket.send(json.dumps({**head, "faces": self.faces(len(self.frames) - 1)}))

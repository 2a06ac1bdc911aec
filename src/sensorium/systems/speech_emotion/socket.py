"""``WS /ws``: the message protocol of the original speech emotion server, so that its front end keeps working.

In: ``{"action": "upload_audio" | "mfcc_extraction" | "model_inference", "data": {…}}``. Out: ``{"status":
"processing" | "completed" | "error", "data": {"stage", "progress", "message", …}}``. The model is the run's
own, loaded once; a ``model_path`` that a client sends is not looked at.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
from fastapi import APIRouter
from starlette.websockets import WebSocket, WebSocketDisconnect

from sensorium.datasets._recordings import EMOTIONS
from sensorium.errors import BadData, BadRecipe, SensoriumError
from sensorium.modalities.audio import files, framing
from sensorium.serve import sockets
from sensorium.serve.admission import Places
from sensorium.serve.context import Context
from sensorium.serve.engine.inputs import decode, decode_base64, run_in_thread_if_large
from sensorium.serve.guard import PROTOCOL
from sensorium.serve.problems import Problem

UPLOAD, FRAMING, FEATURES, INFERENCE, DONE = (
    "AUDIO_UPLOAD", "audio_processing", "MFCC_EXTRACTION", "LSTM_INFERENCE", "completed",
)  # fmt: skip


def routes(context: Context) -> APIRouter:
    """The route of the original's front end."""
    router, places = APIRouter(), Places(context.settings.live.streams, context.settings.client_share)

    async def connect(websocket: WebSocket) -> None:
        await websocket.accept(PROTOCOL if PROTOCOL in websocket.scope.get("subprotocols", ()) else None)
        session = Session(websocket, context)
        with contextlib.suppress(WebSocketDisconnect, RuntimeError, OSError, TimeoutError):
            try:
                with sockets.place(places, websocket):
                    session.name = sockets.parameters(websocket, ("run",)).get("run")
                    await session.serve()
            except sockets.Full as full:
                await session.send("error", message=str(full))
                await websocket.close(4429)
            except BadData as error:
                await session.send("error", message=str(error))
                await websocket.close(4400)
            finally:
                session.keep()

    router.add_api_websocket_route("/ws", connect)
    return router


class Session:
    """One socket of the original's front end: what was uploaded, its features, and the answers."""

    def __init__(self, websocket: WebSocket, context: Context) -> None:
        self.websocket, self.registry, self.context = websocket, context.registry, context
        self.limits, self.budget, self._kept = context.settings.live, context.budget, 0
        self.name: str | None = None  # of the run that the address names
        self.samples: np.ndarray | None = None
        self.features: np.ndarray | None = None
        self._actions = {
            "upload_audio": self.upload,
            "mfcc_extraction": self.extract,
            "model_inference": self.infer,
        }

    async def serve(self) -> None:
        """Answer messages in turn until the client disconnects, or is idle for too long."""
        while True:
            try:
                text = await asyncio.wait_for(self.websocket.receive_text(), self.limits.idle * 10)
            except TimeoutError:
                await self.websocket.close(4408)
                return
            except KeyError:  # bytes, which this protocol does not have
                await self.send("error", message="a binary message; expected JSON text")
                continue
            try:
                await self._act(text)
            except Problem as problem:
                await self.send("error", message=problem.detail)
            except SensoriumError as error:
                await self.send("error", message=str(error))
            except (WebSocketDisconnect, RuntimeError, OSError):  # the client is gone, or does not read
                raise
            except Exception as error:  # a bug of ours: its traceback is for the log
                self.context.log.failure(error)
                await self.send("error", message="the server failed at this message; its log says why")

    def keep(self, samples: np.ndarray | None = None, features: np.ndarray | None = None) -> None:
        """Store these, and nothing else, between two messages. Raises a 503 problem where they are too large."""
        self.budget.give(self._kept)
        self._kept, self.samples, self.features = 0, None, None
        size = sum(part.nbytes for part in (samples, features) if part is not None)
        if not self.budget.take(size):
            raise Problem(503, "the server stores as much sound as it may; upload it again later")
        self._kept, self.samples, self.features = size, samples, features

    async def _act(self, text: str) -> None:
        try:
            message = await run_in_thread_if_large(len(text), json.loads, text)
            action, data = message["action"], message.get("data") or {}
            act = self._actions[action]
        except (ValueError, RecursionError):
            raise BadData('this is no JSON; expected {"action": …, "data": {…}}') from None
        except (KeyError, TypeError, AttributeError):
            raise BadData(f"unknown action; expected one of {', '.join(self._actions)}") from None
        if isinstance(data, str):
            data = {"content": data}
        if not isinstance(data, dict):
            raise BadData('\'data\' is no object; expected {"action": …, "data": {…}}')
        await act(data)

    async def send(self, status: str, **data: Any) -> None:
        """One message as the original's front end reads it. Raises TimeoutError for a client that does not read."""
        text = orjson.dumps({"status": status, "data": data}, option=orjson.OPT_SERIALIZE_NUMPY).decode()
        async with asyncio.timeout(self.limits.slow):
            await self.websocket.send_text(text)

    async def upload(self, message: dict[str, Any]) -> None:
        """``content``, or the data itself: base64 of a sound file of any kind that can be read."""
        content = message.get("content")
        if not isinstance(content, str) or not content:
            raise BadData("upload_audio without data.content; expected a sound file in base64")
        classifier = await self._classifier()
        await self.send("processing", stage=FRAMING, progress=5, message="Reading the sound")
        self.keep()
        data = await run_in_thread_if_large(len(content), decode_base64, content, "content")
        sound, _ = await decode("audio", data, self.context)
        samples = await asyncio.to_thread(files.read, sound, classifier.encoder.rate)
        frames = framing.count(len(samples), classifier.encoder.size, classifier.encoder.hop)
        self.keep(samples)
        text = f"Audio uploaded and framed into {frames} frames"
        await self.send("completed", stage=UPLOAD, progress=25, message=text)

    async def extract(self, data: dict[str, Any]) -> None:
        """Frames of what was uploaded."""
        if self.samples is None:
            raise BadData("No audio frames found. Upload audio first.")
        encoder = (await self._classifier()).encoder
        await self.send("processing", stage=FRAMING, progress=30, message="Computing MFCCs")
        self.keep(self.samples, (await asyncio.to_thread(encoder.encode, [(self.samples, encoder.rate)]))[0])
        text = f"MFCC extraction done. Shape: {self.features.shape}"
        await self.send("completed", stage=FEATURES, progress=50, message=text)

    async def infer(self, data: dict[str, Any]) -> None:
        """The predicted emotion: of the first quarter, half, three quarters, and of all frames."""
        if self.features is None:
            raise BadData("No MFCCs found. Extract MFCC first.")
        classifier, x = await self._classifier(), self.features
        if not await asyncio.to_thread(classifier.has_speech, self.samples):
            raise BadData("no speech was heard in the recording; record again, louder or closer to the microphone")
        order, names = original_order(classifier.labels)
        for part, progress in ((0.25, 60), (0.5, 75), (0.75, 90)):
            few = x[: max(1, int(part * len(x)))]
            found = (await asyncio.to_thread(classifier.of_frames, few))[order]
            await self.send("processing", stage=INFERENCE, progress=progress,
                            message=f"Processing frame {len(few)} of {len(x)}",
                            partial_prediction=_prediction(found, names))  # fmt: skip
        found = (await asyncio.to_thread(classifier.of_frames, x))[order]
        final = _prediction(found, names)
        text = f"Model inference completed. Predicted emotion: {final['emotion']}"
        shares = final["probabilities"]
        final |= {"confidence": shares, "all_emotions": dict(zip(names, shares, strict=True))}
        await self.send("completed", stage=INFERENCE, progress=100, message=text, final_prediction=final)
        await self.send("completed", stage=DONE, progress=100, message="Pipeline completed successfully!")

    async def _classifier(self) -> Any:
        """The first run that can stream, or the one that the socket's address names; loaded once for all."""
        if self.name is not None:
            return await asyncio.to_thread(lambda: self.registry.get(self.name).run.classifier)
        for served in self.registry.ready:
            if await asyncio.to_thread(lambda served=served: served.run.streams):
                return await asyncio.to_thread(lambda served=served: served.run.classifier)
        raise BadRecipe("no run here can stream; serve one such as: sensorium run ravdess-best")


def original_order(labels: Sequence[str]) -> tuple[list[int], list[str]]:
    """Rows of the labels in the front end's fixed order, and their names as it spells them.

    Classes 0 … 7 are the eight emotions of RAVDESS; a run of other labels keeps its own order.
    """
    rows = [labels.index(name) for name in EMOTIONS if name in labels]
    if sorted(labels) != sorted(EMOTIONS):
        rows = list(range(len(labels)))
    return rows, [labels[row].capitalize() for row in rows]


def _prediction(probabilities: np.ndarray, names: Sequence[str]) -> dict[str, Any]:
    best = int(probabilities.argmax())
    return {"probabilities": probabilities.tolist(), "emotion": names[best], "class": best}

"""Live faces: frames of a moving face over ``WS /faces``, against MediaPipe's own loop on the same frames.

    python -m bench.face_live [--run FOLDER] [--seconds 10] [--rate 25] [--clients 1 3]

The face of skimage's astronaut moves, grows and turns in pictures of 640 x 480 with noise, sent as JPEG. A server
process (``sensorium serve``) answers; this process is the client. Latency counts from when a frame was due to be sent:

- a camera: ``--rate`` frames a second, each sent when it is due, whether the one before was answered or not;
- a page: the next frame is sent when the one before is answered;
- several clients, each a camera of 10 frames a second.

The peer, before and after them in the same run: the same JPEG files decoded by Pillow and given to MediaPipe's FaceMesh
one after the other, which does less: no emotions, no prompts, no socket. Needs mediapipe 0.10.21. Without --run a run
of made faces is fitted first: what it says is worthless, what it costs is not.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import itertools
import json
import os
import socket
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
SIZE = (640, 480)


def frames(count: int, rate: float, noise: float = 3.0) -> list[bytes]:
    """JPEG files of a face that moves, grows and turns."""
    from skimage import data

    rng, found = np.random.default_rng(0), []
    face = Image.fromarray(data.astronaut()).crop((120, 0, 400, 280))
    for i in range(count):
        t = i / rate
        size = int(230 + 60 * np.sin(0.7 * t))
        turned = face.rotate(12 * np.sin(1.3 * t), resample=Image.Resampling.BICUBIC).resize((size, size))
        paper = Image.new("RGB", SIZE, (90, 100, 110))
        paper.paste(turned, (int(320 - size / 2 + 150 * np.sin(0.9 * t)), int(240 - size / 2 + 40 * np.sin(1.1 * t))))
        pixels = np.asarray(paper) + rng.normal(0, noise, (SIZE[1], SIZE[0], 3))
        held = io.BytesIO()
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(held, "JPEG", quality=80)
        found.append(held.getvalue())
    return found


def bare(files: list[bytes], seconds: float) -> dict[str, float]:
    """MediaPipe's own loop: Pillow's pixels to FaceMesh, frame after frame."""
    from mediapipe.python.solutions.face_mesh import FaceMesh

    took, mesh = [], FaceMesh(static_image_mode=True, max_num_faces=3, refine_landmarks=True)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        picture = np.asarray(Image.open(io.BytesIO(files[len(took) % len(files)])).convert("RGB"))
        mesh.process(picture)
        took.append(time.perf_counter() - start)
    return measured(took[1:], seconds, "answers")


def measured(took: list[float], seconds: float, name: str) -> dict[str, Any]:
    p50, p95 = np.percentile(took, (50, 95)) * 1000
    return {name: len(took), "fps": round(len(took) / seconds, 1), "p50_ms": round(p50, 1), "p95_ms": round(p95, 1)}


async def camera(url: str, files: list[bytes], rate: float, seconds: float, waits: bool) -> dict[str, Any]:
    """One client: frames when they are due; waits: the next one only when the one before is answered."""
    from websockets.asyncio.client import connect

    due: dict[int, float] = {}
    took, shares, behind, faces, ids, labels = [], [], [], 0, set(), []
    async with connect(url, max_size=None) as wire:
        await wire.send(json.dumps({"faces": 3}))
        ready = json.loads(await wire.recv())
        if "ready" not in ready:
            raise SystemExit(ready)
        answered = asyncio.Event()
        stop = time.perf_counter() + seconds

        async def send() -> None:
            number, begin = 0, time.perf_counter()
            while time.perf_counter() < stop:
                if waits:
                    answered.clear()
                else:
                    await asyncio.sleep(max(0.0, begin + number / rate - time.perf_counter()))
                due[number] = time.perf_counter() if waits else begin + number / rate
                ms = int(1000 * number / rate)
                await wire.send(struct.pack("<IIB", number, ms, 1) + files[number % len(files)])
                number += 1
                if waits:
                    await answered.wait()

        sending = asyncio.create_task(send())
        while time.perf_counter() < stop:
            try:
                told = json.loads(await asyncio.wait_for(wire.recv(), 1.0))
            except TimeoutError:
                continue
            now = time.perf_counter()
            answered.set()
            took.append(now - due[told["frame"]])
            shares.append(told["took_ms"] / 1000)
            behind.append(max(due) - told["frame"])
            faces += len(told["faces"]) == 1
            ids |= {one["id"] for one in told["faces"]}
            labels += [one["label"] for one in told["faces"][:1]]
        sending.cancel()
    changes = sum(a != b for a, b in itertools.pairwise(labels))
    return {**measured(took, seconds, "answers"), "sent": len(due), "one_face": faces, "ids": len(ids),
            "label_changes": changes, "frames_behind_p95": float(np.percentile(behind, 95)),
            "server_p50_ms": round(1000 * float(np.median(shares)), 1)}  # fmt: skip


async def several(url: str, files: list[bytes], clients: int, seconds: float) -> dict[str, Any]:
    found = await asyncio.gather(*(camera(url, files, 10, seconds, False) for _ in range(clients)))
    return {
        "clients": clients,
        "fps_each": [one["fps"] for one in found],
        "p95_ms": max(one["p95_ms"] for one in found),
    }


def stages(folder: Path, files: list[bytes]) -> dict[str, float]:
    """Milliseconds of each stage of a frame, in this process, one after the other; medians."""
    import sensorium
    from sensorium.modalities.image.files import decode
    from sensorium.search.query import Input, Options, resolve, search
    from sensorium.systems.perception import reader, runs
    from sensorium.systems.perception.watch import Watch

    run = sensorium.open(folder)
    side = runs.side_of(run)
    one, watch, found = reader.of(run, side), Watch(), {}
    query = resolve(run, [Input(side)], Options(5))

    def timed(name: str, function: Any) -> Any:
        start = time.perf_counter()
        result = function()
        found.setdefault(name, []).append(1000 * (time.perf_counter() - start))
        return result

    for i, content in enumerate(files[:60]):
        rgb, _ = timed("decode", lambda content=content: decode(content, 10**8))
        faces = timed("landmarks", lambda rgb=rgb: one.source.faces(rgb, 3))
        seven = timed("emotions", lambda rgb=rgb, faces=faces: one.classifier.probabilities(rgb, faces))
        seen = timed(
            "smooth", lambda faces=faces, seven=seven, i=i: watch.push(reader.Found(faces, seven), i / 25, SIZE)
        )
        x = np.stack([face.vector for face in seen])
        z = timed("head", lambda x=x: run.project(side, x))
        timed("prompts", lambda z=z: search(run, z, [query] * len(z)))
    return {name: round(float(np.median(times[5:])), 2) for name, times in found.items()}


def made_run(folder: Path) -> Path:
    sys.path[:0] = [str(ROOT / "tests" / "support")]
    import made_face_run

    return made_face_run.make(folder / "faces").folder


def main() -> None:
    """Print one JSON line for each measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rate", type=float, default=25.0)
    parser.add_argument("--clients", type=int, nargs="*", default=[3])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = arguments.run or made_run(Path(place))
        files = frames(int(5 * arguments.rate), arguments.rate)
        files += files[::-1]  # there and back, so that the face never jumps
        print(json.dumps({"jpeg_bytes": int(np.mean([len(one) for one in files])), "cores": os.cpu_count(),
                          "load": os.getloadavg()[0]}))  # fmt: skip
        print(json.dumps({"stages_ms": stages(folder, files)}))
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
        command = [sys.executable, "-m", "sensorium", "serve", str(folder), "--port", str(port), "--log", "off"]
        server = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        url = f"ws://127.0.0.1:{port}/faces"
        try:
            wait(port)
            first = bare(files, arguments.seconds)
            asyncio.run(camera(url, files, arguments.rate, 3, True))  # warm
            live = asyncio.run(camera(url, files, arguments.rate, arguments.seconds, False))
            print(json.dumps({f"camera of {arguments.rate:g} frames a second": live}))
            page = asyncio.run(camera(url, files, arguments.rate, arguments.seconds, True))
            print(json.dumps({"page": page}))
            for count in arguments.clients:
                print(json.dumps({"several": asyncio.run(several(url, files, count, arguments.seconds))}))
            second = bare(files, arguments.seconds)
        finally:
            server.terminate()
            server.wait(20)
        print(json.dumps({"mediapipe alone, before and after": [first, second]}))
        peer = (first["fps"] + second["fps"]) / 2
        print(json.dumps({"page, frames a second against mediapipe alone": round(page["fps"] / peer, 2)}))


def wait(port: int) -> None:
    """Until the server answers."""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            time.sleep(3)
            return
        except OSError:
            time.sleep(0.2)
    raise SystemExit("the server did not start")


if __name__ == "__main__":
    main()

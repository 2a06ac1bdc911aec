"""Pictures a second of the sources of landmarks on one core, beside MediaPipe called bare in the same run.

python -m bench.face_sources                                  mediapipe 0.10.21, its own model
python -m bench.face_sources --model face_landmarker.task     a newer one, by its tasks
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from sensorium.modalities.face import landmarks, thorough

ROUNDS, PICTURES = 7, 30


def pictures(side: int) -> list[np.ndarray]:
    """scikit-image's astronaut, moving, as squares of ``side`` pixels."""
    from PIL import Image
    from skimage import data

    large = np.asarray(Image.fromarray(data.astronaut()).resize((side, side)))
    return [np.ascontiguousarray(np.roll(large, 3 * i, 1)) for i in range(PICTURES)]


def bare(model: str | None) -> Callable[[np.ndarray], Any]:
    """MediaPipe as its documentation calls it, for one face, its answer left as it is."""
    import mediapipe

    if model is None:
        mesh = mediapipe.solutions.face_mesh.FaceMesh(static_image_mode=True, max_num_faces=1, refine_landmarks=True)
        return mesh.process
    from mediapipe.tasks import python
    from mediapipe.tasks.python import vision

    base = python.BaseOptions(model_asset_path=model)
    made = vision.FaceLandmarker.create_from_options(vision.FaceLandmarkerOptions(base))
    return lambda rgb: made.detect(mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=rgb))


def main() -> None:
    """Print a line for each way and size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="a file face_landmarker.task")
    given = parser.parse_args()
    if "sched_setaffinity" in vars(os):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    source = landmarks.find("auto", given.model)
    strict = landmarks.find("auto", given.model, confidence=thorough.STRICT)
    ways = {"bare MediaPipe": bare(given.model), f"source {source.name}": source.faces,
            "thorough search": thorough.Thorough(strict, source).faces}  # fmt: skip
    for side in (320, 640, 1280):
        some = pictures(side)
        for call in ways.values():
            call(some[0])
        taken: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(ROUNDS):
            for name, call in ways.items():
                begun = time.perf_counter()
                for rgb in some:
                    call(rgb)
                taken[name].append((time.perf_counter() - begun) / PICTURES)
        peer = statistics.median(taken["bare MediaPipe"])
        for name, seconds in taken.items():
            middle = statistics.median(seconds)
            print(f"{side:5} x {side:<5} {name:18} {1e3 * middle:6.1f} ms  {1 / middle:5.0f} a second  "
                  f"{peer / middle:4.2f} of bare MediaPipe", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()

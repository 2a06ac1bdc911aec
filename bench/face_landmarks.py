"""Landmarks of the labelled faces of FER2013: MediaPipe's face mesh on enlarged pictures, the middle of six attempts.

    python -m bench.face_landmarks [--data ../shared/data] --out landmarks.npz

Needs mediapipe 0.10.21 (docs/faces.md says how it installs). A face of 48 x 48 pixels fills its picture, so it is
enlarged, and its edge is repeated around it, in six ways. Of the attempts that found a face, the one nearest to their
median stays. A face that fewer than two attempts found, or whose eye corners are less than 12 pixels apart, counts as
not found. The file: landmarks float32 (n, 478, 3) in pixels of the small picture, found bool (n,).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from bench.face_emotions import faces

from sensorium.errors import require
from sensorium.modalities.face.layout import LEFT_EYE_OUTER, POINTS, RIGHT_EYE_OUTER

SIDE = 48
#: Side in pixels that 48 become, margin as a part of 48, how the margin is filled.
ATTEMPTS = ((192, 0.5, "edge"), (192, 0.25, "edge"), (192, 1.0, "edge"), (192, 0.0, "edge"),
            (384, 0.5, "reflect"), (384, 0.0, "edge"))  # fmt: skip
LEAST_ATTEMPTS, LEAST_EYES = 2, 12.0


def attempt(mesh: Any, grey: np.ndarray, side: int, part: float, mode: str) -> np.ndarray:
    """Landmarks (478, 3) in pixels of the small picture, NaN where there is no face."""
    cv2 = require("cv2", "face")
    margin = int(SIDE * part)
    wide = np.pad(grey, margin, mode=mode)
    large = cv2.resize(wide, None, fx=side / SIDE, fy=side / SIDE, interpolation=cv2.INTER_CUBIC)
    found = mesh.process(cv2.cvtColor(large, cv2.COLOR_GRAY2RGB)).multi_face_landmarks
    if not found:
        return np.full((POINTS, 3), np.nan, np.float32)
    points = np.array([(p.x, p.y, p.z) for p in found[0].landmark], np.float32) * wide.shape[0]
    return points - np.array([margin, margin, 0], np.float32)


def middle(attempts: np.ndarray) -> tuple[np.ndarray, bool]:
    """Of attempts (k, 478, 3) the one nearest to their median, and whether it counts as found."""
    there = attempts[~np.isnan(attempts[:, 0, 0])]
    if not len(there):
        return np.zeros((POINTS, 3), np.float32), False
    distance = np.abs(there - np.median(there, 0))[:, :, :2].mean((1, 2))
    best = there[distance.argmin()]
    eyes = np.linalg.norm(best[LEFT_EYE_OUTER, :2] - best[RIGHT_EYE_OUTER, :2])
    return best, bool(len(there) >= LEAST_ATTEMPTS and eyes > LEAST_EYES)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    import mediapipe

    mesh = mediapipe.solutions.face_mesh.FaceMesh(
        static_image_mode=True, max_num_faces=1, refine_landmarks=True, min_detection_confidence=0.1
    )
    images, _, split = faces(args.data)[:3]
    points, found = zip(*(middle(np.stack([attempt(mesh, g, *way) for way in ATTEMPTS])) for g in images), strict=True)
    np.savez(args.out, landmarks=np.array(points, np.float32), found=np.array(found))
    for name in ("train", "dev"):
        print(f"{name}: {int(np.array(found)[split == name].sum())} of {int((split == name).sum())} faces found")


if __name__ == "__main__":
    main()

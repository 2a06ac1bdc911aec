"""Lets torchvision be imported beside a torch without CUDA; the registry's build of it was made for one with CUDA.

Its library of operators does not load there, and its import then fails with "operator torchvision::nms does not
exist", and with it that of timm, open_clip and, as these look for it, of transformers and sentence_transformers.
Encoders need its transforms alone. So the two operators that its import registers more of are declared, without being
implemented: calling one raises torch's own NotImplementedError.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from sensorium.errors import require

_OPERATORS = ("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
              "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")  # fmt: skip
_declared: list[Any] = []  # the declarations end with the object that holds them


def library(module: str, extra: str) -> ModuleType:
    """Import a library that imports torchvision where that is installed. Raises MissingExtra, as errors.require."""
    guard()
    return require(module, extra)


def guard() -> bool:
    """Declare the operators where torchvision would not find them; to be called before anything may import it.

    Nothing is done without torchvision, after its import, beside a torch with CUDA, or where its operators load.
    Returns whether it declared them, now or before.
    """
    if _declared or "torchvision" in sys.modules:
        return bool(_declared)
    found = importlib.util.find_spec("torchvision")
    if found is None or not found.submodule_search_locations:
        return False
    import torch

    if torch.version.cuda is None and not _loads(Path(found.submodule_search_locations[0]), torch):
        library = torch.library.Library("torchvision", "FRAGMENT")
        for operator in _OPERATORS:
            library.define(operator)
        _declared.append(library)
    return bool(_declared)


def _loads(folder: Path, torch: Any) -> bool:
    """Whether torchvision's library of operators loads, as that of a build for this torch does."""
    for path in sorted(folder.glob("_C*.so")) + sorted(folder.glob("_C*.pyd")):
        try:
            torch.ops.load_library(path)
        except OSError:
            continue
        return True
    return False

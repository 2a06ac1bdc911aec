"""Lets torchaudio be imported beside a torch without CUDA; the registry's build of it was made for one with CUDA.

Its compiled library does not load there, and its import then fails, and with it that of what looks for it, such as the
features of AST in transformers. Its Python code, features and masks, needs no library: so torchaudio is told that there
is none, as in its own builds without one.
"""

from __future__ import annotations

import importlib.util
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

_NAME = "torchaudio._extension"


def guard() -> bool:
    """Say that there is no compiled library where it does not load; to be called before anything imports torchaudio.

    Nothing is done without torchaudio, after its import, beside a torch with CUDA, or where its library loads.
    Returns whether it said so, now or before.
    """
    if _NAME in sys.modules or "torchaudio" in sys.modules:
        return _NAME in sys.modules and sys.modules[_NAME].__file__ is None
    found = importlib.util.find_spec("torchaudio")
    if found is None or not found.submodule_search_locations:
        return False
    import torch

    if torch.version.cuda is not None or _loads(Path(found.submodule_search_locations[0]), torch):
        return False

    def absent(*_: object, **__: object) -> None:
        raise RuntimeError("torchaudio has no compiled library for this torch")

    made = ModuleType(_NAME)
    made.__file__ = None
    made.__spec__ = ModuleSpec(_NAME, None)
    vars(made).update(_IS_TORCHAUDIO_EXT_AVAILABLE=False, _IS_ALIGN_AVAILABLE=False, _IS_RIR_AVAILABLE=False,
                      _check_cuda_version=lambda: None, fail_if_no_align=lambda _: absent,
                      fail_if_no_rir=lambda _: absent)  # fmt: skip
    sys.modules[_NAME] = made
    return True


def _loads(folder: Path, torch: ModuleType) -> bool:
    """Whether every compiled library of torchaudio loads."""
    try:
        for path in sorted(folder.glob("lib/*torchaudio*.so")):
            torch.ops.load_library(path)
    except OSError:
        return False
    return True

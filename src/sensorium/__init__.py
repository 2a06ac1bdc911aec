"""Sensorium: small heads on frozen encoders. Embed once, fit in seconds, evaluate with intervals and baselines, search.

>>> import sensorium
>>> run = sensorium.run("glyphs")                              # doctest: +SKIP
>>> run = sensorium.fit(X, Y)                                  # doctest: +SKIP
>>> sensorium.open("runs/glyphs").search("arrow", k=5)         # doctest: +SKIP
>>> sensorium.from_pretrained("me/glyphs").search("arrow")     # doctest: +SKIP
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"
__all__ = ["__version__", "fit", "from_pretrained", "fuse", "open", "run"]
_WHERE = {
    "fit": "sensorium.memory",
    "from_pretrained": "sensorium.search.hub_runs",
    "fuse": "sensorium.search.fusion",
    "open": "sensorium.pipeline",
    "run": "sensorium.pipeline",
}
#: Packages that are imported at first use: ``sensorium.sklearn.Aligner`` after ``import sensorium``.
_PACKAGES = ("encoders", "errors", "heads", "modalities", "pairs", "parts", "recipe", "sklearn", "store", "types")


def __getattr__(name: str) -> Any:
    """``sensorium.fit``, ``run``, ``open`` and the others, imported at first use: importing stays instant."""
    if name in _WHERE:
        return getattr(importlib.import_module(_WHERE[name]), name)
    if name in _PACKAGES:
        return importlib.import_module(f"sensorium.{name}")
    raise AttributeError(f"module 'sensorium' has no attribute '{name}'")


def __dir__() -> list[str]:
    """What people call, for completion: not the packages that it is made of."""
    return sorted([*__all__, *_PACKAGES])

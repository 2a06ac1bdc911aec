"""Sensorium: small heads on frozen encoders. Embed once, fit in seconds, know whether to believe it.

>>> import sensorium
>>> run = sensorium.run("glyphs")                              # doctest: +SKIP
>>> sensorium.open("runs/glyphs").search(text="arrow", k=5)    # doctest: +SKIP
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"
__all__ = ["__version__", "open", "run"]
_WHERE = {"run": "sensorium.pipeline", "open": "sensorium.pipeline"}


def __getattr__(name: str) -> Any:
    """``sensorium.run`` and ``sensorium.open``, imported when first asked for: importing stays instant."""
    if name in _WHERE:
        return getattr(importlib.import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'sensorium' has no attribute '{name}'")

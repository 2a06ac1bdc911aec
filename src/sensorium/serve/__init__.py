"""Search as a service: an ASGI application over run folders, and the page that it serves.

>>> from sensorium.serve import Settings, create_app
>>> app = create_app(["runs/glyphs"], Settings())                  # doctest: +SKIP
"""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["Settings", "create_app"]
_WHERE = {"create_app": "sensorium.serve.app", "Settings": "sensorium.serve.settings"}


def __getattr__(name: str) -> Any:
    """Imported at first access: importing the package loads neither FastAPI nor torch."""
    if name in _WHERE:
        return getattr(importlib.import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'sensorium.serve' has no attribute '{name}'")

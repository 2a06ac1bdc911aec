"""A whole run made in a second: pictures and their names, with media, trust.json and related pairs."""

from pathlib import Path

import sensorium

RECIPE = {
    "name": "small",
    "data": {"name": "glyphs", "fonts": ["STIXSizOneSymReg"], "test": 10, "validation": 8},
    "left": {"encoder": "hog", "head": "linear"},
    "right": {"encoder": {"name": "hashing", "dim": 64}, "head": "linear"},
    "objective": "ridge",
    "evaluate": {"resamples": 20, "baselines": [], "plots": False},
}


def make(folder: Path, *overrides: str):
    """The run in ``folder``, opened; stores lie beside it."""
    return sensorium.run(RECIPE, overrides, out=folder, quiet=True)


def make_two(folder: Path) -> Path:
    """Two runs of the same items in ``folder``, "ridge" and "cca", of other text vectors; returns the folder."""
    make(folder / "ridge")
    make(folder / "cca", "objective=cca", "right.encoder.dim=96")
    return folder

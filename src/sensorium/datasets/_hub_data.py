"""Data sets of the Hugging Face Hub, by name, and saved ones, as columns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sensorium.formats import Columns

_SCHEME = "hf://"


def is_address(where: str) -> bool:
    """Whether it names a data set of the Hub: ``hf://owner/name[@revision][:config][/split]``."""
    return str(where).startswith(_SCHEME)


def is_saved(folder: Path) -> bool:
    """Whether the package ``datasets`` saved a data set here, one split or several."""
    return (folder / "state.json").is_file() or (folder / "dataset_dict.json").is_file()


def read(where: str) -> Columns:
    raise NotImplementedError


def read_saved(folder: Path) -> Columns:
    raise NotImplementedError


def written(values: list[Any], name: str, where: str) -> list[Any]:
    raise NotImplementedError

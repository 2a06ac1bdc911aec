"""Pictures and sounds of items that came as vectors: a text column may name their files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sensorium import modalities
from sensorium.modalities import Modality
from sensorium.table.columns import kind_of, missing
from sensorium.types import Items

_LOOKED_AT = 50  # values of a column that are looked for on the disk
_THERE = 0.5  # share of them that must be there
_SHOWN = ("image", "audio")  # modalities whose files are shown


def of(items: Items, base: Path | None = None) -> tuple[Modality, list[str | None]] | None:
    """The modality and the file of each item, None where it has none; None without a column of files.

    base: the folder of relative paths. Of several such columns the first counts.
    """
    for values in items.meta.values():
        column = np.asarray(values)
        modality = _modality(column, base)
        if modality is not None:
            gone = missing(column)
            paths = [None if none else _path(str(one), base) for one, none in zip(column.tolist(), gone, strict=True)]
            return modality, [str(path) if path is not None and _fits(path, modality) else None for path in paths]
    return None


def _modality(column: np.ndarray, base: Path | None) -> Modality | None:
    """The modality whose files a column names; None where it names none, or files that are not there."""
    if column.ndim != 1 or kind_of(column) != "text" or not len(column):
        return None
    some = column[np.unique(np.linspace(0, len(column) - 1, _LOOKED_AT).astype(int))]
    paths = [_path(str(one), base) for one in some[~missing(some)].tolist()]
    for modality in modalities.found().values():
        if (
            modality.is_file
            and modality.shown_as in _SHOWN
            and sum(_fits(p, modality) for p in paths) > _THERE * len(some)
        ):
            return modality
    return None


def _path(text: str, base: Path | None) -> Path | None:
    """A value as a path below ``base``; absolute ones as they are. None for what is no path."""
    if not 0 < len(text) < 1024 or "\0" in text or "." not in text:
        return None
    path = Path(text).expanduser() if text.startswith("~") else Path(text)
    return path if path.is_absolute() or base is None else base / path


def _fits(path: Path | None, modality: Modality) -> bool:
    try:
        return path is not None and path.suffix.lower() in modality.media_types and path.is_file()
    except OSError:  # a name too long for the disk
        return False

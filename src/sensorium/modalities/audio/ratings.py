"""Tables of clips' valence, arousal and dominance, such as MSP-Podcast's FileName, EmoAct, EmoDom, EmoVal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sensorium import formats
from sensorium.errors import BadData, BadRecipe
from sensorium.formats import Columns
from sensorium.numerics.affect_scales import to_unit

#: Usual names of the columns, compared without their case: valence, arousal, dominance, and the clip's name.
USUAL = (
    ("emoval", "valence", "v"), ("emoact", "arousal", "activation", "a"), ("emodom", "dominance", "d"),
)  # fmt: skip
NAMES = ("filename", "file_name", "fname", "name", "path", "file", "stem", "id")
SCALE = "1..7"
_SHOWN = 3


@dataclass(frozen=True)
class Ratings:
    """Names (n,) of clips and their valence, arousal and dominance (n, 3), -1 to 1; NaN where a cell is none."""

    names: list[str]
    values: np.ndarray


def columns_of(columns: Columns) -> list[str] | None:
    """The columns of valence, arousal and dominance, under their usual names; None where one is missing."""
    known = {name.lower(): name for name in columns}
    found = [next((known[one] for one in usual if one in known), None) for usual in USUAL]
    return None if None in found else found  # type: ignore[return-value]


def values_of(columns: Columns, scale: str, where: str, skip: bool = False) -> np.ndarray | None:
    """Ratings (n, 3) float32 of a table from its scale to -1..1; None where it has no such columns.

    skip: empty cells and NaN stay NaN, in all three columns. Raises BadData, with the rows, for them otherwise, for
    other than numbers, and for a column outside the scale.
    """
    names = columns_of(columns)
    if names is None:
        return None
    found = np.stack([_numbers(columns, name, where) for name in names], axis=1)
    rows = np.array([f"row {row + columns.first}" for row in range(len(found))], np.str_)
    lost = ~np.isfinite(found).all(axis=1)
    if lost.any() and not skip:
        some = ", ".join(rows[lost][:_SHOWN].tolist())
        raise BadData(f"{where}: {int(lost.sum())} of {len(found)} rows have no number in {', '.join(names)}, such as "
                      f"{some}; fill them in, or leave these clips out: data.bad=skip")  # fmt: skip
    out = np.full(found.shape, np.nan, np.float32)
    out[~lost] = to_unit(found[~lost], scale, where, rows[~lost])
    return out


def read(path: str | Path, scale: str) -> Ratings:
    """The clips of a table. Raises BadRecipe for one without such columns, BadData as :func:`values_of` does."""
    columns = formats.read(path)
    where = Path(path).name
    values, known = values_of(columns, scale, where), {name.lower(): name for name in columns}
    name = next((known[one] for one in NAMES if one in known), None)
    if values is None or name is None:
        raise BadRecipe(f"{where} has no columns of clips' ratings; expected FileName, EmoVal, EmoAct and EmoDom, or "
                        f"name, valence, arousal and dominance (it has {', '.join(columns)})")  # fmt: skip
    names = ["" if one is None else str(one).strip().replace("\\", "/") for one in columns.texts(name).tolist()]
    if empty := [row for row, one in enumerate(names) if not one]:
        raise BadData(
            f"{where}: {len(empty)} rows have no {name}, such as row {empty[0] + columns.first}; fill them in"
        )
    return Ratings(names, values)


def _numbers(columns: Columns, name: str, where: str) -> np.ndarray:
    """A column (n,) float64; NaN where a cell is empty. Raises BadData, with the row, for what is no number."""
    out, wrong = [], []
    for row, text in enumerate(columns.texts(name).tolist()):
        try:
            out.append(float("nan") if text is None or not str(text).strip() else float(text))
        except ValueError:
            out.append(float("nan"))
            wrong.append((row, text))
    if wrong:
        row, text = wrong[0]
        raise BadData(f"{where}: {len(wrong)} cells of {name} are no numbers, such as {text!r} in row "
                      f"{row + columns.first}; correct them")  # fmt: skip
    return np.array(out, np.float64)


def rows_of(ratings: Ratings, paths: Sequence[str], part: str) -> np.ndarray:
    """The row of each clip (n,) by the end of its path, with or without an ending: ``a/b.wav`` is found as ``b``.

    part: name in messages. Raises BadData, with counts, for clips that the table lacks, for a name that stands in two
    rows, and for a name that fits several clips of different folders.
    """
    table: dict[str, list[int]] = {}
    for row, name in enumerate(ratings.names):
        table.setdefault(name, []).append(row)
    if twice := [name for name, rows in table.items() if len(rows) > 1]:
        raise BadData(f"{part}: {len(twice)} names stand in several rows of the table, such as {twice[0]!r}; keep one")
    bare = {Path(name).with_suffix("").as_posix(): rows[0] for name, rows in table.items()}
    found, used, lost = [], {}, []
    for path in paths:
        parts = Path(str(path).replace("\\", "/")).parts
        row = None
        for start in range(len(parts)):  # the longest end of the path that the table knows
            end = "/".join(parts[start:])
            row = table[end][0] if end in table else bare.get(Path(end).with_suffix("").as_posix())
            if row is not None:
                break
        if row is None:
            lost.append(str(path))
            continue
        if used.setdefault(row, str(path)) != str(path):
            raise BadData(f"{part}: {ratings.names[row]!r} of the table fits {used[row]!r} and {str(path)!r}; keep the "
                          "folders in the table's names")  # fmt: skip
        found.append(row)
    if lost:
        some = ", ".join(map(repr, lost[:_SHOWN]))
        raise BadData(f"{part}: {len(lost):,} of {len(paths):,} clips are not in the table ({some}), which has "
                      f"{len(ratings.names):,} names such as {ratings.names[0]!r}; complete it")  # fmt: skip
    return np.array(found, np.int64)

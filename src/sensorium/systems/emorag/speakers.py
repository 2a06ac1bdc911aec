"""Speakers of a library: those of a clip, and the ones that the roles of a script are given to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sensorium import io
from sensorium.errors import BadData, BadRecipe, nearest
from sensorium.search import media
from sensorium.table import Table
from sensorium.types import blocks

if TYPE_CHECKING:
    from sensorium.search.run import Run

COLUMN = "speaker"
SOME = 512  # lines of a role that a speaker is chosen by
_CELLS = 1 << 24  # scores that are held at a time


def of_clip(run: Run, to: str, clip: str | Path, files: bool = True) -> str | None:
    """The speaker of a clip: an id of the library, or a file that has the bytes of one of its clips.

    None for a file of any other recording. files: without, only ids are looked for. Raises BadRecipe for a library
    without speakers, BadData for an id that is not there, or a clip whose speaker is missing.
    """
    table = run.index(to).table
    speakers = column(table, run)
    row = table.rows.row(str(clip))
    path = Path(clip).expanduser()
    if row < 0 and files and path.is_file():
        row = _same_bytes(run, to, path)
        if row < 0:
            return None
    if row < 0:
        also = ", and no such file" if files else ""
        raise BadData(f"no clip '{clip}' in {run.folder}{also}; {nearest(str(clip), table.ids[:20000].tolist())}")
    speaker = speakers[row]
    if speaker is None or str(speaker) == "":
        raise BadData(f"clip '{table.ids[row]}' has no speaker; fill the column '{COLUMN}'")
    return str(speaker)


def column(table: Table, run: Run) -> np.ndarray:
    """The speakers (n,) of the clips. Raises BadRecipe where the library says none."""
    if COLUMN not in table.columns:
        raise BadRecipe(
            f"the clips of {run.folder} have no column '{COLUMN}'; make the run with it: data.table=TABLE with a "
            "column speaker"
        )
    return table.columns[COLUMN]


def known(table: Table, run: Run, speaker: str) -> str:
    """A speaker of the library. Raises BadRecipe, naming the nearest, for another one."""
    speakers = column(table, run)
    table.codes(COLUMN, COLUMN)  # a condition on speakers is then decided once for each of them
    if not table.holds(COLUMN, speaker).any():
        there = {str(one) for one in set(speakers.tolist()) if one is not None}
        raise BadRecipe(f"no speaker '{speaker}' in {run.folder}; {nearest(speaker, there)}")
    return speaker


def cast(
    z: np.ndarray, table: Table, run: Run, roles: Mapping[str, np.ndarray], allowed: np.ndarray, index: Any
) -> dict[str, str]:
    """A speaker for each role, no two roles the same while there are enough: role → speaker.

    z (q, d): unit vectors of lines; roles: rows of z by role. A role, those with most lines first, gets the speaker
    whose best clip scores highest on average over the role's lines. allowed (n,): clips that may be used. Raises
    BadData where no clip may be.
    """
    words = column(table, run)
    rows = np.flatnonzero(allowed & np.array([word is not None and str(word) != "" for word in words.tolist()], bool))
    if not len(rows):
        raise BadData("no clip of a known speaker passes; relax a gate, such as --gate loudness=off")
    names, codes = np.unique(np.array([str(word) for word in words[rows].tolist()]), return_inverse=True)
    order = np.argsort(codes, kind="stable")
    starts = np.searchsorted(codes[order], np.arange(len(names)))
    vectors = index.vectors(rows[order])
    free, given = set(range(len(names))), {}
    for role, lines in sorted(roles.items(), key=lambda one: (-len(one[1]), one[0])):
        some = lines[np.unique(np.linspace(0, len(lines) - 1, min(SOME, len(lines))).astype(np.int64))]
        total = np.zeros(len(names))
        for part in blocks(len(some), max(1, _CELLS // max(1, len(rows)))):
            total += np.maximum.reduceat(z[some[part]] @ vectors.T, starts, axis=1).sum(0, dtype=np.float64)
        best = max(free or range(len(names)), key=lambda at: (total[at], -at))
        free.discard(best)
        given[role] = str(names[best])
    return given


def _same_bytes(run: Run, to: str, path: Path) -> int:
    """The row of the clip whose file has the bytes of this one; -1 for none."""
    found = media.open(run.folder, to)
    if found is None:
        return -1
    size, digest = path.stat().st_size, None
    for id in found.ids:
        clip = found.get(id)
        if clip is None:
            continue
        content = clip[1]
        if (content.stat().st_size if isinstance(content, Path) else len(content)) != size:
            continue
        digest = digest or io.checksum(path)
        same = io.checksum(content) == digest if isinstance(content, Path) else content == path.read_bytes()
        if same:
            return int(run.places(to).row(id))
    return -1


def roles_of(speakers: Sequence[str | None], lines: Sequence[int]) -> dict[str, np.ndarray]:
    """Lines by role: a script's speakers, "" for lines without one."""
    found: dict[str, list[int]] = {}
    for line in lines:
        found.setdefault(speakers[line] or "", []).append(line)
    return {role: np.array(places, np.int64) for role, places in found.items()}

"""Your own recordings of emotions: a folder per emotion, or a CSV of paths, emotions and speakers."""

from __future__ import annotations

import csv
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sensorium.contracts import Dataset
from sensorium.datasets import _recordings, _speech
from sensorium.datasets._recordings import Recording
from sensorium.datasets._speakers import Speakers
from sensorium.errors import BadData, BadRecipe
from sensorium.formats import _csv
from sensorium.modalities import walk
from sensorium.modalities.audio import augment
from sensorium.types import Data


class SpeechFolder(Dataset):
    """Left: clips. Right: the names of their emotions. Group: the speaker.

    root: without ``csv``, ``root/EMOTION/…/clip.wav``, where the folder between emotion and clip, if
        any, names the speaker; without one, every clip is a group of its own and the notes say so.
    csv: table with a header, ``path,emotion`` and optionally ``speaker`` and ``split`` (train, dev or
        validation, test); paths are relative to ``root``, or to the table where root is left out.
        Further columns become metadata. Rows without a word where others have one are left out.
    classes: which emotions to take, all that are there when left empty.
    test_actors, validation_actors, train_actors: whole speakers of a split; without test_actors they are drawn
        by data.test and data.validation. split_seed: of that draw.
    copies: so many changed copies of each training clip. augment: probability with which each kind of change is
        applied to a copy. augment_kinds: kinds of change, of speed, pitch, gain and noise.
    bad: what to do with recordings that cannot be read: "stop" at them, or "skip" them, having tried each.
    """

    def __init__(self, root: str = "", csv: str = "", classes: Sequence[str] = (), train_actors: Speakers = (),
                 validation_actors: Speakers = (), test_actors: Speakers = (), copies: int = 0,
                 augment: float = 0.3, augment_kinds: Sequence[str] = augment.KINDS, split_seed: int = 0,
                 bad: str = "stop") -> None:  # fmt: skip
        _recordings.check_bad(bad)
        if not root and not csv:
            raise BadRecipe("speech_folder needs recordings; type: data.root=FOLDER or data.csv=TABLE")
        self.table = Path(csv).expanduser() if csv else None
        self.root = Path(root).expanduser() if root else self.table.parent
        self.classes, self.bad = classes, bad
        self.lists = {"train": train_actors, "validation": validation_actors, "test": test_actors}
        self.copies = {"copies": copies, "probability": augment, "kinds": augment_kinds, "seed": split_seed}

    def load(self) -> Data:
        """Read names and table, not sound. Raises BadData when there is none or rows cannot be used."""
        found, split, walked = self._from_table() if self.table else self._from_folders()
        found, split, left_out = self._readable(found, split)
        alone = len({r.speaker for r in found}) == len(found) > 1
        notes = {"warning": "no speakers are known: clips of one speaker may be on both sides"} if alone else {}
        notes |= walked | left_out
        data = _speech.corpus(found, self.root, self.classes, self.lists, notes, split)
        return augment.with_copies(data, **self.copies)

    def _readable(
        self, found: list[Recording], split: np.ndarray | None
    ) -> tuple[list[Recording], np.ndarray | None, dict[str, Any]]:
        readable, notes = _recordings.readable(found, self.bad)
        there = {r.path for r in readable}
        return readable, None if split is None else split[[r.path in there for r in found]], notes

    def _from_folders(self) -> tuple[list[Recording], None, dict[str, Any]]:
        if not self.root.is_dir():
            raise BadData(f"no folder {self.root}; type: data.root=FOLDER with a folder per emotion")
        below = _recordings.sound_below(self.root, self.bad)
        _recordings.refuse_pointers(self.root, _without_sound(below), self.bad)
        found = []
        for path in below.paths:
            emotion, *between = map(walk.text, path.relative_to(self.root).parts[:-1] or ("",))
            if emotion:
                speaker = between[-1] if between else walk.text(path.relative_to(self.root))
                found.append(Recording(path, emotion, speaker))
        if not found:
            raise BadData(
                f"{self.root}: no sound file in a folder named after its emotion; expected {self.root}/happy/a.wav"
            )
        return found, None, below.notes()

    def _from_table(self) -> tuple[list[Recording], np.ndarray | None, dict[str, Any]]:
        header, rows = read_table(self.table)
        for column in ("path", "emotion"):
            if column not in header:
                there = ", ".join(header) or "no rows"
                raise BadData(
                    f"{self.table}: no column '{column}' ({there}); expected path, emotion[, speaker][, split]"
                )
        if not rows:
            raise BadData(f"{self.table} has a header and no rows; expected one a recording")
        paths = [_on_disk(self.root, r["path"] or "?") for r in rows]
        lost = [r["path"] for r, path in zip(rows, paths, strict=True) if not path.is_file()]
        if lost:
            raise BadData(
                f"{self.table}: {len(lost)} of {len(rows)} recordings are not there, such as {lost[0]!r}; "
                "correct the paths, or type: data.root=FOLDER they are relative to"
            )
        blank = [i + 2 for i, r in enumerate(rows) if not r["emotion"]]
        if blank:
            raise BadData(f"{self.table}: {len(blank)} rows name no emotion, such as line {blank[0]}; fill them in")
        own = ("path", "emotion", "speaker", "split")
        found = [Recording(path, walk.text(r["emotion"]), walk.text(r.get("speaker") or r["path"]),
                           {k: v for k, v in r.items() if k not in own})
                 for r, path in zip(rows, paths, strict=True)]  # fmt: skip
        split = np.array([r.get("split", "") for r in rows], np.str_)
        return found, split if (split != "").any() else None, {}


def _without_sound(below: walk.Walk) -> list[Path]:
    """Pointers beside which there is no sound of the same name."""
    there = {path.with_suffix("") for path in below.paths}
    return [path for path in below.pointers if path.with_suffix("") not in there]


def _on_disk(root: Path, name: str) -> Path:
    """A path as it is written, or in the Unicode form that the disk has."""
    forms = (name, *(unicodedata.normalize(form, name) for form in ("NFC", "NFD")))
    return next((root / one for one in forms if (root / one).is_file()), root / name)


def read_table(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Column names and rows of a CSV with a header, split at commas, semicolons or tabs, in UTF-8 or UTF-16.

    Names of the columns that mean something here may be written in any case. Raises BadData for a file
    that is no such table, and for a row with more cells than the header has.
    """
    if not path.is_file():
        raise BadData(f"no table {path}; expected a CSV with the columns path and emotion")
    text = _csv.text_of(path)
    first = text.partition("\n")[0]
    try:
        rows = _csv.rows_of(text, max(",;\t", key=first.count), strict=False)
    except csv.Error as error:
        raise BadData(f"{path} is no table ({error}); save it as CSV in UTF-8") from None
    if not rows:
        return [], []
    header, *cells = rows
    own = {"path", "emotion", "speaker", "split"}
    header = [name.strip().lower() if name.strip().lower() in own else name.strip() for name in header]
    records = []
    for line, row in enumerate(cells, 2):
        if len(row) > len(header):
            raise BadData(
                f"{path}: row {line} has {len(row)} cells, the header {len(header)}; put cells with commas in quotes"
            )
        if any(cell.strip() for cell in row):
            records.append(dict.fromkeys(header, "") | dict(zip(header, map(str.strip, row), strict=False)))
    return header, records

"""Where Clotho's captions and sounds lie: in the folders of its own scripts, or flat; one list a split."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from sensorium.datasets import _captions_table
from sensorium.datasets._captions_table import Listing
from sensorium.datasets._source import Source
from sensorium.errors import BadRecipe
from sensorium.formats import Columns

#: The splits by Clotho's words.
SPLITS = {"development": "train", "validation": "validation", "evaluation": "test"}
INNER = "CLOTHO_v2.1"  # the folder that other tools make below the one that they are given
CSV, AUDIO = "clotho_csv_files", "clotho_audio_files"


class List(NamedTuple):
    """One split: its name in Clotho, the table of captions, and the folder of its sounds, which may not be there."""

    split: str
    csv: Path
    audio: Path


def lists(root: Path) -> list[List]:
    """The splits whose captions lie in ``root``. Raises BadRecipe where there are none.

    Captions: ``clotho_csv_files/clotho_captions_development.csv``, or in ``root`` itself; or, one caption a row,
    ``development_captions.csv``. Sounds: ``clotho_audio_files/development``, or ``development``.
    """
    base = root / INNER if (root / INNER).is_dir() else root
    found = []
    for split in SPLITS:
        names = (f"clotho_captions_{split}.csv", f"{split}_captions.csv")
        places = [folder / name for name in names for folder in (base / CSV, base)]
        csv = next((path for path in places if path.is_file()), None)
        if csv is not None:
            folders = [
                base / AUDIO / split,
                base / split,
                base / f"clotho_audio_{split}" / split,
                base / f"clotho_audio_{split}",
            ]
            found.append(List(split, csv, next((one for one in folders if one.is_dir()), folders[0])))
    if not found:
        raise BadRecipe(f"{base} holds no captions of Clotho ({CSV}/clotho_captions_development.csv, …); type: "
                        f"sensorium download clotho data.root={root}")  # fmt: skip
    return found


def listing(one: List) -> Listing:
    """The captions of a split, of either layout: five a row, or one a row."""
    source = Source.open(str(one.csv), one.audio)
    columns = source.columns
    given: dict[str, str] = {"split": "", "id": ""}
    if "raw_text" in columns:  # beside it stands the same text in lower case, without punctuation
        given["caption"] = "raw_text"
        kept = {name: column for name, column in columns.taken().items() if name != "text"}
        source = Source.of(source.where, Columns(kept, columns.where, first=columns.first), one.audio)
    return _captions_table.read(source, given)


def captions(one: List) -> list[tuple[str, str]]:
    """``x.wav#1`` and the caption, of every caption of a split; no sound is looked for."""
    read = listing(one)
    seen: dict[str, int] = {}
    made = []
    for row, number, text in zip(read.row.tolist(), read.number.tolist(), read.texts.tolist(), strict=True):
        name = str(read.paths[row])
        seen[name] = number if read.wide else seen.get(name, 0) + 1
        made.append((f"{name}#{seen[name]}", (text or "").strip()))
    return made

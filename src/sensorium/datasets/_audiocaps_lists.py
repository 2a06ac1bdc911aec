"""Where AudioCaps' lists and sounds lie, and which sound a row names: people download these under several names."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from sensorium.datasets import _captions_files, _captions_table
from sensorium.datasets._captions_table import Listing
from sensorium.datasets._source import Source
from sensorium.errors import BadRecipe
from sensorium.formats import Column, Columns, objects

_SPLITS = {"train": ("train",), "validation": ("val", "validation", "valid"), "test": ("test",)}
_FOLDERS = ("", "dataset", "csv", "csv_files", "data")
_COLUMNS = ("youtube_id", "caption")


class List(NamedTuple):
    """One split: its word, its table, and the folder below which its sounds are looked for."""

    word: str
    csv: Path
    audio: Path


def lists(root: Path) -> list[List]:
    """The splits whose lists lie in ``root``. Raises BadRecipe where there are none."""
    found = []
    for word, names in _SPLITS.items():
        csv = next(
            (path for folder in _FOLDERS for name in names if (path := root / folder / f"{name}.csv").is_file()), None
        )
        if csv is None:
            continue
        places = [
            root / inner / name for inner in ("", "audio", "audios", "wav", "wavs", "waveforms") for name in names
        ]
        found.append(List(word, csv, next((path for path in places if path.is_dir()), root)))
    if not found:
        raise BadRecipe(f"{root} holds no list of AudioCaps; expected train.csv, val.csv or test.csv with the columns "
                        "audiocap_id,youtube_id,start_time,caption")  # fmt: skip
    return found


def listing(one: List) -> Listing:
    """The captions of a split, with the file of each row, as the column "file", and the id of its clip, as "clip".

    The rows of one clip have one file: the first that is found. Raises BadRecipe for another table.
    """
    source = Source.open(str(one.csv), one.audio)
    for name in _COLUMNS:
        source.column(name, "the list of AudioCaps")
    texts = {name: source.columns.texts(name).tolist() for name in ("audiocap_id", "youtube_id", "start_time")
             if name in source.columns}  # fmt: skip
    files = _captions_files.index(one.audio) if one.audio.is_dir() else {}
    path_of: dict[tuple[str, str], str] = {}
    keys = [tuple(_plain(texts[name][row]) if name in texts else "" for name in ("youtube_id", "start_time"))
            for row in range(source.n)]  # fmt: skip
    for row, key in enumerate(keys):
        if path_of.get(key):
            continue
        number = _plain(texts["audiocap_id"][row]) if "audiocap_id" in texts else ""
        path_of[key] = next((files[name] for name in _names(*key, number) if files.get(name)), "")
    started = {id: len({key for key in path_of if key[0] == id}) for id, _ in path_of}
    clips = [id if started[id] == 1 else f"{id}_{start}" for id, start in keys]
    paths = [path_of[key] or f"{key[0] or 'youtube_id'}.wav" for key in keys]
    columns = source.columns.taken()
    columns |= {name: Column((source.n,), lambda values=values: objects(values))
                for name, values in (("file", paths), ("clip", clips))}  # fmt: skip
    made = Source.of(source.where, Columns(columns, source.columns.where, first=source.columns.first), one.audio)
    return _captions_table.read(made, {"path": "file", "caption": "caption", "id": "clip", "split": ""})


def _names(id: str, start: str, number: str) -> list[str]:
    """What the file of a row may be called, without its ending."""
    end = str(int(start) + 10) if start.isdigit() else ""
    made = [id, f"Y{id}", f"{id}_{start}", f"Y{id}_{start}", f"{id}_{start}_{end}", f"Y{id}_{start}_{end}",
            f"{id}_{start}000_{end}000", f"Y{id}_{start}000_{end}000"]  # fmt: skip
    return [*(made if id else ()), *((number,) if number else ())]


def _plain(value: str | None) -> str:
    """A cell as a part of a file's name: "130" of "130.0"."""
    text = (value or "").strip()
    return text[:-2] if text.endswith(".0") and text[:-2].isdigit() else text

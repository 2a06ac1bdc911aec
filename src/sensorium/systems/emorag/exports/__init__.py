"""Prompts in the files that TTS engines read; a format is a file here: exports/f5.py *is* the format f5."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from sensorium import io
from sensorium.errors import BadRecipe, nearest
from sensorium.systems.emorag import profiles
from sensorium.systems.emorag.clip_audio import ClipAudio
from sensorium.systems.emorag.exports._context import Context
from sensorium.systems.emorag.picker import Picker

__all__ = ["Context", "Export", "find", "known", "save"]

#: A record of prompts: see :meth:`sensorium.systems.emorag.picker.Picker.record`.
Record = Mapping[str, Any]


@dataclass(frozen=True)
class Export:
    """A format. render: the records of a script as the text of one file, or as files by their relative names.

    ending: of the file; "" is a folder. media_type: of the file over HTTP. audio: the format holds audio, so that a
    folder for it is needed.
    """

    about: str
    ending: str
    media_type: str
    render: Callable[[Sequence[Record], Context], str | Mapping[str, str | bytes]]
    audio: bool = False


@cache
def known() -> dict[str, Export]:
    """The formats, by name."""
    names = sorted(one.name for one in pkgutil.iter_modules(__path__) if not one.name.startswith("_"))
    return {name.replace("_", "-"): importlib.import_module(f"{__name__}.{name}").EXPORT for name in names}


def find(name: str) -> Export:
    """A format by name. Raises BadRecipe, naming the nearest."""
    if name not in known():
        raise BadRecipe(f"no format '{name}'; {nearest(name, known())}")
    return known()[name]


def text(name: str, records: Sequence[Record], picker: Picker, audio: Path | None = None) -> str:
    """Records in a format of one file. Raises as :func:`save`, and BadRecipe for a format that is a folder."""
    if not find(name).ending:
        raise BadRecipe(f"{name} is a folder; give --out FOLDER")
    rendered = find(name).render(records, context(picker, audio, name))
    assert isinstance(rendered, str)
    return rendered


def context(picker: Picker, audio: Path | None = None, name: str = "") -> Context:
    """What a format needs besides the records. audio: a folder for copies of the clips. name: of the format.

    Copies have the rate of the picker's engine, else that of the engine whose format it is, else their own.
    """
    own = picker.gates.profile.rate if picker.gates is not None else None
    rate = own or next((one.rate for engine, one in profiles.PROFILES.items() if name.startswith(engine)), None)
    level = picker.wanted.level and audio is not None
    return Context(picker, ClipAudio(picker.run, picker.to, audio, rate if audio is not None else None, level))


def save(name: str, records: Sequence[Record], picker: Picker, out: Path, audio: Path | None = None) -> list[Path]:
    """Write records in a format; returns the files, the audio not counted. Each is whole or absent.

    audio: a folder for copies of the clips, at the rate of the picker's engine and, where that is wanted, at the usual
    level; None names the clips' own files, except in formats that hold audio.

    Raises BadRecipe for an unknown format and for what it cannot hold, BadData where no line has a prompt.
    """
    format = find(name)
    rendered = format.render(records, context(picker, out if format.audio and audio is None else audio, name))
    if isinstance(rendered, str):
        io.write(out, rendered)
        return [out]
    for file, content in rendered.items():
        io.write(out / file, content)
    return [out / file for file in rendered]

"""The audio of prompts: paths of clips, or copies at an engine's rate and the usual level, under names of their own."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from sensorium import io
from sensorium.errors import BadData, BadRecipe
from sensorium.search import media
from sensorium.systems.emorag.gates import PEAK
from sensorium.systems.emorag.profiles import TARGET_RMS

_ENDING = re.compile(r"\.(wav|flac|mp3|ogg|oga|opus|m4a|aac)$", re.IGNORECASE)
_LONGEST = 80  # characters of a copy's name


class ClipAudio:
    """Where an engine finds the clips of a run's side.

    folder: copies are written there, as WAV of 16 bits, one for each clip, however often it is asked for; None names
    the clips' own files. rate: Hz of the copies; None is each clip's own. level: copies are brought to
    :data:`TARGET_RMS`, or as near as their peak allows.
    """

    def __init__(
        self, run: Any, side: str, folder: Path | None = None, rate: int | None = None, level: bool = False
    ) -> None:
        self.run, self.side, self.folder, self.rate, self.level = run, side, folder, rate, level
        self._media = media.open(run.folder, side)
        self._written: dict[str, Path] = {}
        self._names: dict[str, str] = {}  # in lower case → id, as some file systems know no case
        if level and folder is None:
            raise BadRecipe("level changes the audio, so it has to be copied; give --copy-to FOLDER")

    def original(self, hit: Mapping[str, Any]) -> tuple[str, bytes | Path] | None:
        """Media type, and bytes or file, of a clip; None for one whose audio the run does not know."""
        live = self.run.journals[self.side].media(hit["id"]) if self.side in self.run.journals else None
        found = live or (None if self._media is None else self._media.get(hit["id"]))
        if found is None and isinstance(path := hit.get("path"), str) and Path(path).is_file():
            return "", Path(path)
        return found

    def known_path(self, hit: Mapping[str, Any]) -> str | None:
        """The file of a clip, or of its copy where there is a folder for copies; None where it has no file."""
        if self.folder is not None:
            return str(self.copy(hit))
        found = self.original(hit)
        return str(found[1].absolute()) if found is not None and isinstance(found[1], Path) else None

    def path(self, hit: Mapping[str, Any]) -> str:
        """As :meth:`known_path`. Raises BadRecipe where a clip has no file, saying how it gets one."""
        found = self.known_path(hit)
        if found is None:
            packed = self.original(hit) is not None
            remedy = (
                "give --copy-to FOLDER, which writes it" if packed else "it was moved, or the run has vectors alone"
            )
            raise BadRecipe(f"clip '{hit['id']}' of {self.run.folder} has no file; {remedy}")
        return found

    def copy(self, hit: Mapping[str, Any]) -> Path:
        """The copy of a clip, written if need be. Raises BadData where its audio cannot be read."""
        from sensorium.modalities.audio import files

        id = hit["id"]
        if id not in self._written:
            assert self.folder is not None
            found = self.original(hit)
            if found is None:
                raise BadData(f"clip '{id}' of {self.run.folder} has no audio; it was moved, or was never there")
            samples, rate = files.read_mono(found[1])
            if self.rate is not None:
                samples, rate = files.resample(samples, rate, self.rate), self.rate
            if self.level:
                samples = leveled(samples, hit)
            path = self.folder / f"{self.name(id)}.wav"
            io.write(path, files.wav(samples, rate))
            self._written[id] = path.absolute()
        return self._written[id]

    def name(self, id: str) -> str:
        """A name for a clip's copy, without an ending: its id in letters, digits, dots and dashes; no two are one.

        >>> ClipAudio.plain("Actor_01/03-01 (a).flac")
        'Actor_01_03-01_a'
        """
        name = self.plain(id)
        if self._names.setdefault(name.casefold(), id) != id:
            name = f"{name}-{xxhash.xxh3_64_hexdigest(id.encode())[:8]}"
            self._names[name.casefold()] = id
        return name

    @staticmethod
    def plain(id: str) -> str:
        """An id as a file name without its ending; ids that differ may have one."""
        stem = _ENDING.sub("", unicodedata.normalize("NFC", id))
        plain = re.sub(r"[^\w.-]+", "_", stem).strip("._")
        return plain[-_LONGEST:].strip("._") or "clip"


def leveled(samples: np.ndarray, hit: Mapping[str, Any]) -> np.ndarray:
    """Samples (n,) brought to the usual level by one gain, with no sample above :data:`PEAK`.

    By the clip's measured ``rms``; of a clip without it, by the root mean square of all samples.
    """
    measured = hit.get("metadata", hit).get("rms")
    known = isinstance(measured, (int, float)) and measured > 0
    rms = float(measured) if known else float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))
    peak = float(np.abs(samples).max(initial=0.0))
    if rms <= 0 or peak <= 0:
        return samples
    return samples * np.float32(min(TARGET_RMS / rms, PEAK / peak))

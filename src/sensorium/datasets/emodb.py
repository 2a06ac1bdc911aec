"""EMO-DB: seven emotions in German, ten speakers, by its file names; splits by whole speakers."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

from sensorium.datasets._download import Archive
from sensorium.datasets._recordings import Recording
from sensorium.datasets._speech import Corpus

#: The release of its authors, https://zenodo.org/records/7447302, which states the checksum.
ARCHIVES = (Archive("https://zenodo.org/records/7447302/files/emodb.zip", "https://zenodo.org/api/records/7447302"),)


def parse(path: Path) -> Recording | None:
    """``03a01Fa.wav``: speaker, text, emotion by its German initial, version."""
    found = re.fullmatch(r"(\d\d)([ab]\d\d)([WLEAFTN])([a-z])", path.stem)
    if not found:
        return None
    speaker, text, letter, version = found.groups()
    emotion = {"W": "angry", "L": "bored", "E": "disgust", "A": "fearful", "F": "happy", "T": "sad", "N": "neutral"}
    sex = "male" if speaker in ("03", "10", "11", "12", "15") else "female"
    return Recording(path, emotion[letter], speaker, {"statement": text, "repetition": version, "sex": sex})


Emodb = partial(Corpus, "EMO-DB", parse, ARCHIVES)

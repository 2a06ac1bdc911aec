"""SAVEE: seven emotions, four men, by its file names; splits by whole speakers."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

from sensorium.datasets._recordings import Recording
from sensorium.datasets._speech import Corpus

SOURCE = "register at http://kahlan.eps.surrey.ac.uk/savee, unpack AudioData.zip, then data.root=AudioData"


def parse(path: Path) -> Recording | None:
    """``DC_a01.wav`` or ``DC/a01.wav``: speaker, emotion by its initial, sentence."""
    found = re.fullmatch(r"(?:(DC|JE|JK|KL)_)?(a|d|f|h|n|sa|su)(\d\d)", path.stem)
    speaker = found and (found[1] or path.parent.name)
    if not found or speaker not in ("DC", "JE", "JK", "KL"):
        return None
    emotion = {"a": "angry", "d": "disgust", "f": "fearful", "h": "happy", "n": "neutral", "sa": "sad",
               "su": "surprised"}  # fmt: skip
    return Recording(path, emotion[found[2]], speaker, {"statement": found[3], "sex": "male"})


Savee = partial(Corpus, "SAVEE", parse, SOURCE)

"""CREMA-D: six emotions in English, 91 actors, by its file names; splits by whole speakers."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

from sensorium.datasets._recordings import Recording
from sensorium.datasets._speech import Corpus

SOURCE = "type: git lfs clone https://github.com/CheyneyComputerScience/CREMA-D, then data.root=CREMA-D/AudioWAV"


def parse(path: Path) -> Recording | None:
    """``1001_DFA_ANG_XX.wav``: actor, sentence, emotion, level."""
    found = re.fullmatch(r"(\d{4})_([A-Z]{3})_(ANG|DIS|FEA|HAP|NEU|SAD)_(LO|MD|HI|XX?)", path.stem)
    if not found:
        return None
    actor, sentence, word, level = found.groups()
    emotion = {"ANG": "angry", "DIS": "disgust", "FEA": "fearful", "HAP": "happy", "NEU": "neutral", "SAD": "sad"}
    intensity = {"LO": "low", "MD": "medium", "HI": "high"}.get(level, "unspecified")
    return Recording(path, emotion[word], actor, {"statement": sentence, "intensity": intensity})


Cremad = partial(Corpus, "CREMA-D", parse, SOURCE)

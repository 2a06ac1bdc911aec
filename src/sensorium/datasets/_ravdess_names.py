"""Names of RAVDESS's recordings: what each says of emotion, actor, intensity and sentence."""

from __future__ import annotations

import re
from pathlib import Path

from sensorium.datasets._recordings import EMOTIONS, Recording
from sensorium.errors import BadData

#: The two sentences of the corpus, by the word of the column "statement".
TRANSCRIPTS = {"kids": "Kids are talking by the door", "dogs": "Dogs are sitting by the door"}
_PARTS = ("modality", "channel", "emotion", "intensity", "statement", "repetition", "actor")
_MOST = (3, 2, 8, 2, 2, 2, 24)


def is_name(path: Path) -> bool:
    """Whether a file is named as the corpus's recordings are."""
    return re.fullmatch(r"\d\d(-\d\d){6}", path.stem) is not None


def parse(path: Path) -> Recording | None:
    """``03-01-06-02-01-01-12.wav``: modality, channel, emotion, intensity, statement, repetition, actor.

    Raises BadData for a number that the corpus does not use.
    """
    if not is_name(path):
        return None
    codes = [int(part) for part in path.stem.split("-")]
    for code, most, what in zip(codes, _MOST, _PARTS, strict=True):
        if not 1 <= code <= most:
            raise BadData(f"{path}: {what} {code:02d}; RAVDESS has 01 to {most:02d}; correct the name, or leave it out")
    actor = codes[6]
    return Recording(path, EMOTIONS[codes[2] - 1], str(actor), {
        "modality": ("full-av", "video-only", "audio-only")[codes[0] - 1],
        "channel": ("speech", "song")[codes[1] - 1],
        "intensity": ("normal", "strong")[codes[3] - 1],
        "statement": ("kids", "dogs")[codes[4] - 1],
        "repetition": str(codes[5]),
        "sex": "male" if actor % 2 else "female",
    })  # fmt: skip

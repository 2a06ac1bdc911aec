"""TESS: seven emotions, two women, by its file names; splits by whole speakers."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

from sensorium.datasets._download import Archive
from sensorium.datasets._recordings import Recording
from sensorium.datasets._speech import Corpus

#: PaddleSpeech's copy of https://doi.org/10.5683/SP2/E8H2MF, whose own server packs anew at each request.
ARCHIVES = (Archive("https://bj.bcebos.com/paddleaudio/datasets/TESS_Toronto_emotional_speech_set.zip",
                    "md5:1465311b24d1de704c4c63e4ccc470c7"),)  # fmt: skip


def parse(path: Path) -> Recording | None:
    """``OAF_back_angry.wav``: older or younger woman, word, emotion (ps: pleasant surprise)."""
    found = re.fullmatch(r"(OAF?|YAF)_([^_]+)_(angry|disgust|fear|happy|neutral|ps|sad)", path.stem)
    if not found:
        return None
    speaker, word, emotion = found.groups()
    emotion = {"fear": "fearful", "ps": "surprised"}.get(emotion, emotion)
    return Recording(path, emotion, "YAF" if speaker == "YAF" else "OAF", {"statement": word, "sex": "female"})


Tess = partial(Corpus, "TESS", parse, ARCHIVES)

"""IndexTTS2's voices: a speaker clip and an emotion clip apart, the strength, and the emotion as eight numbers."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from sensorium.numerics import affect
from sensorium.systems.emorag.exports import Context, Export
from sensorium.systems.emorag.exports._context import Names, clips, column, prompts, wish

#: The order of ``emo_vector``, and the words of the eight emotions here that each stands for.
ORDER = ("happy", "angry", "sad", "afraid", "disgusted", "melancholic", "surprised", "calm")
_OURS = {"happy": 0, "excited": 0, "proud": 0, "angry": 1, "frustrated": 1, "contempt": 4, "sad": 2, "fearful": 3,
         "disgust": 4, "bored": 5, "surprised": 6, "calm": 7, "neutral": 7}  # fmt: skip
STRENGTH = 0.8  # the largest sum of an emo_vector that IndexTTS2 leaves as it is
ALPHA = 1.0  # its default


def render(records: Sequence[Mapping[str, Any]], context: Context) -> str:
    """``voices.json``: by name, what ``IndexTTS2.infer`` takes, and the numbers of the lines it is for.

    ``spk_audio_prompt`` is the calmest good clip of the emotion clip's speaker, ``emo_audio_prompt`` the clip that fits
    the line. ``emo_vector`` is in the order of :data:`ORDER`, by the emotions of the line's prompts, and sums to
    :data:`STRENGTH`; zeros where they have none. Give ``infer`` the clip or the vector: with both it takes the vector.
    """
    names = Names()
    voices: dict[str, dict[str, Any]] = {}
    clips(records)  # raises where there is none
    for record, hit in prompts(records):
        name = names.of(hit["id"], wish(hit))
        if name not in voices:
            voices[name] = {
                "spk_audio_prompt": context.audio.path(context.speaker_clip(hit)),
                "emo_audio_prompt": context.audio.path(hit),
                "emo_alpha": ALPHA,
                "emo_vector": vector([column(one, "emotion") for one in record["hits"]]),
                "speaker": column(hit, "speaker") or None,
                "emotion": column(hit, "emotion") or None,
                "lines": [],
            }
        voices[name]["lines"].append(record["line"])
    return json.dumps(voices, ensure_ascii=False, indent=2) + "\n"


def vector(emotions: Sequence[str]) -> list[float]:
    """Emotions as IndexTTS2's eight numbers: the share of each, times :data:`STRENGTH`.

    >>> vector(["happy", "surprised", "joy", "happiness"])
    [0.6, 0.0, 0.0, 0.0, 0.0, 0.0, 0.2, 0.0]
    """
    places = [_OURS[word] for one in emotions if (word := affect.canonical(one)) in _OURS]
    counts = Counter(places)
    return [round(STRENGTH * counts[at] / len(places), 4) if places else 0.0 for at in range(len(ORDER))]


EXPORT = Export("IndexTTS2's voices.json: speaker clip and emotion clip apart, emo_alpha and emo_vector.",
                ".json", "application/json", render)  # fmt: skip

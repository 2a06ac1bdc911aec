"""IndexTTS2's batch file: an object for each line of the script, with its speaker clip and its emotion clip."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sensorium.systems.emorag.exports import Context, Export
from sensorium.systems.emorag.exports._context import clips, prompts
from sensorium.systems.emorag.exports.indextts import ALPHA


def render(records: Sequence[Mapping[str, Any]], context: Context) -> str:
    """What ``indextts2 batch --batch-file FILE`` reads: ``text``, ``voice``, ``emotion_audio``, ``emotion_weight`` and
    ``output``. Lines that are vectors without a text are left out.
    """
    clips(records)  # raises where there is none
    lines = [
        {
            "text": record["text"].strip(),
            "voice": context.audio.path(context.speaker_clip(hit)),
            "emotion_audio": context.audio.path(hit),
            "emotion_weight": ALPHA,
            "output": f"{record['line']:05d}.wav",
        }
        for record, hit in prompts(records)
        if record["text"] and record["text"].strip()
    ]
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)


EXPORT = Export("IndexTTS2's batch file: text, voice and emotion_audio of each line.", ".jsonl",
                "application/x-ndjson", render)  # fmt: skip

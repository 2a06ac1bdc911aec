"""GPT-SoVITS's requests: for each line of the script, what ``POST /tts`` of its api_v2.py takes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sensorium.systems.emorag.exports import Context, Export
from sensorium.systems.emorag.exports._context import clips, column, language, prompts


def render(records: Sequence[Mapping[str, Any]], context: Context) -> str:
    """A JSON object a line: text, text_lang, ref_audio_path, prompt_text, prompt_lang.

    The line's language is by its letters. Lines that are vectors without a text are left out.
    """
    clips(records)  # raises where there is none
    lines = [
        {
            "text": record["text"].strip(),
            "text_lang": language({"metadata": {"transcript": record["text"]}}),
            "ref_audio_path": context.audio.path(hit),
            "prompt_text": column(hit, "transcript"),
            "prompt_lang": language(hit),
        }
        for record, hit in prompts(records)
        if record["text"] and record["text"].strip()
    ]
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)


EXPORT = Export("GPT-SoVITS's requests: text, ref_audio_path and prompt_text of each line.", ".jsonl",
                "application/x-ndjson", render)  # fmt: skip

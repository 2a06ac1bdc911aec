"""F5-TTS's configuration: a ``[voices.NAME]`` for each clip, and the script with each line marked by its voice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import tomli_w

from sensorium.systems.emorag.exports import Context, Export
from sensorium.systems.emorag.exports._context import Names, clips, column, prompts, wish

MODEL = "F5TTS_v1_Base"


def render(records: Sequence[Mapping[str, Any]], context: Context) -> str:
    """The TOML that ``f5-tts_infer-cli -c FILE`` reads.

    A voice's name is of letters, digits and ``_``, as its reader finds ``[NAME]`` in the text by them; "main" is the
    first line's. A ``[`` in a line becomes a ``(``. A clip without a transcript has an empty ``ref_text``, which
    F5-TTS fills by speech recognition.
    """
    names = Names(["main"])
    voices = {
        names.of(hit["id"], wish(hit)): {"ref_audio": context.audio.path(hit), "ref_text": column(hit, "transcript")}
        for hit in clips(records)
    }
    marked = []
    for record, hit in prompts(records):
        text = " ".join(str(record["text"] or "").split()).replace("[", "(").replace("]", ")")
        marked.append(f"[{names.of(hit['id'], '')}] {text}" if text else "")
    first = names.of(next(prompts(records))[1]["id"], "")
    config = {
        "model": MODEL, **voices[first], "gen_text": "\n".join(line for line in marked if line), "gen_file": "",
        "remove_silence": False, "output_dir": ".", "output_file": "script.wav", "voices": voices,
    }  # fmt: skip
    return tomli_w.dumps(config)


EXPORT = Export("F5-TTS's TOML: ref_audio and ref_text of each voice, and the script with its voices marked.",
                ".toml", "application/toml", render)  # fmt: skip

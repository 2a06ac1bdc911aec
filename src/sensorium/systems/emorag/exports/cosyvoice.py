"""CosyVoice's prompts: a folder with NAME.wav at 16 kHz and NAME.txt for each clip, and the lines for each."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sensorium.systems.emorag.clip_audio import ClipAudio
from sensorium.systems.emorag.exports import Context, Export
from sensorium.systems.emorag.exports._context import Names, clips, column, prompts

RATE = 16_000  # Hz, as ``frontend.py`` takes prompts


def render(records: Sequence[Mapping[str, Any]], context: Context) -> dict[str, str | bytes]:
    """Files by name: the text of each prompt, ``tts_text.json``, ``wav.scp``, ``text`` and ``utt2spk``.

    ``NAME.wav`` and ``NAME.txt`` are ``prompt_wav`` and ``prompt_text`` of ``inference_zero_shot``. ``tts_text.json``
    maps a name to the lines to speak with it, as ``cosyvoice/bin/inference.py --tts_text`` reads them; the other three
    are what ``tools/`` makes its prompt data of. The audio lies beside them, where the context has a folder for it.
    """
    audio = context.audio if context.audio.rate == RATE else _at_rate(context.audio)
    names, spoken = Names(), {}
    for record, hit in prompts(records):
        if record["text"]:
            spoken.setdefault(hit["id"], []).append(" ".join(record["text"].split()))
    files: dict[str, str | bytes] = {}
    table: dict[str, list[str]] = {"wav.scp": [], "text": [], "utt2spk": []}
    lines = {}
    for hit in clips(records):
        path = Path(audio.path(hit))
        name = path.stem if audio.folder is not None else names.of(hit["id"], ClipAudio.plain(hit["id"]))
        text = column(hit, "transcript")
        files[f"{name}.txt"] = f"{text}\n"
        table["wav.scp"].append(f"{name} {path}\n")
        table["text"].append(f"{name} {text}\n")
        table["utt2spk"].append(f"{name} {'_'.join(column(hit, 'speaker').split()) or 'speaker'}\n")
        if hit["id"] in spoken:
            lines[name] = spoken[hit["id"]]
    files["tts_text.json"] = json.dumps(lines, ensure_ascii=False, indent=2) + "\n"
    return {**files, **{name: "".join(rows) for name, rows in table.items()}}


def _at_rate(audio: ClipAudio) -> ClipAudio:
    """The same audio at 16 kHz. Its copies, where it has a folder for them, are written anew."""
    return ClipAudio(audio.run, audio.side, audio.folder, RATE if audio.folder else None, audio.level)


EXPORT = Export("CosyVoice's prompts: a folder with NAME.wav at 16 kHz and NAME.txt for each clip.", "",
                "application/zip", render, audio=True)  # fmt: skip

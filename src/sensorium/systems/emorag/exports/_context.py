"""What formats of prompts share: the audio of clips, their words, languages and names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sensorium.errors import BadData, BadRecipe
from sensorium.numerics import affect
from sensorium.systems.emorag import speakers
from sensorium.systems.emorag.clip_audio import ClipAudio
from sensorium.systems.emorag.picker import Picker

_CALM = ("neutral", "calm")
#: Languages as data call them → the codes that engines know.
_CODES = {
    "chinese": "zh", "mandarin": "zh", "cmn": "zh", "cantonese": "yue", "zh-hk": "yue", "japanese": "ja", "jp": "ja",
    "english": "en", "korean": "ko", "kr": "ko",
}  # fmt: skip


@dataclass(frozen=True)
class Context:
    """Where the records come from: their picker, and the audio of the clips."""

    picker: Picker
    audio: ClipAudio

    def speaker_clip(self, hit: Mapping[str, Any]) -> Mapping[str, Any]:
        """The clip that a hit's speaker is best known by: of those that pass the gates, a neutral or calm one of the
        highest signal-to-noise ratio; the hit itself where its speaker is not known.
        """
        table, speaker = self.picker.table, hit.get("metadata", {}).get(speakers.COLUMN)
        if speaker is None or speakers.COLUMN not in table.columns:
            return hit
        mask = table.where({speakers.COLUMN: speaker})
        mask &= self.picker.gates.passing if self.picker.gates is not None else True
        rows = np.flatnonzero(mask)
        if not len(rows):
            return hit
        calm = [affect.canonical(str(table.metadata(row).get("emotion"))) in _CALM for row in rows.tolist()]
        noise = table.columns["snr"][rows] if "snr" in table.columns else np.zeros(len(rows))
        best = rows[np.lexsort((rows, -np.nan_to_num(np.asarray(noise, np.float64)), ~np.array(calm, bool)))[0]]
        columns = table.metadata(int(best))  # of the picker's table: rows of the index may have moved since
        return {**columns, "id": str(table.ids[best]), "metadata": columns}


def prompts(records: Sequence[Mapping[str, Any]]) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """Each record that has a prompt, with its first one."""
    for record in records:
        if record["hits"]:
            yield record, record["hits"][0]


def clips(records: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Every clip of the records once, in the order they come. Raises BadData where there is none."""
    found = {hit["id"]: hit for record in reversed(records) for hit in reversed(record["hits"])}
    if not found:
        raise BadData("no line has a prompt, so there is nothing to write; relax a gate, such as --gate loudness=off")
    return list(reversed(found.values()))


def column(hit: Mapping[str, Any], name: str) -> str:
    """A clip's column as text of one line; "" where it says nothing."""
    value = hit.get("metadata", {}).get(name)
    return "" if value is None or value != value else " ".join(str(value).split())


def language(hit: Mapping[str, Any]) -> str:
    """A clip's language as a code such as "en"; by the letters of its transcript where no column says it.

    >>> language({"metadata": {"language": "Japanese"}}), language({"metadata": {"transcript": "안녕하세요"}})
    ('ja', 'ko')
    """
    said = column(hit, "language").lower().replace("_", "-")
    if said:
        return _CODES.get(said, said.split("-")[0])
    text = column(hit, "transcript")
    if re.search(r"[぀-ヿ]", text):
        return "ja"
    if re.search(r"[가-힯]", text):
        return "ko"
    return "zh" if re.search(r"[一-鿿]", text) else "en"


def check_one_line(value: str, what: str, signs: str) -> str:
    """A value that must not hold some signs. Raises BadRecipe, saying what to do."""
    bad = next((sign for sign in (*signs, "\n", "\r") if sign in value), None)
    if bad is not None:
        raise BadRecipe(
            f"{what} {value!r} holds {bad!r}, which this format cannot; give --copy-to FOLDER, which copies the clips "
            "under names of their own"
        )
    return value


class Names:
    """A name for each key, of letters, digits and ``_`` alone, never that of another.

    >>> names = Names(); names.of("clip a", "Anna happy"), names.of("clip b", "Anna happy"), names.of("clip a", "")
    ('Anna_happy', 'Anna_happy_2', 'Anna_happy')
    """

    def __init__(self, taken: Sequence[str] = ()) -> None:
        self._given: dict[Any, str] = {}
        self._taken = {name.casefold() for name in taken}

    def of(self, key: Any, wish: str) -> str:
        """The name of a key; the wish is what it is made of the first time."""
        if key not in self._given:
            plain = re.sub(r"\W+", "_", wish).strip("_") or "voice"
            name, number = plain, 1
            while name.casefold() in self._taken:
                number += 1
                name = f"{plain}_{number}"
            self._taken.add(name.casefold())
            self._given[key] = name
        return self._given[key]


def wish(hit: Mapping[str, Any]) -> str:
    """What a clip may be called: its speaker and emotion, else its id."""
    parts = [part for part in (column(hit, speakers.COLUMN), column(hit, "emotion")) if part]
    return " ".join(parts) or ClipAudio.plain(hit["id"])

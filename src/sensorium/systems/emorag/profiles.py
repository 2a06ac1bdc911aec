"""Profiles of TTS engines: the gates that a clip must pass before it is given to an engine as a prompt.

Limits of an engine's code are marked "code", what its documentation or users say "advice"; the others are ours. Read in
November 2026: GPT-SoVITS ``TTS.py``, F5-TTS ``utils_infer.py``, CosyVoice ``frontend.py``, IndexTTS2 ``infer_v2.py``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sensorium.errors import BadRecipe, nearest

#: Level that :mod:`sensorium.systems.emorag.audio` brings a clip to: median RMS of prompts that people found good.
TARGET_RMS = 0.085
#: Characters a second that speech can have, by language; other languages have those of "".
RATES: Mapping[str, tuple[float, float]] = {
    "": (4.0, 26.0), "zh": (1.5, 10.0), "yue": (1.5, 10.0), "ja": (2.5, 15.0), "ko": (2.0, 13.0),
}  # fmt: skip


@dataclass(frozen=True)
class Gate:
    """One condition on a clip: low ≤ value ≤ high, where None is no limit.

    column: of the clips, that holds the value. unit: of the value. required: a clip without the value fails, and a
    library without the column is refused; otherwise the gate is not judged then. about: why, and whose limit it is.
    """

    name: str
    column: str
    low: float | None = None
    high: float | None = None
    unit: str = ""
    required: bool = True
    about: str = ""

    def __str__(self) -> str:
        low, high = (f"{end:g}" if end is not None else "" for end in (self.low, self.high))
        return f"{self.name} {low}..{high}{f' {self.unit}' if self.unit else ''}"


@dataclass(frozen=True)
class Profile:
    """What an engine takes. rate: Hz of the audio that is written for it; None leaves files as they are."""

    name: str
    about: str
    gates: tuple[Gate, ...]
    rate: int | None = None

    def gate(self, name: str) -> Gate:
        """A gate by name. Raises BadRecipe, naming the nearest."""
        found = {gate.name: gate for gate in self.gates}
        if name not in found:
            raise BadRecipe(f"{self.name} has no gate '{name}'; {nearest(name, found)}")
        return found[name]

    def changed(self, changes: Sequence[str]) -> Profile:
        """The profile with other limits: ``duration=2..12``, ``loudness=0.02..``, ``noise=off``.

        Raises BadRecipe for an unknown gate, or text that is no range.

        >>> str(find("gpt-sovits").changed(["duration=2..12"]).gate("duration"))
        'duration 2..12 s'
        """
        gates = {gate.name: gate for gate in self.gates}
        for text in changes:
            name, sign, value = text.partition("=")
            gate = self.gate(name.strip())
            if not sign:
                raise BadRecipe(f"gate '{text}'; expected {name}=LOW..HIGH, or {name}=off")
            if value.strip() == "off":
                gates.pop(gate.name, None)
                continue
            low, high = _range(value, text)
            gates[gate.name] = replace(gate, low=low, high=high)
        return replace(self, gates=tuple(gates.values()))


def find(name: str) -> Profile:
    """The profile of an engine. Raises BadRecipe, naming the nearest."""
    if name not in PROFILES:
        raise BadRecipe(f"no engine '{name}'; {nearest(name, PROFILES)}")
    return PROFILES[name]


def _range(value: str, text: str) -> tuple[float | None, float | None]:
    low, sign, high = value.partition("..")
    try:
        ends = [float(end) if end.strip() else None for end in (low, high)]
    except ValueError:
        ends = []
    wrong = not sign or len(ends) != 2 or any(end is not None and not math.isfinite(end) for end in ends)
    if wrong or (None not in ends and ends[0] > ends[1]):  # type: ignore[operator]
        raise BadRecipe(f"gate '{text}'; expected LOW..HIGH, such as 3..10, 3.. or ..10, or off")
    return ends[0], ends[1]


def _gates(
    duration: tuple[float, float, str],
    loudness: float = 0.03,
    silence_end: tuple[float, float] = (0.0, 1.5),
    transcript: bool = True,
    sample_rate: int | None = None,
    about_end: str = "ours: a long pause is copied",
) -> tuple[Gate, ...]:
    """The gates of an engine, in the order of reports."""
    shortest, longest, why = duration
    found = [
        Gate("duration", "duration", shortest, longest, "s", about=why),
        Gate("loudness", "rms", loudness, 0.35, "RMS", about="advice: .085 is fine, .024 too quiet, .007 inaudible"),
        Gate("clipping", "clipping", 0.0, 0.001, "of samples", about="ours: distortion is copied"),
        Gate("noise", "snr", 15.0, None, "dB", about="advice: noise and room are copied; 15 dB is ours"),
        Gate("silence_start", "silence_start", 0.0, 1.5, "s", about="ours: a long pause is copied"),
        Gate("silence_end", "silence_end", *silence_end, "s", about=about_end),
        Gate("transcript", "transcript", 1, None, "characters", transcript,
             "code: its text is spoken with it" if transcript else "advice: not read by the engine"),
        Gate("rate", "speech_rate", None, None, "characters/s", transcript,
             "ours: text and sound do not belong together outside of what a language allows"),
        Gate("steadiness", "steadiness", 0.4, None, "", False, "advice: one emotion throughout; the limit is ours"),
        Gate("nonverbal", "nonverbal", 0, 0, "tags", False, "advice: laughter and sobbing come back at random places"),
        Gate("line_rate", "speech_rate", 1 / 1.6, 1.6, "× the line's", False,
             "advice: the output is stretched to the prompt's speaking rate"),
    ]  # fmt: skip
    if sample_rate:
        found.insert(1, Gate("sample_rate", "sample_rate", sample_rate, None, "Hz", about="code: refused below"))
    return tuple(found)


PROFILES: Mapping[str, Profile] = {one.name: one for one in (
    Profile("gpt-sovits", "GPT-SoVITS, any version: reference audio and its text.",
            _gates((3.0, 10.0, "code: refused outside 48,000 to 160,000 samples at 16 kHz")), 32_000),
    Profile("f5", "F5-TTS and E2-TTS: reference audio and its text.",
            _gates((1.5, 12.0, "code: cut at 12 s, while its text is not"), 0.01, (0.05, 3.0),
                   about_end="advice: some silence at the end, or the last word is cut"), 24_000),
    Profile("cosyvoice", "CosyVoice 1 to 3, zero-shot: prompt audio and its text.",
            _gates((2.0, 30.0, "code: refused above 30 s"), sample_rate=16_000), 16_000),
    Profile("indextts", "IndexTTS2: a speaker clip and an emotion clip, without text.",
            _gates((2.0, 15.0, "code: cut at 15 s"), transcript=False), 22_050),
    Profile("any", "What every engine of this list takes.",
            _gates((3.0, 10.0, "the narrowest of the engines'"), 0.03, (0.05, 1.5), sample_rate=16_000)),
)}  # fmt: skip

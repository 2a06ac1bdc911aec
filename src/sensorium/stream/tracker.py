"""From probabilities every 100 ms to what was felt when: smoothing, hysteresis, segments, events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Habits:
    """How quickly the machine makes up its mind; all times in seconds of sound.

    half_life: of what was heard before, in the smoothed probabilities; they move while there is voice.
    margin: by how much another emotion must lead the present one. hold: for how long it must lead.
    least: how long an emotion lasts before another may follow. voice: share of a step's frames that
    makes it speech. pause: silence after which speech has ended.
    """

    half_life: float = 0.4
    margin: float = 0.05
    hold: float = 0.3
    least: float = 0.5
    voice: float = 0.3
    pause: float = 0.6


@dataclass
class Felt:
    """One listener's state: give it each reading in turn, then :meth:`end`.

    Attributes: smoothed (c,) probabilities; emotion, a label or None while nobody speaks; speech;
    segments, all that have ended so far (the newest ``keep``).

    Speech begins at the first step with enough voice and ends where voice was last heard, once
    ``pause`` seconds have passed without. Within speech the emotion is the leader of the smoothed
    probabilities at its start; another takes its place from the moment it began to lead, once it led
    by ``margin`` for ``hold`` seconds and the present one has lasted ``least`` seconds. Silence
    changes nothing but time: the offline policy, which drops its frames.
    """

    labels: Sequence[str]
    habits: Habits = field(default_factory=Habits)
    keep: int = 10_000

    def __post_init__(self) -> None:
        self.smoothed: list[float] = [1.0 / len(self.labels)] * len(self.labels)
        self.segments: list[dict[str, Any]] = []
        self.speech = False
        self._weight = 0.0  # of all readings smoothed so far; near 1 after some half-lives
        self._time = 0.0
        self._voiced = 0.0  # where voice was last heard
        self._present: int | None = None
        self._since = 0.0
        self._sum, self._steps = 0.0, 0
        self._rival: int | None = None
        self._led = 0.0  # where the rival began to lead

    @property
    def emotion(self) -> str | None:
        """What is felt now; None while nobody speaks."""
        return None if self._present is None else self.labels[self._present]

    def push(self, begin: float, end: float, probabilities: Sequence[float], voice: float) -> list[dict[str, Any]]:
        """One step's reading; returns what happened, in order, as dicts with ``type`` "event" or "segment".

        begin, end: seconds of sound, each step beginning no earlier than the one before. voice: the share
        of the step that is voice.
        """
        habits, told = self.habits, []
        step = max(0.0, begin - self._time) or end - begin
        self._time = begin
        if voice >= habits.voice:
            self._voiced = end
            self._smooth(probabilities, step)
            if not self.speech:
                self.speech = True
                told.append({"type": "event", "event": "speech_start", "t": begin})
                told += self._feel(self._leader(), begin)
            else:
                told += self._contest(begin, end)
            self._sum += self.smoothed[self._present or 0]
            self._steps += 1
        elif self.speech and end - self._voiced >= habits.pause - 1e-6:
            told += self._fall_silent()
        return told

    def end(self) -> list[dict[str, Any]]:
        """The recording is over: what was still going on ends where voice was last heard."""
        return self._fall_silent() if self.speech else []

    def _smooth(self, probabilities: Sequence[float], seconds: float) -> None:
        """An exponential mean without a bias to where it began, as in Adam."""
        keep = 0.5 ** (seconds / self.habits.half_life)
        before, self._weight = self._weight * keep, self._weight * keep + (1.0 - keep)
        a, b = before / self._weight, (1.0 - keep) / self._weight
        self.smoothed = [a * old + b * new for old, new in zip(self.smoothed, probabilities, strict=True)]

    def _leader(self) -> int:
        return max(range(len(self.smoothed)), key=self.smoothed.__getitem__)

    def _contest(self, begin: float, end: float) -> list[dict[str, Any]]:
        """Whether another emotion takes the present one's place."""
        leader, present = self._leader(), self._present or 0
        if leader == present or self.smoothed[leader] - self.smoothed[present] < self.habits.margin:
            self._rival = None
            return []
        if leader != self._rival:
            self._rival, self._led = leader, begin
        if end - self._led < self.habits.hold or self._led - self._since < self.habits.least:
            # A rival that leads before the present one has lasted waits: its time counts from then on.
            self._led = max(self._led, min(begin, self._since + self.habits.least))
            return []
        return [*self._close(self._led), *self._feel(leader, self._led)]

    def _feel(self, emotion: int, at: float) -> list[dict[str, Any]]:
        before = self.emotion
        self._present, self._since, self._rival, self._sum, self._steps = emotion, at, None, 0.0, 0
        return [{"type": "event", "event": "emotion", "t": at, "from": before, "to": self.labels[emotion]}]

    def _fall_silent(self) -> list[dict[str, Any]]:
        told = self._close(self._voiced)
        self._present, self._rival, self.speech = None, None, False
        return [*told, {"type": "event", "event": "speech_end", "t": self._voiced}]

    def _close(self, at: float) -> list[dict[str, Any]]:
        if self._present is None or at <= self._since:
            return []
        segment = {"type": "segment", "start": self._since, "end": at, "emotion": self.labels[self._present],
                   "confidence": self._sum / max(1, self._steps)}  # fmt: skip
        self.segments = [*self.segments[-self.keep + 1 :], segment]
        return [segment]

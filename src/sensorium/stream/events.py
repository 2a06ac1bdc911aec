"""Readings of one stream as messages, in the format of ``WS /stream``: see docs/live.md."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sensorium.stream.batch import Reading
from sensorium.stream.tracker import Change, Segment, SegmentTracker, TrackerOptions

_DIGITS = 7  # of probabilities in messages; times have _TIME_DIGITS
_TIME_DIGITS = 4

Message = dict[str, Any]


class Events:
    """The messages of one stream. Keys "emotion" and "felt" are older names of "label" and "predicted".

    samples: how many came in so far at ``rate`` Hz; the owner counts them.
    """

    def __init__(self, labels: Sequence[str], rate: int, options: TrackerOptions | None = None) -> None:
        self.labels, self.rate, self.options = list(labels), rate, options or TrackerOptions()
        self.reset()

    def reset(self) -> None:
        """Begin anew at second 0."""
        self.tracker = SegmentTracker(self.labels, self.options)
        self.samples, self._began = 0, 0.0
        self.last: Reading | None = None

    def push(self, readings: Sequence[Reading]) -> list[Message]:
        """Messages: one of type "frames" for all these readings, then what began or ended with them."""
        if not readings:
            return []
        tracker, more = self.tracker, []
        for reading in readings:
            self.last = reading
            shown = reading.utterance or reading.values
            for change in tracker.push(reading.begin, reading.end, shown, reading.voiced_fraction):
                more += self._messages(change)
        label = tracker.label
        frames = {
            "type": "frames",
            "t0": round(readings[0].begin, _TIME_DIGITS),
            "t1": round(readings[-1].end, _TIME_DIGITS),
            "probabilities": [_rounded(reading.utterance or reading.values) for reading in readings],
            "smoothed": _rounded(tracker.smoothed),
            "emotion": label,
            "label": label,
            "speech": tracker.active,
        }
        return [frames, *more]

    def end(self) -> list[Message]:
        """What was still going on ends; the last message is of type "final": the answer for the whole recording.

        A recording without speech has no label: "emotion", "label" and "confidence" are None, "speech" is False.
        """
        messages = [message for change in self.tracker.end() for message in self._messages(change)]
        values, segments = self.last.values if self.last else None, self.tracker.segments
        best = _largest(values) if values and self.tracker.ever_active else None
        seconds: dict[str, float] = {}
        for segment in segments:
            seconds[segment.label] = seconds.get(segment.label, 0.0) + segment.end - segment.start
        label = None if best is None else self.labels[best]
        final = {
            "type": "final",
            "seconds": round(self.samples / self.rate, _TIME_DIGITS),
            "frames": self.last.frames if self.last else 0,
            "speech": self.tracker.ever_active,
            "probabilities": None if values is None else _rounded(values),
            "emotion": label,
            "label": label,
            "confidence": None if values is None or best is None else round(values[best], _DIGITS),
            "predicted": (shares := {name: round(s, _TIME_DIGITS) for name, s in seconds.items()}),
            "felt": shares,
            "segments": [_segment(segment) for segment in segments],
        }
        return [*messages, final]

    def _messages(self, change: Segment | Change) -> list[Message]:
        if isinstance(change, Segment):
            return [_segment(change)]
        t = round(change.t, _TIME_DIGITS)
        if change.kind == "label":
            return [{"type": "event", "event": "emotion", "t": t, "from": change.previous, "to": change.label}]
        if change.kind == "start":
            self._began = t
            return [{"type": "event", "event": "speech_start", "t": t}]
        return [{"type": "event", "event": "speech_end", "t": t}, *self._utterance(t)]

    def _utterance(self, end: float) -> list[Message]:
        """The reading of an utterance by itself once it is over, where utterances are read by themselves."""
        values = self.last.utterance if self.last else None
        if values is None:
            return []
        best = _largest(values)
        return [{"type": "utterance", "start": self._began, "end": end, "probabilities": _rounded(values),
                 "emotion": self.labels[best], "label": self.labels[best],
                 "confidence": round(values[best], _DIGITS)}]  # fmt: skip


def _segment(segment: Segment) -> Message:
    return {"type": "segment", "start": round(segment.start, _TIME_DIGITS), "end": round(segment.end, _TIME_DIGITS),
            "emotion": segment.label, "label": segment.label,
            "confidence": round(segment.confidence, _TIME_DIGITS)}  # fmt: skip


def _largest(values: Sequence[float]) -> int:
    return max(range(len(values)), key=values.__getitem__)


def _rounded(probabilities: Sequence[float]) -> list[float]:
    return [round(p, _DIGITS) for p in probabilities]

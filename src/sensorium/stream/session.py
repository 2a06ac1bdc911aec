"""A run that listens: probabilities of its classes from live sound, what was felt when, and the final answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sensorium.errors import BadData, BadRecipe
from sensorium.modalities.audio import files
from sensorium.modalities.audio.samples import to_float
from sensorium.stream.batch import STEP, Reading, Streams, offline
from sensorium.stream.tracker import Felt, Habits

_DIGITS = 7  # of probabilities in messages; times have _TIME_DIGITS
_TIME_DIGITS = 4


class Voice:
    """The parts of a run that hear: encoder and head of the left side, the classes of the right.

    labels: the c classes, in the order of all probabilities. Raises BadRecipe for a run that cannot stream.
    """

    def __init__(self, run: Any) -> None:
        check(run)
        index = run.index("right")
        rows = len(index.table)
        self.labels: list[str] = [str(name) for name in index.table.ids]
        self.encoder, self.head, self.name = run.encoder("left"), run.head("left"), Path(run.folder).name
        self._objective = run.recipe.part("objective")
        self._classes = np.array(index.vectors(np.arange(rows)), np.float32).T

    def probabilities(self, z: np.ndarray) -> np.ndarray:
        """What the head reads (b, d) as probabilities (b, c), as in training."""
        return self._objective.probabilities(z @ self._classes)

    def streams(self, step: float = STEP, habits: Habits | None = None) -> Streams:
        """Many streams of this voice, stepped together."""
        return Streams(self.encoder, self.head, self.probabilities, step, habits or Habits())

    def offline(self, sources: Sequence[Any]) -> np.ndarray:
        """Probabilities (n, c) of whole recordings: paths, or ``(samples, rate)``."""
        return self.probabilities(offline(self.encoder, self.head, sources))


def check(run: Any) -> None:
    """Raise BadRecipe, saying why, unless a run can stream."""
    if not run.recipe.part("objective").gives_probabilities:
        objective = run.recipe.part_name("objective")
        raise BadRecipe(f"{run.folder} was fitted by {objective}, which gives no probabilities of classes; a live "
                        "stream needs objective=cross_entropy, as in: sensorium run ravdess-best")  # fmt: skip
    for part in (run.encoder("left"), run.head("left")):
        if not part.streams:
            raise BadRecipe(f"{run.folder}: {type(part).__name__} cannot stream; choose an encoder such as mfcc and a "
                            "head such as lstm")  # fmt: skip
    run.encoder("left").start(0)  # refuses a normalisation that needs the end first


def check_samples(samples: Any) -> np.ndarray:
    """Samples (n,) of a stream as float32, by the rule of :func:`sensorium.modalities.audio.samples.to_float`.

    Raises BadData for NaN, infinity, another shape, and types or sizes that are no sound.
    """
    try:
        samples = np.asarray(samples)
    except ValueError as error:  # rows of unequal length
        raise BadData(f"samples are no array of numbers ({error}); expected (n,) float32 or int16") from None
    if samples.ndim != 1:
        raise BadData(f"samples of shape {samples.shape} and type {samples.dtype}; expected (n,) float32 or int16")
    return to_float(samples)


class Ear:
    """What one stream is told: its readings as messages, in the words of ``WS /stream``."""

    def __init__(self, labels: Sequence[str], rate: int, habits: Habits | None = None) -> None:
        self.labels, self.rate, self.habits = list(labels), rate, habits or Habits()
        self.reset()

    def reset(self) -> None:
        """As if nothing had been heard."""
        self.felt = Felt(self.labels, self.habits)
        self.samples, self._began = 0, 0.0
        self.last: Reading | None = None

    def hear(self, readings: Sequence[Reading]) -> list[dict[str, Any]]:
        """Messages: one of type "frames" for all these readings, then what happened in them."""
        if not readings:
            return []
        told: list[dict[str, Any]] = []
        for reading in readings:
            new = self.felt.push(reading.begin, reading.end, reading.present or reading.values, reading.voice)
            self.last = reading
            for message in new:
                told += [message, *self._utterance(message)]
        last = readings[-1]
        frames = {
            "type": "frames",
            "t0": round(readings[0].begin, _TIME_DIGITS),
            "t1": round(last.end, _TIME_DIGITS),
            "probabilities": [[round(p, _DIGITS) for p in reading.present or reading.values] for reading in readings],
            "smoothed": [round(p, _DIGITS) for p in self.felt.smoothed],
            "emotion": self.felt.emotion,
            "speech": self.felt.speech,
        }
        return [frames, *map(_rounded, told)]

    def end(self) -> list[dict[str, Any]]:
        """What was still going on ends; the last message is of type "final": the whole recording's answer."""
        told = []
        for message in self.felt.end():
            told += [_rounded(message), *map(_rounded, self._utterance(message))]
        values = self.last.values if self.last else None
        best = max(range(len(values)), key=values.__getitem__) if values else None
        seconds: dict[str, float] = {}
        for segment in self.felt.segments:
            seconds[segment["emotion"]] = seconds.get(segment["emotion"], 0.0) + segment["end"] - segment["start"]
        final = {
            "type": "final",
            "seconds": round(self.samples / self.rate, _TIME_DIGITS),
            "frames": self.last.frames if self.last else 0,
            "probabilities": None if values is None else [round(p, _DIGITS) for p in values],
            "emotion": None if best is None else self.labels[best],
            "confidence": None if values is None or best is None else round(values[best], _DIGITS),
            "felt": {name: round(s, _TIME_DIGITS) for name, s in seconds.items()},
            "segments": [_rounded(segment) for segment in self.felt.segments],
        }
        return [*told, final]

    def _utterance(self, message: Mapping[str, Any]) -> list[dict[str, Any]]:
        """What an utterance says by itself, once it is over, where utterances are read by themselves."""
        if message.get("event") == "speech_start":
            self._began = message["t"]
        values = self.last.present if self.last else None
        if values is None or message.get("event") != "speech_end":
            return []
        best = max(range(len(values)), key=values.__getitem__)
        return [{"type": "utterance", "start": self._began, "end": message["t"],
                 "probabilities": [round(p, _DIGITS) for p in values], "emotion": self.labels[best],
                 "confidence": round(values[best], _DIGITS)}]  # fmt: skip


def _rounded(message: Mapping[str, Any]) -> dict[str, Any]:
    return {key: round(value, _TIME_DIGITS) if isinstance(value, float) else value for key, value in message.items()}


class Listener:
    """One live stream of a run.

    >>> stream = sensorium.open("runs/ravdess-best").stream()  # doctest: +SKIP
    >>> for chunk in chunks:                                   # doctest: +SKIP
    ...     for event in stream.push(chunk): print(event)
    >>> stream.end()["emotion"]                                # doctest: +SKIP
    """

    def __init__(self, voice: Voice, rate: int = files.RATE, utterances: bool = False, habits: Habits | None = None):
        self.voice, self.labels, habits = voice, voice.labels, habits or Habits()
        self._streams = voice.streams(habits=habits)
        self._key: int | None = self._streams.open(rate, utterances)
        self._ear = Ear(voice.labels, rate, habits)

    def push(self, samples: np.ndarray) -> list[dict[str, Any]]:
        """Samples (n,), float in -1 … 1 or int16, of any number → messages of type frames, event and segment.

        Raises BadData for samples that are no sound, or once the stream has ended.
        """
        return self._push(samples, False)

    def end(self) -> dict[str, Any]:
        """The final answer: the probabilities that the whole recording gives offline, and all segments."""
        return self.finish()[-1]

    def finish(self) -> list[dict[str, Any]]:
        """End the stream: what its last frames still say, what ends with it, and at last the final answer."""
        told = self._push(np.zeros(0, np.float32), True)
        self._key = None
        return [*told, *self._ear.end()]

    def reset(self) -> None:
        """Begin anew at second 0."""
        self._streams.reset(self._open())
        self._ear.reset()

    def _push(self, samples: np.ndarray, last: bool) -> list[dict[str, Any]]:
        key, samples = self._open(), check_samples(samples)
        self._ear.samples += len(samples)
        return self._ear.hear(self._streams.push({key: samples}, [key] if last else ())[key])

    def _open(self) -> int:
        if self._key is None:
            raise BadData("this stream has ended; open another with run.stream()")
        return self._key

"""One live stream of a run: samples in, messages out, the final answer at the end."""

from __future__ import annotations

from typing import Any

import numpy as np

from sensorium.errors import BadData
from sensorium.modalities.audio import files
from sensorium.modalities.audio.samples import as_array, as_rate, to_float
from sensorium.stream.classifier import StreamingClassifier
from sensorium.stream.events import Events
from sensorium.stream.tracker import TrackerOptions


def check_samples(samples: Any) -> np.ndarray:
    """Samples (n,) of a stream as float32, by the rule of :func:`sensorium.modalities.audio.samples.to_float`.

    Raises BadData for NaN, infinity, another shape, and types or sizes that are no sound.
    """
    samples = as_array(samples)
    if samples.ndim != 1:
        raise BadData(f"samples of shape {samples.shape} and type {samples.dtype}; expected (n,) float32 or int16")
    return to_float(samples)


class Session:
    """One live stream of a run.

    >>> stream = sensorium.open("runs/ravdess-best").stream()  # doctest: +SKIP
    >>> for chunk in chunks:                                   # doctest: +SKIP
    ...     for message in stream.push(chunk): print(message)
    >>> stream.end()["label"]                                  # doctest: +SKIP
    """

    def __init__(
        self,
        classifier: StreamingClassifier,
        rate: int = files.RATE,
        utterances: bool = False,
        options: TrackerOptions | None = None,
    ) -> None:
        self.classifier, self.labels, rate = classifier, classifier.labels, as_rate(rate)
        self._streams = classifier.streams(options=options)
        self._key: int | None = self._streams.open(rate, utterances)
        self._events = Events(classifier.labels, rate, options)

    def push(self, samples: np.ndarray) -> list[dict[str, Any]]:
        """Samples (n,), float in -1 … 1 or int16, of any number → messages of type frames, event and segment.

        Raises BadData for samples that are no sound, or once the stream has ended.
        """
        return self._push(samples, False)

    def end(self) -> dict[str, Any]:
        """The final answer: the probabilities that the whole recording gives offline, and all segments.

        Its label is None where no speech was heard.
        """
        return self.finish()[-1]

    def finish(self) -> list[dict[str, Any]]:
        """End the stream: messages of its last frames, of what ends with it, and at last the final answer."""
        messages = self._push(np.zeros(0, np.float32), True)
        self._key = None
        return [*messages, *self._events.end()]

    def reset(self) -> None:
        """Begin anew at second 0."""
        self._streams.reset(self._open())
        self._events.reset()

    def _push(self, samples: np.ndarray, last: bool) -> list[dict[str, Any]]:
        key, samples = self._open(), check_samples(samples)
        self._events.samples += len(samples)
        return self._events.push(self._streams.push({key: samples}, [key] if last else ())[key])

    def _open(self) -> int:
        if self._key is None:
            raise BadData("this stream has ended; open another with run.stream()")
        return self._key

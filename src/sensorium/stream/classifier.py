"""Streaming classification by a run: encoder and head of its left side, the classes of its right side."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sensorium.contracts import Encoder, Head
from sensorium.errors import BadRecipe
from sensorium.numerics import affect, ragged
from sensorium.stream.batch import STEP, Streams, check_parts
from sensorium.stream.tracker import TrackerOptions

if TYPE_CHECKING:
    from sensorium.search.run import Run


class StreamingClassifier:
    """Encoder, head and class vectors of a run; one serves any number of streams.

    labels: the c classes, in the order of all probabilities. emotions: whether they are emotions, which are heard in
    speech alone. Raises BadRecipe for a run that cannot stream.
    """

    def __init__(self, run: Run) -> None:
        check(run)
        index = run.index("right")
        self.labels: list[str] = [str(name) for name in index.table.ids]
        self.emotions = affect.are_emotions(self.labels)
        self.encoder, self.head, self.name = run.encoder("left"), run.head("left"), Path(run.folder).name
        self._objective = run.recipe.part("objective")
        self._classes = np.array(index.vectors(np.arange(len(self.labels))), np.float32).T

    def probabilities(self, z: np.ndarray) -> np.ndarray:
        """Outputs of the head (b, d) as probabilities of the classes (b, c), as in training."""
        return self._objective.probabilities(z @ self._classes)

    def streams(self, step: float = STEP, options: TrackerOptions | None = None) -> Streams:
        """Many streams of this run, computed together."""
        return Streams(self.encoder, self.head, self.probabilities, step, options or TrackerOptions(), self.emotions)

    def offline(self, sources: Iterable[Any]) -> np.ndarray:
        """Probabilities (n, c) of whole recordings, paths or ``(samples, rate)``: what streams must equal."""
        return self.probabilities(offline(self.encoder, self.head, sources))

    def of_frames(self, x: np.ndarray) -> np.ndarray:
        """Probabilities (c,) of one sequence of the encoder's frames (t, d)."""
        return self.probabilities(ragged.apply_frames(self.head, x, np.array([0, len(x)])))[0]

    def has_speech(self, samples: np.ndarray) -> bool:
        """Whether samples (n,) at the encoder's rate hold speech: a step that is voiced enough, as in a stream."""
        streams, least = self.streams(), TrackerOptions().active_share
        key = streams.open(self.encoder.rate)
        readings = streams.push({key: np.asarray(samples, np.float32)}, [key])[key]
        return any(reading.voiced_fraction >= least for reading in readings)


def check(run: Run) -> None:
    """Raise BadRecipe, with the reason, unless a run can stream."""
    if not run.recipe.part("objective").gives_probabilities:
        objective = run.recipe.part_name("objective")
        raise BadRecipe(f"{run.folder} was fitted by {objective}, which gives no probabilities of classes; a live "
                        "stream needs objective=cross_entropy, as in: sensorium run ravdess-best")  # fmt: skip
    check_parts(run.encoder("left"), run.head("left"), f"{run.folder}: ")


def offline(encoder: Encoder, head: Head, sources: Iterable[Any]) -> np.ndarray:
    """Outputs of the head for whole recordings, (n, d): paths or ``(samples, rate)``; what streams must equal."""
    frames = encoder.encode(list(sources))
    offsets = np.cumsum([0, *map(len, frames)])
    return ragged.apply_frames(head, np.concatenate(frames), offsets)

"""Faces and the prompts that describe them: vectors of training_data.npz."""

from __future__ import annotations

from sensorium.contracts import Dataset
from sensorium.datasets import _perception_file, _recordings
from sensorium.datasets._perception_layout import Layout
from sensorium.errors import BadRecipe
from sensorium.types import Data


class Perception(Dataset):
    """Left: faces. Right: the distinct prompts, each once however many faces it describes.

    file: vectors of faces and prompts, ``training_data.npz`` with ``perception_embeddings`` [n, 1441] and
    ``clip_embeddings`` [n, any]; row i of both is one face. Equal rows of the second are one prompt. Further arrays [n]
    are read where they are there: ``prompts`` (texts), ``labels``, ``persons``, ``groups`` or ``videos``, ``files``,
    ``ids`` and ``split``.
    points: landmarks of a vector, 478; 468 without irises, 68 of other models (two or three numbers each).
    emotions: whether the last seven numbers are emotion probabilities.
    group: faces of one group never stand in two splits. "auto": the array of persons, else of videos; where the file
    has neither, rows are joined to shots: a face whose landmarks, centred and scaled, lie within 0.1 of one of the
    three rows above it is of the same shot, one within 0.02 of any row a copy. "row": each row is a group. Or the name
    of an array.
    bad: what to do with rows that cannot be used, "stop" or "skip".
    """

    def __init__(self, file: str | None = None, points: int = 478, emotions: bool = True, group: str = "auto",
                 bad: str = "stop") -> None:  # fmt: skip
        _recordings.check_bad(bad)
        self.file, self.group, self.bad = file, group, bad
        self.layout = Layout(points, emotions)

    def load(self) -> Data:
        """Read, check and pair.

        Raises BadRecipe where there is no file or no such array, BadData, with rows, for vectors that cannot be used.
        """
        if self.file is None:
            raise BadRecipe("no data.file; type: data.file=training_data.npz")
        return _perception_file.read(self.file, self.layout, self.group, self.bad).data()

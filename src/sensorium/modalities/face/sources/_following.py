"""Faces of one stream of pictures, each looked for where the picture before had it, by a graph of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from sensorium.errors import BadData
from sensorium.modalities.face.landmarks import Face, LandmarkSource, distinct, largest_first, overlap


class Following(LandmarkSource):
    """A graph of MediaPipe that follows faces from picture to picture.

    make: the graph. read: the faces of a picture by it. One call at a time, from any thread.
    """

    def __init__(self, source: LandmarkSource, make: Callable[[], Any], read: Callable[[Any, np.ndarray], list[Face]]):
        self.name, self._source, self._make, self._read = source.name, source, make, read
        self._graph: Any = make()
        self._before: list[Face] = []
        self._lock = threading.Lock()  # the stream may end while a picture is looked at

    def fingerprint(self) -> Mapping[str, Any]:
        """That of the source, and that faces are followed."""
        return {**self._source.fingerprint(), "following": True}

    def faces(self, rgb: np.ndarray, most: int = 1) -> list[Face]:
        """The faces of the next picture. Raises BadData where the graph fails; the next picture has a new one.

        A graph that looks for faces anew may find one twice: the one nearer to a face of the picture before is taken.
        """
        with self._lock:
            if self._graph is None:
                self._graph = self._make()
            try:
                found = sorted(self._read(self._graph, rgb), key=self._newness)
                self._before = largest_first(distinct(found), most)
                return self._before
            except (RuntimeError, ValueError) as error:
                self._end()
                reason = str(error).splitlines()[0][:200]
        raise BadData(f"MediaPipe failed at a picture ({reason})")

    def _newness(self, face: Face) -> float:
        """0 for a face that covers one of the picture before, 1 for one that touches none."""
        return 1.0 - max((overlap(face.box, one.box) for one in self._before), default=0.0)

    def close(self) -> None:
        """End the graph."""
        with self._lock:
            self._end()

    def _end(self) -> None:
        graph, self._graph, self._before = self._graph, None, []
        if graph is not None:
            graph.close()

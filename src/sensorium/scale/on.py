"""What ``--on`` means: embedding within a block runs on Ray."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from sensorium.errors import require
from sensorium.fitting import partial_moments
from sensorium.scale.cluster import EXTRA, Where
from sensorium.scale.embedding import OnRay
from sensorium.scale.remote import InObjects
from sensorium.store import engines


@contextlib.contextmanager
def on(
    where: str, workers: int | None = None, stores: str = "", whole: bool = True, progress: bool = False
) -> Iterator[OnRay]:
    """Embed on Ray within the block.

    where: as typed after ``--on``. workers: encoders at a time. stores: URL below which the stores lie, such as
    ``s3://bucket/embeddings``; "" for the usual folder. whole: of stores at a URL, copy the vectors here as well.
    Raises BadRecipe for another text, MissingExtra without Ray or the client of the object store.
    """
    there = Where.of(where)
    require("ray", EXTRA)
    made = InObjects(there, stores, whole, workers, progress) if stores else OnRay(there, workers)
    with made as engine, engines.by(engine), partial_moments.by(engine.moments):
        yield engine

"""What ``--on`` means: embedding within a block runs on Ray."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from sensorium.errors import require
from sensorium.scale.cluster import EXTRA, Where
from sensorium.scale.embedding import OnRay
from sensorium.store import engines


@contextlib.contextmanager
def on(where: str, workers: int | None = None) -> Iterator[OnRay]:
    """Embed on Ray within the block. where: as typed after ``--on``. workers: encoders at a time.

    Raises BadRecipe for another text, MissingExtra without Ray.
    """
    there = Where.of(where)
    require("ray", EXTRA)
    with OnRay(there, workers) as engine, engines.by(engine):
        yield engine

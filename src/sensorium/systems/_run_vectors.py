"""The raw vectors that a run was fitted on, for files of other projects that hold vectors by row."""

from __future__ import annotations

from typing import Any

from sensorium import pipeline
from sensorium.errors import BadRecipe
from sensorium.search import located
from sensorium.types import Data, Embeddings


def of(run: Any, sides: str) -> tuple[Data, tuple[Embeddings, Embeddings], Any]:
    """The data of a run, the vectors of both sides as its encoders give them, and its pairs with their splits.

    Vectors that are stored are not computed again. sides: what the two sides hold, for messages. Raises Mismatch, or
    BadData, where the data are not there any more; BadRecipe for one table, or frames.
    """
    data = located.data(run.recipe, run.folder).load()
    if data.right is None:
        raise BadRecipe(f"{run.folder} has one table; expected {sides}")
    built = located.tuned(run.recipe.build(), run.folder)
    left, right = pipeline.embed(run.recipe, data, pipeline.RunFolder(run.folder).stores, progress=False, parts=built)
    if left.offsets is not None or right.offsets is not None:
        raise BadRecipe(f"{run.folder} is of frames, several vectors an item; the original has one vector an item")
    return data, (left, right), pipeline.split(run.recipe, data.pairs, ["test"])

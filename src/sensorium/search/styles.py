"""Query styles of a run in the making: its texts' encoder, and where the rewritten texts' vectors are kept."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sensorium.evaluate import protocols
from sensorium.evaluate.projected import Projected
from sensorium.recipe import Recipe
from sensorium.search.folder import RunFolder, store_name
from sensorium.types import Data


def report(
    plan: Recipe, data: Data, projected: Projected, folder: Path, encoders: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The captions of the test split asked in other styles: see :func:`sensorium.evaluate.query_styles.report`.

    encoders: the recipe's, by side, where they are built already. Raises BadRecipe where the texts came as vectors.
    """
    from sensorium.evaluate import query_styles  # torch, whose absence an earlier step names

    side = protocols.text_side(data)
    encoder = encoders[side] if encoders else plan.part(f"{side}.encoder")
    stores = RunFolder.of(folder).stores
    if encoder is not None:
        stores /= f"{store_name(side, plan, encoder.fingerprint)}-styles"
    return query_styles.report(data, projected, plan.evaluate_options(), folder, encoder, stores)

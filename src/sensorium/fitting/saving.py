"""Both fitted heads written into a run's folder, and what belongs to them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sensorium.fitting.fitted import Fitted
from sensorium.numerics import centers
from sensorium.types import Embeddings


def save_heads(plan: Any, left: Embeddings, right: Embeddings | None, fitted: Fitted, folder: Path) -> None:
    """Both heads with the fingerprints of the encoders they belong to; one when they are tied.

    plan: the recipe, which names the parts. The ensemble that they were distilled from, if any, is kept in a folder of
    its own, to be evaluated beside them.
    """
    from sensorium import heads
    from sensorium.fitting.baselines import ENSEMBLE

    for side, table, module in (("left", left, fitted.left_head), ("right", right, fitted.right_head)):
        if table is not None and table.centers is not None:
            table.centers.save(folder / centers.FILE.format(side=side))
        if table is not None:
            heads.save(module, folder / side, fitted.names.get(side, plan.part_name(f"{side}.head")), table.fingerprint)
        if table is not None and side in fitted.ensemble:
            module, name = fitted.ensemble[side]
            heads.save(module, folder / ENSEMBLE / side, name, table.fingerprint)

"""The error of a run that the original's files have no room for."""

from __future__ import annotations

from sensorium.errors import BadRecipe


def refused(why: str, side: str) -> BadRecipe:
    """The error of a head that the original has no room for."""
    return BadRecipe(
        f"the original's heads are Linear-ReLU-Linear or Linear-GELU-Linear, one Linear, or the CNN, and the {side} "
        f"one is not: {why}; fit one: sensorium run clotho; or type: sensorium export onnx RUN --out head.onnx"
    )

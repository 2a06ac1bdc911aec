"""What heads of equal blocks share: the limits of their arguments, and activations by name."""

from __future__ import annotations

from torch import nn

from sensorium.errors import BadRecipe

ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU, "tanh": nn.Tanh, "silu": nn.SiLU}
_DEEPEST, _WIDEST = 100, 64  # blocks; multiple of the width inside a block


def check_blocks(name: str, depth: int, expansion: int, dropout: float) -> None:
    """Raise BadRecipe for a number of blocks, a width or a dropout that no head can have."""
    if not 1 <= depth <= _DEEPEST or not 1 <= expansion <= _WIDEST or not 0 <= dropout < 1:
        raise BadRecipe(
            f"{name}: depth={depth}, expansion={expansion}, dropout={dropout}; expected depth 1 to {_DEEPEST}, "
            f"expansion 1 to {_WIDEST}, and dropout from 0 to below 1"
        )

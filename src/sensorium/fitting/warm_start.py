"""Warm start: initialise trained heads with a closed-form solution."""

from __future__ import annotations

import numpy as np

from sensorium import parts
from sensorium.contracts import Head
from sensorium.errors import BadRecipe
from sensorium.fitting.closed_form import check as check_closed_form
from sensorium.fitting.closed_form import closed_form
from sensorium.pairs import Pairs
from sensorium.types import Affine, Embeddings


def initialise(name: str, left: Embeddings, right: Embeddings, pairs: Pairs, left_head: Head, right_head: Head) -> None:
    """Give the built, trainable heads the maps that objective ``name`` solves for.

    Raises BadRecipe where a head cannot start at a linear map, is of another width, or is not
    trained although the closed form moves its side.
    """
    objective = {"name": name}
    if name == "cca":
        objective["dim"] = left_head.dim
    elif not right_head.trainable:
        objective["center"] = False  # a side that is not trained stays where it is
    solution, _ = closed_form(left, right, pairs, left_head, right_head, parts.make("objectives", objective))
    sides = [("left", left_head, left, solution.left), ("right", right_head, right, solution.right)]
    for side, head, table, affine in sides[: 1 if left_head is right_head else 2]:
        _start(name, side, head, table, affine)


def check(name: str, left: Embeddings, right: Embeddings, pairs: Pairs, left_head: Head, right_head: Head) -> None:
    """Raise what :func:`initialise` would, from the widths alone. The heads, which are built, become useless by it."""
    objective = parts.make("objectives", {"name": name, **({"dim": left_head.dim} if name == "cca" else {})})
    check_closed_form(left, right, pairs, left_head, right_head, objective)
    width = left_head.dim if name == "cca" else right.dim if right_head.trainable else right_head.dim
    moved = Affine(np.zeros((left.dim, width)), np.zeros(width))
    _start(name, "left", left_head, left, moved)
    if left_head is not right_head:
        fixed = name == "ridge" or (name == "procrustes" and not right_head.trainable)
        _start(name, "right", right_head, right,
               None if fixed else Affine(np.zeros((right.dim, width)), np.zeros(width)))  # fmt: skip


def _start(name: str, side: str, head: Head, table: Embeddings, affine: Affine | None) -> None:
    if not head.trainable:
        if affine is not None:
            raise BadRecipe(f"train.initialise={name} moves the {side} side, whose head is not trained; use ridge")
        return
    affine = affine or Affine(np.eye(table.dim), np.zeros(table.dim))
    if len(affine.bias) != head.dim:
        raise BadRecipe(
            f"train.initialise={name} gives {side} vectors of {len(affine.bias)}, {side}.head of {head.dim}; "
            f"type: {side}.head.dim={len(affine.bias)}"
        )
    head.initialise(affine)

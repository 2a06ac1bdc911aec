"""Every fold of a protocol in one command, several seeds each: mean ± standard deviation over folds and over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sensorium import recipe as recipes
from sensorium.evaluate import aggregate
from sensorium.experiments._repeat import repeat
from sensorium.recipe import Recipe

WORD = "all"  # as in data.fold=all


def requested(plan: Recipe) -> bool:
    """Whether a recipe asks for every fold."""
    return plan.values["data"].get("fold") == WORD


def every(
    recipe: str | Path | Mapping[str, Any],
    overrides: Sequence[str] = (),
    *,
    seeds: int = 1,
    out: str | Path | None = None,
    first: int = 0,
    quiet: bool = False,
) -> dict[str, Any]:
    """Run each fold of ``data.protocol``, or of ``data.folds`` folds of whole groups, with seeds, and summarise.

    seeds: ``first`` … ``first + seeds - 1``.
    out: by default ``runs/<recipe>-folds``; it gets ``fold-<k>/seed-<s>``, ``folds.json`` and a card. What is
    already there is not run again, so an interrupted command goes on where it stopped.

    Returns what folds.json says, see :func:`sensorium.evaluate.aggregate.summarise`; beside it lie its pictures
    and a card; ``folder`` says where.
    Raises what running a recipe raises, such as BadRecipe for data that bring their own split.
    """
    plan = recipes.load(recipe, overrides)
    first_fold = recipes.load(recipe, [*overrides, "data.fold=1"])
    folds = first_fold.part("data").folds() or first_fold.splitting()["folds"]
    out = Path(out) if out is not None else Path("runs") / f"{plan.name}-folds"
    numbers = range(first, first + seeds)
    variants = [([f"data.fold={fold}", f"seed={seed}"], f"fold-{fold}/seed-{seed}")
                for fold in range(1, folds + 1) for seed in numbers]  # fmt: skip
    metrics = repeat(recipe, overrides, variants, out, quiet)
    by_fold = [metrics[start : start + seeds] for start in range(0, len(metrics), seeds)]
    summary = {**aggregate.summarise(by_fold), "first_seed": first}
    aggregate.write(summary, plan.name, out)
    return {**summary, "folder": str(out)}

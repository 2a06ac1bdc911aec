"""Every fold of a protocol in one command, several seeds each: mean ± standard deviation over folds and over seeds."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sensorium import io, pipeline
from sensorium import recipe as recipes
from sensorium.errors import BadRecipe
from sensorium.evaluate import aggregate
from sensorium.recipe import Recipe
from sensorium.search.folder import RunFolder

WORD = "all"  # as in data.fold=all


def wanted(plan: Recipe) -> bool:
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
    """Run each fold of ``data.protocol`` with the seeds ``first`` … ``first + seeds - 1`` and summarise.

    out: by default ``runs/<recipe>-folds``; it gets ``fold-<k>/seed-<s>``, ``folds.json`` and a card. What is
    already there is not run again, so an interrupted command goes on where it stopped.

    Returns what folds.json says, see :func:`sensorium.evaluate.aggregate.summarise`; beside it lie its pictures
    and a card; ``folder`` says where.
    Raises BadRecipe for a data set without folds, and what running a recipe raises.
    """
    plan = recipes.load(recipe, overrides)
    data = recipes.load(recipe, [*overrides, "data.fold=1"]).part("data")
    if not hasattr(data, "folds"):
        raise BadRecipe(f"the data set '{plan.part_name('data')}' has no folds; leave out data.fold={WORD}")
    out = Path(out) if out is not None else Path("runs") / f"{plan.name}-folds"
    numbers = range(first, first + seeds)
    judged = []
    for fold in range(1, data.folds() + 1):
        of_fold = []
        for seed in numbers:
            chosen, folder = [*overrides, f"data.fold={fold}", f"seed={seed}"], out / f"fold-{fold}" / f"seed-{seed}"
            if not quiet:
                print(f"fold {fold} of {data.folds()}, seed {seed}: {folder}", file=sys.stderr, flush=True)
            if not RunFolder(folder).is_run_of(recipes.load(recipe, chosen)):
                pipeline.run(recipe, chosen, out=folder, quiet=quiet, stores=out.parent / "embeddings")
            of_fold.append(io.read_json(folder / "metrics.json"))
        judged.append(of_fold)
    told = {**aggregate.summarise(judged), "first_seed": first}
    aggregate.write(told, plan.name, out)
    return {**told, "folder": str(out)}

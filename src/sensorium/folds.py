"""Every fold of a protocol in one command, several seeds each: mean ± standard deviation over folds and over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sensorium import io, pipeline
from sensorium import recipe as recipes
from sensorium.errors import BadRecipe
from sensorium.recipe import Recipe

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
) -> list[dict[str, Any]]:
    """Run each fold of ``data.protocol`` with the seeds ``first`` … ``first + seeds - 1`` and summarise.

    out: by default ``runs/<recipe>-folds``; it gets ``fold-<k>/seed-<s>`` and ``folds.json``. What is
    already there is not run again, so an interrupted command goes on where it stopped.

    Returns a row per direction and measure of the test splits: mean (over folds, each the mean of its
    seeds), std_folds (of these, as papers give it), std_seeds (of the seeds' own means over folds; None
    for one seed), lowest and highest fold, folds, seeds.
    Raises BadRecipe for a data set without folds, and what running a recipe raises.
    """
    plan = recipes.load(recipe, overrides)
    data = recipes.load(recipe, [*overrides, "data.fold=1"]).part("data")
    if not hasattr(data, "folds"):
        raise BadRecipe(f"the data set '{plan.part_name('data')}' has no folds; leave out data.fold={WORD}")
    out = Path(out) if out is not None else Path("runs") / f"{plan.name}-folds"
    numbers = range(first, first + seeds)
    results = []
    for fold in range(1, data.folds() + 1):
        of_fold = []
        for seed in numbers:
            chosen, folder = [*overrides, f"data.fold={fold}", f"seed={seed}"], out / f"fold-{fold}" / f"seed-{seed}"
            if not pipeline.is_run_of(folder, recipes.load(recipe, chosen)):
                pipeline.run(recipe, chosen, out=folder, quiet=quiet, stores=out.parent / "embeddings")
            of_fold.append(io.read_json(folder / "metrics.json")["results"])
        results.append(of_fold)
    rows = summarise(results)
    io.write_json(out / "folds.json", {"folds": len(results), "seeds": list(numbers), "results": rows})
    return rows


def summarise(results: Sequence[Sequence[Sequence[Mapping[str, Any]]]]) -> list[dict[str, Any]]:
    """Mean and spreads of the rows that ``metrics.json`` keeps under ``results``, by fold, then by seed."""
    keys = [(row["direction"], row["measure"], row["split"]) for row in results[0][0]]
    rows = []
    for key in keys:
        value = np.array([[_value(one, key) for one in of_fold] for of_fold in results])  # (folds, seeds)
        by_fold, by_seed = value.mean(1), value.mean(0)
        direction, measure, split = key
        rows.append({
            "direction": direction, "measure": measure, "split": split, "mean": float(value.mean()),
            "std_folds": _deviation(by_fold), "std_seeds": _deviation(by_seed), "lowest": float(by_fold.min()),
            "highest": float(by_fold.max()), "folds": len(by_fold), "seeds": len(by_seed),
        })  # fmt: skip
    return rows


def _value(results: Sequence[Mapping[str, Any]], key: tuple[str, str, str]) -> float:
    return next(float(row["value"]) for row in results if (row["direction"], row["measure"], row["split"]) == key)


def _deviation(values: np.ndarray) -> float | None:
    return float(values.std(ddof=1)) if len(values) > 1 else None

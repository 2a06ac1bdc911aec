"""Several seeds of one recipe in one command: mean ± standard deviation of every number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sensorium import io
from sensorium import recipe as recipes
from sensorium.errors import BadRecipe
from sensorium.experiments._repeat import repeat


def several(
    recipe: str | Path | Mapping[str, Any],
    overrides: Sequence[str] = (),
    *,
    seeds: int = 3,
    out: str | Path | None = None,
    first: int = 0,
    quiet: bool = False,
) -> list[dict[str, Any]]:
    """Run a recipe with the seeds ``first`` … ``first + seeds - 1`` and summarise the test numbers.

    The split stays the same (``data.split_seed``): what varies is the fit. out: by default
    ``runs/<recipe>-seeds``; it gets a run folder a seed and ``seeds.json``. A seed whose run is
    already there is not run again, so an interrupted command goes on where it stopped.

    Returns a row per direction and measure: mean, std (of single seeds, n - 1 in the
    denominator), lowest, highest, seeds (how many).
    Raises BadRecipe for fewer than two seeds, and what running a recipe raises.
    """
    if seeds < 2:
        raise BadRecipe(f"--seeds {seeds}; expected 2 or more, as one has no spread")
    plan = recipes.load(recipe, overrides)
    out = Path(out) if out is not None else Path("runs") / f"{plan.name}-seeds"
    variants = [([f"seed={seed}"], f"seed-{seed}") for seed in range(first, first + seeds)]
    rows = summarise([metrics["results"] for metrics in repeat(recipe, overrides, variants, out, quiet)])
    io.write_json(out / "seeds.json", {"seeds": list(range(first, first + seeds)), "results": rows})
    return rows


def summarise(results: Sequence[Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Mean and spread over runs of the rows that ``metrics.json`` stores under ``results``.

    Rows are matched by direction, measure and split, in the order of the first run; one that a
    run lacks is left out, and one that any run was stamped in stays ``leaky``.
    """
    keys = [_key(row) for row in results[0]]
    leaky = {_key(row) for one in results for row in one if row.get("leaky")}
    values = [{_key(row): row["value"] for row in one} for one in results]
    rows = []
    for key in keys:
        if not all(key in one for one in values):
            continue
        column = np.array([one[key] for one in values], np.float64)
        direction, measure, split = key
        rows.append({"direction": direction, "measure": measure, "split": split, "mean": float(column.mean()),
                     "std": float(column.std(ddof=1)), "lowest": float(column.min()), "highest": float(column.max()),
                     "seeds": len(column), **({"leaky": True} if key in leaky else {})})  # fmt: skip
    return rows


def _key(row: Mapping[str, Any]) -> tuple[str, str, str]:
    return row["direction"], row["measure"], row["split"]

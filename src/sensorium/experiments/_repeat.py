"""One recipe run several times, with seeds or folds that vary: what is already there is not run again."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sensorium import io, pipeline
from sensorium import recipe as recipes
from sensorium.search.folder import RunFolder


def repeat(
    recipe: str | Path | Mapping[str, Any],
    overrides: Sequence[str],
    variants: Iterable[tuple[Sequence[str], str]],
    out: Path,
    quiet: bool,
) -> list[dict[str, Any]]:
    """Run each variant, further overrides and a folder below ``out``; returns what each metrics.json holds.

    Embeddings are shared with the runs beside ``out``. An interrupted call goes on where it stopped.
    """
    found = []
    for more, name in variants:
        chosen, folder = [*overrides, *more], out / name
        if not quiet:
            print(f"{' '.join(more)}: {folder}", file=sys.stderr, flush=True)
        if not RunFolder(folder).is_run_of(recipes.load(recipe, chosen)):
            pipeline.run(recipe, chosen, out=folder, quiet=quiet, stores=RunFolder(out).stores)
        found.append(io.read_json(RunFolder(folder).metrics))
    return found

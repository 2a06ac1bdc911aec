"""Changes of an opened run by Python values: items added and removed, durable; the run saved to another folder."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sensorium import io
from sensorium.errors import BadData, BadRecipe
from sensorium.search import adding, journal, query
from sensorium.search.folder import workplace
from sensorium.types import as_ids
from sensorium.values import Read, items_of, read
from sensorium.values.frames import column_of

if TYPE_CHECKING:
    from sensorium.search.run import Run


def add(
    run: Run, values: Any, ids: Any, metadata: Any, side: str | None, replace: bool, progress: bool
) -> dict[str, Any]:
    """Add values to a side: see ``Run.add``."""
    given = read(values, "values", ids if isinstance(ids, str) else None)
    side = _side(run, given, side)
    encoder = run.encoder(side)
    takes = () if encoder is None or given.form == "vectors" else (str(encoder.takes),)
    own = None if isinstance(ids, str) else ids
    if own is None and given.ids is None:
        own = _free(run, side, len(given))
    items, _ = items_of(given, takes, side=side, ids=own, metadata=metadata)
    about = adding.add(run, side, items, replace=replace, progress=progress)
    return {**about, "ids": items.ids.tolist()}


def remove(run: Run, ids: Any, side: str | None, missing: bool) -> int:
    """Remove items by id: see ``Run.remove``."""
    found = column_of([ids] if isinstance(ids, (str, int, np.integer)) else ids, "ids")
    if isinstance(found, (set, frozenset)):
        found = sorted(found)
    if not isinstance(found, (list, np.ndarray)):
        raise BadData(f"ids is {type(ids).__name__}; expected one id, or a list of them")
    names = as_ids(found).tolist()
    if not names:
        return 0
    if side is None and len(run.sides) > 1:
        having = [one for one in run.sides if (run.places(one).rows(names) >= 0).any()]
        if len(having) > 1:
            raise BadRecipe(f"both sides have items of these ids; say which to remove: side={_names(run)}")
        side = having[0] if having else run.sides[0]
    at = query.side_of(run, "id", names[0], side or run.sides[0])
    return adding.remove(run, at, names, missing=missing)


def save(run: Run, path: str | Path) -> Path:
    """Copy a run into a folder, whole or not at all, with its live changes: see ``Run.save``."""
    target = Path(path).expanduser()
    if target.resolve() == run.folder.resolve():
        return run.folder
    with workplace(target, run.recipe) as building, journal.locked(run.folder):
        names = shutil.ignore_patterns(".*", "recipe.toml")
        io.copy_folder(run.folder, building, names)
        io.write(building / "recipe.toml", (run.folder / "recipe.toml").read_bytes())
        shutil.rmtree(building / "checkpoint", ignore_errors=True)
        io.sync_tree(building)
    return target


def _side(run: Run, given: Read, side: str | None) -> str:
    """The side that values are added to: the argument, checked, or the only one that takes them."""
    if side is not None or len(run.sides) == 1:
        return query.side_of(run, "vector", None, side or run.sides[0])
    if given.form == "vectors":
        width = given.values.shape[1]
        fitting = [one for one in run.sides if run.head(one).dim_in == width]
    else:
        texts = given.form == "texts"
        takes = {one: encoder.takes for one in run.sides if (encoder := run.encoder(one)) is not None}
        fitting = [one for one, kind in takes.items() if (kind == "text") == texts]
    if len(fitting) == 1:
        return fitting[0]
    why = "both sides take" if fitting else "no side takes"
    raise BadRecipe(f"{why} these {given.form}; say which to add them to: side={_names(run)}")


def _names(run: Run) -> str:
    return " or side=".join(f"'{one}'" for one in run.sides)


def _free(run: Run, side: str, n: int) -> Sequence[str]:
    """n ids that the side does not have: whole numbers above all of its own."""
    numbers = [int(one) for one in run.index(side).table.ids.tolist() if one.isdecimal() and len(one) < 16]
    first = max(numbers, default=-1) + 1
    return [str(first + i) for i in range(n)]

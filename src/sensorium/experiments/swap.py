"""The end of a migration: everything embedded and fitted anew beside the run, then put in its place, or undone.

The new run is built as a whole run in the hidden folder ``.NAME.swap/NAME``; embeddings go into the usual store, so
that both are resumed after a kill. Putting it in place is one exchange of two folders: a kill leaves the old run or the
new one, each with all live changes. The old run stays within the new one, as ``before/``, to roll back to.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from sensorium import fingerprint as fingerprints
from sensorium import heads, io, pipeline
from sensorium import recipe as recipes
from sensorium.datasets import memory
from sensorium.errors import BadData, BadRecipe
from sensorium.experiments import migrate, new_vectors
from sensorium.fitting import adapter_choice
from sensorium.heads.adapted import Adapted
from sensorium.progress import say
from sensorium.search import evaluations, journal, located, migration
from sensorium.search.folder import RunFolder, quote
from sensorium.search.migration import BACK, BEFORE, SWAPPED, Migration
from sensorium.search.run import Run
from sensorium.search.run import open as open_run
from sensorium.table import RowLookup
from sensorium.types import Affine, Data

_ADAPTERS = 2000  # items of the adapter from the old encoder to the new one, for live items of the old one


def re_embed(folder: str | Path, quiet: bool = False) -> Run:
    """Embed everything with the new encoder, fit, evaluate and index, beside the run, which is searched meanwhile.

    Interrupted, it goes on when it is called again. Raises BadRecipe where no migration is under way, and what
    :func:`sensorium.run` raises.
    """
    folder = Path(folder)
    run = open_run(folder)
    moving = {one.side: one for one in run.migrations.any_active}
    if not moving:
        raise BadRecipe(f"{folder} is not being migrated; type: sensorium migrate {quote(folder)} left.encoder=NEW")
    staged = _staged(folder)
    if any(one.record["new"].get("encoder") is None for one in moving.values()):
        recipe, overrides, data = _of_vectors(run, moving)
    else:
        recipe, data = folder / "recipe.toml", None
        overrides = [f"{side}.encoder={_inline(one.record['new']['encoder'])}" for side, one in moving.items()]
        overrides += _recorded(folder)
    plan = recipes.load(recipe, overrides, of_run=not isinstance(recipe, Mapping))
    if RunFolder(staged).is_run_of(plan):
        if not quiet:
            say("note", "all is embedded and fitted already")
        return open_run(staged)
    return pipeline.run(recipe, overrides, out=staged, stores=RunFolder(folder).stores, quiet=quiet, data=data)


def swap(folder: str | Path, quiet: bool = False) -> dict[str, Any]:
    """Put the new run in the old one's place, in one step; what is missing of :func:`re_embed` is done first.

    Returns hit@10 (or hit@1) of both by direction. Live changes go along: those of the old encoder are searched through
    an adapter.
    """
    folder = Path(folder)
    made, staged = re_embed(folder, quiet), _staged(folder)
    run = open_run(folder)
    _keep_searchable(run, made)
    with _changing(folder):
        shutil.rmtree(staged / BEFORE, ignore_errors=True)
        with journal.copied(folder, staged), evaluations.carried(folder, staged):
            _link(folder, staged / BEFORE)
            io.sync_tree(staged / BEFORE)
            io.exchange(staged, folder)
        _clear(folder)
    return {"run": str(folder), "state": SWAPPED, "results": compared(run, made)}


def roll_back(folder: str | Path) -> dict[str, Any]:
    """Let the old encoder answer again; after a swap, put the old run back in its place, in one step.

    Nothing is lost: what was added since is searched through the adapter. Raises BadRecipe where there is nothing to
    undo.
    """
    folder = Path(folder)
    run = open_run(folder)
    active = {one.side: one for one in run.migrations.any_active}
    with _changing(folder):
        if active:
            migration.set_state(folder, active, BACK)
            _clear(folder)
            return {"run": str(folder), "state": BACK, "answers": {side: one.old for side, one in active.items()}}
        if not (folder / BEFORE).is_dir():
            raise BadRecipe(f"{folder}: nothing to roll back; no side is being migrated, and no swap was made")
        staged = _staged(folder)
        shutil.rmtree(staged, ignore_errors=True)
        _link(folder / BEFORE, staged)
        before = migration.Migrations(staged)
        gone = {one.side: one for one in before.any_active}
        migration.set_state(staged, gone, BACK)
        io.sync_tree(staged)
        with journal.copied(folder, staged), evaluations.carried(folder, staged):
            io.exchange(staged, folder)
        _clear(folder)
    return {"run": str(folder), "state": BACK, "answers": {side: one.old for side, one in gone.items()}}


def compared(old: Run, new: Run) -> list[dict[str, Any]]:
    """hit@1, hit@10 and MRR of two runs by direction, as metrics.json has them."""
    rows = []
    for measure in ("hit@1", "hit@10", "MRR"):
        for one in old.metrics.get("results", []):
            same = [r for r in new.metrics.get("results", []) if (r["direction"], r["measure"]) ==
                    (one["direction"], measure)]  # fmt: skip
            if one["measure"] == measure and same:
                rows.append({"direction": one["direction"], "measure": measure, "old": one["value"],
                             "new": same[0]["value"]})  # fmt: skip
    return rows


def _staged(folder: Path) -> Path:
    return folder.parent / f".{folder.name}.swap" / folder.name


@contextlib.contextmanager
def _changing(folder: Path) -> Iterator[None]:
    """Under a lock, so that two migrations of a run take turns. Raises Busy."""
    with io.lock(_staged(folder).parent, wait=False):
        yield


def _clear(folder: Path) -> None:
    """Delete what was built beside a run, its lock too."""
    io.remove_folder(_staged(folder).parent, folder.name)


def _link(source: Path, target: Path) -> None:
    """Copy a run by hard links, but for the files that are appended to; temporary files and ``before`` stay out."""
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted(source.iterdir()):
        if path.name.startswith(".") or path.name in (BEFORE, "checkpoint"):
            continue
        if path.is_dir() and not path.is_symlink():
            _link(path, target / path.name)
        elif source.name == journal.FOLDER or path.name == evaluations.FILE:
            shutil.copy2(path, target / path.name)
        else:
            try:
                os.link(path, target / path.name, follow_symlinks=False)
            except OSError:  # another disk, or one without links
                with io.typed_errors(target):
                    shutil.copy2(path, target / path.name, follow_symlinks=False)


def _keep_searchable(run: Run, made: Run) -> None:
    """Heads in the new run for live items whose vectors are of earlier encoders: an adapter before its own head."""
    stores, migrations = RunFolder(run.folder).stores, run.migrations
    old, new = (migrate.Base.of(one.folder, progress=False, stores=stores) for one in (run, made))
    with migration.changing(made.folder) as building:
        for side in run.sides:
            moving, own = migrations.active(side), new.run.own_fingerprint(side)
            behind, name, gone = new.own_head(side), migrate.head_name(new.run, side), {}
            if moving is not None:
                behind, name, gone = _backwards(old, new, side), "adapted", old.run.own_fingerprint(side)
                heads.save(behind, building / f"{side}-{_digest(gone)}", "adapted", gone)
                migration.write(building, moving.with_state(SWAPPED))
            for (at, digest), stem in migrations.stems.items():
                if at == side and digest not in (_digest(own), _digest(gone)):
                    earlier, its = heads.restore(stem)
                    heads.save(_before(earlier, behind, name), building / f"{side}-{digest}", "adapted", its)


def _backwards(old: migrate.Base, new: migrate.Base, side: str) -> Adapted:
    """The adapter from the old encoder's space to the new one's that is nearest on held-out items, and the new head."""
    random, known = np.random.default_rng(old.run.recipe.seed), RowLookup.of(old.table(side).ids)
    places = known.rows(new.table(side).ids.tolist())
    rows = np.flatnonzero(places >= 0)
    rows = np.sort(random.choice(rows, min(len(rows), _ADAPTERS), replace=False))
    x, y = (np.asarray(table.vectors[at], np.float32) for table, at in
            ((old.table(side), places[rows]), (new.table(side), rows)))  # fmt: skip
    nearness = lambda at, z: -np.square(z - y[at]).mean(1)  # noqa: E731
    found = adapter_choice.choose(x, y, nearness, None, np.arange(len(rows)), old.run.recipe.seed, network=False)
    return found.adapter.before(migrate.head_name(new.run, side), new.own_head(side))


def _before(earlier: Adapted, head: Any, name: str) -> Adapted:
    """The adapter of an earlier head before another head, whose part is ``name``."""
    weight, bias = (tensor.detach().double().numpy() for tensor in (earlier.adapter.weight, earlier.adapter.bias))
    inner = None
    if earlier.arguments["hidden"]:
        tensors = (earlier.up.weight, earlier.up.bias, earlier.down.weight)
        inner = tuple(tensor.detach().numpy() for tensor in tensors)
    return Adapted.of(Affine(weight.T, bias), name, head, inner=inner,
                      unit_length=earlier.arguments["unit_length"])  # fmt: skip


def _digest(fingerprint: Mapping[str, Any]) -> str:
    return fingerprints.digest(dict(fingerprint))


def _recorded(folder: Path) -> list[str]:
    """Overrides that give the run's relative paths as the absolute ones that they stood for."""
    typed = recipes.load(folder / "recipe.toml", of_run=True).values["data"]
    return [f"data.{key}={json.dumps(value)}" for key, value in located.recorded(typed, folder).items()]


def _inline(value: Any) -> str:
    """A value of TOML on one line, such as ``{"name" = "hashing", "dim" = 64}``."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(key)} = {_inline(one)}" for key, one in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_inline, value)) + "]"
    return json.dumps(value)


def _of_vectors(run: Run, moving: Mapping[str, Migration]) -> tuple[dict[str, Any], list[str], Data]:
    """Recipe and data of the new run where vectors came from files: kept in its own folder, with the old pairs.

    Raises BadData where an item has no new vector, BadRecipe for pairs that cannot be kept so.
    """
    base = migrate.Base.of(run.folder, progress=False)
    if base.pairs.sets is not None or base.pairs.classes is not None:
        raise BadRecipe(f"{run.folder}: its sets or classes cannot be kept beside new vectors; make a run of them: "
                        f"sensorium run {quote(run.folder / 'recipe.toml')} data.file=FILE --out OTHER")  # fmt: skip
    if any(one.record["new"].get("encoder") is not None for one in moving.values()):
        raise BadRecipe(f"{run.folder}: one side is migrated to an encoder, the other to vectors of a file; swap one, "
                        "then migrate the other")  # fmt: skip
    items = {"left": base.data.left, "right": base.data.right}
    values = recipes.load(run.folder / "recipe.toml", of_run=True).values
    for side, one in moving.items():
        about = one.record["new"]
        target = new_vectors.Target(side, "vectors", str(about["vectors"]), str(about["ids"]))
        source = new_vectors.open_source(base, target, [])
        own = items[side]
        lost = len(own) - len(source.rows)
        if lost:
            raise BadData(f"{about['vectors']} lacks {lost:,} of {len(own):,} {side} items; make their vectors, then: "
                          f"sensorium migrate {quote(run.folder)} {side}.vectors=FILE --swap")  # fmt: skip
        vectors = source.vectors(np.arange(len(own)), False).vectors
        items[side] = replace(own, values=vectors, source=dict(source.fingerprint))
    data = Data(items["left"], items["right"], base.pairs, dict(base.data.notes))
    kept = {key: value for key, value in values["data"].items() if key in recipes.SPLITTING}
    recipe = {"name": run.recipe.name, **values, "data": {"name": "memory", "digest": memory.digest(data), **kept}}
    return recipe, [], data

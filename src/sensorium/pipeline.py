"""THE MAIN PATH, start reading here: load, embed, fit, evaluate, index, one folder out.

Everything else in the package is a part that one of these steps picks up. The folder is built
aside and swapped in whole, so a kill leaves the previous run intact and the next call goes on
from the last checkpoint.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from sensorium import io, modalities
from sensorium import recipe as recipes
from sensorium.errors import BadData, BadRecipe, Mismatch
from sensorium.evaluate import index_speed
from sensorium.pairs import SPLITS, Pairs
from sensorium.recipe import Recipe
from sensorium.search import journal, media, related
from sensorium.types import Data, Embeddings, Items, blocks

FORMAT = 1  # of the run folder; see docs/formats.md


def run(
    recipe: str | Path | Mapping[str, Any],
    overrides: Sequence[str] = (),
    *,
    out: str | Path | None = None,
    seed: int | None = None,
    quiet: bool = False,
    on_epoch: Callable[[dict[str, Any]], None] | None = None,
    tensorboard: bool = False,
    stages: Sequence[str] = ("evaluate", "index"),
    stores: str | Path | None = None,
) -> Any:
    """Run a recipe from raw items to a searchable folder and open it.

    recipe: name, TOML file or mapping. overrides: ``key=value`` texts. out: the folder, by
    default ``runs/<recipe>``; it may be absent, empty or an earlier run, nothing else.
    on_epoch: called with each training event; what it raises stops the fit. stages: what is done
    after the fit. stores: where embeddings are kept, by default ``embeddings`` beside the run.

    Raises BadRecipe, BadData, Mismatch, Corrupt, DiskFull or MissingExtra for what a caller can mend.
    """
    from sensorium.evaluate import report
    from sensorium.search.run import open as open_run

    if seed is not None:
        overrides = [*overrides, f"seed={seed}"]
    plan = recipes.load(recipe, overrides)
    out = Path(out) if out is not None else Path("runs") / plan.name
    seconds: dict[str, float] = {}
    plan.try_parts()  # a slip in the last of them shall not cost the time of the first
    with workplace(out, plan) as folder:
        with timed("load", seconds, quiet):
            data = plan.part("data").load()
        with timed("embed", seconds, quiet):
            left, right = embed(plan, data, Path(stores or stores_beside(out)), progress=not quiet)
        pairs = split(plan, data.pairs)
        check(plan, left, right, pairs)
        with timed("fit", seconds, quiet):
            fitted = fit(
                plan, left, right, pairs, folder, progress=not quiet, on_epoch=on_epoch, tensorboard=tensorboard
            )
        metrics: dict[str, Any] = {"results": [], "fit": dict(fitted.notes)}
        save_heads(plan, left, right, fitted, folder)
        zl, zr = project(left, right, [fitted.left_head, fitted.right_head])
        if "evaluate" in stages:
            with timed("evaluate", seconds, quiet):
                metrics |= report.judge(plan, data, left, right, pairs, zl, zr, folder)
        if "index" in stages:
            with timed("index", seconds, quiet):
                metrics["index"] = index(plan, data, zl, zr, folder)
        metrics |= {
            "data": data_hash(left, right),
            "split": split_hash(pairs),
            "recipe": plan.hash,
            "seconds": seconds,
            "dataset": dict(data.notes),
        }
        write_run(plan, metrics, folder)
    return open_run(out)


@contextlib.contextmanager
def workplace(out: Path, plan: Recipe) -> Iterator[Path]:
    """The folder a run is built in, swapped over ``out`` when it is whole.

    An interrupted run of the same recipe is found again and continued; of another, cleared away.
    """
    if out.name in ("", "..") or out.is_file():
        raise BadRecipe(f"--out {out} is no folder to make; expected one such as runs/{plan.name}")
    if out.exists() and not (out / "metrics.json").is_file() and any(p.name != ".lock" for p in out.iterdir()):
        raise BadRecipe(f"{out} is not empty and not a run; choose another folder with --out")
    building = out.with_name(f".{out.name}.building")
    with io.lock(building, wait=False):
        started = building / "recipe.toml"
        text = plan.toml()
        if not started.is_file() or started.read_text("utf-8") != text:
            for path in building.iterdir():
                if path.name != ".lock":
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
            io.write(started, text)
        try:
            yield building
        except Exception:
            if not (building / "checkpoint").exists():  # nothing worth going on from
                shutil.rmtree(building, ignore_errors=True)
            raise
        (building / ".lock").unlink()
        with journal.carried(out, building):
            io.exchange(building, out)


@contextlib.contextmanager
def timed(stage: str, seconds: dict[str, float], quiet: bool) -> Iterator[None]:
    """Measure a stage's wall time, and say it on the terminal's error stream."""
    start = time.perf_counter()
    yield
    seconds[stage] = round(time.perf_counter() - start, 3)
    if not quiet:
        from rich.console import Console

        Console(stderr=True, highlight=False).print(f"[dim]{stage:>9}  {seconds[stage]:6.1f} s[/dim]")


def stores_beside(out: Path) -> Path:
    """Where the embeddings of the runs in one folder are kept: embedded once, used by all of them."""
    return out.parent / "embeddings"


def embed(plan: Recipe, data: Data, stores: Path, progress: bool = True) -> tuple[Embeddings, Embeddings | None]:
    """Vectors of both sides: taken as they are, or encoded once into a store and reused."""
    sides = [(side, items) for side, items in (("left", data.left), ("right", data.right)) if items is not None]
    for side, items in sides:
        encoder_for(side, items, plan)  # both are refused before the first takes its time
    tables = [embed_side(side, items, plan, stores, progress) for side, items in sides]
    return tables[0], tables[1] if len(tables) > 1 else None


def encoder_for(side: str, items: Items, plan: Recipe) -> Any:
    """One side's encoder, None for vectors. Raises BadRecipe when it does not take this kind of item."""
    slot = f"{side}.encoder"
    encoder = plan.part(slot)
    if items.kind == "vector":
        if encoder is not None:
            raise BadRecipe(f"{slot} is set, but the {side} items are vectors already; leave it out")
    elif encoder is None:
        raise BadRecipe(f"the {side} items are {items.kind}; name what encodes them: {slot}=NAME")
    elif encoder.takes != items.kind:
        raise BadRecipe(f"{slot} '{plan.part_name(slot)}' takes {encoder.takes}, but the {side} items are {items.kind}")
    return encoder


def embed_side(side: str, items: Items, plan: Recipe, stores: Path, progress: bool) -> Embeddings:
    """One side's vectors. Raises BadRecipe when the encoder does not take this kind of item."""
    from sensorium import store

    encoder = encoder_for(side, items, plan)
    if encoder is None:
        return Embeddings(items.ids, items.values, dict(items.source), items.meta)
    try:
        return store.embed(items, encoder, stores / store_name(side, plan, encoder.fingerprint), progress=progress)
    except BadData as error:
        modality = modalities.found().get(items.kind)
        if modality is None:
            raise
        raise modality.bad_items(error, items.values) from error


def store_name(side: str, plan: Recipe, fingerprint: Mapping[str, Any]) -> str:
    """Folder of one side's store: data set, side, encoder, and the start of its fingerprint's hash."""
    digest = xxhash.xxh3_64_hexdigest(json.dumps(dict(fingerprint), sort_keys=True, default=str).encode())
    names = (plan.part_name("data"), side, plan.part_name(f"{side}.encoder"), digest[:8])
    return "-".join(name.replace("/", "_").replace(":", "_") for name in names)


def split(plan: Recipe, pairs: Pairs) -> Pairs:
    """Complete the splits: by group with the recipe's shares where the data brings none."""
    wanted = plan.splitting()
    if not (pairs.split != "").any():
        pairs = pairs.split_by_group({"test": wanted["test"], "validation": wanted["validation"]}, wanted["split_seed"])
    elif not (pairs.split == "validation").any() and wanted["validation"]:
        pairs = pairs.hold_out("validation", wanted["validation"], wanted["split_seed"])
    for name in SPLITS:
        if not (pairs.where(name).label == 1).any():
            raise BadData(
                f"the {name} split has no related pair; expected some of {len(pairs)} pairs there: "
                f"set data.{'test' if name == 'train' else name}=SHARE, or mend the split column"
            )
    return pairs


def check(plan: Recipe, left: Embeddings, right: Embeddings | None, pairs: Pairs) -> None:
    """Refuse NaN, infinite and zero vectors, naming the rows, before anything is fitted."""
    from sensorium import heads

    for side, table in (("left", left), ("right", right)):
        if table is not None:
            heads.check_finite(table.vectors, table.ids if table.offsets is None else None, f"{side} vectors")


def fit(
    plan: Recipe,
    left: Embeddings,
    right: Embeddings | None,
    pairs: Pairs,
    folder: Path,
    progress: bool = True,
    on_epoch: Callable[[dict[str, Any]], None] | None = None,
    tensorboard: bool = False,
) -> Any:
    """Settle both heads: solved in one pass when the objective can be, else trained."""
    from sensorium import fitting

    objective = plan.part("objective")
    left_head, right_head = plan.part("left.head"), plan.part("right.head")
    other = left if right is None else right
    if objective.closed:
        return fitting.solve(left, other, pairs, left_head, right_head, objective)
    return fitting.train(
        left,
        other,
        pairs,
        left_head,
        right_head,
        objective,
        plan.train_options(),
        folder,
        plan.seed,
        progress=progress,
        on_epoch=on_epoch,
        tensorboard=tensorboard,
    )


def save_heads(plan: Recipe, left: Embeddings, right: Embeddings | None, fitted: Any, folder: Path) -> None:
    """Both heads with the fingerprints of the encoders they belong to; one when they are tied."""
    from sensorium import heads

    for side, table, module in (("left", left, fitted.left_head), ("right", right, fitted.right_head)):
        if table is not None:
            heads.save(module, folder / side, fitted.names.get(side, plan.part_name(f"{side}.head")), table.fingerprint)


def project(left: Embeddings, right: Embeddings | None, modules: Sequence[Any]) -> tuple[np.ndarray, np.ndarray]:
    """Both tables through their heads, computed once for judging and for the index."""
    from sensorium import heads

    zl = heads.project(modules[0], left)
    return zl, zl if right is None else heads.project(modules[1], right)


def index(plan: Recipe, data: Data, zl: np.ndarray, zr: np.ndarray, folder: Path) -> dict[str, Any]:
    """Index both sides' outputs, with media and related items beside; returns what is known of each index."""
    told = {}
    for side, items, vectors in (("left", data.left, zl), ("right", data.right, zr)):
        if items is None:
            continue
        part = plan.part("index")
        columns, found = columns_of(items), np.arange(len(items))
        if "augmented" in columns:  # changed copies are there to train on, not to be found
            found = np.flatnonzero(columns.pop("augmented") == "")
        part.add(items.ids[found], vectors[found], {name: column[found] for name, column in columns.items()})
        media.build(items, found, folder, side)
        told[side] = {"items": len(part), "dim": int(vectors.shape[1]), **part.report(vectors)}
        if hasattr(part, "variants"):
            told[side]["speed"] = index_speed.measure(part, zr if side == "left" else zl)
        with io.publish(folder / "index" / side) as building:
            part.save(building)
        stamp = {"head": io.checksum(folder / f"{side}.safetensors"), "part": plan.values["index"]}
        io.write_json(folder / "index" / f"{side}.json", stamp)
    related.save(split(plan, data.pairs), data.left.ids, (data.left if data.right is None else data.right).ids, folder)
    index_speed.draw(told, folder)
    return told


def columns_of(items: Items) -> dict[str, np.ndarray]:
    """What a hit shows of an item: its metadata, and the text itself where items are text."""
    columns = {name: np.asarray(column) for name, column in items.meta.items()}
    if items.kind == "text":
        columns.setdefault("text", np.asarray(items.values, dtype=np.str_))
    return columns


def is_run_of(folder: Path, plan: Recipe) -> bool:
    """Whether a folder holds a finished run of exactly this recipe."""
    path = folder / "metrics.json"
    return path.is_file() and io.read_json(path).get("recipe") == plan.hash


def embed_only(recipe: Any, overrides: Sequence[str], out: Path | None, quiet: bool) -> list[dict[str, Any]]:
    """The first two steps alone; returns what each side's store holds."""
    plan = recipes.load(recipe, overrides)
    out = Path(out) if out is not None else Path("runs") / plan.name
    left, right = embed(plan, plan.part("data").load(), stores_beside(out), progress=not quiet)
    return [
        {"side": side, "items": len(table), "dim": table.dim, "encoder": plan.part_name(f"{side}.encoder")}
        for side, table in (("left", left), ("right", right))
        if table is not None
    ]


def evaluate_again(folder: Path, overrides: Sequence[str] = (), quiet: bool = False) -> Any:
    """Judge a finished run anew, perhaps with other [evaluate] keys; heads and index stay."""
    return _again(folder, overrides, quiet, "evaluate")


def index_again(folder: Path, overrides: Sequence[str] = (), quiet: bool = False) -> Any:
    """Build a finished run's indexes anew, perhaps with another part; heads and numbers stay."""
    return _again(folder, overrides, quiet, "index")


def open(folder: str | Path) -> Any:
    """Open a run for search. An index that is older than its head is rebuilt first, from the stored embeddings.

    Raises BadData when the folder is not a run, Mismatch when the data are no longer what was fitted.
    """
    from sensorium.search.run import open as open_run

    opened = open_run(folder)
    return index_again(opened.folder, quiet=True) if opened.stale() else opened


def _again(folder: Path, overrides: Sequence[str], quiet: bool, stage: str) -> Any:
    """One late stage over the data and heads of a finished run, written into a copy that replaces it whole."""
    from sensorium.evaluate import report
    from sensorium.search.run import open as open_run

    before = open_run(folder)
    for override in overrides:
        if override.split("=")[0].split(".")[0] != stage:
            raise BadRecipe(
                f"'{override}' would change the fit; only {stage} keys can change here. "
                f"Type: sensorium run {before.recipe.name} {override}"
            )
    plan = recipes.load(folder / "recipe.toml", overrides)
    plan.try_parts()
    seconds = dict(before.metrics["seconds"])
    data = plan.part("data").load()
    left, right = embed(plan, data, stores_beside(folder), progress=not quiet)
    if data_hash(left, right) != before.metrics["data"]:
        raise Mismatch(
            f"{folder} was fitted on data {before.metrics['data']}, which is {data_hash(left, right)} now; "
            f"type: sensorium run {before.recipe.name} --out {folder}"
        )
    pairs = split(plan, data.pairs)
    heads = [before.head("left"), before.head("left" if right is None else "right")]
    zl, zr = project(left, right, heads)
    metrics = {**before.metrics, "recipe": plan.hash, "seconds": seconds}
    with workplace(folder, plan) as building:
        shutil.copytree(folder, building, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".lock", "recipe.toml"))
        with timed(stage, seconds, quiet):
            if stage == "evaluate":
                metrics |= report.judge(plan, data, left, right, pairs, zl, zr, building)
            else:
                metrics["index"] = index(plan, data, zl, zr, building)
        write_run(plan, metrics, building)
    return open_run(folder)


def data_hash(left: Embeddings, right: Embeddings | None) -> str:
    """xxh3-64 over ids and vectors of both sides: equal hash, equal data."""
    digest = xxhash.xxh3_64()
    for table in (left, right):
        if table is not None:
            digest.update("\n".join(table.ids.tolist()).encode())
            for rows in blocks(len(table.vectors), 1 << 16):
                digest.update(np.ascontiguousarray(table.vectors[rows]))
    return digest.hexdigest()


def split_hash(pairs: Pairs) -> str:
    """xxh3-64 over the pairs, their labels, groups and splits."""
    digest = xxhash.xxh3_64()
    for column in (pairs.left, pairs.right, pairs.label, pairs.group):
        digest.update(np.ascontiguousarray(column))
    digest.update("\n".join(pairs.split.tolist()).encode())
    return digest.hexdigest()


def write_run(plan: Recipe, metrics: dict[str, Any], folder: Path) -> None:
    """The files that make the folder a run: metrics last, as its presence says the run is whole."""
    from sensorium.evaluate.card import card

    shutil.rmtree(folder / "checkpoint", ignore_errors=True)
    io.write(folder / "README.md", card(metrics, plan.toml(), folder))
    io.write_json(folder / "metrics.json", {"format": FORMAT, "name": plan.name, **metrics})

"""THE MAIN PATH, start reading here: load, embed, fit, evaluate, index, one folder out.

Everything else in the package is a part that one of these steps picks up. The folder is built
aside and swapped in whole, so a kill leaves the previous run intact and the next call goes on
from the last checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sensorium import consent, integrity, io, modalities
from sensorium import fingerprint as fingerprints
from sensorium import parts as registry
from sensorium import recipe as recipes
from sensorium.datasets import _run_keys
from sensorium.errors import BadData, BadRecipe, Busy, Mismatch
from sensorium.evaluate import protocols
from sensorium.evaluate.projected import Projected
from sensorium.fitting import encoders as encoding
from sensorium.fitting import ranks
from sensorium.fitting.saving import save_heads
from sensorium.numerics import centers, freed_memory
from sensorium.pairs import SPLITS, Pairs
from sensorium.progress import say, timed
from sensorium.recipe import Built, Recipe
from sensorium.search import evaluations, located, styles, unpacking
from sensorium.search.folder import RunFolder, store_name, workplace
from sensorium.search.publishing import publish
from sensorium.search.run import Run
from sensorium.search.run import open as open_run
from sensorium.types import SIDES, Data, Embeddings, Items, check_text, side_names

if TYPE_CHECKING:
    from sensorium.fitting import Fitted

FORMAT = 1  # of the run folder; see docs/formats.md
STAGES = ("evaluate", "index")  # what can be done after the fit
_SOME = ("classes", "gap", "degenerate", "protocol", "styles")  # entries of metrics.json that not every run has


def run(
    recipe: str | Path | Mapping[str, Any],
    overrides: Sequence[str] = (),
    *,
    out: str | Path | None = None,
    seed: int | None = None,
    quiet: bool = False,
    on_epoch: Callable[[dict[str, Any]], None] | None = None,
    tensorboard: bool = False,
    stages: Sequence[str] = STAGES,
    stores: str | Path | None = None,
    data: Data | None = None,
) -> Run:
    """Run a recipe from raw items to a searchable folder and open it.

    recipe: name, TOML file or mapping. overrides: ``key=value`` texts. out: the folder, by
    default ``runs/<recipe>``; it may be absent, empty or an earlier run, nothing else.
    on_epoch: called with each training event; what it raises stops the fit. stages: what is done
    after the fit. stores: folder of the embeddings, by default ``embeddings`` beside the run.
    data: the values of the data set ``memory``, which are kept in the run's folder; see :mod:`sensorium.memory`.

    Raises BadRecipe, BadData, Mismatch, Corrupt, DiskFull or MissingExtra for what a caller can correct.
    """
    from sensorium.fitting import feasible

    if seed is not None:
        overrides = [*overrides, f"seed={seed}"]
    freed_memory.spare()
    plan = recipes.load(recipe, overrides)
    target = RunFolder.of(out if out is not None else Path("runs") / plan.name)
    seconds: dict[str, float] = {}
    parts = plan.build()  # an invalid argument of the last part is refused before the first takes its time
    plan.check_device()
    ranks.check(parts.objective, plan.train_options().members)
    quiet, stores = quiet or ranks.rank() > 0, Path(stores or target.stores)
    with ranks.joined() as world, world.place(workplace(target.path, plan), target.building) as folder:
        with world.first():  # of several processes, the first embeds; the others read what it has stored
            with timed("load", seconds, quiet):
                data = located.of_new(plan, recipe, folder, data, stores, not quiet)
                check_data(plan, data)
                pairs = split(plan, data.pairs)
                freed_memory.after(data.left, data.right)
                # before the check, which compares fingerprints with those of a teacher
                plan, parts, notes = encoding.settled(plan, data, parts, overrides)
            notes += feasible.check(plan, data, pairs, parts)
            for note in () if quiet else notes:
                say("note", note)
            with timed("embed", seconds, quiet):
                left, right = embed(plan, data, stores, progress=not quiet, parts=parts)
            check(left, right)
            freed_memory.after(left, right)
        with timed("fit", seconds, quiet):
            fitted = fit_heads(plan, left, right, pairs, folder, not quiet, on_epoch, tensorboard, parts, data)
        if world.rank:
            world.done()
            return open_run(target.path)
        if fitted.encoders:
            with timed("embed again", seconds, quiet):
                located.save_encoders(fitted.encoders, folder, plan, parts)
                parts = located.tuned(plan.build(), folder)
                left, right = embed(plan, data, stores, progress=not quiet, parts=parts)
        more = {"extra": {"notes": notes} if notes else {}, "encoders": parts.encoders}
        more |= {"command": "run", "keys": overrides}
        finish(plan, data, left, right, pairs, fitted, folder, stages=stages, seconds=seconds, quiet=quiet, **more)
    return open_run(target.path)


def finish(
    plan: Recipe,
    data: Data,
    left: Embeddings,
    right: Embeddings | None,
    pairs: Pairs,
    fitted: Fitted,
    folder: Path,
    *,
    stages: Sequence[str] = STAGES,
    seconds: dict[str, float] | None = None,
    quiet: bool = True,
    extra: Mapping[str, Any] | None = None,
    encoders: Mapping[str, Any] | None = None,
    command: str = "import",
    keys: Sequence[str] = (),
) -> dict[str, Any]:
    """From two fitted heads to a whole run in ``folder``: save, project, evaluate, index; returns its metrics.

    right: None where both sides are one table. pairs: with their splits complete, see :func:`split`. ``fitted``
    may come from a fit or from another tool's weights. stages: which of "evaluate" and "index" are done.
    seconds: of the stages before, to which these are added. extra: further entries of metrics.json, which
    overrule those of the same name. encoders: the recipe's, by side, where they are built already. command, keys:
    as typed, for the log of evaluations.
    """
    seconds = {} if seconds is None else seconds
    metrics: dict[str, Any] = {"results": [], "fit": dict(fitted.notes)}
    save_heads(plan, left, right, fitted, folder)
    freed_memory.after(left, right)
    projected = project(left, right, pairs, fitted.left_head, fitted.right_head, folder)
    if "evaluate" in stages:
        with timed("evaluate", seconds, quiet):
            metrics |= evaluate(plan, data, projected, folder, encoders)
        freed_memory.after(left, right)
    if "index" in stages:
        with timed("index", seconds, quiet):
            metrics["index"] = publish(plan, data, projected, folder)
        freed_memory.after(left, right)
    metrics |= {
        "data": fingerprints.of_data(left, right),
        "split": fingerprints.of_split(pairs),
        "recipe": plan.hash,
        **({"asked": plan.asked} if plan.asked else {}),
        "sides": side_names(data.left, data.right),
        "seconds": seconds,
        "dataset": dict(data.notes),
        **(extra or {}),
    }
    if "evaluate" in stages:
        evaluations.append(folder, evaluations.entry(plan, metrics, folder, command, keys))
    write_run(plan, metrics, folder)
    return metrics


def embed(
    plan: Recipe, data: Data, stores: Path, progress: bool = True, parts: Built | None = None
) -> tuple[Embeddings, Embeddings | None]:
    """Vectors of both sides: taken as they are, or encoded once into a store and reused.

    parts: the recipe's, where they are built already.
    """
    encoders = (parts or plan.build()).encoders
    sides = encoding.check(plan, data, encoders)
    tables = [embed_side(side, items, plan, stores, progress, encoders[side]) for side, items in sides]
    return tables[0], tables[1] if len(tables) > 1 else None


def embed_side(side: str, items: Items, plan: Recipe, stores: Path, progress: bool, encoder: Any = None) -> Embeddings:
    """One side's vectors. encoder: the recipe's, where it is built already.

    Raises BadRecipe when the encoder does not take this kind of item.
    """
    from sensorium import store

    encoder = plan.part(f"{side}.encoder") if encoder is None else encoder
    encoding.check_side(side, items, plan, encoder)
    by = plan.values[side].get(recipes.CENTER)
    if encoder is None:
        table = Embeddings(items.ids, items.values, dict(items.source), items.meta)
        return centers.centred(table, by) if by else table
    try:
        table = store.embed(items, encoder, stores / store_name(side, plan, encoder.fingerprint), progress=progress)
        return centers.centred(table, by) if by else table
    except BadData as error:
        modality = modalities.found().get(items.kind)
        if modality is None:
            raise
        raise modality.bad_items(error, items.values) from error


def split(plan: Recipe, pairs: Pairs, needed: Sequence[str] = SPLITS) -> Pairs:
    """Complete the splits, as :func:`sensorium.datasets._run_keys.split` does. needed: those not empty."""
    pairs, drawn = _run_keys.split(pairs, plan.splitting())
    for name in needed:
        if not (pairs.where(name).label == 1).any():
            from sensorium.fitting import feasible

            raise BadData(feasible.no_pair(name, pairs, drawn, registry.find("datasets", plan.part_name("data"))))
    return pairs


def check_data(plan: Recipe, data: Data) -> None:
    """Raise BadData for data that a later step would refuse, before anything is embedded.

    That is text which cannot be written, and what the recipe's evaluation protocol lacks.
    """
    for side, items in (("left", data.left), ("right", data.right)):
        if items is not None:
            check_text(items, side)
    name = plan.evaluate_options().protocol
    if name is not None:
        protocols.find(name).check(data)


def check(left: Embeddings, right: Embeddings | None) -> None:
    """Refuse NaN, infinite and zero vectors, naming the rows, before anything is fitted."""
    from sensorium import heads

    for side, table in (("left", left), ("right", right)):
        if table is not None:
            heads.check_finite(table.vectors, table.ids if table.offsets is None else None, f"{side} vectors")


def fit_heads(
    plan: Recipe,
    left: Embeddings,
    right: Embeddings | None,
    pairs: Pairs,
    folder: Path | None,
    progress: bool = True,
    on_epoch: Callable[[dict[str, Any]], None] | None = None,
    tensorboard: bool = False,
    parts: Built | None = None,
    data: Data | None = None,
) -> Fitted:
    """Fit both heads: solved in one pass where the objective is a closed form, else trained.

    data: the raw items, which a recipe with ``data.cached=false`` reads anew in each step.
    """
    from sensorium import fitting

    parts = parts or plan.build()
    both = left, left if right is None else right, pairs, parts.heads["left"], parts.heads["right"], parts.objective
    if parts.objective.closed_form:
        return fitting.solve(*both)
    names = {side: plan.part_name(f"{side}.head") for side in SIDES}
    options = {"progress": progress, "on_epoch": on_epoch, "tensorboard": tensorboard, "names": names}
    options["finetune"] = None if data is None else fitting.through_encoder(plan, data, parts)
    return fitting.train(*both, plan.train_options(), folder, plan.seed, **options)


def project(
    left: Embeddings, right: Embeddings | None, pairs: Pairs, left_head: Any, right_head: Any, folder: Path | None
) -> Projected:
    """Both tables through their heads, computed once for the evaluation and for the index.

    folder: where large outputs may lie in temporary files.
    """
    from sensorium import heads

    zl = heads.project(left_head, left, folder)
    if right is None:
        return Projected(left, left, pairs, zl, zl, left_head)
    return Projected(left, right, pairs, zl, heads.project(right_head, right, folder), left_head)


def evaluate(plan: Recipe, data: Data, projected: Projected, folder: Path, encoders: Any = None) -> dict[str, Any]:
    """What metrics.json says about the quality of the heads, with the closed forms beside them."""
    from sensorium.evaluate import classification, report
    from sensorium.fitting.baselines import baselines, distilled_from

    options, objective = plan.evaluate_options(), plan.part_name("objective")
    names = [name for name in options.baselines if name != objective]
    classes = classification.known(projected.pairs)
    frozen = bool(options.baselines) and plan.one_space(projected.pairs.same_table, encoders)
    tables = projected.left, projected.right, projected.pairs
    beside = chain(baselines(names, *tables, classes, frozen), distilled_from(folder, *tables))
    found = report.report(data, projected, options, folder, objective=objective, baselines=beside)
    if options.styles:
        found["styles"] = styles.report(plan, data, projected, folder, encoders)
    return found


def embed_only(recipe: Any, overrides: Sequence[str], out: Path | None, quiet: bool) -> list[dict[str, Any]]:
    """The first two steps alone; returns what each side's store holds."""
    plan = recipes.load(recipe, overrides)
    target = RunFolder.of(out if out is not None else Path("runs") / plan.name)
    parts, data = plan.build(), located.part(plan, target.path, progress=not quiet).load()
    plan.check_device()
    plan, parts, notes = encoding.settled(plan, data, parts, overrides)
    for note in () if quiet else [*notes, *data.notes.get("said", [])]:
        say("note", note)
    left, right = embed(plan, data, target.stores, progress=not quiet, parts=parts)
    return [
        {"side": side, "items": len(table), "dim": table.dim, "encoder": plan.part_name(f"{side}.encoder")}
        for side, table in (("left", left), ("right", right))
        if table is not None
    ]


def evaluate_again(folder: Path, overrides: Sequence[str] = (), quiet: bool = False) -> Run:
    """Evaluate a finished run anew, perhaps with other [evaluate] keys; heads and index stay."""
    return _again(folder, overrides, quiet, "evaluate")


def index_again(folder: Path, overrides: Sequence[str] = (), quiet: bool = False) -> Run:
    """Build a finished run's indexes anew, perhaps with another part; heads and numbers stay."""
    return _again(folder, overrides, quiet, "index")


def open(folder: str | Path, *, trust: bool = False) -> Run:
    """Open a run for search. An index that is older than its head is rebuilt first, from the stored embeddings.

    folder: of a run; or a packed run (.zip), of which a temporary copy is opened, that ends with the returned Run.
    trust: execute, in this process, the code outside of sensorium that the run names (see docs/formats.md).
    Raises BadData when the folder is not a run, Corrupt when a file is damaged, Untrusted when the run names code
    that the user has not allowed, Mismatch when the data are no longer what was fitted.
    """
    if Path(folder).suffix == ".zip" and Path(folder).is_file():
        return unpacking.opened(folder, trust)
    if trust:
        consent.trust(folder)
    freed_memory.spare()
    opened = open_run(folder)
    return index_again(opened.folder, quiet=True) if opened.stale() else opened


def _again(folder: Path, overrides: Sequence[str], quiet: bool, stage: str) -> Run:
    """One late stage over the data and heads of a finished run, written into a copy that replaces it whole."""
    freed_memory.spare()
    was = integrity.read(folder)
    before, target = open_run(folder, remaking=stage), RunFolder(Path(folder))
    before.migrations.refuse("evaluated again" if stage == "evaluate" else "indexed again")
    for override in overrides:
        if override.split("=")[0].split(".")[0] not in (stage, *(("media",) if stage == "index" else ())):
            raise BadRecipe(
                f"'{override}' would change the fit; only {stage} keys can change here. Type: {target.again(override)}"
            )
    plan = recipes.load(target.recipe, overrides, of_run=True).here()
    parts = located.tuned(plan.build(), target.path)
    seconds = dict(before.metrics["seconds"])
    data = located.data(plan, target.path, not quiet).load()
    left, right = embed(plan, data, target.stores, progress=not quiet, parts=parts)
    if fingerprints.of_data(left, right) != before.metrics["data"]:
        raise Mismatch(
            f"{folder} was fitted on data {before.metrics['data']}, which is {fingerprints.of_data(left, right)} now; "
            f"type: {target.again()}"
        )
    pairs = split(plan, data.pairs, ["test"]) if len(data.pairs) or stage == "evaluate" else data.pairs
    heads = before.head("left"), before.head("left" if right is None else "right")
    projected = project(left, right, pairs, *heads, target.path.parent)
    metrics = {**before.metrics, "recipe": plan.hash, "sides": side_names(data.left, data.right), "seconds": seconds}
    with workplace(folder, plan) as building:
        if integrity.read(folder) != was:
            raise Busy(f"{folder} was replaced by another process meanwhile; nothing was changed: type it again")
        io.copy_folder(Path(folder), building, integrity.not_remade(stage))
        with timed(stage, seconds, quiet):
            if stage == "evaluate":
                metrics = {**_without_evaluation(metrics), **evaluate(plan, data, projected, building, parts.encoders)}
                evaluations.append(building, evaluations.entry(plan, metrics, building, stage, overrides))
            else:
                metrics["index"] = publish(plan, data, projected, building)
        write_run(plan, metrics, building)
    return open_run(folder)


def _without_evaluation(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Metrics without the entries that only some evaluations have, so that a new one leaves none of the old."""
    return {key: value for key, value in metrics.items() if key not in _SOME}


def write_run(plan: Recipe, metrics: dict[str, Any], folder: Path) -> None:
    """The files that make the folder a run: metrics last, as its presence says the run is whole.

    The checkpoint goes after them and in one step: a kill leaves it whole, to go on from, or not at all.
    """
    from sensorium.evaluate.card import card

    io.write(folder / "README.md", card(metrics, plan.toml(), folder))
    located.write(plan.values["data"], folder)
    io.write(folder / "recipe.toml", plan.toml())  # with what was open when the run began
    io.write_json(folder / "metrics.json", {"format": FORMAT, "name": plan.name, **metrics})
    integrity.write(folder)
    io.remove_folder(folder / "checkpoint")

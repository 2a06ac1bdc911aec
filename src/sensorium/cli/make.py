"""Verbs that make: download, embed, fit, finetune, evaluate, index, run, sweep, demo."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from sensorium.cli.finetune import finetune
from sensorium.cli.hub import Private
from sensorium.cli.options import (
    All,
    FitWorkers,
    Json,
    On,
    Out,
    Overrides,
    Quiet,
    RecipeName,
    RunFolder,
    Seed,
    Stores,
    Trust,
    Workers,
    fit_on_ray,
    on,
    suggest,
    tell,
    tell_folds,
    trusted,
    trying,
)
from sensorium.cli.output import Output
from sensorium.errors import BadRecipe


def run(
    recipe: RecipeName,
    overrides: Overrides = None,
    out: Out = None,
    seed: Seed = None,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Run this many seeds and print mean ± std.")] = 1,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Write TensorBoard events into the run.")] = False,
    where: On = None,
    workers: Workers = None,
    stores: Stores = None,
    fit_workers: FitWorkers = None,
    everything: All = False,
    as_json: Json = None,
    quiet: Quiet = False,
) -> None:
    """Run a recipe from raw items to a searchable folder.

    [bold]sensorium run glyphs[/bold]

    [bold]sensorium run glyphs objective=ridge --out runs/ridge[/bold]

    [bold]sensorium run arrays data.file=pairs.npz data.left=image data.right=text --out runs/mine[/bold]

    [bold]sensorium run ravdess-best data.root=~/data/RAVDESS data.fold=all --seeds 3[/bold]

    [bold]sensorium run glyphs --on ray --workers 2[/bold]

    [bold]sensorium run glyphs --on ray --fit-workers 2[/bold]

    [bold]torchrun --nproc-per-node 2 -m sensorium run glyphs[/bold]
    """
    import sensorium
    from sensorium import recipe as recipes
    from sensorium.cli import tables
    from sensorium.experiments import folds
    from sensorium.fitting import ranks

    output = Output(as_json)
    if fit_workers is not None:
        if seeds > 1 or folds.requested(recipes.load(recipe, overrides or [])):
            raise BadRecipe(f"--fit-workers {fit_workers} shares one fit; type it without --seeds and data.fold=all")
        options = {"out": out, "seed": seed, "tensorboard": tensorboard, "quiet": quiet}
        made = fit_on_ray("run", recipe, overrides or [], options, where, fit_workers, workers, stores)
        tell(output, made, everything=everything, then=True)
        return
    with on(where, workers, stores, quiet=quiet):
        if folds.requested(recipes.load(recipe, overrides or [])):
            ranks.refuse_several("data.fold=all")
            summary = folds.every(recipe, overrides or [], seeds=seeds, out=out, first=seed or 0, quiet=quiet)
            tell_folds(output, summary, everything)
            return
        if seeds > 1:
            ranks.refuse_several(f"--seeds {seeds}")
            from sensorium.experiments.seeds import several

            rows = several(recipe, overrides or [], seeds=seeds, out=out, first=seed or 0, quiet=quiet)
            if output.json:
                output.records(rows)
            else:
                output.say(tables.spread(rows, everything))
            return
        made = sensorium.run(recipe, overrides or [], out=out, seed=seed, quiet=quiet, tensorboard=tensorboard)
        if not ranks.rank():  # of several processes, the first one tells
            tell(output, made, everything=everything, then=True)


def embed(
    recipe: RecipeName,
    overrides: Overrides = None,
    out: Out = None,
    push_to: Annotated[
        str | None,
        typer.Option("--push-to", metavar="USER/NAME", help="Mirror the stores to this data set of the Hub."),
    ] = None,
    push_every: Annotated[int, typer.Option("--push-every", min=1, help="Send after this many new items.")] = 1000,
    private: Private = False,
    where: On = None,
    workers: Workers = None,
    stores: Stores = None,
    as_json: Json = None,
    quiet: Quiet = False,
) -> None:
    """Embed a recipe's items into stores, and stop there. A second call embeds only what changed.

    [bold]sensorium embed glyphs[/bold]

    [bold]sensorium embed glyphs --push-to me/glyph-vectors --push-every 1000 --private[/bold]

    [bold]sensorium embed glyphs --on ray[/bold]

    [bold]sensorium embed glyphs --on ray://10.0.0.1:6379 --stores s3://bucket/embeddings[/bold]
    """
    from sensorium import pipeline

    output = Output(as_json)
    if push_to is None:
        with on(where, workers, stores, whole=False, quiet=quiet):
            output.records(pipeline.embed_only(recipe, overrides or [], out, quiet))
        return
    from sensorium.store.mirroring import mirrored

    given = [recipe, *(overrides or []), *([] if out is None else ["--out", str(out)]), "--push-to", push_to]
    again = " ".join(["sensorium embed", *map(shlex.quote, given)]) + " --private" * private
    mirror = mirrored(push_to, every=push_every, private=private, again=again, progress=not quiet)
    with mirror, on(where, workers, stores, quiet=quiet):
        output.records(pipeline.embed_only(recipe, overrides or [], out, quiet))


def download(recipe: RecipeName, overrides: Overrides = None, as_json: Json = None) -> None:
    """Fetch a recipe's public archives into data.root: goes on where it stopped, verified, unpacked safely.

    [bold]sensorium download ravdess data.root=~/data/RAVDESS[/bold]

    [bold]sensorium download ravdess data=emodb data.root=~/data/EMO-DB[/bold]
    """
    from sensorium import recipe as recipes

    plan = recipes.load(recipe, overrides or [])
    data = plan.part("data")
    Output(as_json).records([{"folder": str(folder)} for folder in data.obtain()])


def fit(
    recipe: RecipeName,
    overrides: Overrides = None,
    out: Out = None,
    seed: Seed = None,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Write TensorBoard events into the run.")] = False,
    where: On = None,
    workers: Workers = None,
    stores: Stores = None,
    fit_workers: FitWorkers = None,
    as_json: Json = None,
    quiet: Quiet = False,
) -> None:
    """Embed and fit the heads only; 'evaluate' and 'index' then complete the run.

    [bold]sensorium fit glyphs train.epochs=5 --out runs/quick[/bold]

    [bold]sensorium fit glyphs --on ray --fit-workers 2[/bold]
    """
    from sensorium import pipeline
    from sensorium.fitting import ranks

    options = {"out": out, "seed": seed, "tensorboard": tensorboard, "quiet": quiet}
    if fit_workers is not None:
        made = fit_on_ray("fit", recipe, overrides or [], options, where, fit_workers, workers, stores)
    else:
        with on(where, workers, stores, quiet=quiet):
            made = pipeline.run(recipe, overrides or [], stages=(), **options)
    if ranks.rank():
        return
    Output(as_json).records(
        [{"run": str(made.folder), "seconds": made.metrics["seconds"]["fit"], **made.metrics["fit"]}]
    )


def evaluate(
    run: RunFolder,
    other: Annotated[
        str | None,
        typer.Argument(
            metavar="OTHER_RUN|KEY=VALUE",
            show_default=False,
            help="A second run to compare with, an [evaluate] key to change, or data=CORPUS to be judged on.",
        ),
    ] = None,
    overrides: Overrides = None,
    styles: Annotated[
        bool, typer.Option("--styles", help="Also ask the captions as tags, questions, commands … and without a thing.")
    ] = False,
    trust: Trust = False,
    everything: All = False,
    as_json: Json = None,
    quiet: Quiet = False,
) -> None:
    """Evaluate a run again, compare two runs query by query, or evaluate a classifier on another corpus.

    [bold]sensorium evaluate runs/glyphs evaluate.resamples=5000[/bold]

    [bold]sensorium evaluate runs/glyphs runs/ridge[/bold]

    [bold]sensorium evaluate runs/captions --styles[/bold]

    [bold]sensorium evaluate runs/ravdess-best data=emodb data.root=~/data/EMO-DB[/bold]
    """
    from sensorium import io, pipeline
    from sensorium.cli import tables
    from sensorium.experiments import cross_corpus

    output = Output(as_json)
    trusted(trust, run)
    if other and "=" not in other:
        from sensorium.evaluate import compare

        rows = compare.compare_runs(run, Path(other))
        if output.json:
            output.records(rows)
        else:
            names = io.read_json(run / "metrics.json", "make the run anew").get("sides")
            output.say(tables.comparison(rows, run, other, everything, names))
        return
    chosen = [*([other] if other else []), *(overrides or []), *(["evaluate.styles=true"] if styles else [])]
    if any(key.startswith(("data=", "data.")) for key in chosen):
        output.records(cross_corpus.judge(run, chosen, quiet))
        return
    tell(output, pipeline.evaluate_again(run, chosen, quiet), everything=everything)


def index(
    run: RunFolder,
    overrides: Overrides = None,
    trust: Trust = False,
    as_json: Json = None,
    quiet: Quiet = False,
) -> None:
    """Build a run's indexes again, perhaps with another part.

    [bold]sensorium index runs/glyphs index=faiss index.factory=HNSW32[/bold]
    """
    from sensorium import pipeline

    trusted(trust, run)
    made = pipeline.index_again(run, overrides or [], quiet)
    Output(as_json).records([{"side": side, **about} for side, about in made.metrics["index"].items()])


def sweep(
    recipe: RecipeName,
    space: Overrides = None,
    trials: Annotated[int, typer.Option("--trials", min=1, help="Trials in all; a study that has some goes on.")] = 20,
    sampler: Annotated[str, typer.Option("--sampler", help="random or tpe.")] = "tpe",
    pruner: Annotated[str, typer.Option("--pruner", help="median or none.")] = "median",
    measure: Annotated[str, typer.Option("--measure", help="What to raise on validation, such as hit@10.")] = "MRR",
    workers: Annotated[int, typer.Option("--workers", min=1, help="Processes that try at the same time.")] = 1,
    where: Annotated[
        str | None,
        typer.Option(
            "--on",
            metavar="ray[://HOST:PORT]",
            help="Try on Ray: a local one, or a cluster, whose machines share this folder.",
            show_default=False,
        ),
    ] = None,
    out: Out = None,
    seed: Seed = None,
    as_json: Json = None,
    quiet: Quiet = False,
) -> None:
    """Search recipe keys on validation; KEY=LOW..HIGH[:log] or KEY=A|B|C vary, KEY=VALUE is fixed.

    [bold]sensorium sweep glyphs train.lr=1e-4..1e-2:log left.head.hidden=256|512 --trials 20[/bold]

    [bold]sensorium sweep glyphs train.lr=1e-4..1e-2:log --trials 20 --workers 2 --on ray[/bold]
    """
    from sensorium.cli import tables
    from sensorium.experiments.sweep import folder_of
    from sensorium.experiments.sweep import sweep as run_sweep

    output = Output(as_json)
    options = {"trials": trials, "sampler": sampler, "pruner": pruner, "measure": measure, "out": out}
    with trying(where, workers) as runner:
        rows = run_sweep(recipe, space or [], workers=workers, seed=seed or 0, quiet=quiet, runner=runner, **options)
    if output.json:
        output.records(rows)
    else:
        tables.leaderboard(rows)
        suggest([f"sensorium run {shlex.quote(str(folder_of(recipe, out) / 'best.toml'))}"])


def demo(
    out: Out = None, as_json: Annotated[bool, typer.Option("--json", help="JSON lines instead of tables.")] = False
) -> None:
    """Run the recipe 'glyphs' and search it: the whole toolkit in a minute, without any download.

    The searches are the first examples of the recipe's page, and one that is hard: the name of the validation split at
    the third quartile of the rank of its best picture. Three quarters of the names that the fit has not seen are found
    at least as well.

    [bold]sensorium demo[/bold]
    """
    import sensorium

    output = Output(as_json)
    made = sensorium.run("glyphs", out=out)
    tell(output, made)
    where = shlex.quote(str(made.folder))
    hard, rank, pictures = _hard(made.folder)
    table = made.index("right").table
    name = str(table.columns["name"][table.rows.rows([hard])[0]]).lower()
    output.say(
        "\nThe table is of symbols that the fit has not seen. Three examples of the recipe, then a hard name: of "
        f"the\nnames held out for validation, three quarters are found at least as well (rank {rank} of {pictures:,})."
    )
    for words in (*made.recipe.values["page"]["examples"][:3], name):
        output.say(f'\n[bold]sensorium search {where} --text "{words}"[/bold]')
        output.records(made.search(text=words, k=4), ["rank", "score", "probability", "char", "name", "font"])
    if not output.json:
        ridge = shlex.quote(str(made.folder.parent / "ridge"))
        suggest(
            [
                f'sensorium search {where} --text "heavy black heart" -k 5',
                f"sensorium serve {where}",
                f"sensorium run glyphs objective=ridge --out {ridge}",
            ]
        )


def _hard(folder: Path) -> tuple[str, int, int]:
    """The validation query at the third quartile of its best rank: its id, that rank, and the number of candidates."""
    import numpy as np

    from sensorium.evaluate import compare

    ranks = compare.load(folder / compare.FILE)["validation", "right->left"]
    reciprocal = ranks.values("MRR")  # in the order of the sorted ids
    at = np.argsort(-reciprocal, kind="stable")[round(0.75 * (len(reciprocal) - 1))]
    return str(np.sort(ranks.query)[at]), round(1 / reciprocal[at]), int(ranks.candidates[0])


VERBS = {
    "run": run,
    "download": download,
    "embed": embed,
    "fit": fit,
    "finetune": finetune,
    "evaluate": evaluate,
    "index": index,
    "sweep": sweep,
    "demo": demo,
}

"""Arguments and options that several verbs share, and what their texts mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

from sensorium.cli.output import Output, printable
from sensorium.errors import BadRecipe

Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="KEY=VALUE", help="Recipe keys to change, such as train.lr=1e-3.", show_default=False),
]
Choices = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="KEY=VALUE", help="Options of the kind, such as key=text_emb ids=names.", show_default=False
    ),
]
RecipeName = Annotated[str, typer.Argument(metavar="RECIPE", help="A recipe's name or .toml file.", show_default=False)]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.", show_default=False)]
Out = Annotated[Path | None, typer.Option("--out", help="Folder to make. Default: runs/<recipe>.", show_default=False)]
Seed = Annotated[
    int | None, typer.Option("--seed", min=0, help="Seed of everything random but the split.", show_default=False)
]
On = Annotated[
    str | None,
    typer.Option(
        "--on", metavar="ray[://HOST:PORT]", help="Embed on Ray: a local one, or a cluster.", show_default=False
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers", min=1, help="With --on: encoders at a time. Default: one a core or GPU.", show_default=False
    ),
]
FitWorkers = Annotated[
    int | None,
    typer.Option(
        "--fit-workers",
        min=1,
        help="With --on: processes that share the steps of the fit, by Ray Train. Default: this one alone.",
        show_default=False,
    ),
]
Stores = Annotated[
    str | None,
    typer.Option(
        "--stores",
        metavar="URL",
        help="With --on: where the stores lie, such as s3://bucket/embeddings.",
        show_default=False,
    ),
]
Json = Annotated[
    bool | None,
    typer.Option(
        "--json/--table",
        help="JSON lines or a table. Default: a table on a terminal, JSON in a pipe.",
        show_default=False,
    ),
]
Trust = Annotated[
    bool,
    typer.Option("--trust", help="Allow the code outside of sensorium that the run names, and remember its files."),
]
All = Annotated[bool, typer.Option("--all", help="Every measure, not only hit@1, hit@10 and MRR.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no stage times.")]


def on(
    where: str | None, workers: int | None = None, stores: str | None = None, whole: bool = True, quiet: bool = False
) -> AbstractContextManager[Any]:
    """Within the block of this, embedding runs where ``--on`` says; without it, in this process."""
    if where is None:
        for option, value in (("--workers", workers), ("--stores", stores)):
            if value is not None:
                raise BadRecipe(f"{option} {value} needs --on; type: --on ray {option} {value}")
        return nullcontext()
    from sensorium.fitting import ranks

    if ranks.rank():  # of several processes, the first one embeds
        return nullcontext()
    from sensorium.scale.on import on as on_ray

    return on_ray(where, workers, stores or "", whole, not quiet)


def fit_on_ray(
    verb: str,
    recipe: str,
    overrides: Sequence[str],
    options: Mapping[str, Any],
    where: str | None,
    processes: int,
    workers: int | None = None,
    stores: str | None = None,
) -> Any:
    """``run`` or ``fit`` whose fit several processes of Ray Train share; the made run.

    options: out, seed, tensorboard and quiet, as typed. Embedding comes first, on Ray too.
    """
    if where is None:
        raise BadRecipe(f"--fit-workers {processes} needs --on; type: --on ray --fit-workers {processes}")
    import sensorium
    from sensorium import pipeline
    from sensorium import recipe as recipes
    from sensorium.fitting import ranks
    from sensorium.scale import training
    from sensorium.search.folder import RunFolder

    out, quiet = options["out"], options["quiet"]
    plan = recipes.load(recipe, overrides)
    target = RunFolder.of(out if out is not None else Path("runs") / plan.name)
    parts = plan.build()
    ranks.check(parts.objective, plan.train_options().members, processes)
    with on(where, workers, stores, quiet=quiet):
        pipeline.embed_only(recipe, overrides, out, quiet)
    words = [verb, recipe, *overrides, "--out", str(target.path), "--json", *["--quiet"] * quiet]
    words += ["--tensorboard"] * options["tensorboard"]
    words += [] if options["seed"] is None else ["--seed", str(options["seed"])]
    training.run(where, processes, words, target.path.parent)
    return sensorium.open(target.path)


def trying(where: str | None, workers: int) -> AbstractContextManager[Any]:
    """What runs the trials of a sweep where ``--on`` says; None without it."""
    if where is None:
        return nullcontext()
    from sensorium.scale.trials import trying as on_ray

    return on_ray(where, workers)


def trusted(trust: bool, *runs: Path) -> None:
    """With ``--trust``: allow the code that the runs name, and print what that is to the error stream."""
    from sensorium import consent
    from sensorium.cli.output import console

    for run in runs if trust else ():
        for code in consent.trust(run, remember=True):
            files = ", ".join(map(str, code.files))
            line = f"trusted: {code.name} = {files} sha256 {code.sha256}"
            console(stderr=True).print(line, markup=False, soft_wrap=True)


def tell(output: Output, made: Any, failures: bool = False, everything: bool = False, then: bool = False) -> None:
    """Print a run's numbers: the table for people, the results as JSON lines for programs.

    everything: all measures. then: end with the commands to type next.
    """
    from sensorium.cli import output as shown
    from sensorium.cli import tables

    if output.json:
        output.records(made.metrics["results"])
        return
    shown.print_run(made.metrics, made.folder, failures, everything)
    if then:
        suggest(tables.next_commands(made))


def suggest(commands: Sequence[str], title: str = "Try next:") -> None:
    """Print commands for people, each on a line that can be copied whole."""
    if commands:
        print("\n".join(["", title, *(f"  {printable(command)}" for command in commands)]))


def tell_folds(output: Output, summary: Mapping[str, Any], everything: bool = False) -> None:
    """Print what every fold together says: tables for people, the results as JSON lines for programs."""
    from sensorium.cli import tables
    from sensorium.evaluate import aggregate

    if output.json:
        output.records(summary["results"])
        return
    seeds = f"{summary['seeds']} seed{'s' * (summary['seeds'] > 1)} each"
    output.say(f"{summary['folds']} folds, {seeds}; percent, ranks as they are\n")
    rows = aggregate.table(summary)
    shown = tables.usual(rows, everything)
    tables.by_direction(shown)
    output.say(tables.more(shown, rows))
    output.records(aggregate.group_table(summary), title="Every group, worst first; percent")
    output.say(f"card: {summary['folder']}/README.md")


def read_vector(path: Path) -> Any:
    """The one vector of a .npy file."""
    import numpy as np

    try:
        vector = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise BadRecipe(f"{path} is not a .npy file: {error}") from None
    if not isinstance(vector, np.ndarray) or vector.ndim not in (1, 2) or vector.dtype.kind not in "iuf":
        raise BadRecipe(f"{path} holds no vector; expected a .npy file of numbers, shape (d,)")
    return vector

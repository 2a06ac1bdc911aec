"""The command line: verbs that make, use and look; each opens its help with something to paste."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from sensorium.errors import BadRecipe, SensoriumError
from sensorium.show import Output, console

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)

Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="KEY=VALUE", help="Recipe keys to change, such as train.lr=1e-3.", show_default=False),
]
RecipeName = Annotated[str, typer.Argument(metavar="RECIPE", help="A recipe's name or .toml file.", show_default=False)]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.", show_default=False)]
Out = Annotated[Path | None, typer.Option("--out", help="Folder to make. Default: runs/<recipe>.", show_default=False)]
Seed = Annotated[
    int | None, typer.Option("--seed", min=0, help="Seed of everything random but the split.", show_default=False)
]
Json = Annotated[
    bool | None,
    typer.Option(
        "--json/--table",
        help="JSON lines or a table. Default: a table on a terminal, JSON in a pipe.",
        show_default=False,
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no stage times.")]


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Small heads on frozen encoders: embed once, fit in seconds, know whether to believe it, search.

    [bold]sensorium run glyphs[/bold]

    [bold]sensorium search runs/glyphs --text "arrow turning left"[/bold]
    """
    if version:
        from sensorium import __version__

        print(__version__)
        raise typer.Exit
    if context.invoked_subcommand is None:
        print(context.get_help())
        raise typer.Exit


@app.command(rich_help_panel="Make")
def run(
    recipe: RecipeName,
    overrides: Overrides = None,
    out: Out = None,
    seed: Seed = None,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Run this many seeds and print mean ± std.")] = 1,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Write TensorBoard events into the run.")] = False,
    as_json: Json = None,
    quiet: Quiet = False,
) -> None:
    """Run a recipe from raw items to a searchable folder.

    [bold]sensorium run glyphs[/bold]

    [bold]sensorium run glyphs objective=ridge --out runs/ridge[/bold]

    [bold]sensorium run arrays data.file=pairs.npz data.left=image data.right=text --out runs/mine[/bold]
    """
    import sensorium

    output = Output(as_json)
    if seeds > 1:
        from sensorium.seeds import several

        told = several(recipe, overrides or [], seeds=seeds, out=out, first=seed or 0, quiet=quiet)
        output.records(told)
        return
    made = sensorium.run(recipe, overrides or [], out=out, seed=seed, quiet=quiet, tensorboard=tensorboard)
    tell(output, made)


@app.command(rich_help_panel="Make")
def embed(
    recipe: RecipeName, overrides: Overrides = None, out: Out = None, as_json: Json = None, quiet: Quiet = False
) -> None:
    """Embed a recipe's items into stores, and stop there. A second call embeds only what changed.

    [bold]sensorium embed glyphs[/bold]
    """
    from sensorium import pipeline

    Output(as_json).records(pipeline.embed_only(recipe, overrides or [], out, quiet))


@app.command(rich_help_panel="Make")
def fit(
    recipe: RecipeName,
    overrides: Overrides = None,
    out: Out = None,
    seed: Seed = None,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Write TensorBoard events into the run.")] = False,
    as_json: Json = None,
    quiet: Quiet = False,
) -> None:
    """Embed and fit the heads only; 'evaluate' and 'index' then complete the run.

    [bold]sensorium fit glyphs train.epochs=5 --out runs/quick[/bold]
    """
    from sensorium import pipeline

    made = pipeline.run(recipe, overrides or [], out=out, seed=seed, quiet=quiet, tensorboard=tensorboard, stages=())
    Output(as_json).records(
        [{"run": str(made.folder), "seconds": made.metrics["seconds"]["fit"], **made.metrics["fit"]}]
    )


@app.command(rich_help_panel="Make")
def evaluate(
    run: RunFolder,
    other: Annotated[
        str | None,
        typer.Argument(
            metavar="OTHER_RUN|KEY=VALUE",
            show_default=False,
            help="A second run to compare with, or an [evaluate] key to change.",
        ),
    ] = None,
    overrides: Overrides = None,
    as_json: Json = None,
    quiet: Quiet = False,
) -> None:
    """Judge a run again, or compare two runs query by query.

    [bold]sensorium evaluate runs/glyphs evaluate.resamples=5000[/bold]

    [bold]sensorium evaluate runs/glyphs runs/ridge[/bold]
    """
    from sensorium import pipeline

    output = Output(as_json)
    if other and "=" not in other:
        from sensorium.evaluate import compare

        output.records(compare.compare_runs(run, Path(other)))
        return
    tell(output, pipeline.evaluate_again(run, [*([other] if other else []), *(overrides or [])], quiet))


@app.command(rich_help_panel="Make")
def index(run: RunFolder, overrides: Overrides = None, as_json: Json = None, quiet: Quiet = False) -> None:
    """Build a run's indexes again, perhaps with another part.

    [bold]sensorium index runs/glyphs index=faiss index.factory=HNSW32[/bold]
    """
    from sensorium import pipeline

    made = pipeline.index_again(run, overrides or [], quiet)
    Output(as_json).records([{"side": side, **told} for side, told in made.metrics["index"].items()])


@app.command(rich_help_panel="Make")
def sweep(
    recipe: RecipeName,
    space: Overrides = None,
    trials: Annotated[int, typer.Option("--trials", min=1, help="Trials in all; a study that has some goes on.")] = 20,
    sampler: Annotated[str, typer.Option("--sampler", help="random or tpe.")] = "tpe",
    pruner: Annotated[str, typer.Option("--pruner", help="median or none.")] = "median",
    workers: Annotated[int, typer.Option("--workers", min=1, help="Processes that try at the same time.")] = 1,
    out: Out = None,
    seed: Seed = None,
    as_json: Json = None,
    quiet: Quiet = False,
) -> None:
    """Search recipe keys on validation; KEY=LOW..HIGH[:log] or KEY=A|B|C vary, KEY=VALUE is fixed.

    [bold]sensorium sweep glyphs train.lr=1e-4..1e-2:log left.head.hidden=256|512 --trials 20[/bold]
    """
    from sensorium.sweep import sweep as run_sweep

    Output(as_json).records(
        run_sweep(
            recipe,
            space or [],
            trials=trials,
            sampler=sampler,
            pruner=pruner,
            workers=workers,
            out=out,
            seed=seed or 0,
            quiet=quiet,
        )
    )


@app.command(rich_help_panel="Make")
def demo(
    out: Out = None, as_json: Annotated[bool, typer.Option("--json", help="JSON lines instead of tables.")] = False
) -> None:
    """Run the recipe 'glyphs' and search it: the whole toolkit in a minute, without any download.

    [bold]sensorium demo[/bold]
    """
    import sensorium

    output = Output(as_json)
    made = sensorium.run("glyphs", out=out)
    tell(output, made)
    for words in ("arrow turning left", "smiling face", "musical note", "greek letter with accent"):
        output.say(f'\n[bold]sensorium search {made.folder} --text "{words}"[/bold]')
        output.records(made.search(text=words, k=4), ["rank", "score", "char", "name", "font"])
    output.say(
        f'\nTry next:\n  [bold]sensorium search {made.folder} --text "heavy black heart" -k 5[/bold]\n'
        f"  [bold]sensorium run glyphs objective=ridge --out {made.folder.parent / 'ridge'}[/bold]"
    )


@app.command(rich_help_panel="Use")
def search(
    run: RunFolder,
    text: Annotated[str | None, typer.Option("--text", help="Words to search by.", show_default=False)] = None,
    audio: Annotated[Path | None, typer.Option("--audio", help="A sound file.", show_default=False)] = None,
    image: Annotated[Path | None, typer.Option("--image", help="A picture file.", show_default=False)] = None,
    face: Annotated[Path | None, typer.Option("--face", help="A picture of a face.", show_default=False)] = None,
    id: Annotated[str | None, typer.Option("--id", help="An item already in the run.", show_default=False)] = None,
    vector: Annotated[
        Path | None,
        typer.Option("--vector", help="A .npy file with one vector, as the encoder gives it.", show_default=False),
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="How many to find.")] = 10,
    where: Annotated[
        list[str] | None,
        typer.Option(
            "--where",
            help="Only items whose column has this value: COLUMN=VALUE; repeat to narrow.",
            show_default=False,
        ),
    ] = None,
    side: Annotated[
        str | None,
        typer.Option("--from", help="Side the query belongs to (left or right), when not evident.", show_default=False),
    ] = None,
    to: Annotated[
        str | None, typer.Option("--to", help="Side to search. Default: the other one.", show_default=False)
    ] = None,
    as_json: Json = None,
) -> None:
    """Find the items nearest to words, a sound, a picture, a face, an item or a vector.

    [bold]sensorium search runs/glyphs --text "arrow turning left"[/bold]

    [bold]sensorium search runs/glyphs --image picture.png -k 5[/bold]

    [bold]sensorium search runs/glyphs --id U+2665 --to right --json[/bold]
    """
    from sensorium.search import open as open_run

    opened = open_run(run)
    for path in (audio, image, face, vector):
        if path is not None and not path.is_file():
            raise BadRecipe(f"no such file: {path}")
    hits = opened.search(
        text=text,
        audio=audio,
        image=image,
        face=face,
        id=id,
        vector=None if vector is None else read_vector(vector),
        k=k,
        where=conditions(where or []),
        side=side,
        to=to,
    )
    Output(as_json).records(hits)


@app.command("import", rich_help_panel="Use")
def import_(
    kind: Annotated[
        str, typer.Argument(metavar="KIND", help="What the file is; an unknown kind lists them.", show_default=False)
    ],
    path: Annotated[Path, typer.Argument(metavar="PATH", help="File or folder to read.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", help="Store folder to make.", show_default=False)],
    options: Overrides = None,
    as_json: Json = None,
) -> None:
    """Bring in other people's embedding files as a store.

    [bold]sensorium import npz train_text_raw.npz key=text_emb --out stores/texts[/bold]
    """
    from sensorium.store import importing

    Output(as_json).records([importing.import_(kind, path, out, **key_values(options or []))])


@app.command(rich_help_panel="Use")
def export(
    kind: Annotated[
        str, typer.Argument(metavar="KIND", help="What to write; an unknown kind lists them.", show_default=False)
    ],
    store: Annotated[Path, typer.Argument(metavar="STORE", help="A store folder.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", help="File or folder to write.", show_default=False)],
    as_json: Json = None,
) -> None:
    """Write a store in the shape of another tool.

    [bold]sensorium export npz stores/texts --out texts.npz[/bold]
    """
    from sensorium.store import exporting

    Output(as_json).records([exporting.export(kind, store, out)])


@app.command(rich_help_panel="Look")
def ls(
    kind: Annotated[
        str | None,
        typer.Argument(
            metavar="KIND", help="recipes, datasets, encoders, heads, objectives, indexes or runs.", show_default=False
        ),
    ] = None,
    as_json: Json = None,
) -> None:
    """List recipes, parts and runs.

    [bold]sensorium ls heads[/bold]
    """
    from sensorium import look

    Output(as_json).records(look.listing(kind), ["kind", "name", "about"])


@app.command(rich_help_panel="Look")
def show(
    what: Annotated[
        str, typer.Argument(metavar="RUN|RECIPE", help="A run folder, or a recipe's name.", show_default=False)
    ],
    as_json: Json = None,
) -> None:
    """Show a run's numbers and worst failures, or a recipe's keys.

    [bold]sensorium show runs/glyphs[/bold]
    """
    from sensorium import recipe as recipes
    from sensorium.search import open as open_run

    output = Output(as_json)
    if (Path(what) / "metrics.json").is_file() or Path(what).is_dir():
        tell(output, open_run(what), failures=True)
    elif output.json:
        output.records([recipes.load(what).values])
    else:
        print(recipes.load(what).toml(), end="")


@app.command(rich_help_panel="Look")
def doctor(
    what: Annotated[
        Path | None, typer.Argument(metavar="STORE|RUN", help="A store or run to examine.", show_default=False)
    ] = None,
    as_json: Json = None,
) -> None:
    """Check the installation, or a store's files and vectors.

    [bold]sensorium doctor[/bold]

    [bold]sensorium doctor runs/embeddings/glyphs-left-hog-1a2b3c4d[/bold]
    """
    from sensorium import look

    findings = look.doctor(what)
    Output(as_json).records(findings, ["check", "state", "found"])
    if any(f["state"] == "bad" for f in findings):
        raise typer.Exit(2)


def tell(output: Output, made: Any, failures: bool = False) -> None:
    """Print a run's numbers: the table for people, the results as JSON lines for programs."""
    from sensorium import show as shown

    if output.json:
        output.records(made.metrics["results"])
        return
    shown.print_run(made.metrics, made.folder, failures)


def read_vector(path: Path) -> Any:
    """The one vector of a .npy file."""
    import numpy as np

    try:
        return np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise BadRecipe(f"{path} is not a .npy file: {error}") from None


def key_values(texts: list[str]) -> dict[str, str]:
    """KEY=VALUE texts as a mapping."""
    pairs = [text.partition("=") for text in texts]
    for (key, sign, _), text in zip(pairs, texts, strict=True):
        if not (key and sign):
            raise BadRecipe(f"'{text}'; expected KEY=VALUE")
    return {key: value for key, _, value in pairs}


def conditions(texts: list[str]) -> dict[str, Any] | None:
    """--where texts as conditions: COLUMN=VALUE, COLUMN>=VALUE; a column given twice takes either value."""
    found: dict[str, Any] = {}
    for text in texts:
        sign = next((s for s in ("!=", ">=", "<=", "=", ">", "<") if s in text), None)
        column, _, value = text.partition(sign or "=")
        if sign is None or not column:
            raise BadRecipe(f"--where '{text}'; expected COLUMN=VALUE, such as font=DejaVuSans")
        if sign == "=":
            found[column] = [*found[column], value] if isinstance(found.get(column), list) else [value]
        else:
            found.setdefault(column, {})[sign] = value
    return found or None


def main() -> None:
    """Entry point: errors a caller can mend are one line and exit status 2; bugs keep their traceback."""
    try:
        app()
    except SensoriumError as error:
        if "--json" in sys.argv:
            print(json.dumps({"error": type(error).__name__, "message": str(error)}), file=sys.stderr)
        else:
            console(stderr=True).print(f"[red]error:[/red] {_escape(str(error))}", soft_wrap=True)
        sys.exit(2)
    except KeyboardInterrupt:
        console(stderr=True).print("\nstopped; the same command goes on from the last checkpoint", soft_wrap=True)
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)


def _escape(text: str) -> str:
    from rich.markup import escape

    return escape(text).replace("\n", " ")

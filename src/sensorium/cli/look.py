"""Verbs that look: ls, show, doctor."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sensorium.cli.options import All, Json, Quiet, Trust, suggest, tell, trusted
from sensorium.cli.output import Output
from sensorium.errors import BadRecipe, nearest


def ls(
    kind: Annotated[
        str | None,
        typer.Argument(
            metavar="KIND",
            help="recipes, datasets, encoders, heads, objectives, indexes, formats or runs.",
            show_default=False,
        ),
    ] = None,
    as_json: Json = None,
) -> None:
    """List recipes, parts, file formats and runs.

    [bold]sensorium ls heads[/bold]
    """
    from sensorium.cli import doctor as look
    from sensorium.cli import tables

    columns = ["kind", "name", *(["licence"] if kind == "encoders" else []), "about"]
    output, records = Output(as_json), look.listing(kind)
    if output.json:
        output.records(records)
    else:
        suggest(tables.listing(records, columns), "Interrupted; these go on:")


def show(
    what: Annotated[
        str,
        typer.Argument(
            metavar="RUN|RECIPE|KIND",
            help="A run folder, a recipe's name, or encoder, head, objective, index or dataset.",
            show_default=False,
        ),
    ],
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Of a KIND: the part's name.", show_default=False)
    ] = None,
    trust: Trust = False,
    everything: All = False,
    as_json: Json = None,
) -> None:
    """Show a run's numbers and worst failures, a recipe's keys, or a part's keys, width, licence and weights.

    [bold]sensorium show runs/glyphs[/bold]

    [bold]sensorium show encoder clip[/bold]
    """
    from sensorium import recipe as recipes
    from sensorium.search.run import open as open_run

    output = Output(as_json)
    if name is not None:
        show_part(output, what, name)
    elif (Path(what) / "metrics.json").is_file() or Path(what).is_dir():
        trusted(trust, Path(what))
        opened = open_run(what)
        tell(output, opened, failures=True, everything=everything)
        for one in opened.migrations.by_side.values():
            output.say(one.notice(opened.names[one.side]))
    elif output.json:
        output.records([recipes.load(what).values])
    else:
        print(recipes.load(what).toml(), end="")


def show_part(output: Output, kind: str, name: str) -> None:
    """Print the page of a part."""
    from sensorium.cli import part_pages

    if kind not in part_pages.KINDS:
        raise BadRecipe(f"show {kind} {name}: no kind of part '{kind}'; {nearest(kind, part_pages.KINDS)}")
    found = part_pages.page(kind, name)
    if output.json:
        output.records([found])
    else:
        part_pages.print_page(found)


def doctor(
    what: Annotated[
        Path | None, typer.Argument(metavar="STORE|RUN", help="A store or run to examine.", show_default=False)
    ] = None,
    pairs: Annotated[
        bool, typer.Option("--pairs", help="Of a run: which pairs, labels and items look wrong, and how surely.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="With --pairs: a drop list to write, for data.drop.", show_default=False),
    ] = None,
    sure: Annotated[float, typer.Option("--sure", help="Least probability of what the drop list takes.")] = 0.5,
    also: Annotated[
        list[str] | None,
        typer.Option("--also", help="Let the drop list take duplicates or outliers too.", show_default=False),
    ] = None,
    cosine: Annotated[float, typer.Option("--cosine", help="Above which two items are near-duplicates.")] = 0.9999,
    trust: Trust = False,
    as_json: Json = None,
    quiet: Quiet = False,
) -> None:
    """Check the installation, or a store's files and vectors; with --pairs the data of a run.

    [bold]sensorium doctor[/bold]

    [bold]sensorium doctor runs/embeddings/glyphs-left-hog-1a2b3c4d[/bold]

    [bold]sensorium doctor runs/glyphs --pairs --out drop.csv[/bold]
    """
    from sensorium.cli import doctor as look

    if what is not None:
        trusted(trust, what)
    if pairs or out is not None:
        from sensorium.cli import data_doctor

        data_doctor.examine(what, Output(as_json), out, sure, also or [], cosine, quiet)
        return
    findings = look.doctor(what)
    Output(as_json).records(findings, ["check", "state", "found"])
    if any(f["state"] == "bad" for f in findings):
        raise typer.Exit(2)


VERBS = {"ls": ls, "show": show, "doctor": doctor}

"""The verb that lists and exports the labels of a run: labels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sensorium.cli.options import Json, RunFolder
from sensorium.cli.output import Output, json_line
from sensorium.errors import BadRecipe

_SHOWN = 20  # rows of the table; files and JSON have all


def labels(
    run: RunFolder,
    out: Annotated[
        Path | None, typer.Option("--out", help="File to write: .csv, .json or .jsonl.", show_default=False)
    ] = None,
    as_json: Json = None,
) -> None:
    """The labels that were given to hits with serve --label: a row for each query and item, by majority.

    [bold]sensorium labels runs/glyphs[/bold]

    [bold]sensorium labels runs/glyphs --out labels.csv[/bold]
    """
    from sensorium import io
    from sensorium.serve.labels.journal import Journal
    from sensorium.serve.labels.merged import as_csv, counts, merge

    pairs = merge(Journal(run).read())
    rows, output = [pair.row() for pair in pairs], Output(as_json)
    if out is not None:
        if out.suffix not in (".csv", ".json", ".jsonl"):
            raise BadRecipe(f"--out {out}: expected a file that ends with .csv, .json or .jsonl")
        if out.suffix == ".json":
            io.write_json(out, rows)
        else:
            io.write(out, as_csv(pairs) if out.suffix == ".csv" else "".join(f"{json_line(row)}\n" for row in rows))
    output.records(rows if output.json else rows[-_SHOWN:])
    found = counts(pairs)
    output.say(f"{found['labels']} labels of {found['queries']} queries: {found['up']} fit, {found['down']} do not, "
               f"{found['conflicts']} in conflict{'' if out is None else f'; all in {out}'}")  # fmt: skip
    if not pairs:
        output.say(f"to label hits on the page, type: sensorium serve {run} --label")


VERBS = {"labels": labels}

"""Verbs that change a run's items: add, remove."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from sensorium.cli.options import Json, Quiet, RunFolder, Trust, trusted
from sensorium.cli.output import Output
from sensorium.errors import BadData, BadRecipe

Side = Annotated[
    str | None,
    typer.Option(
        "--side",
        help="A side by its name, or left or right. Default: those whose columns the table has, or where the ids are.",
        show_default=False,
    ),
]


def add(
    run: RunFolder,
    table: Annotated[
        Path,
        typer.Argument(
            metavar="TABLE",
            help="CSV, TSV, JSON, JSONL, Parquet, .npy, .npz, a store, or a folder of files.",
            show_default=False,
        ),
    ],
    side: Side = None,
    column: Annotated[
        str | None,
        typer.Option(
            "--column",
            help="Column of the new items: texts, paths of files, or vectors. Default: that of the run's own data.",
            show_default=False,
        ),
    ] = None,
    ids: Annotated[
        str | None, typer.Option("--ids", help="Column of their ids. Default: id.", show_default=False)
    ] = None,
    root: Annotated[
        Path | None,
        typer.Option("--root", help="Folder of relative paths. Default: the table's own.", show_default=False),
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace items whose ids are there; without it they are refused.")
    ] = False,
    bad: Annotated[
        str, typer.Option("--bad", help="What to do with unreadable files and empty texts: stop or skip.")
    ] = "stop",
    trust: Trust = False,
    quiet: Quiet = False,
    as_json: Json = None,
) -> None:
    """Add the rows of a table to a run, encoded as its own items were; also while it is being served.

    [bold]sensorium add runs/mine new.csv[/bold]

    [bold]sensorium add runs/voices new_clips/ --side clip[/bold]

    [bold]sensorium add runs/mine more.parquet --side right --column caption --ids sku --replace[/bold]
    """
    import sensorium
    from sensorium.search import add_table

    if bad not in ("stop", "skip"):
        raise BadRecipe(f"--bad {bad}; expected stop or skip")
    trusted(trust, run)
    options = add_table.Options(column, ids, None if root is None else str(root), bad)
    opened, output = sensorium.open(run), Output(as_json)
    records = add_table.add(opened, table, side, options, replace=replace, progress=not quiet)
    for record in [] if output.json else records:
        record["side"] = opened.names[record["side"]]
        if left_out := record.pop("left_out", None):
            output.say(f"columns that the {record['side']} side does not have were left out: {', '.join(left_out)}")
    output.records(records)


def remove(
    run: RunFolder,
    ids: Annotated[
        list[str] | None,
        typer.Option("--ids", help="Ids with commas between them; may be repeated.", show_default=False),
    ] = None,
    ids_file: Annotated[
        Path | None,
        typer.Option("--ids-file", help="A text file with one id a line; - is standard input.", show_default=False),
    ] = None,
    side: Side = None,
    missing: Annotated[bool, typer.Option("--missing", help="Ids that are not there are no error.")] = False,
    trust: Trust = False,
    as_json: Json = None,
) -> None:
    """Remove items from a run, in one durable change; also while it is being served.

    [bold]sensorium remove runs/mine --ids sku-17,sku-18[/bold]

    [bold]sensorium remove runs/mine --ids-file gone.txt --side right[/bold]
    """
    import sensorium
    from sensorium.search import adding

    names = [name.strip() for text in ids or [] for name in text.split(",") if name.strip()]
    if ids_file is not None:
        names += [line.strip() for line in _read(ids_file).splitlines() if line.strip()]
    if not names:
        raise BadRecipe("no ids; type: --ids a,b or --ids-file FILE")
    trusted(trust, run)
    opened, output, records = sensorium.open(run), Output(as_json), []
    for at, some in adding.by_side(opened, names, side, missing).items():
        gone = adding.remove(opened, at, some, missing=missing)
        name = at if output.json else opened.names[at]
        records.append({"side": name, "removed": gone, "items": len(opened.index(at).table)})
    output.records(records)


def _read(path: Path) -> str:
    """The text of a file, or of standard input for -."""
    if str(path) == "-":
        return sys.stdin.read()
    try:
        return path.read_text("utf-8-sig")
    except FileNotFoundError:
        raise BadRecipe(f"no such file: {path}") from None
    except UnicodeDecodeError as error:
        raise BadData(f"{path} is not text in UTF-8 ({error}); expected one id a line") from None


VERBS = {"add": add, "remove": remove}

"""Verbs that take a run elsewhere: pack, unpack."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sensorium.cli.options import Json, Quiet, RunFolder, Trust, trusted
from sensorium.cli.output import Output


def pack(
    run: RunFolder,
    out: Annotated[
        Path | None, typer.Option("--out", help="The .zip file to write. Default: RUN.zip.", show_default=False)
    ] = None,
    with_code: Annotated[
        bool, typer.Option("--with-code", help="Copy the files of parts from outside of sensorium, too.")
    ] = False,
    trust: Trust = False,
    quiet: Quiet = False,
    as_json: Json = None,
) -> None:
    """Write a run as one .zip file for another machine, its pictures and sounds in it as small copies.

    [bold]sensorium pack runs/glyphs[/bold]

    [bold]sensorium pack runs/mine --out mine.zip --with-code[/bold]
    """
    from sensorium.search import packing

    trusted(trust, run)
    record = packing.pack(run, out, with_code=with_code, progress=not quiet)
    output = Output(as_json)
    if output.json:
        output.records([record])
        return
    output.records([{key: record[key] for key in ("out", "bytes", "files", "media")}])
    for code in record["code"]:
        how = "copied" if code["file"] else "not copied; add --with-code, or send its file along"
        output.say(f"names code from outside: {code['name']} (sha256 {code['sha256']}); {how}")
    if record.get("media_lost"):
        output.say(f"{record['media_lost']} pictures or sounds are not there any more, and not in the pack")
    for name in record.get("named", ()):
        output.say(f"{name} still names a folder of this machine, as an id or metadata")
    output.say(f"on the other machine type: sensorium unpack {Path(record['out']).name}")


def unpack(
    path: Annotated[Path, typer.Argument(metavar="ZIP", help="What sensorium pack wrote.", show_default=False)],
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder to make. Default: the file's name.", show_default=False)
    ] = None,
    as_json: Json = None,
) -> None:
    """Make a run folder of a packed run; every file is checked, and no code in it is executed.

    [bold]sensorium unpack glyphs.zip --out runs/glyphs[/bold]
    """
    from sensorium.search import unpacking

    record = unpacking.unpack(path, out)
    output = Output(as_json)
    if output.json:
        output.records([record])
        return
    output.records([{"run": record["run"], "files": record["files"]}])
    for line in unpacking.needs(record["code"], record["run"]):
        output.say(line)
    output.say(f"type: sensorium serve {record['run']}")


VERBS = {"pack": pack, "unpack": unpack}

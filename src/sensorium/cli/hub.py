"""Verbs of the Hugging Face Hub: push, pull."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from sensorium.cli.options import Json, Quiet, Trust, suggest, trusted
from sensorium.cli.output import Output

Private = Annotated[bool, typer.Option("--private", help="Make the repository private. One that is public is refused.")]
Licence = Annotated[
    str, typer.Option("--licence", help="The Hub's word for it, such as cc-by-4.0; for the card.", show_default=False)
]


def push(
    path: Annotated[
        Path, typer.Argument(metavar="RUN|STORE", help="A run's folder, or a store of vectors.", show_default=False)
    ],
    name: Annotated[str, typer.Argument(metavar="USER/NAME", help="The repository on the Hub.", show_default=False)],
    private: Private = False,
    licence: Licence = "",
    media: Annotated[
        bool, typer.Option("--media/--no-media", help="Whether a run's pictures and sounds go along, as small copies.")
    ] = True,
    with_code: Annotated[
        bool, typer.Option("--with-code", help="Copy the files of a run's parts from outside of sensorium, too.")
    ] = False,
    trust: Trust = False,
    quiet: Quiet = False,
    as_json: Json = None,
) -> None:
    """Publish a run as a model, or mirror a store as a data set; only what is new is sent. Log in with: hf auth login.

    [bold]sensorium push runs/glyphs me/glyphs --private[/bold]

    [bold]sensorium push runs/embeddings/glyphs-right-minilm-cee888ae me/glyph-names[/bold]
    """
    from sensorium.search import hub_runs
    from sensorium.store import exists, mirror

    output = Output(as_json)
    again = _typed("push", path, name, *(["--private"] if private else []))
    if exists(path):
        record = mirror.push(path, name, private=private, licence=licence, progress=not quiet, again=again)
        output.records([{key: record[key] for key in ("repo", "items", "files", "bytes", "url")}])
        return
    trusted(trust, path)
    how: dict[str, Any] = {"with_code": with_code, "with_media": media, "progress": not quiet, "again": again}
    record = hub_runs.push(path, name, private=private, licence=licence, **how)
    output.records([{key: record[key] for key in ("repo", "files", "bytes", "media", "url")}])
    for code in record["code"]:
        how_ = "copied" if code["file"] else "not copied; add --with-code, or send its file along"
        output.say(f"names code from outside: {code['name']} (sha256 {code['sha256']}); {how_}")
    if record.get("media_lost"):
        output.say(f"{record['media_lost']} pictures or sounds are not there any more, and were not sent")
    for named in record.get("named", ()):
        output.say(f"{named} still names a folder of this machine, as an id or metadata")
    if not output.json:
        suggest([_typed("pull", name)], "On another machine:")


def pull(
    name: Annotated[
        str,
        typer.Argument(metavar="USER/NAME", help="The repository; datasets/USER/NAME for a store.", show_default=False),
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder to make. Default: runs/NAME, or NAME for a store.", show_default=False),
    ] = None,
    revision: Annotated[
        str | None, typer.Option("--revision", help="Branch, tag or commit. Default: main.", show_default=False)
    ] = None,
    quiet: Quiet = False,
    as_json: Json = None,
) -> None:
    """Fetch a run or a store from the Hub; every file is verified, no code in it is executed, a second call goes on.

    [bold]sensorium pull me/glyphs --out runs/glyphs[/bold]

    [bold]sensorium pull datasets/me/glyph-names --out vectors --revision v1[/bold]
    """
    from sensorium.search import hub_runs, unpacking
    from sensorium.store import mirror

    output = Output(as_json)
    options = ([] if out is None else ["--out", str(out)]) + ([] if revision is None else ["--revision", revision])
    again = _typed("pull", name, *options)
    listed = hub_runs.found(name, again, revision)
    short = listed.place.name.partition("/")[2]
    if listed.place.type == "model":
        record = hub_runs.pull_listed(listed, out or Path("runs") / short, not quiet, again)
        output.records([{key: record[key] for key in ("run", "files", "commit")}])
        for line in unpacking.needs(record["code"], record["run"]):
            output.say(line)
        if not output.json:
            suggest([_typed("serve", record["run"])])
        return
    record = mirror.pull_listed(listed, out or Path(short), not quiet, again)
    commit = record["commit"]
    output.records([{"store": one, "items": items, "commit": commit} for one, items in record["stores"].items()])


def _typed(verb: str, *words: Any) -> str:
    return " ".join(["sensorium", verb, *(shlex.quote(str(word)) for word in words)])


VERBS = {"push": push, "pull": pull}

"""The verb that moves a run to another encoder: migrate."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from sensorium.cli.options import Json, Quiet, RunFolder, Trust, suggest, trusted
from sensorium.cli.output import Output
from sensorium.errors import BadRecipe

_WAYS = {
    "old": "old encoder",
    "adapted": "new encoder, adapter, old head and index",
    "old refit": "old encoder, head fitted on the sample",
    "new refit": "new encoder, head fitted on the sample",
}


def migrate(
    run: RunFolder,
    encoder: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY=VALUE",
            help="left.encoder=NEW or right.encoder=NEW and keys of it; or left.vectors=FILE[:KEY], with "
            "left.ids=FILE[:KEY], of vectors made elsewhere. Without any: the state.",
            show_default=False,
        ),
    ] = None,
    sample: Annotated[
        int | None,
        typer.Option("--sample", help="Items that both encoders embed. Default: 2000, or all.", show_default=False),
    ] = None,
    refit: Annotated[
        bool,
        typer.Option(
            "--refit/--no-refit", help="Also fit heads on the sample, to say whether the new encoder is better."
        ),
    ] = True,
    embed: Annotated[
        bool, typer.Option("--embed", help="Embed and fit everything anew beside the run, which stays as it is.")
    ] = False,
    swap: Annotated[bool, typer.Option("--swap", help="Put the new run in the old one's place, in one step.")] = False,
    rollback: Annotated[bool, typer.Option("--rollback", help="Let the old encoder answer again.")] = False,
    trust: Trust = False,
    quiet: Quiet = False,
    as_json: Json = None,
) -> None:
    """Move one side of a run to another encoder: an adapter at once, everything embedded anew later, a way back.

    [bold]sensorium migrate runs/mine left.encoder=dinov2 --sample 2000[/bold]

    [bold]sensorium migrate runs/mine left.vectors=new.npz:image left.ids=new.npz:ids[/bold]

    [bold]sensorium migrate runs/mine --embed[/bold]

    [bold]sensorium migrate runs/mine --swap[/bold]

    [bold]sensorium migrate runs/mine --rollback[/bold]
    """
    from sensorium.experiments import migrate as migrating
    from sensorium.experiments import swap as swapping

    if rollback and (embed or swap or encoder):
        raise BadRecipe("--rollback undoes a migration; give it alone")
    trusted(trust, run)
    output, again = Output(as_json), f"sensorium migrate {shlex.quote(str(run))}"
    if rollback:
        output.records([swapping.roll_back(run)])
        return
    if encoder:
        record = migrating.migrate(run, encoder, sample=sample, refit=refit, quiet=quiet)
        _tell(output, record)
        if not output.json and not swap and not embed:
            suggest([f"{again} --embed", f"{again} --swap", f"{again} --rollback"])
    if swap:
        done = swapping.swap(run, quiet)
        if output.json:
            output.records([done])
        else:
            output.records(done["results"], title="Old and new run, test split")
            suggest([f"{again} --rollback"])
    elif embed:
        made = swapping.re_embed(run, quiet)
        output.records([{"run": str(run), "ready": str(made.folder), "then": f"{again} --swap"}])
    elif not encoder:
        _show(output, run)


def _show(output: Output, run: Path) -> None:
    """The state of each side's migration."""
    from sensorium.search.run import open as open_run

    found = open_run(run).migrations.by_side
    if not found:
        raise BadRecipe(f"{run} was never migrated; type: sensorium migrate {shlex.quote(str(run))} left.encoder=NEW")
    output.records([{"side": side, **one.summary(), "verdict": one.record.get("verdict", "")}
                    for side, one in found.items()])  # fmt: skip


def _tell(output: Output, record: Mapping[str, Any]) -> None:
    """What a migration found: for people a table and the verdict, for programs the record."""
    if output.json:
        output.records([{**record, "new": {k: v for k, v in record["new"].items() if k != "fingerprint"},
                         "old": {"name": record["old"]["name"]}}])  # fmt: skip
        return
    adapter = record["adapter"]
    output.say(f"adapter: {adapter['name']}, fitted on {adapter['items']:,} items; state: {record['state']}")
    if not record["test_items"]:
        output.say("recall was not measured: no test item has a new vector")
        return
    rows = []
    for way in record["ways"]:
        share = way["kept"]
        kept = (
            "" if share is None else f"{100 * share['value']:.1f} [{100 * share['low']:.1f}, {100 * share['high']:.1f}]"
        )
        rows.append({"search by": _WAYS[way["way"]], **{m: f"{100 * way[m]:.1f}" for m in ("hit@1", "hit@10", "MRR")},
                     "adapter keeps": kept})  # fmt: skip
    measure = "" if record["kept"] is None else f"; kept: of {record['kept']['measure']}, 95% paired bootstrap"
    output.records(rows, title=f"{record['test_items']:,} test items as queries, percent{measure}")
    if (share := record["kept_as_items"]) is not None:
        output.say(f"Items embedded by {record['new']['name']} are found {_percent(share)}% as often as old ones.")
    output.say(record["verdict"])
    for note in record.get("notes", ()):
        output.say(f"note: {note}")


def _percent(share: Mapping[str, Any]) -> str:
    return "{:.1f} [{:.1f}, {:.1f}]".format(*(100 * share[key] for key in ("value", "low", "high")))


VERBS = {"migrate": migrate}

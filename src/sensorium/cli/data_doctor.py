"""``sensorium doctor RUN --pairs``: what the data doctor found, as tables or JSON lines, and the drop list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sensorium.cli.options import suggest
from sensorium.cli.output import Output
from sensorium.errors import BadRecipe
from sensorium.progress import say
from sensorium.search.folder import quote

_SHOWN = 15  # findings of a kind in a table
_TITLES = {"pair": "Pairs that look mispaired", "label": "Items that look mislabelled",
           "duplicate": "Near-duplicates", "outlier": "Outliers"}  # fmt: skip


def examine(
    folder: Path | None, output: Output, out: Path | None, sure: float, also: Sequence[str], cosine: float, quiet: bool
) -> None:
    """Examine a run's data, print what was found, and write the drop list where ``out`` names a file."""
    from sensorium.experiments import doctor

    if folder is None:
        raise BadRecipe("--pairs examines the data of a run; type: sensorium doctor RUN --pairs")
    if not 0 < cosine <= 1:
        raise BadRecipe(f"--cosine {cosine}; expected a number above 0, up to 1, such as 0.99")
    doctor.dropped({"findings": [], "sets": False, "sides": {}}, sure, also)
    report = doctor.examine(folder, cosine=cosine, progress=not quiet)
    for note in () if quiet else report["notes"]:
        say("note", note)
    written = None
    if out is not None:  # before anything is printed: a closed pipe loses nothing
        written = doctor.write_list(report, doctor.dropped(report, sure, also), out)
    if output.json:
        output.records([*report["checks"], *report["findings"]])
        return
    _tables(output, report)
    if written is not None:
        output.say(f"\n{written:,} row{'s' * (written != 1)} in {out}")
        again = f"sensorium run {quote(folder / 'recipe.toml')} data.drop={quote(out)} --out RUN"
        suggest([again] if written else [])


def _tables(output: Output, report: Mapping[str, Any]) -> None:
    output.records([_check(one, report["sides"]) for one in report["checks"]], title="Checks")
    for kind, title in _TITLES.items():
        found = [one for one in report["findings"] if one["kind"] == kind]
        if not found:
            continue
        rows = [{"sure": _sure(one), **{report["sides"].get(side, side): one[side] for side in ("left", "right")
                                        if side in one}, **({"label": one["label"]} if "label" in one else {}),
                 "why": one["why"], "split": one["split"]} for one in found[:_SHOWN]]  # fmt: skip
        more = f", {len(found) - _SHOWN:,} more in --json" if len(found) > _SHOWN else ""
        output.say()
        output.records(_even(rows), title=f"{title}{more}")


def _even(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows of a table with the same columns."""
    columns = dict.fromkeys(key for row in rows for key in row)
    return [{key: row.get(key, "") for key in columns} for row in rows]


def _sure(one: Mapping[str, Any]) -> str:
    return f"{100 * one['probability']:.0f}%" if "probability" in one else "equal" if one["equal"] else "near"


def _check(one: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, str]:
    """A summary as a row of people's table."""
    what = one["check"] + (f", {names.get(one['side'], one['side'])}" if "side" in one else "")
    found = f"{one['likely']:,} of {one['of']:,}"
    if one.get("self_check"):
        tried = one["self_check"]
        found += (f" likely wrong; {one['expected']:,.0f} expected in all. Of {tried['shuffled']:,} shuffled on "
                  f"purpose {100 * tried['recall']:.0f}% are found")  # fmt: skip
    elif "apart" in one:
        found = "cannot be told from shuffled ones"
    return {"check": what, "found": found}

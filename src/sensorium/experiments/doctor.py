"""The data doctor: what of a run's data looks mispaired, mislabelled, repeated or out of place, with how sure.

Start reading at :func:`examine`. ``python -m sensorium.experiments.doctor RUN FILE.json`` is what a server starts.
"""

from __future__ import annotations

import csv
import io as text
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sensorium import io, pipeline
from sensorium.datasets._dropping import DropList, Without
from sensorium.errors import BadData, BadRecipe, SensoriumError, nearest
from sensorium.evaluate import duplicates
from sensorium.experiments import _doctor_items, _doctor_pairs
from sensorium.experiments._doctor_pairs import SURE
from sensorium.progress import bar
from sensorium.search import located
from sensorium.search.folder import RunFolder
from sensorium.search.run import open as open_run
from sensorium.types import SIDES, side_names

FORMAT = 1
#: What a drop list may take beside pairs and labels.
ALSO = {"duplicates": "duplicate", "outliers": "outlier"}


def examine(
    folder: Path, *, seed: int = 0, cosine: float = duplicates.COSINE, progress: bool = False
) -> dict[str, Any]:
    """Examine the data of a run: ``{"run", "sides", "checks", "findings", "notes", "seconds"}``, as JSON holds it.

    All splits are examined. checks: one summary of each check. findings: likeliest first, each of a ``kind``: "pair",
    "label", "duplicate" or "outlier", with the ids of its items by side. notes: what could not be checked, and why.
    cosine: above which two items of one side are near-duplicates.

    Raises BadData where the run's data are not there any more.
    """
    begun, run = time.perf_counter(), open_run(folder)
    source = located.data(run.recipe, run.folder, progress)
    data = source.load()
    built = located.tuned(run.recipe.build(), run.folder)
    left, right = pipeline.embed(run.recipe, data, RunFolder(run.folder).stores, progress=progress, parts=built)
    right = left if right is None else right
    pairs = pipeline.split(run.recipe, data.pairs, [])
    both = data, left, right, pairs
    total = _doctor_pairs.work(left, right, pairs) + len(left) + (0 if data.right is None else len(right))
    checks, findings, notes, sides = [], [], [], side_names(data.left, data.right)
    before = DropList.read(source.drop).rows() if isinstance(source, Without) else []
    with bar("doctor", total, progress) as advance:
        try:
            checks, findings = _doctor_pairs.check(*both, seed, advance)
        except BadData as error:
            notes.append(f"pairs were not checked: {error}")
        more, items = _doctor_items.check(*both, cosine, advance)
    notes += [_not_apart(one) for one in checks if one["expected"] is None]
    if left.offsets is not None or right.offsets is not None:
        notes.append("items of several frames were compared by their mean frame")
    if pairs.sets is not None:
        notes.append("pairs of sets, such as outfits, are not in the drop list: name the items that spoil them")
    listed = [{**one, "why": why(one, sides)} for one in [*findings, *items]]
    return {
        "format": FORMAT, "run": run.folder.name, "made": made(run.folder), "sides": sides,
        "sets": pairs.sets is not None, "before": before,
        "checks": [*checks, *more], "findings": listed, "notes": notes,
        "seconds": round(time.perf_counter() - begun, 1),
    }  # fmt: skip


def made(folder: Path) -> str:
    """What tells the run in a folder from another one: findings of an earlier one are stale."""
    return io.checksum(folder / "metrics.json")


def dropped(report: Mapping[str, Any], sure: float = SURE, also: Sequence[str] = ()) -> list[dict[str, str]]:
    """Rows of a drop list: left, right, probability and why, of the findings that are at least so sure.

    also: "duplicates" (all but the first of each class) and "outliers", beside mispaired pairs and mislabelled items.
    Raises BadRecipe for a probability or word that is none.
    """
    if not 0 <= sure <= 1:
        raise BadRecipe(f"--sure {sure}; expected a probability from 0 to 1")
    for word in also:
        if word not in ALSO:
            raise BadRecipe(f"--also {word}; {nearest(word, ALSO)}")
    wanted = {"label", *(() if report["sets"] else ("pair",)), *(ALSO[word] for word in also)}
    rows = []
    for one in report["findings"]:
        if one["kind"] in wanted and one.get("probability", 1.0) >= sure:
            row = {side: one.get(side, "") for side in SIDES}
            rows.append({**row, "probability": str(one.get("probability", "")), "why": one["why"]})
    return rows


def write_list(report: Mapping[str, Any], rows: Sequence[Mapping[str, str]], path: Path) -> int:
    """Write a drop list as CSV, after what the run itself has left out by one; returns its number of rows."""
    before = report["before"]
    out = text.StringIO()
    table = csv.DictWriter(out, [*SIDES, "id", "probability", "why"], restval="", lineterminator="\n")
    table.writeheader()
    table.writerows([{**row, "why": "left out before"} for row in before])
    table.writerows(rows)
    io.write(path, out.getvalue())
    return len(before) + len(rows)


def why(one: Mapping[str, Any], names: Mapping[str, str]) -> str:
    """A finding in words."""
    if one["kind"] == "duplicate":
        return f"{'equal to' if one['equal'] else 'nearly equal to'} {one['other']} (cosine {one['cosine']})"
    if one["kind"] == "outlier":
        return f"{one['times']:,} times as far from its neighbours as they are from theirs"
    if one["kind"] == "label":
        return f"its own class ranks {one['rank_of_right']} of {one['rights']}; first is {one['instead']}"
    ranks = [
        f"its {names.get(side, side)} ranks {one[f'rank_of_{side}']:,} of {one[f'{side}s']:,}" for side in SIDES[::-1]
    ]
    return ", ".join(ranks)


def _not_apart(one: Mapping[str, Any]) -> str:
    return (f"the closed forms hardly tell the {one['of']:,} {one['check']} from shuffled ones (a listed one is the "
            f"more similar {100 * one['apart']:.0f} times in 100; chance is 50), so nothing is said of them; a better "
            "encoder, or more data, would help")  # fmt: skip


def main(run: str, target: str) -> None:
    """Examine a run and write what was found as JSON; what a caller can correct ends with status 2 and one line."""
    try:
        io.write_json(Path(target), examine(Path(run)))
    except SensoriumError as error:
        print(error, file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main(*sys.argv[1:])

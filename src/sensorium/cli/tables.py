"""The tables of run, show, evaluate, sweep, folds and ls for a terminal of 80 columns; programs read JSON lines."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sensorium.cli.output import print_table
from sensorium.evaluate import card, figures
from sensorium.evaluate.card import number

#: The measures of a table; ``--all`` shows every one. Where a run has none of these it shows them all.
FIRST = ("hit@1", "hit@10", "MRR", "UA", "WA", "macro-F1", "R1@IoU0.5", "R1@IoU0.7", "mAP@IoU")
_LONGEST = 60  # characters of a query in a suggested command


def usual(rows: Sequence[Mapping[str, Any]], everything: bool = False) -> list[Mapping[str, Any]]:
    """The rows of the usual measures in their order, for each direction; all rows of one that has none of them."""
    chosen: list[Mapping[str, Any]] = []
    for direction in dict.fromkeys(row["direction"] for row in rows):
        own = [row for row in rows if row["direction"] == direction]
        first = sorted((row for row in own if row["measure"] in FIRST), key=lambda row: FIRST.index(row["measure"]))
        chosen += first or own
    return list(rows) if everything else chosen


def more(shown: Sequence[Any], rows: Sequence[Any]) -> str:
    """What to type for the measures that are not shown; empty where all are."""
    return f"{len(rows) - len(shown)} more numbers: --all" if len(shown) < len(rows) else ""


def by_direction(rows: Sequence[Mapping[str, Any]], once: Sequence[str] = ()) -> None:
    """A table for each direction, named by it and by what is equal in all of its rows (``once``: column names)."""
    for direction in dict.fromkeys(row["direction"] for row in rows):
        own = [row for row in rows if row["direction"] == direction]
        equal = [name for name in once if len({row[name] for row in own}) == 1]
        title = ", ".join([f"{own[0][name]} {name}" for name in equal])
        hidden = {"direction", *equal}
        print_table(
            [{key: value for key, value in row.items() if key not in hidden} for row in own],
            title=f"{direction}: {title}" if title else str(direction),
        )


def results(metrics: Mapping[str, Any], everything: bool = False) -> str:
    """Print the numbers of a run; returns what to type for those that are not shown."""
    rows = card.table(metrics)
    shown = usual(rows, everything)
    by_direction(shown, ("queries", "candidates"))
    return more(shown, rows)


def comparison(rows: Sequence[Mapping[str, Any]], a: Any, b: Any, everything: bool = False,
               names: Mapping[str, str] | None = None) -> str:  # fmt: skip
    """Print two runs compared query by query; returns what to type for the measures that are not shown.

    names: of the sides.
    """
    shown = usual(rows, everything)
    by_direction(
        [{
            "direction": figures.arrow(row["direction"], names), "measure": row["measure"],
            "a": number(row["measure"], row["a"]), "b": number(row["measure"], row["b"]),
            "b - a": number(row["measure"], row["difference"]),
            "95% interval": f"{number(row['measure'], row['low'])} – {number(row['measure'], row['high'])}",
            "p": f"{row['p']:.2g}", "better": row["better"], "queries": f"{row['n_queries']:,}",
            **({"McNemar p": f"{row['mcnemar_p']:.2g}" if "mcnemar_p" in row else ""}
               if any("mcnemar_p" in one and one["direction"] == row["direction"] for one in shown) else {}),
        } for row in shown],
        ("queries",),
    )  # fmt: skip
    return "\n".join(filter(None, (more(shown, rows), f"a = {a}, b = {b}; percent, ranks as they are")))


def spread(rows: Sequence[Mapping[str, Any]], everything: bool = False) -> str:
    """Print mean and deviation over seeds; returns what to type for the measures that are not shown."""
    shown = usual(rows, everything)
    by_direction(
        [{
            "direction": figures.arrow(row["direction"]), "measure": row["measure"],
            "mean": number(row["measure"], row["mean"]) + (" LEAKY" if row.get("leaky") else ""),
            "over seeds": f"± {number(row['measure'], row['std'])}",
            "lowest": number(row["measure"], row["lowest"]), "highest": number(row["measure"], row["highest"]),
            "seeds": row["seeds"],
        } for row in shown],
        ("seeds",),
    )  # fmt: skip
    return more(shown, rows)


def leaderboard(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print the trials of a sweep: value, difference to the best with its interval, and what varied."""
    plain = ("rank", "trial", "state", "value", "difference", "low", "high", "p", "error", "folder")
    shown = []
    for row in rows:
        found = row["difference"] is not None
        shown.append({
            "rank": row["rank"] or row["state"], "value": row["value"],
            **{key: value for key, value in row.items() if key not in plain},
            "to the best": f"{row['difference']:.2g} [{row['low']:.2g}, {row['high']:.2g}]" if found else "",
            "p": f"{row['p']:.2g}" if found else "", "trial": row["trial"],
            **({"error": row["error"]} if "error" in row else {}),
        })  # fmt: skip
    print_table(shown)


def listing(records: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> list[str]:
    """Print what ls lists; returns the commands that go on with interrupted runs, each on a line of its own."""
    commands, shown = [], []
    for record in records:
        about, _, command = str(record["about"]).partition("; type: ")
        if record["kind"] == "runs" and command:
            commands.append(command)
            record = {**record, "about": about}
        shown.append(record)
    one_kind = len({record["kind"] for record in records}) == 1
    print_table(shown, [column for column in columns if not (one_kind and column == "kind")])
    return commands


def next_commands(run: Any) -> list[str]:
    """The two commands to type after a run: a search with a query of its own, and the server; none without index."""
    if not run.sides:
        return []
    where = shlex.quote(str(run.folder))
    return [f"sensorium search {where}" + f" {_query(run)}", f"sensorium serve {where}"]


def _query(run: Any) -> str:
    encoders = {side: run.encoder(side) for side in run.sides}
    texts = [side for side, encoder in encoders.items() if encoder is not None and encoder.takes == "text"]
    for side in texts:
        if words := _words(run.index(side).table):
            return f"--text {shlex.quote(words)}" + (f" --from {side}" if len(texts) > 1 else "")
    ids = [run.index(side).table.ids for side in run.sides]
    if not len(ids[0]):
        return "--id ID"
    id = str(ids[0][0])
    both = len(ids) > 1 and bool(np.isin(id, ids[1]))
    return f"--id{'=' if id.startswith('-') else ' '}{shlex.quote(id)}" + (f" --from {run.sides[0]}" if both else "")


def _words(table: Any) -> str:
    """A short text of the first items: of the first column of several words, else an id."""
    columns = [table.ids, *(column for column in table.columns.values() if column.dtype.kind == "U")]
    texts = [[str(value) for value in column[:20].tolist() if 0 < len(value) <= _LONGEST] for column in columns]
    several = next((text for column in texts for text in column if " " in text.strip()), None)
    return several or next((text for column in texts for text in column), "")

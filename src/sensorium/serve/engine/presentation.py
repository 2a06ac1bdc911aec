"""What the page says of a run before the first search: title, examples, display columns, and how good it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sensorium.evaluate.page_options import PageOptions
from sensorium.pairs import SPLITS
from sensorium.search import class_table
from sensorium.search.run import Run
from sensorium.serve.engine import related
from sensorium.serve.engine.registry import ServedRun
from sensorium.table import Table
from sensorium.table.columns import kind_of, missing

#: Columns that name an item, by their usual names, the first that is there.
NAMES = ("name", "productDisplayName", "title", "caption", "text", "label", "transcript")
_UNIQUE = 0.5  # share of an unnamed column's values that must differ, so that it can name items
_LOOKED_AT = 2000  # values that a column's length is measured on


def options(run: Run) -> PageOptions:
    """The [page] section of a run's recipe."""
    return PageOptions.of(run.recipe.values.get("page", {}))


def class_side(run: Run) -> str | None:
    """The side that is a class table, whose probabilities add up to 1; None where there is none."""
    return "right" if class_table.exists(run) else None


def display_column(table: Table, named: str = "") -> str | None:
    """The column that names a side's items: the recipe's, one of the usual, else the longest mostly unique text."""
    if named in table.columns:
        return named
    texts = {name: values for name, values in table.columns.items() if kind_of(values) == "text"}
    usual = next((name for name in NAMES if name in texts), None)
    if usual is not None or not texts:
        return usual
    lengths = {name: _length(values) for name, values in texts.items()}
    longest = max(lengths, key=lambda name: lengths[name])
    return longest if lengths[longest] > 0 else None


def _length(values: np.ndarray) -> float:
    """Mean length of a column's texts; 0 where most of them are not unique."""
    some = values[:: max(1, len(values) // _LOOKED_AT)]
    there = [str(one) for one in some[~missing(some)].tolist()]
    if there and sum(one.startswith("/") or "://" in one for one in there) > len(there) / 2:  # paths, addresses
        return 0.0
    if len(set(there)) < max(1.0, _UNIQUE * len(some)):
        return 0.0
    return sum(map(len, there)) / len(there)


def headline(served: ServedRun) -> dict[str, Any] | None:
    """How often the first answer is right on the test split, and what chance is; None where it was not measured.

    Of the direction in which text is asked, else from left to right. Chance: the mean share of a query's candidates
    that are related to it. Blocking: reads the related pairs.
    """
    run = served.run
    rows = [row for row in run.metrics.get("results", []) if row.get("measure") == "hit@1" and "split" in row]
    takes = {side: served.workers.takes(side) for side in run.sides}
    asked = "right->left" if takes.get("right") == "text" and class_side(run) is None else "left->right"
    row = next((row for row in rows if row["direction"] == asked), rows[0] if rows else None)
    if row is None:
        return None
    pairs = related.of(served)
    of_split = SPLITS.index(row["split"]) if row["split"] in SPLITS else -1
    related_ones = int(np.count_nonzero(pairs.split == of_split))
    per_query = related_ones / row["n_queries"] if related_ones and row["n_queries"] else 1.0
    found = {key: row.get(key) for key in ("direction", "value", "low", "high", "n_queries", "few_groups")}
    chance = min(1.0, per_query / row["n_candidates"]) if row["n_candidates"] else None
    return {**found, "few_groups": bool(found["few_groups"]), "chance": chance}


def suggestions(
    served: ServedRun, tables: dict[str, Table], words: str, sides: Sequence[str], n: int
) -> list[dict[str, str]]:
    """Up to n items whose display text, or id, holds every word: {id, side, text}; those that begin with it first."""
    parts = words.casefold().split()
    found: list[tuple[int, int, str, str, str]] = []
    for side in sides:
        ids, texts, folded = _texts(served, side, tables[side])
        whole = " ".join(parts)
        for row, text in enumerate(folded):
            inside = all(part in text for part in parts)
            if inside or all(part in f"{text} {ids[row].casefold()}" for part in parts):
                starts = all(f" {part}" in f" {text}" for part in parts)
                rank = 0 if text.startswith(whole) else 1 if f" {whole}" in text else 2 if starts else 4 - inside
                found.append((rank, len(text), side, ids[row], texts[row]))
    best, seen = [], set()
    for _, _, side, id, text in sorted(found, key=lambda one: (one[0], one[1])):
        if (side, text) not in seen:
            seen.add((side, text))
            best.append({"id": id, "side": side, "text": text})
        if len(best) == n:
            break
    return best


def _texts(served: ServedRun, side: str, table: Table) -> tuple[list[str], list[str], list[str]]:
    """Ids of a side, and the text of each as it is shown and as it is compared; kept until the table changes."""
    known = served.cache.get(f"texts {side}")
    if known is None or known[0] is not table:
        column = display_column(table, options(served.run).column_of(side))
        ids = [str(one) for one in table.ids.tolist()]
        values = ids if column is None else [str(one or "") for one in table.columns[column].tolist()]
        texts = [value or id for value, id in zip(values, ids, strict=True)]
        folded = [text.casefold() for text in texts]
        known = served.cache[f"texts {side}"] = (table, (ids, texts, folded))
    return known[1]

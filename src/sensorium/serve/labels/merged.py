"""Labels of several annotators as pairs: the last word of each, the majority of all, and where they disagree."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sensorium.serve.labels.journal import Asked, Label

COLUMNS = ("side", "query", "text", "to", "item", "label", "group", "annotators", "agree")


@dataclass(frozen=True)
class Pair:
    """What annotators say of a query and an item. label: 1 or 0; None where as many say one as the other.

    annotators: how many have labelled it; agree: how many of them say the same as ``label``.
    """

    query: Asked
    to: str
    item: str
    label: int | None
    annotators: int
    agree: int

    @property
    def conflict(self) -> bool:
        """Whether annotators disagree."""
        return self.agree < self.annotators

    def row(self) -> dict[str, Any]:
        """As a row of the columns of an export; the group is the query, so that no query stands in two splits."""
        return {"side": self.query.side, "query": self.query.id or "", "text": self.query.text or "", "to": self.to,
                "item": self.item, "label": self.label, "group": self.query.key, "annotators": self.annotators,
                "agree": self.agree}  # fmt: skip


def merge(labels: Iterable[Label]) -> list[Pair]:
    """One pair for each query and item that still has a label, in the order in which they were labelled first."""
    last: dict[tuple[str, str, str], dict[str, Label]] = {}
    for one in labels:
        last.setdefault((one.query.key, one.to, one.item), {})[one.annotator] = one
    found = []
    for words in last.values():
        said = [one for one in words.values() if one.label is not None]
        if not said:
            continue
        up = sum(one.label == 1 for one in said)
        down = len(said) - up
        label = None if up == down else int(up > down)
        found.append(Pair(said[-1].query, said[-1].to, said[-1].item, label, len(said), max(up, down)))
    return found


def usable(pairs: Sequence[Pair]) -> list[Pair]:
    """The pairs that a refit takes: those with a majority."""
    return [pair for pair in pairs if pair.label is not None]


def counts(pairs: Sequence[Pair]) -> dict[str, int]:
    """Numbers of a run's labels."""
    return {"labels": len(pairs), "up": sum(pair.label == 1 for pair in pairs),
            "down": sum(pair.label == 0 for pair in pairs), "queries": len({pair.query.key for pair in pairs}),
            "conflicts": sum(pair.conflict for pair in pairs)}  # fmt: skip


def as_csv(pairs: Sequence[Pair]) -> str:
    """The pairs as CSV with a header."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(pair.row() for pair in pairs)
    return text.getvalue()

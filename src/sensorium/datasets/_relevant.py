"""The labels of ``data.relevant``: what is said of missing ones, and refused of those that relate everything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sensorium.errors import BadData
from sensorium.types import is_missing


def checked(labels: Sequence[Any], name: str) -> list[str]:
    """Notes about the labels (n,) of n rows. Raises BadData for fewer than two different ones."""
    words = [str(one) for one in labels if not is_missing(one) and str(one) != ""]
    counts = {word: 0 for word in words}
    for word in words:
        counts[word] += 1
    if len(counts) < 2:
        what = f"all {len(words):,} labels are '{words[0]}', so that every item would be right" if words else (
            f"none of {len(labels):,} rows has a label")  # fmt: skip
        raise BadData(f"data.relevant={name}: {what}; expected two different labels or more")
    notes = []
    if lost := len(labels) - len(words):
        notes.append(f"{lost:,} of {len(labels):,} rows have no '{name}': each is related to its own row alone")
    if len(counts) == len(words):
        notes.append(f"each '{name}' stands in one row, so that rows are related as without data.relevant")
    return notes

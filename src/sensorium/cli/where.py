"""Conditions of --where as typed: COLUMN=VALUE, COLUMN=LOW..HIGH, COLUMN>=VALUE, COLUMN~=TEXT, COLUMN= for none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sensorium.errors import BadRecipe

_SIGNS = ("==", "!=", ">=", "<=", "~=", "=", ">", "<")  # an operator before those that begin it
_NOTHING: Mapping[str, str] = {}
#: Kinds of columns whose values have an order, so that LOW..HIGH is a range of them.
_ORDERED = ("number", "integer", "time", "duration")


def conditions(texts: Sequence[str], kinds: Mapping[str, str] = _NOTHING, option: str = "--where") -> Any:
    """Texts as conditions of ``Table.where``; None without any.

    kinds: of the columns, by name. A text is cut at the first operator that follows the name of one, else at the first.
    A column given twice with = takes either value; all other conditions must hold together. LOW..HIGH after = is a
    range of a column of numbers or times, both ends included; one of them may be left out. Nothing after = or != is a
    missing value; of a text column, empty text too. COLUMN~=TEXT: the text stands in the value, in letters of any case.
    """
    found: dict[str, dict[str, list[str | None]]] = {}
    for text in texts:
        column, sign, value = _cut(text, kinds, option)
        if sign in ("=", "==") and ".." in value and kinds.get(column) in _ORDERED:
            for end, of in _ends(value, text, option):
                found.setdefault(column, {}).setdefault(end, []).append(of)
            continue
        values = found.setdefault(column, {}).setdefault({"=": "==", "~=": "contains"}.get(sign, sign), [])
        if value or column not in kinds or sign not in ("=", "==", "!="):
            values.append(value)
        else:
            values.extend([None, ""] if kinds[column] == "text" else [None])
    return found or None


def _ends(value: str, text: str, option: str) -> list[tuple[str, str]]:
    """The ends of LOW..HIGH as conditions. Raises BadRecipe for text that is no range."""
    low, _, high = (end.strip() for end in value.partition(".."))
    ends = [(sign, end) for sign, end in ((">=", low), ("<=", high)) if end]
    if not ends or ".." in high:
        raise BadRecipe(f"{option} '{text}'; expected LOW..HIGH, LOW.. or ..HIGH, such as duration=3..10")
    return ends


def kinds_of(run: Any) -> dict[str, str]:
    """The kind of every column of a run's sides, by its name and as metadata.NAME; "text" of the id."""
    from sensorium.table.columns import kind_of

    kinds = {"id": "text"}
    for side in run.sides:
        for name, column in run.index(side).table.columns.items():
            kinds |= {name: kind_of(column), f"metadata.{name}": kind_of(column)}
    return kinds


def _cut(text: str, columns: Mapping[str, str], option: str) -> tuple[str, str, str]:
    signs = [
        (at, sign) for at in range(1, len(text)) if (sign := next((s for s in _SIGNS if text.startswith(s, at)), ""))
    ]
    if not signs:
        raise BadRecipe(f"{option} '{text}'; expected COLUMN=VALUE, such as font=DejaVuSans")
    at, sign = next((one for one in signs if text[: one[0]] in columns), signs[0])
    return text[:at], sign, text[at + len(sign) :]

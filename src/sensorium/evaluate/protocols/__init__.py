"""Evaluation protocols by the names papers use: each fixes queries, candidates and measures exactly.

A protocol is a file of this folder; ``evaluate.protocol = "captions"`` in a recipe runs it on the test split, beside
the measures that every run has. See :class:`Protocol` for what the file holds.
"""

from __future__ import annotations

import ast
import importlib
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sensorium.errors import BadData, BadRecipe, nearest

if TYPE_CHECKING:
    from sensorium.evaluate.named import Named
    from sensorium.evaluate.options import EvaluateOptions
    from sensorium.evaluate.projected import Projected
    from sensorium.types import Data, Items, Rows

HERE = Path(__file__).parent
_TEXTS = ("text", "caption", "sentence", "transcript", "prompt", "line")  # in the name of a side


@dataclass(frozen=True)
class Report:
    """What a protocol measured on the test split.

    results: rows as in metrics.json: direction, measure, value, low, high, n_queries, n_candidates, n_groups, split,
    seed. baselines: by name, rows of the same measures, to stand beside. notes: plain values that say how it was
    measured. figures: file name in ``plots`` → caption, of the figures drawn. breakdown: a measure by the values of a
    column: ``measure``, ``by`` and ``rows`` as of :func:`sensorium.evaluate.breakdown.by`. values: what the results
    summarise, kept in per_query.npz, so that two runs can be compared. beside: measures other outputs of both
    tables in the same way, such as a closed form's: rows and values. decides: the measure that the run's verdict
    is about; "" where it is about the ranks that every run has. plain: values without hubness correction, which those
    of ``beside`` are compared with; none where ``values`` are without it. confusion: ``counts`` (c, c) of ``names``,
    with what ``rows`` and ``columns`` are.
    """

    results: Sequence[Mapping[str, Any]]
    baselines: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)
    figures: Mapping[str, str] = field(default_factory=dict)
    breakdown: Mapping[str, Any] = field(default_factory=dict)
    values: Sequence[Named] = ()
    beside: Callable[[Rows, Rows], tuple[Sequence[Mapping[str, Any]], Sequence[Named]]] | None = None
    decides: str = ""
    plain: Sequence[Named] = ()
    confusion: Mapping[str, Any] = field(default_factory=dict)


class Protocol(typing.Protocol):
    """The functions of a file of this folder; its first line is what listings say of it."""

    def check(self, data: Data) -> None:
        """Raise BadData, naming what is missing, for data that the protocol cannot be measured on: before the fit."""

    def report(
        self, data: Data, projected: Projected, options: EvaluateOptions, corrections: Mapping[str, Any], plots: Path
    ) -> Report:
        """Measure the test split. corrections: of hubness, by direction. plots: folder for figures."""


def names() -> dict[str, str]:
    """Every protocol, with the first line of its file, ``esr_401.py`` as "esr-401"; nothing is imported."""
    found = {}
    for path in sorted(HERE.glob("*.py")):
        if not path.stem.startswith("_"):
            about = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
            found[path.stem.replace("_", "-")] = about.split("\n", 1)[0]
    return found


def check_name(name: str) -> None:
    """Raise BadRecipe, naming the nearest, unless there is a protocol of this name."""
    if not isinstance(name, str) or name not in names():
        raise BadRecipe(f"evaluate.protocol={name!r}; {nearest(str(name), names())}")


def find(name: str) -> Protocol:
    """The protocol of this name. Raises BadRecipe, naming the nearest, where there is none."""
    check_name(name)
    return importlib.import_module(f"{__name__}.{name.replace('-', '_')}")


def two_sides(data: Data, protocol: str) -> None:
    """Raise BadData unless the data have two tables."""
    if data.right is None:
        raise BadData(f"evaluate.protocol={protocol} is between two sides, but both sides are one table here")


def column(items: Items, name: str, side: str, protocol: str) -> Any:
    """A metadata column (n,) that a protocol needs. Raises BadData, naming the nearest, where it is missing."""
    if name not in items.meta:
        there = nearest(name, items.meta) if items.meta else "there is no column at all"
        raise BadData(f"evaluate.protocol={protocol} needs the column '{name}' of the {side} items; {there}")
    return items.meta[name]


def text_side(data: Data) -> str:
    """The side that holds the texts: the one of kind "text", else the one whose name says so, else the right one."""
    kinds = [items.kind == "text" for items in (data.left, data.right)]
    if kinds[0] == kinds[1]:
        kinds = [any(word in (items.name or "") for word in _TEXTS) for items in (data.left, data.right)]
    return "left" if kinds[0] and not kinds[1] else "right"

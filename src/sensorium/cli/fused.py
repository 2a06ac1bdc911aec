"""Options of ``sensorium search`` that fuse the rankings of several runs."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sensorium import progress
from sensorium.cli.options import trusted
from sensorium.errors import BadRecipe

if TYPE_CHECKING:
    from sensorium.search.hits import HitList
    from sensorium.search.query import Options
    from sensorium.search.run import Run

_PANEL = "Several runs"


def options(
    others: Annotated[
        list[Path] | None,
        typer.Option(
            "--with",
            metavar="RUN",
            help="Another run over the same items, whose ranking is fused with this one's. Repeat for more.",
            show_default=False,
            rich_help_panel=_PANEL,
        ),
    ] = None,
    fusion: Annotated[
        str | None,
        typer.Option(
            "--fusion",
            help="How: rrf, by reciprocal ranks (default), or weights, by weighted scores.",
            show_default=False,
            rich_help_panel=_PANEL,
        ),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            "--weights",
            help="A number for each run, such as .7,.3; or validation: those that are best on held-out queries.",
            show_default=False,
            rich_help_panel=_PANEL,
        ),
    ] = None,
) -> None:
    """The options of this file, for the signature of ``search``."""


NAMES = tuple(inspect.signature(options).parameters)


def asked(given: Mapping[str, Any]) -> bool:
    """Whether runs are to be fused. Raises BadRecipe for the options of a fusion without another run."""
    if given["others"]:
        return True
    for name in ("fusion", "weights"):
        if given[name] is not None:
            raise BadRecipe(f"--{name} is of a fusion of runs; name another run: --with RUN")
    return False


def search(opened: Run, inputs: Mapping[str, Any], options: Options, given: Mapping[str, Any], side: str | None,
           trust: bool) -> HitList:  # fmt: skip
    """The hits of one query in all runs together; says which weights were chosen. Raises BadRecipe, BadData."""
    from sensorium.search import fusion

    plain = {"--mmr": options.mmr, "--collapse": options.collapse, "--facets": options.facets or None,
             "--min-score": options.min_score, "--fallback": options.fallback}  # fmt: skip
    if refused := [name for name, value in plain.items() if value is not None]:
        raise BadRecipe(f"{refused[0]} is not for a fusion of runs; leave it out, or --with")
    for folder in given["others"]:
        trusted(trust, folder)
    fused = fusion.fuse(opened, *given["others"], fusion=given["fusion"] or "rrf", weights=weights_of(given["weights"]))
    if fused.chosen:
        said = ", ".join(
            f"{name} {w:g}" for name, w in zip(fused.names, fused.weights / fused.weights.sum(), strict=True)
        )
        progress.say("fusion", f"weights {said}: nDCG@10 {max(fused.chosen.values()):.3f} on validation queries")
    return fused.search(k=options.k, where=options.where, side=side, to=options.to, **inputs)


def weights_of(text: str | None) -> list[float] | str | None:
    """Weights as typed: numbers, or the word for their choice. Raises BadRecipe."""
    from sensorium.search.fusion import VALIDATION

    if text is None or text == VALIDATION:
        return text
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise BadRecipe(f"--weights {text}; expected a number for each run, such as .7,.3, or {VALIDATION}") from None

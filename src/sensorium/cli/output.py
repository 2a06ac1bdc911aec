"""How things look on a terminal: tables for people, JSON lines for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sensorium import io


class Output:
    """Where a verb's records go: a table on a terminal, JSON lines when asked or in a pipe."""

    def __init__(self, as_json: bool | None) -> None:
        self.json = not sys.stdout.isatty() if as_json is None else as_json

    def records(
        self, records: Iterable[Mapping[str, Any]], columns: Sequence[str] | None = None, title: str = ""
    ) -> None:
        """One JSON object a line, or one table row each."""
        if self.json:
            for record in records:
                print(json.dumps(record, ensure_ascii=False, allow_nan=False, default=io.plain))
        else:
            print_table(list(records), columns, title)

    def say(self, text: str = "") -> None:
        """A line for people only."""
        if not self.json:
            console().print(text, highlight=False)


def console(stderr: bool = False) -> Any:
    """A rich console; pipes get a fixed generous width, so that nothing is cut."""
    from rich.console import Console

    out = sys.stderr if stderr else sys.stdout
    made = Console(stderr=stderr, width=None if out.isatty() else 120, highlight=False)
    made.on_broken_pipe = _broken_pipe  # rich would exit with status 1
    return made


def _broken_pipe() -> None:
    raise BrokenPipeError


def print_table(records: Sequence[Mapping[str, Any]], columns: Sequence[str] | None = None, title: str = "") -> None:
    """Records as a table; numbers to the right."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    if not records:
        console().print("[dim]nothing[/dim]")
        return
    columns = list(columns or dict.fromkeys(key for record in records for key in record))
    table = Table(title=title or None, box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False)
    for column in columns:
        numeric = all(isinstance(record.get(column), (int, float)) for record in records)
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for record in records:
        table.add_row(*(Text(_cell(record.get(column))) for column in columns))
    console().print(table)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def print_run(metrics: Mapping[str, Any], folder: Any, failures: bool = False) -> None:
    """A run for people: the table of numbers, the verdict, warnings, times, and perhaps its worst failures."""
    from sensorium.evaluate import card

    out = console()
    leaks = metrics.get("leaks", {})
    stamp = "  [bold red]LEAKY[/bold red]" if leaks.get("leaky") else ""
    out.print(
        f"\n[bold]{folder}[/bold]{stamp}  recipe {metrics['recipe']}, data {metrics['data']}, split {metrics['split']}"
    )
    if metrics["results"]:
        split = metrics["results"][0]["split"]
        print_table(card.table(metrics), title=f"{split} split; percent, ranks as they are; 95% intervals over groups")
        for told in filter(None, (card.caution(metrics), metrics["verdict"])):
            out.print(told)
    protocol = metrics.get("protocol")
    if protocol:
        out.print(f"protocol {protocol['name']}: {protocol['about']}", markup=False)
    for finding in leaks.get("findings", ()):
        out.print(f"{'LEAKY: ' if finding['leaky'] else 'note: '}{finding['text']}", markup=False)
    told = ", ".join(
        f"{key.replace('_', ' ')} {_cell(value)}" for key, value in metrics.get("dataset", {}).items() if value
    )
    if told:
        out.print(f"data: {told}", markup=False)
    for side, told in metrics.get("index", {}).items():
        out.print(f"{side} index: " + ", ".join(f"{key} {_cell(value)}" for key, value in told.items()), markup=False)
    seconds = metrics["seconds"]
    out.print(f"{sum(seconds.values()):.1f} s: " + ", ".join(f"{stage} {s:.1f}" for stage, s in seconds.items()))
    groups = card.group_table(metrics)
    if failures and groups:
        print_table(groups, title=f"Groups, worst first, by {metrics['breakdown'].get('measure', 'hit@10')}; percent")
    if failures and metrics.get("failures"):
        print_table(metrics["failures"], title="Worst failures: the first relevant came at this rank")

"""How things look on a terminal: tables for people, JSON lines for programs."""

from __future__ import annotations

import codecs
import json
import math
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from io import TextIOWrapper
from typing import Any

from sensorium import io

#: Signs of ours as a terminal without Unicode can show them; every other character becomes "?".
_ASCII = {"→": "->", "–": "-", "−": "-", "±": "+/-", "…": "...", "·": "-", "×": "x", "≥": ">=", "≤": "<=", "“": '"',
          "”": '"', "’": "'", "━": "-", "─": "-", "│": "|", "•": "*"}  # fmt: skip
#: Characters that a terminal may take for commands or that turn the order of a line: C0, DEL, C1, bidi controls.
_CONTROL = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"} | {
    code: f"\\u{code:04x}" for code in (0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
}


_PIPE = 120  # characters of a line in a pipe
_GAP = 3  # characters between two columns
_FOLD = 18  # a text column may be folded to this width


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
                print(json_line(record))
        else:
            print_table(list(records), columns, title)

    def say(self, text: str = "") -> None:
        """A line for people only."""
        if not self.json:
            console().print(text, highlight=False)


def json_line(record: Any) -> str:
    """A record as one line of valid JSON: NaN and infinity are null, control characters are escaped."""
    plain = _finite(json.loads(json.dumps(record, default=io.plain)))
    text = json.dumps(plain, ensure_ascii=False, allow_nan=False)
    # Within JSON such characters stand in strings only, where an escape means the same.
    return text.translate({code: f"\\u{code:04x}" for code in (*_CONTROL, *range(0xD800, 0xE000))})


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    return [_finite(one) for one in value] if isinstance(value, list) else value


def printable(text: Any) -> str:
    """Text for a terminal, with control characters (escape sequences of ids and columns) written out."""
    return str(text).translate(_CONTROL)


def lenient_streams() -> None:
    """Make standard output and error take any text: what their encoding lacks becomes ASCII, or a question mark."""
    codecs.register_error("sensorium", _replace)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="sensorium")


def _replace(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(_ASCII.get(c, "?") for c in error.object[error.start : error.end]), error.end


def console(stderr: bool = False) -> Any:
    """A rich console; pipes get the width that COLUMNS says, or a fixed generous one, so that nothing is cut."""
    from rich.console import Console as Rich

    class Console(Rich):
        def on_broken_pipe(self) -> None:
            """Leave it to the entry point, which ends quietly for every verb."""
            raise BrokenPipeError

    out = sys.stderr if stderr else sys.stdout
    made = Console(stderr=stderr, width=None if out.isatty() else _asked_width() or _PIPE, highlight=False)
    made.on_broken_pipe = _broken_pipe  # rich would exit with status 1
    return made


def _asked_width() -> int | None:
    """The environment's COLUMNS, where it is a number that a table can have."""
    text = os.environ.get("COLUMNS", "")
    return int(text) if text.isdecimal() and 20 <= int(text) <= 10_000 else None


def _broken_pipe() -> None:
    raise BrokenPipeError


def print_table(records: Sequence[Mapping[str, Any]], columns: Sequence[str] | None = None, title: str = "") -> None:
    """Records as a table, numbers to the right.

    Long texts are folded. Columns for which the terminal has no room even so are left out, and named.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    out = console()
    if not records:
        out.print("[dim]nothing[/dim]")
        return
    every = list(columns or dict.fromkeys(key for record in records for key in record))
    cells = {column: [_cell(record.get(column)) for record in records] for column in every}
    shown = _fitting({column: max(map(_width, (column, *texts))) for column, texts in cells.items()}, out.width)
    table = Table(title=title or None, box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False)
    for column in shown:
        numeric = all(map(_numeric, cells[column]))
        short = max(map(_width, (column, *cells[column]))) <= _FOLD
        table.add_column(printable(column), justify="right" if numeric else "left", overflow="fold", no_wrap=short)
    for row in range(len(records)):
        table.add_row(*(Text(cells[column][row]) for column in shown))
    out.print(table)
    if left_out := [column for column in every if column not in shown]:
        names = ", ".join(map(printable, left_out))
        out.print(Text(f"not shown at this width: {names}; a wider terminal or --json has them", style="dim"))


def _fitting(widths: Mapping[str, int], room: int) -> list[str]:
    """The columns that fit into ``room`` characters when texts are folded, earlier ones first; one at least."""
    shown, used = [], 2  # the edges
    for column, width in widths.items():
        wide = min(width, _FOLD) + (_GAP if shown else 0)
        if not shown or used + wide <= room:
            shown.append(column)
            used += wide
    return shown


def _width(text: str) -> int:
    from rich.cells import cell_len

    return max(map(cell_len, str(text).split("\n")), default=0)


def _numeric(text: str) -> bool:
    """Whether a cell is a number, as people write them, or empty."""
    return not text or text.replace(",", "").lstrip("-−±~ ").replace(".", "", 1).replace("e-", "").isdigit()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else printable(value)


def print_run(metrics: Mapping[str, Any], folder: Any, failures: bool = False, everything: bool = False) -> None:
    """A run for people: the table of numbers, the verdict, warnings, times, and perhaps its worst failures.

    everything: all measures, not only the usual ones.
    """
    from sensorium.cli import tables
    from sensorium.evaluate import card, figures
    from sensorium.search import evaluations

    out = console()
    leaks = metrics.get("leaks", {})
    stamp = "  [bold red]LEAKY[/bold red]" if leaks.get("leaky") else ""
    out.print(
        f"\n[bold]{folder}[/bold]{stamp}  recipe {metrics['recipe']}, data {metrics['data']}, split {metrics['split']}"
    )
    if metrics["results"]:
        split = metrics["results"][0]["split"]
        out.print(f"{split} split; percent, ranks as they are; 95% intervals over groups\n")
        left_out = tables.results(metrics, everything)
        for text in filter(None, (left_out, card.caution(metrics), metrics["verdict"])):
            out.print(printable(text), markup=False)
    for note in metrics.get("notes", ()):
        out.print(printable(f"note: {note}"), markup=False)
    protocol = metrics.get("protocol")
    if protocol:
        out.print(f"protocol {protocol['name']}: {protocol['about']}", markup=False)
        out.print(printable(card.protocol_notes(protocol)), markup=False)
    if styles := metrics.get("styles"):
        from sensorium.evaluate import query_styles

        print_table(query_styles.table(styles), title=f"Query styles, {styles['direction']}; percent")
        out.print(printable(query_styles.statement(styles)), markup=False)
    for finding in leaks.get("findings", ()):
        out.print(printable(f"{'LEAKY: ' if finding['leaky'] else 'note: '}{finding['text']}"), markup=False)
    text = ", ".join(
        f"{key.replace('_', ' ')} {_cell(value)}" for key, value in metrics.get("dataset", {}).items() if value
    )
    if text:
        out.print(f"data: {text}", markup=False)
    for side, text in metrics.get("index", {}).items():
        out.print(
            f"{metrics.get('sides', {}).get(side, side)} index: "
            + ", ".join(f"{key} {_cell(value)}" for key, value in text.items()),
            markup=False,
        )
    if often := evaluations.summary(folder):
        out.print(printable(often), markup=False)
    seconds = metrics["seconds"]
    out.print(f"{sum(seconds.values()):.1f} s: " + ", ".join(f"{stage} {s:.1f}" for stage, s in seconds.items()))
    groups = card.group_table(metrics)
    if failures and groups:
        print_table(groups, title=f"Groups, worst first, by {metrics['breakdown'].get('measure', 'hit@10')}; percent")
    if failures and metrics.get("failures"):
        out.print("Worst failures: the first relevant came at this rank\n")
        names = metrics.get("sides")
        rows = [{**row, "direction": figures.arrow(row["direction"], names)} for row in metrics["failures"]]
        tables.by_direction(rows)

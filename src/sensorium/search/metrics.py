"""metrics.json of a run as a mapping that shows itself in a notebook: numbers with intervals, baselines, figures."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sensorium.errors import require
from sensorium.evaluate import card, figures

_FIGURE = 1 << 20  # bytes of a figure that a notebook is given
_BAR = 160  # pixels that stand for 0 to 100%


class Metrics(dict[str, Any]):
    """What metrics.json says, as plain dicts and lists. folder: the run's, whose plots are shown."""

    def __init__(self, values: Mapping[str, Any], folder: Path | None = None) -> None:
        super().__init__(values)
        self._folder = folder

    def table(self) -> list[dict[str, str]]:
        """A row a number: direction, measure, value in percent, 95% interval, and each baseline's value."""
        return card.table(self) if self.get("results") else []

    def to_pandas(self) -> Any:
        """The results as a pandas DataFrame: value, low and high as fractions, and each baseline's value.

        Raises MissingExtra without pandas.
        """
        pandas = require("pandas", "pandas")
        rows = []
        for result in self.get("results", []):
            row = dict(result)
            for name, record in self.get("baselines", {}).items():
                for one in record.get("results", ()):
                    if _same(one, result):
                        row[name] = one["value"]
            rows.append(row)
        return pandas.DataFrame(rows)

    def __reduce__(self) -> Any:
        return Metrics, (dict(self), self._folder)

    def _repr_html_(self) -> str:
        rows = self.table()
        if not rows:
            return f"<p>{html.escape(str(self.get('name', 'run')))} was not evaluated; type: sensorium evaluate RUN</p>"
        names = list(dict.fromkeys(name for row in rows for name in row))
        head = "".join(f"<th>{html.escape(name)}</th>" for name in [*names[:4], "", *names[4:]])
        lines = []
        for row, result in zip(rows, self["results"], strict=True):
            cells = [f"<td>{html.escape(str(row.get(name, '')))}</td>" for name in names]
            cells.insert(4, f"<td>{self._bar(result)}</td>")
            lines.append(f"<tr>{''.join(cells)}</tr>")
        said = [self.get("verdict"), card.caution(self), self._sizes()]
        text = "".join(f"<p>{html.escape(str(one))}</p>" for one in said if one)
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"
        return f"<div>{text}{table}{self._figures()}</div>"

    def _sizes(self) -> str:
        pairs = self.get("pairs", {})
        return ", ".join(f"{one['related']:,} {split} pairs" for split, one in pairs.items())

    def _bar(self, result: Mapping[str, Any]) -> str:
        """The interval of a share as a bar from 0 to 100%, a tick for each baseline; empty for ranks."""
        if "rank" in result["measure"] or not all(0 <= result[key] <= 1 for key in ("low", "value", "high")):
            return ""
        low, value, high = (round(_BAR * result[key], 1) for key in ("low", "value", "high"))
        ticks = ""
        for name, record in self.get("baselines", {}).items():
            for one in record.get("results", ()):
                if _same(one, result):
                    at = round(_BAR * min(max(one["value"], 0), 1), 1)
                    ticks += f'<path d="M{at} 1v12" stroke="#888"><title>{html.escape(name)}</title></path>'
        return (
            f'<svg width="{_BAR + 8}" height="14" viewBox="-4 0 {_BAR + 8} 14" role="img" aria-label="interval">'
            f'<path d="M0 7h{_BAR}" stroke="#ccc"/>{ticks}'
            f'<path d="M{low} 7H{high}" stroke="#1668b0" stroke-width="5"/>'
            f'<circle cx="{value}" cy="7" r="3.5" fill="#0b3c66"/></svg>'
        )

    def _figures(self) -> str:
        """The figures that the run has drawn."""
        if self._folder is None:
            return ""
        shown = ""
        for path in sorted((self._folder / "plots").glob("*.png")):
            if path.stat().st_size <= _FIGURE:
                about = html.escape(figures.CAPTIONS.get(path.name, path.stem))
                content = base64.b64encode(path.read_bytes()).decode()
                shown += (
                    f'<img src="data:image/png;base64,{content}" alt="{about}" title="{about}" style="max-width:360px">'
                )
        return shown


def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return one["direction"] == other["direction"] and one["measure"] == other["measure"]

"""Hits of a search: a list of dicts as ever, which prints as a table, shows itself in a notebook and becomes pandas."""

from __future__ import annotations

import base64
import html
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, SupportsIndex, overload

from sensorium.errors import require
from sensorium.search.query import FIELDS, OPTION_FIELDS

WIDTH = 100  # characters of a printed line, at most
_CELL = 40  # characters of a printed value
_SHOWN = 256 << 10  # bytes of a picture or sound that a notebook is given

#: Media type, and bytes or a file, of an item by its id; None where there is nothing to show.
Media = Callable[[str], "tuple[str, bytes | Path] | None"]


class HitList(list[dict[str, Any]]):
    """The hits of one query, best first: dicts of rank, id, score, perhaps probability, and the item's columns.

    facets: by column, what was counted (:func:`sensorium.table.facets.count`); empty where none was asked for.
    """

    def __init__(
        self,
        hits: Iterable[dict[str, Any]] = (),
        media: Media | None = None,
        facets: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        super().__init__(hits)
        self._media, self.facets = media, dict(facets or {})

    @property
    def ids(self) -> list[str]:
        """The ids, best first."""
        return [hit["id"] for hit in self]

    @property
    def scores(self) -> list[float]:
        """The scores, best first."""
        return [hit["score"] for hit in self]

    def to_pandas(self) -> Any:
        """A pandas DataFrame: one row a hit. Raises MissingExtra without pandas."""
        pandas = require("pandas", "pandas")
        return pandas.DataFrame([flat(hit) for hit in self], columns=None if self else ["rank", "id", "score"])

    @overload
    def __getitem__(self, at: SupportsIndex) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, at: slice) -> HitList: ...
    def __getitem__(self, at: Any) -> Any:
        found = super().__getitem__(at)
        return HitList(found, self._media, self.facets) if isinstance(at, slice) else found

    def __reduce__(self) -> Any:
        return HitList, (list(self), None, self.facets)  # without the run that shows pictures

    def __repr__(self) -> str:
        if not self:
            return "no hits"
        rows = [flat(hit) for hit in self]
        names = list(dict.fromkeys(name for row in rows for name in row))
        cells = [[_text(row.get(name)) for name in names] for row in rows]
        widths = [max(len(line[i]) for line in [names, *cells]) for i in range(len(names))]
        shown, total = len(names), sum(widths) + 2 * len(names)
        while shown > 3 and total > WIDTH:  # the last columns are folded into a count
            shown -= 1
            total -= widths[shown] + 2
        more = f"  (and {len(names) - shown} more columns)" if shown < len(names) else ""
        right = [all(isinstance(row.get(name), (int, float)) for row in rows) for name in names]
        lines = [
            "  ".join(c.rjust(w) if r else c.ljust(w) for c, w, r in zip(line[:shown], widths, right, strict=False))
            for line in [names, *cells]
        ]
        return "\n".join([lines[0].rstrip() + more, *(line.rstrip() for line in lines[1:])])

    def _repr_html_(self) -> str:
        if not self:
            return "<p>no hits</p>"
        rows = [flat(hit) for hit in self]
        media = [self._shown(hit["id"]) for hit in self]
        names = list(dict.fromkeys(name for row in rows for name in row))
        head = "".join(f"<th>{html.escape(name)}</th>" for name in ["", *names][0 if any(media) else 1 :])
        lines = []
        for row, picture in zip(rows, media, strict=True):
            cells = [f"<td>{picture}</td>"] if any(media) else []
            cells += [f"<td>{html.escape(_text(row.get(name), 200))}</td>" for name in names]
            lines.append(f"<tr>{''.join(cells)}</tr>")
        return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"

    def _shown(self, id: str) -> str:
        """An item's picture or sound as HTML; empty where there is none, or it is too large."""
        found = self._media(id) if self._media is not None else None
        if found is None:
            return ""
        kind, content = found
        try:
            if isinstance(content, Path):
                content = b"" if content.stat().st_size > _SHOWN else content.read_bytes()
        except OSError:
            return ""
        if not content or len(content) > _SHOWN:
            return ""
        source = f"data:{html.escape(kind)};base64,{base64.b64encode(content).decode()}"
        if kind.startswith("image/"):
            return f'<img src="{source}" style="max-height:96px;max-width:160px" alt="{html.escape(id)}">'
        return f'<audio controls preload="none" src="{source}"></audio>' if kind.startswith("audio/") else ""


def flat(hit: Mapping[str, Any]) -> dict[str, Any]:
    """A hit as one row: a column that has the name of one of the hit's own fields as ``metadata.NAME``.

    The further hits of its group are their ids.
    """
    own = {name: value for name, value in hit.items() if name != "metadata"}
    hidden = {
        name: value
        for name, value in hit.get("metadata", {}).items()
        if name in FIELDS or (name in OPTION_FIELDS and own.get(name) is not value and own.get(name) != value)
    }
    if isinstance(own.get("collapsed"), list) and all(isinstance(one, dict) for one in own["collapsed"]):
        own["collapsed"] = ", ".join(one["id"] for one in own["collapsed"])
    return own | {f"metadata.{name}": value for name, value in hidden.items()}


def _text(value: Any, most: int = _CELL) -> str:
    if value is None:
        return ""
    text = f"{value:.4f}" if isinstance(value, float) else " ".join(str(value).split())
    return text if len(text) <= most else text[: most - 1] + "…"

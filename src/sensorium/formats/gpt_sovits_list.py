"""A list of clips as GPT-SoVITS reads it: ``path|speaker|language|text`` on each line, without a header."""

from __future__ import annotations

from pathlib import Path

from sensorium.errors import BadData
from sensorium.formats import _csv, _records
from sensorium.formats._columns import Columns
from sensorium.formats._format import Format

NAMES = ("path", "speaker", "language", "text")
_SOME = 3  # lines that a message names


def read(path: Path) -> Columns:
    """Columns path, speaker, language and text, one row a line; empty lines are left out.

    The text is what follows the third bar, so that it may hold bars itself; GPT-SoVITS (1-get-text.py) skips such
    lines. Languages are written in lower case, "jp" as "ja", as that program does. In UTF-8 or UTF-16. Raises
    BadData, with the lines, for another encoding and for lines without three bars.
    """
    lines = [(number, line.strip("\r")) for number, line in enumerate(_csv.text_of(path).split("\n"), 1)]
    rows = [(number, line.split("|", 3)) for number, line in lines if line.strip()]
    if not rows:
        raise BadData(f"{path} is empty; expected lines such as clip.wav|anna|en|Good morning.")
    if bad := [number for number, cells in rows if len(cells) < len(NAMES)]:
        some = ", ".join(map(str, bad[:_SOME])) + (", …" if len(bad) > _SOME else "")
        raise BadData(f"{path}: {len(bad)} of {len(rows)} lines do not have the form path|speaker|language|text "
                      f"(line{'s' if len(bad) > 1 else ''} {some}); correct them")  # fmt: skip
    cells = [[cell.strip() or None for cell in one] for _, one in rows]
    for one in cells:
        one[2] = _language(one[2])
    columns = {name: _records.column([one[at] for one in cells], f"{path}:{name}") for at, name in enumerate(NAMES)}
    return Columns(columns, path)


def _language(name: str | None) -> str | None:
    name = None if name is None else name.lower()
    return "ja" if name == "jp" else name


FORMAT = Format(endings=(".list",), read=read)

"""A script: many lines to search for at once, read from a text file, a table or a file of vectors."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from sensorium import formats
from sensorium.errors import BadData, BadRecipe
from sensorium.types import is_missing

TABLES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
VECTORS = (".npy", ".npz")
#: What a table's columns may be called, by what they hold.
NAMES: Mapping[str, tuple[str, ...]] = {
    "text": ("text", "line", "sentence", "transcript", "query", "dialogue"),
    "id": ("id", "line_id", "name", "filename", "fname", "file_name", "stem"),
    "speaker": ("speaker", "character", "role", "voice"),
    "emotion": ("emotion", "mood"),
    "language": ("language", "lang"),
    "duration": ("duration", "seconds"),
    "rate": ("speech_rate", "rate"),
}
_TEXTS = ("text", "texts", "transcript", "sentence")
_VECTORS = ("text_emb", "text_embeddings", "text", "emb", "embeddings", "vectors")


@dataclass(frozen=True)
class Script:
    """n lines. texts (n,): "" for an empty line, None for a line that is a vector alone.

    vectors: (n, d), as the side's encoder gives them, or None. columns: what a table says of its lines, by the first
    name of :data:`NAMES`; None where a cell is empty. where: of the file, for messages. first: the number that
    messages call the first line by.
    """

    texts: Sequence[str | None]
    vectors: np.ndarray | None = None
    columns: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    where: str = "lines"
    first: int = 1

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def empty(self) -> np.ndarray:
        """Mask (n,) of the lines that ask for nothing."""
        return np.array([self.empty_at(line) for line in range(len(self.texts))], bool)

    def empty_at(self, line: int) -> bool:
        """Whether a line asks for nothing."""
        text = self.texts[line]
        return text is not None and not text.strip()

    @property
    def digest(self) -> str:
        """xxh3-128 of all that the script says, as 32 hex digits."""
        digest = xxhash.xxh3_128(json.dumps([list(self.texts), {k: list(v) for k, v in self.columns.items()}]).encode())
        if self.vectors is not None:
            digest.update(np.ascontiguousarray(self.vectors, np.float32).tobytes())
        return digest.hexdigest()

    def heading(self, line: int) -> dict[str, Any]:
        """A line's number, what it is asked by (its id, text or number), and its text."""
        number = line + self.first
        text = self.texts[line]
        return {"line": number, "query": self.value("id", line) or text or str(number), "text": text}

    def value(self, column: str, line: int) -> Any:
        """What a column says of a line; None where it says nothing or there is no such column."""
        return self.columns[column][line] if column in self.columns else None

    def named(self, line: int) -> str:
        """A line as messages call it.

        >>> Script(["Hello."], where="play.txt").named(0)
        'play.txt, line 1'
        """
        return f"{self.where}, line {line + self.first}"


def read(path: str | Path) -> Script:
    """A script of a file, by its ending.

    ``.csv``, ``.tsv``, ``.jsonl`` and ``.parquet`` are tables with a column ``text`` and perhaps others, see
    :data:`NAMES`. ``.npy`` and ``.npz`` hold vectors (n, d), an ``.npz`` perhaps texts and names beside them. Every
    other file is text in UTF-8, one line a line; an empty one keeps its number and asks for nothing.

    Raises BadRecipe when there is no such file, BadData, with the line, for text that is not UTF-8, and for a table
    without a column of texts.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise BadRecipe(
            f"no such file: {path}; give a text file, a table ({', '.join(TABLES)}) or vectors (.npy, .npz)"
        )
    ending = path.suffix.lower()
    if ending in VECTORS:
        script = _of_vectors(formats.read(path), path)
    elif ending in TABLES:
        script = _of_table(formats.read(path), path)
    else:
        script = Script(_lines(path), where=str(path))
    if not len(script):
        raise BadData(f"{path} has no lines; expected one line of text for each line to speak")
    return script


def of(lines: Any) -> Script:
    """A script of a path, of texts, of mappings with the keys of :data:`NAMES`, or of vectors (n, d).

    Raises BadRecipe for anything else.
    """
    if isinstance(lines, Script):
        return lines
    if isinstance(lines, Path):
        return read(lines)
    if isinstance(lines, str):
        return Script([lines])
    if isinstance(lines, np.ndarray) and lines.dtype.kind in "fiu":
        vectors = np.atleast_2d(lines)
        return Script([None] * len(vectors), vectors)
    found = list(lines) if isinstance(lines, (list, tuple, np.ndarray)) else None
    if found is not None and all(isinstance(line, str) for line in found):
        return Script([str(line) for line in found])
    if found is not None and all(isinstance(line, Mapping) for line in found):
        names = dict.fromkeys(name for line in found for name in line)
        return _of_columns({name: [line.get(name) for line in found] for name in names}, "lines", 1)
    raise BadRecipe(
        f"lines is {type(lines).__name__}; expected texts, mappings with a text each, vectors (n, d) or a path"
    )


def _lines(path: Path) -> list[str]:
    raw = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    found = []
    for number, line in enumerate(raw.split(b"\n"), 1):
        try:
            found.append(line.decode("utf-8").rstrip("\r"))
        except UnicodeDecodeError as error:
            raise BadData(
                f"{path} is not UTF-8 (line {number}, byte {line[error.start]:#04x}); save it as UTF-8, or type: "
                f"iconv -f cp1252 -t utf-8 {path.name} > utf8.txt"
            ) from None
    return found[:-1] if found and not found[-1] else found  # what follows the last line's end is no line


def _of_table(table: formats.Columns, path: Path) -> Script:
    return _of_columns(
        {name: table[name].tolist() for name in table if len(table.shape(name)) == 1}, str(path), table.first
    )


def _of_columns(table: Mapping[str, Sequence[Any]], where: str, first: int) -> Script:
    lower = {name.strip().lower(): name for name in reversed(list(table))}
    found = {
        meaning: table[lower[name]]
        for meaning, names in NAMES.items()
        if (name := next((name for name in names if name in lower), None)) is not None
    }
    if "text" not in found:
        raise BadData(f"{where} has no column of texts (it has {', '.join(map(str, table))}); name one of them 'text'")
    texts = ["" if is_missing(value) else str(value) for value in found.pop("text")]
    columns = {meaning: _cells(values, meaning, where, first) for meaning, values in found.items()}
    return Script(texts, None, columns, where, first)


def _cells(values: Sequence[Any], meaning: str, where: str, first: int) -> list[Any]:
    """A column's cells as text, or as positive numbers where it holds seconds or rates; None for empty ones."""
    cells: list[Any] = [
        None if is_missing(value) or str(value).strip() == "" else str(value).strip() for value in values
    ]
    if meaning not in ("duration", "rate"):
        return cells
    for row, cell in enumerate(cells):
        try:
            cells[row] = None if cell is None else float(cell)
        except ValueError:
            cells[row] = -1.0
        if cells[row] is not None and not 0 < cells[row] < np.inf:
            raise BadData(f"{where}, line {row + first}: {meaning} is '{cell}'; expected a number above 0")
    return cells


def _of_vectors(table: formats.Columns, path: Path) -> Script:
    matrices = [name for name in table if len(table.shape(name)) == 2 or (path.suffix == ".npy" and table.shape(name))]
    name = next((name for name in _VECTORS if name in matrices), matrices[0] if len(matrices) == 1 else None)
    if name is None:
        listed = ", ".join(matrices) or "none of two dimensions"
        raise BadData(f"{path} has arrays {listed}; expected one of (n, d), or one called text_emb")
    vectors = np.atleast_2d(np.asarray(table[name]))
    if vectors.dtype.kind not in "fiu" or vectors.ndim != 2:
        raise BadData(f"{path}: '{name}' is {vectors.dtype} of shape {vectors.shape}; expected numbers (n, d)")
    n = len(vectors)
    texts: list[str | None] = [None] * n
    columns: dict[str, Sequence[Any]] = {}
    beside = {one.lower(): one for one in table if table.shape(one) == (n,)}
    if (key := next((one for one in _TEXTS if one in beside), None)) is not None:
        texts = [None if is_missing(value) else str(value) for value in table[beside[key]].tolist()]
    if (key := next((one for one in ("ids", *NAMES["id"]) if one in beside), None)) is not None:
        columns["id"] = [None if is_missing(value) else str(value) for value in table[beside[key]].tolist()]
    return Script(texts, vectors.astype(np.float32), columns, str(path))

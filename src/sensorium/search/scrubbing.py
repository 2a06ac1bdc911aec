"""Paths of this machine taken out of a run's files, so that a pack of it does not tell where it was made."""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from sensorium import io

_TEXTS = (".json", ".jsonl", ".toml", ".md", ".txt", ".csv")


class Scrubber:
    """Takes folders out of texts: what lies below one of them is left relative to it.

    folders: of this machine. names: further replacements, of whole names.

    >>> Scrubber(["/home/me/work"])("read /home/me/work/clips/a.wav")
    'read clips/a.wav'
    """

    def __init__(self, folders: Iterable[str | Path], names: Mapping[str, str] | None = None) -> None:
        self.folders = sorted({str(one).rstrip("/") for one in folders} - {""}, key=len, reverse=True)
        self.names = dict(names or {})
        pattern = "|".join(f"(?<![\\w.]){re.escape(one)}(?:/|(?![\\w-]))" for one in self.folders)
        self._pattern = re.compile(pattern) if pattern else None

    def __call__(self, text: str) -> str:
        """The text without the folders."""
        for name, other in self.names.items():
            text = text.replace(name, other)
        if self._pattern is None:
            return text
        return self._pattern.sub(lambda found: "" if found[0].endswith("/") else self._name(found[0]), text)

    def _name(self, folder: str) -> str:
        return "~" if folder == str(Path.home()) else Path(folder).name

    def value(self, value: Any) -> Any:
        """A JSON or TOML value whose texts are scrubbed; keys too."""
        if isinstance(value, str):
            return self(value)
        if isinstance(value, Mapping):
            return {self(key): self.value(one) for key, one in value.items()}
        return [self.value(one) for one in value] if isinstance(value, (list, tuple)) else value

    def folder(self, folder: Path) -> None:
        """Scrub every text file below a folder."""
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.suffix in _TEXTS:
                before = path.read_text("utf-8", "surrogateescape")
                if path.suffix == ".json":
                    after = json.dumps(self.value(json.loads(before)), indent=2, ensure_ascii=False) + "\n"
                else:
                    after = self(before)
                if after != before:
                    io.write(path, after.encode("utf-8", "surrogateescape"))

    def left_in(self, folder: Path) -> list[str]:
        """Names of the files below a folder that still name one of the folders, tables included."""
        return [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*"))
                if path.is_file() and self._is_named_in(path)]  # fmt: skip

    def _is_named_in(self, path: Path) -> bool:
        if path.suffix == ".parquet":
            return any(self(text) != text for text in _texts_of_table(path))
        content = path.read_bytes()
        return any(one.encode("utf-8", "surrogateescape") in content for one in self.folders if len(one) > 5)


def folders_in(values: Any, sure: bool) -> Iterator[str]:
    """The folders that absolute paths among the texts of a value lie in. sure: also such that are not there."""
    if isinstance(values, Mapping):
        values = list(values.values())
    if isinstance(values, (list, tuple)):
        for value in values:
            yield from folders_in(value, sure)
    elif isinstance(values, str) and values.startswith("/"):
        parent = Path(values.partition(":")[0]).parent
        if len(parent.parts) > 1 and (sure or os.path.isdir(parent)):
            yield str(parent)


def read(path: Path) -> Any:
    """A JSON or TOML file's value."""
    text = path.read_text("utf-8")
    return tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)


def _texts_of_table(path: Path) -> Iterator[str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    for name in table.column_names:
        if pa.types.is_string(table[name].type) or pa.types.is_large_string(table[name].type):
            yield from (text for text in table[name].to_pylist() if text)

"""Consent: code that a run folder names is executed only after the user has allowed that very file.

A part that is not sensorium's own (``my_parts/flip.py:Flip``, ``package.module:Class``) is code. In a recipe
that a user runs, the name is consent by itself. In the files of a run folder it may be somebody else's, so a
run is opened only when each of its parts was used before in this process, is in the user's list of trusted
files with the same SHA-256, or the caller says ``trust=True`` (``--trust``, which is remembered).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sensorium import io, parts
from sensorium.errors import Corrupt, Untrusted

FORMAT = 1  # of the user's list
#: The files of a run folder that name parts.
NAMING = ("recipe.toml", "left.json", "right.json", "index/left.json", "index/right.json")
_GRANTED: set[tuple[str, str]] = set()  # (file, class): allowed by trust=True, for this process


@dataclass(frozen=True)
class Code:
    """A class outside of sensorium: its name as written, and the files that naming it would execute.

    files: the module's file last, after the ``__init__.py`` of its packages. sha256: of their contents, one
    after the other; for a single file, what ``sha256sum`` prints.
    """

    name: str
    files: tuple[Path, ...]
    sha256: str

    @property
    def key(self) -> tuple[str, str]:
        """The module's file and the name of the class."""
        return str(self.files[-1]), self.name.rpartition(":")[2]

    @property
    def allowed(self) -> bool:
        """Whether it was used before in this process, or is in the user's list with these contents."""
        if self.key in parts.USED or self.key in _GRANTED:
            return True
        return any(
            e.get("sha256") == self.sha256 and (e.get("file"), e.get("class")) == self.key for e in _remembered()
        )


def require(values: Any, source: Path) -> None:
    """Raise Untrusted, showing file and SHA-256, unless all code that ``values`` names is allowed.

    values: what was read from a run's file (any JSON or TOML value). source: that file.
    """
    refused = [code for code in named(values) if not code.allowed]
    if refused:
        shown = "; ".join(f"'{c.name}', that is {', '.join(map(str, c.files))} (sha256 {c.sha256})" for c in refused)
        run = source.parent.parent if source.parent.name == "index" else source.parent
        raise Untrusted(
            f"{source} names code outside of sensorium, which opening the run would execute: {shown}. Read it; if you "
            f"trust it, type: sensorium show {run} --trust (remembered until the file changes), "
            "or open the run with trust=True"
        )


def named(values: Any) -> list[Code]:
    """The code outside of sensorium that any text in ``values`` names, each once; nothing is executed."""
    found = {}
    for name in _texts(values):
        files = _files(name) if ":" in name else ()
        if files:
            contents = b"".join(path.read_bytes() for path in files)
            found[name] = Code(name, files, hashlib.sha256(contents).hexdigest())
    return list(found.values())


def trust(folder: Path | str, remember: bool = False) -> list[Code]:
    """Allow the code that a run folder names, in this process; with ``remember`` in the user's list as well.

    Returns what was allowed. What cannot be read is left to the opening of the run, which says so.
    """
    codes = {code.key: code for name in NAMING for code in named(_values(Path(folder) / name))}
    _GRANTED.update(codes)
    if remember and codes:
        _remember(codes.values())
    return list(codes.values())


def listing() -> Path:
    """The user's list of trusted files: ``sensorium/trusted.json`` in ``$XDG_CONFIG_HOME`` or ``~/.config``."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "sensorium" / "trusted.json"


def _remembered() -> list[Mapping[str, Any]]:
    path = listing()
    if not path.is_file():
        return []
    remedy = "delete it, and trust again what you need"
    body = io.read_json(path, remedy)
    entries = body.get("trusted") if isinstance(body, dict) and body.get("format") == FORMAT else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise Corrupt(f"{path} is not a list of trusted files of format {FORMAT}; {remedy}")
    return entries


def _remember(codes: Iterable[Code]) -> None:
    path = listing()
    with io.lock(path.parent):
        known = {(e.get("file"), e.get("class")): e for e in _remembered()}
        for code in codes:
            file, name = code.key
            known[code.key] = {"file": file, "class": name, "sha256": code.sha256}
        io.write_json(path, {"format": FORMAT, "trusted": list(known.values())})


def _values(path: Path) -> Any:
    with contextlib.suppress(OSError, ValueError):
        text = path.read_text("utf-8")
        return tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    return None


def _texts(values: Any) -> Iterator[str]:
    if isinstance(values, str):
        yield values
    elif isinstance(values, Mapping):
        for value in values.values():
            yield from _texts(value)
    elif isinstance(values, (list, tuple)):
        for value in values:
            yield from _texts(value)


def _files(name: str) -> tuple[Path, ...]:
    """The files that ``parts.find`` would execute for a name; none when it names no file and no module."""
    where, _, attribute = name.rpartition(":")
    if where.endswith(".py"):
        path = Path(where).expanduser()
        return (path.resolve(),) if path.is_file() else ()
    words = where.split(".")
    if not all(word.isidentifier() for word in (*words, attribute)):
        return ()
    files: list[Path] = []
    places = None
    for end in range(1, len(words) + 1):  # step by step: importlib's own search would import the packages
        specs = (finder.find_spec(".".join(words[:end]), places) for finder in sys.meta_path)
        spec = next((spec for spec in specs if spec is not None), None)
        if spec is None:
            return ()
        if spec.origin is not None:
            files.append(Path(spec.origin if spec.has_location else sys.executable).resolve())
        places = spec.submodule_search_locations
        if places is None and end < len(words):
            return ()
    return tuple(path for path in files if path.is_file())

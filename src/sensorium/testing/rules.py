"""Runs the rules of a kind on one part."""

from __future__ import annotations

import importlib
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from sensorium import parts
from sensorium.contracts import CONTRACTS
from sensorium.errors import BadRecipe, SensoriumError

#: A method by which a part of a kind is recognised that subclasses no contract.
_TELLING = {"encoders": "encode", "indexes": "search", "datasets": "load", "heads": "forward"}
_LISTED = 300  # characters of an error at most


class Skip(Exception):
    """Raised by a rule that does not apply to this part, with the reason."""


class Finding(NamedTuple):
    """One rule and whether it holds: state "pass", "fail" or "skip", and what was found."""

    rule: str
    state: str
    found: str = ""

    def __str__(self) -> str:
        return f"{self.state}  {self.rule}" + (f": {self.found}" if self.found else "")


def check(
    part: Any, kind: str | None = None, arguments: Mapping[str, Any] | None = None, values: Sequence[Any] | None = None
) -> list[Finding]:
    """Raise AssertionError, one sentence for each broken rule, unless a part meets its contract.

    part: a class, a ``functools.partial`` of one, or a name that recipes would use. kind: such as "heads",
    by default found by the contract it subclasses or the methods it has. arguments: to make the part with.
    values: items for an encoder of a kind of item that has no samples here.
    """
    found = findings(part, kind, arguments, values)
    broken = [str(one) for one in found if one.state == "fail"]
    if broken:
        raise AssertionError("\n".join([f"{len(broken)} of {len(found)} rules are broken:", *broken]))
    return found


def findings(
    part: Any, kind: str | None = None, arguments: Mapping[str, Any] | None = None, values: Sequence[Any] | None = None
) -> list[Finding]:
    """Every rule of a part's kind with its state; see :func:`check`. Raises BadRecipe for what is no part."""
    if isinstance(part, str):
        part, kind = _named(part, kind)
    kind = kind or kind_of(part)
    if kind not in parts.KINDS:
        raise BadRecipe(f"no kind '{kind}'; known: {', '.join(parts.KINDS)}")
    part = parts.completed(kind, _name(part), part)
    arguments = dict(arguments or {})
    parts.check_keys(part, arguments, kind, _name(part))
    parts.check(part, arguments, kind)
    room = importlib.import_module(f"sensorium.testing.{kind}")
    try:
        subject = room.Subject(partial(part, **arguments), values)
    except SensoriumError:
        raise
    except Exception as error:  # the part's own
        return [Finding("it can be made with these arguments", "fail", _describe(error))]
    return [_finding(rule, subject) for rule in _rules(room.RULES, subject)]


def kind_of(part: Any) -> str:
    """The kind of a class by the contract it subclasses, else by its methods. Raises BadRecipe when neither tells."""
    made = part.func if isinstance(part, partial) else part
    for kind, known in CONTRACTS.items():
        if any(contract in made.__mro__ for contract in known):
            return kind
    methods = {name for base in made.__mro__ for name in vars(base)}
    if {"loss", "solve"} & methods:
        return "objectives"
    for kind, method in _TELLING.items():
        if method in methods and not (kind == "heads" and "build" not in methods):
            return kind
    raise BadRecipe(f"{_name(part)} fits no contract; type: --kind {'|'.join(parts.KINDS)}")


def _named(name: str, kind: str | None) -> tuple[Any, str]:
    if ":" in name:
        found = parts.load_class(name)
        return found, kind or kind_of(found)
    for one in parts.KINDS if kind is None else (kind,):
        if name in parts.names(one):
            return parts.find(one, name), one
    raise BadRecipe(f"no part '{name}'; type a part's name, such as mlp, or FILE.py:CLASS")


def _name(part: Any) -> str:
    made = part.func if isinstance(part, partial) else part
    return made.__name__


def _rules(rules: Iterable[Callable[[Any], None]], subject: Any) -> Iterable[Callable[[Any], None]]:
    return rules(subject) if callable(rules) else rules


def _finding(rule: Callable[[Any], None], subject: Any) -> Finding:
    sentence = (rule.__doc__ or rule.__name__).strip().rstrip(".")
    try:
        rule(subject)
    except Skip as reason:
        return Finding(sentence, "skip", str(reason))
    except AssertionError as error:
        return Finding(sentence, "fail", " ".join(str(error).split())[:_LISTED])
    except Exception as error:  # the part's own
        return Finding(sentence, "fail", _describe(error))
    return Finding(sentence, "pass")


def _describe(error: Exception) -> str:
    """An exception of a part: its type and text, and the line of code where it was raised."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {' '.join(str(error).split())[:_LISTED]} ({last.filename}:{last.lineno})"

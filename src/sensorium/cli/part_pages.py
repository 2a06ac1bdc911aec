"""What ``sensorium show KIND NAME`` says of a part: keys with defaults and one line each, width, licence, weights."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from sensorium import downloads, parts
from sensorium.encoders import _names
from sensorium.errors import BadRecipe, SensoriumError

#: A kind of part by the words that people call it.
KINDS = {**{kind: kind for kind in parts.KINDS}, **{kind.removesuffix("s"): kind for kind in parts.KINDS},
         "index": "indexes", "data": "datasets"}  # fmt: skip
_LABEL = r"\w+(?: \([^)]*\))?"  # of a key: its name, perhaps with its unit


def page(kind: str, name: str) -> dict[str, Any]:
    """One part as a record: kind, name, about, keys (each key, default, required, about); of an encoder takes, model,
    width, licence and weights too, and of an encoder of sound sample_rate (Hz) and layer.

    name: as recipes would write it; for an encoder also ``KIND:MODEL`` or a model's name. Nothing is downloaded: where
    the weights are not here, the width is that of the usual model, or None. Raises BadRecipe for an unknown part.
    """
    kind = KINDS[kind]
    spec = _names.expand({"name": name}, "left.encoder") if kind == "encoders" else {"name": name}
    part = parts.find(kind, spec["name"])
    made = part.func if isinstance(part, partial) else part
    text, known = inspect.getdoc(made) or "", parts.arguments(part)
    inherited = [
        inspect.getdoc(base) or ""
        for base in getattr(made, "__mro__", ())[1:]
        if base.__module__.startswith("sensorium")
    ]
    described = keys("\n\n".join([text, *inherited]), known)
    given = {key: value for key, value in spec.items() if key != "name"}
    rows = [
        {"key": key, "default": given.get(key, None if default is inspect.Parameter.empty else default),
         "required": default is inspect.Parameter.empty and key not in given, "about": described.get(key, "")}
        for key, default in known.items()
    ]  # fmt: skip
    about = parts.names(kind).get(spec["name"]) or text.split("\n", 1)[0]
    found: dict[str, Any] = {"kind": kind, "name": spec["name"], "about": about, "text": text}
    return found | (_encoder(part, spec, known) if kind == "encoders" else {}) | {"keys": rows}


def keys(text: str, known: Mapping[str, Any]) -> dict[str, str]:
    """One line about each key, read from a part's docstring, where it stands as ``key: text`` or ``key, other: text``.

    A key begins a line or follows a full stop or semicolon; its text ends where the next one begins, or at an empty
    line.
    """
    label = re.compile(rf"(?:^|(?<=[.;(\"]\s)|(?<=[(]))\s*({_LABEL}(?:(?:, | and ){_LABEL})*):\s", re.MULTILINE)
    found: dict[str, str] = {}
    for paragraph in re.split(r"\n\s*\n", text):
        marks = [(m, names) for m in label.finditer(paragraph) if (names := _known(m[1], known))]
        for at, (mark, names) in enumerate(marks):
            end = marks[at + 1][0].start() if at + 1 < len(marks) else len(paragraph)
            about = _sentence(" ".join(paragraph[mark.end() : end].split()))
            for name in names:
                found.setdefault(name, about)
    return found


def _known(label: str, known: Mapping[str, Any]) -> list[str]:
    """The names in a label, where all of them are keys of the part."""
    names = re.split(r", | and ", re.sub(r" \([^)]*\)", "", label))
    return names if all(name in known for name in names) else []


def _sentence(text: str) -> str:
    """The first sentence of a text, without its end and markup; a stop after "al", "eq" or one letter ends none."""
    text = re.sub(r":\w+:`~?(?:[\w.]*\.)?(\w+)`", r"\1", text).replace("``", "")
    text = re.split(r"(?<!\bal)(?<!\beq)(?<!\b\w)[.](?:\s|$)", text, maxsplit=1)[0].rstrip(" .;(")
    return text.rstrip(")") if text.count(")") > text.count("(") else text


def _encoder(part: Callable[..., Any], spec: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """What an encoder alone has: kind of item, model, width, licence, and where its weights come from."""
    licence, weights = (_stated(spec, which) for which in ("LICENCE", "WEIGHTS"))
    found = {"takes": None, "model": spec.get("model"), "width": None, "licence": licence or "no weights",
             "weights": weights or ("see below" if licence else "none: nothing is downloaded")}  # fmt: skip
    required = {key for key, default in known.items() if default is inspect.Parameter.empty}
    if required - set(spec):
        return found
    with downloads.offline():
        try:
            made = parts.make("encoders", dict(spec), "left.encoder")
            found["takes"] = " or ".join(made.towers) or made.takes
            if "audio" in (made.takes, *made.towers):
                found |= {"sample_rate": int(made.sample_rate), "layer": made.taken_from}
            found["width"] = int(made.dim)
        except BadRecipe:  # no such model; without one, it has none that it takes by itself
            if "model" in spec:
                raise
        except SensoriumError:  # its weights, or what reads them, are not here
            pass
    if found["width"] is None and found["model"] is None:
        usual = parts.constant("encoders", spec["name"], "USUAL_WIDTH")
        found |= {"model": parts.constant("encoders", spec["name"], "USUAL_MODEL") or None,
                  "width": int(usual) if usual else None}  # fmt: skip
    return found


def _stated(spec: Mapping[str, Any], which: str) -> str:
    """A constant of an encoder's module; of encoders side by side those of each that has it, with its name."""
    inner = [(one["name"], _stated(one, which)) for one in spec.get("encoders", ()) if isinstance(one, Mapping)]
    own = parts.constant("encoders", spec["name"], which)
    return own or "; ".join(f"{name}: {said}" for name, said in inner if said)


def print_page(found: Mapping[str, Any]) -> None:
    """A part's page for people."""
    from sensorium.cli.output import console, print_table, printable

    out = console()
    out.print(f"[bold]{found['name']}[/bold]  {printable(found['about'])}", highlight=False)
    if "takes" in found:
        width = found["width"] or "known once its weights are here"
        rate = f"{found['sample_rate']} Hz" if found.get("sample_rate") else None
        lines = {"model": found["model"], "takes": found["takes"], "rate": rate, "width": width,
                 "layer": found.get("layer"), "licence": found["licence"], "weights": found["weights"]}  # fmt: skip
        for name, value in lines.items():
            if value is not None:
                out.print(f"{name}: {printable(value)}", markup=False, highlight=False)
    rows = [{"key": row["key"], "default": _shown(row), "about": row["about"]} for row in found["keys"]]
    if rows:
        print_table(rows, ["key", "default", "about"])
    else:
        out.print("It has no keys.")


def _shown(row: Mapping[str, Any]) -> str:
    if row["required"]:
        return "(required)"
    value = row["default"]
    if value is None:
        return "(chosen)"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(repr, value))}]"
    return '""' if value == "" else str(value).lower() if isinstance(value, bool) else str(value)

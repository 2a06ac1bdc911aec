"""``python -m sensorium.testing my_parts.py:Flip [--kind heads] [key=value ...]``: checks one part, rule by rule."""

from __future__ import annotations

import argparse
import sys
import tomllib

from sensorium.errors import BadRecipe, SensoriumError
from sensorium.parts import KINDS
from sensorium.testing import findings


def main(argv: list[str] | None = None) -> int:
    """Print a line for each rule; returns 0 when none is broken, 1 when one is, 2 for what is no part."""
    parser = argparse.ArgumentParser("python -m sensorium.testing", description="Check a part against its contract.")
    parser.add_argument("part", help="FILE.py:CLASS, package.module:CLASS, or the name of a part")
    parser.add_argument("arguments", nargs="*", metavar="key=value", help="arguments of the part, as in a recipe")
    parser.add_argument("--kind", choices=KINDS, help="the kind of part; found by its contract or methods if left out")
    options = parser.parse_args(argv)
    try:
        found = findings(options.part, options.kind, dict(map(_argument, options.arguments)))
    except SensoriumError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(*found, sep="\n")
    broken = sum(one.state == "fail" for one in found)
    print(f"{len(found)} rules, {broken} broken" if broken else f"{len(found)} rules, none broken")
    return 1 if broken else 0


def _argument(text: str) -> tuple[str, object]:
    key, equals, value = text.partition("=")
    if not equals or not key.isidentifier():
        raise BadRecipe(f"'{text}'; expected key=value, such as hidden=64")
    try:
        return key, tomllib.loads(f"v = {value}")["v"]
    except tomllib.TOMLDecodeError:
        return key, value


if __name__ == "__main__":
    sys.exit(main())

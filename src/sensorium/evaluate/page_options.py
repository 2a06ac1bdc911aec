"""The keys of [page]: what the served page says of a run; the recipe's hash leaves them out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from sensorium.errors import BadRecipe, nearest

_MOST, _LONGEST = 12, 200  # examples, and characters of a text


@dataclass(frozen=True)
class PageOptions:
    """What the page shows of a run before the first search. Raises BadRecipe for an invalid value.

    title: the run's title; by default the name of its folder. examples: texts that are offered as first searches.
    display: the column that names the items of both sides, or a mapping of left and right to one each; by default the
    longest text that differs from item to item.
    """

    title: str = ""
    examples: Sequence[str] = ()
    display: str | Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _text("title", self.title, "such as 'Symbols of Unicode'")
        if isinstance(self.examples, str) or not isinstance(self.examples, Sequence) or len(self.examples) > _MOST:
            raise BadRecipe(f"page.examples={self.examples!r}; expected a list of at most {_MOST} texts")
        for one in self.examples:
            _text("examples", one, "each a text to search for")
        if isinstance(self.display, Mapping):
            for side, column in self.display.items():
                if side not in ("left", "right"):
                    raise BadRecipe(f"page.display: no side '{side}'; expected left or right")
                _text(f"display.{side}", column, "the name of a column")
        else:
            _text("display", self.display, "the name of a column")

    @classmethod
    def of(cls, given: Any) -> PageOptions:
        """The options of a recipe's [page] section. Raises BadRecipe for an unknown key or an invalid value."""
        known = [one.name for one in fields(cls)]
        if not isinstance(given, Mapping):
            raise BadRecipe("[page] is a section; set its keys, such as page.title='Symbols'")
        for key in given:
            if key not in known:
                raise BadRecipe(f"no key 'page.{key}'; {nearest(key, known)}")
        return cls(**given)

    def column_of(self, side: str) -> str:
        """The display column of a side; "" where none is named."""
        return self.display.get(side, "") if isinstance(self.display, Mapping) else self.display

    def given(self) -> dict[str, Any]:
        """The keys that are set, for a recipe file."""
        values = {**asdict(self), "examples": list(self.examples)}
        return {key: value for key, value in values.items() if value}


def _text(key: str, value: Any, expected: str) -> None:
    if not isinstance(value, str) or len(value) > _LONGEST:
        raise BadRecipe(f"page.{key}={str(value)[:60]!r}; expected {expected}, at most {_LONGEST} characters")

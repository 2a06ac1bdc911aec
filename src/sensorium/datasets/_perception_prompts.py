"""Prompts of labelled faces: a template, descriptions that ship with the package, or a table of both."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sensorium.datasets import _perception_labels
from sensorium.datasets._source import Source
from sensorium.errors import BadData, BadRecipe, nearest
from sensorium.types import is_missing

USUAL = "a person looking {label}"
BUILT_IN = Path(__file__).parents[1] / "recipes" / "prompts"  # NAME.csv: the prompts called NAME
_TEXTS = ("prompt", "text", "description", "caption")


@dataclass(frozen=True)
class Prompts:
    """template: with {label} and columns; or of: the prompts of each label."""

    template: str = USUAL
    of: Mapping[str, Sequence[str]] | None = None

    @classmethod
    def read(cls, spec: str) -> Prompts:
        """Of a template, the name of prompts that ship, or the path of a table with the columns label and prompt.

        Raises BadRecipe for a template without {label} and for what is none of these, BadData for a table without a
        prompt.
        """
        if "{" in spec:
            try:
                fields = [name for _, name, _, _ in string.Formatter().parse(spec) if name is not None]
            except ValueError as error:
                raise BadRecipe(f"data.prompts={spec!r}: {error}; type: data.prompts={USUAL!r}") from None
            if not fields or not all(name.isidentifier() for name in fields):
                raise BadRecipe(f"data.prompts={spec!r}; expected the names of columns in braces, such as {USUAL!r}")
            return cls(spec)
        path = Path(spec).expanduser()
        if not path.is_file():
            if spec not in names():
                raise BadRecipe(f"data.prompts={spec!r} has no {{label}}, is no file, and no built-in prompts are "
                                f"called so; {nearest(spec, names())}; type: data.prompts={USUAL!r}")  # fmt: skip
            path = BUILT_IN / f"{spec}.csv"
        return cls("", _table(Source.open(str(path), None)))

    def for_label(self, label: str, columns: Mapping[str, object], called: str) -> list[str]:
        """The prompts of a label. columns: what else is known of the face. called: the face, in messages.

        Raises BadRecipe for a name in braces that is no column, BadData for a label without a prompt.
        """
        if self.of is not None:
            if label not in self.of:
                raise BadData(f"{called}: no prompt for the label '{label}'; {nearest(label, self.of)}; add it to the "
                              "table of prompts")  # fmt: skip
            return list(self.of[label])
        known = {
            **{k: v for k, v in columns.items() if not is_missing(v)},
            "label": _perception_labels.adjective(label),
        }
        try:
            return [" ".join(self.template.format_map(known).split())]
        except (KeyError, ValueError, AttributeError, IndexError) as error:
            name = error.args[0] if isinstance(error, KeyError) else self.template
            raise BadRecipe(f"data.prompts={self.template!r}: {called} has no '{name}'; {nearest(str(name), known)}"
                            ) from None  # fmt: skip


def names() -> list[str]:
    """The prompts that ship with the package."""
    return sorted(path.stem for path in BUILT_IN.glob("*.csv"))


def _table(source: Source) -> dict[str, list[str]]:
    text = next((name for name in _TEXTS if name in source.columns), None)
    if text is None or "label" not in source.columns:
        raise BadRecipe(f"data.prompts: {source.where} has no column '{'prompt' if text is None else 'label'}'; it has "
                        f"{', '.join(source.columns)}")  # fmt: skip
    found: dict[str, list[str]] = {}
    for row, (label, prompt) in enumerate(
        zip(*(source.columns.texts(n).tolist() for n in ("label", text)), strict=True)
    ):
        if is_missing(label) or is_missing(prompt) or not str(label).strip() or not str(prompt).strip():
            raise BadData(f"data.prompts: {source.where}: {source.rows([row])} has no label or no prompt; fill it in")
        found.setdefault(_perception_labels.canonical(str(label)), []).append(" ".join(str(prompt).split()))
    return {label: list(dict.fromkeys(prompts)) for label, prompts in found.items()}

"""Written sentences that carry an emotion, to find clips by: the built-in ones, or a table of text and emotion."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sensorium.datasets import _clip_splits, _items
from sensorium.datasets._source import Source
from sensorium.errors import BadData, BadRecipe, nearest
from sensorium.numerics import affect
from sensorium.types import as_ids, check_unique

BUILT_IN = Path(__file__).parents[1] / "recipes" / "sentences"  # NAME.csv: the sentences called NAME
_SHARES = {"test": 0.2, "validation": 0.1}  # of the sentences of each emotion, where the table has no split


@dataclass(frozen=True, eq=False)
class Sentences:
    """n sentences: ids, texts, labels (n,) that relate them to clips, split words (n,), and further columns.

    drawn: whether the split was drawn here.
    """

    ids: np.ndarray
    texts: list[str]
    labels: list[str]
    split: np.ndarray
    drawn: bool
    columns: Mapping[str, np.ndarray]


def names() -> list[str]:
    """The sentences that ship with the package."""
    return sorted(path.stem for path in BUILT_IN.glob("*.csv"))


def read(where: str, label: str, seed: int) -> Sentences:
    """The sentences of a name that ships, or of a table with the columns text, ``label`` and perhaps split and id.

    Without a split a fifth of each label's sentences is for test and a tenth for validation, drawn by ``seed``.
    Raises BadRecipe for an unknown name or column, BadData, with rows, for empty cells and for a text in two splits.
    """
    path = Path(where).expanduser()
    if not path.is_file():
        if where not in names():
            raise BadRecipe(f"data.sentences={where}: no such file, and no built-in sentences of this name; "
                            f"{nearest(where, names())}")  # fmt: skip
        path = BUILT_IN / f"{where}.csv"
    source = Source.open(str(path), None)
    text = next((one for one in ("text", "sentence", "transcript") if one in source.columns), None)
    if text is None or label not in source.columns:
        raise BadRecipe(f"{source.where} has no column '{'text' if text is None else label}'; expected text and "
                        f"{label}, and perhaps split (it has {', '.join(source.columns)})")  # fmt: skip
    columns = {name: _filled(source, name) for name in (text, label)}
    labels = [affect.canonical(one) for one in columns[label]] if label == "emotion" else columns[label]
    ids = _filled(source, "id") if "id" in source.columns else [f"sentence-{row + 1}" for row in range(source.n)]
    given = source.columns.texts("split").tolist() if "split" in source.columns else None
    split = _split(labels, columns[text], seed) if given is None else _clip_splits.of_words(given, source.where)
    _refuse_shared(source, columns[text], split)
    ids = as_ids(ids)
    check_unique(ids, f"ids of {source.where}")
    more = {name: _items.metadata(source, name, required=False) for name in source.columns
            if name not in (text, label, "split", "id")}  # fmt: skip
    more = {name: column for name, column in more.items() if column is not None}
    return Sentences(ids, columns[text], labels, split, given is None, more)


def _filled(source: Source, name: str) -> list[str]:
    """A column (n,) of texts. Raises BadData, with the rows, where some are empty."""
    source.column(name, "data.sentences")
    values = [None if v is None else v.strip() for v in source.columns.texts(name).tolist()]
    if empty := [row for row, value in enumerate(values) if not value]:
        raise BadData(f"{source.where}: the {name} of {len(empty)} of {source.n} sentences is empty "
                      f"({source.rows(empty)}); fill them in, or drop the rows")  # fmt: skip
    return values


def _split(labels: Sequence[str], texts: Sequence[str], seed: int) -> np.ndarray:
    """Split words (n,): within each label, equal texts together."""
    split = np.full(len(labels), "train", "<U10")
    column, words = np.array(labels, np.str_), np.array([one.casefold() for one in texts], object)
    for label in np.unique(column).tolist():
        rows = np.flatnonzero(column == label)
        unique = sorted(set(words[rows].tolist()))
        # From the label itself, so that its sentences keep their splits when others are added.
        order = np.random.default_rng([seed, zlib.crc32(label.encode())]).permutation(len(unique))
        start = 0
        for name, share in _SHARES.items():
            count = min(max(1, round(share * len(unique))), len(unique) - 1 - start)
            chosen = {unique[at] for at in order[start : start + max(0, count)]}
            split[[row for row in rows.tolist() if words[row] in chosen]] = name
            start += max(0, count)
    return split


def _refuse_shared(source: Source, texts: Sequence[str], split: np.ndarray) -> None:
    """Raise BadData for a text that stands in two splits."""
    first: dict[str, int] = {}
    shared = [(first[key], row) for row, key in enumerate(" ".join(one.casefold().split()) for one in texts)
              if split[first.setdefault(key, row)] != split[row]]  # fmt: skip
    if shared:
        a, b = shared[0]
        raise BadData(f"{source.where}: {len(shared)} sentences stand in two splits, such as {texts[b]!r} "
                      f"({source.rows([a, b])}); keep each in one")  # fmt: skip

"""One side of a table as cells: what its columns hold, row by row, and of which kind it is."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from sensorium import formats, modalities
from sensorium.datasets import _hub_data
from sensorium.datasets._source import Source
from sensorium.errors import BadData, BadRecipe, nearest

_MOST = 0.5  # share of the texts of a column that end as files do, from which on it is a column of paths


@dataclass(frozen=True, eq=False)
class Cells:
    """m values of one side. rows (m,): the row of each in the source; values: texts, paths or vectors (m, d).

    titles (m,): what the cells call their files, where these are no paths of the table; None where they are.
    """

    side: str
    source: Source
    names: list[str]
    kind: str
    rows: np.ndarray
    values: Any
    titles: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def key(self) -> str:
        """The recipe key that named it."""
        return f"data.{self.side}"

    @property
    def called(self) -> str:
        """Its columns in messages."""
        return f"'{self.names[0]}'" if len(self.names) == 1 else f"'{self.names[0]}' … '{self.names[-1]}'"

    def take(self, which: np.ndarray) -> Cells:
        """The cells at these positions."""
        values = self.values[which] if isinstance(self.values, np.ndarray) else [self.values[i] for i in which]
        titles = None if self.titles is None else self.titles[which]
        return replace(self, rows=self.rows[which], values=values, titles=titles)


def read(side: str, source: Source, names: list[str], kind: str | None, label: bool) -> Cells:
    """The cells of a side, row after row; a missing one is None. kind: named by the recipe, else recognised.

    label: numbers are taken as texts, as they are names of classes. Raises BadData for columns of several kinds.
    """
    if kind is not None and kind not in ("vector", *modalities.names()):
        known = nearest(kind, ["vector", *modalities.names()])
        raise BadRecipe(f"data.{side}_kind='{kind}' is no kind of item; {known}")
    titles = None
    if len(names) == 1 and _holds_files(source, names[0]):
        found = _hub_data.files_of(source.columns[names[0]].tolist(), f"data.{side}: '{names[0]}' of {source.where}")
        titles = formats.objects(found[1])
        parts = [("text", np.arange(source.n), formats.objects(found[0]))]
    else:
        parts = [_column(side, source, name, label or kind not in (None, "vector")) for name in names]
    kinds = {found for found, _, _ in parts}
    if len(kinds) > 1:
        listed = ", ".join(f"'{name}' holds {found}s" for name, (found, _, _) in zip(names, parts, strict=True))
        raise BadData(f"data.{side}: {listed}; the columns of one side hold one kind")
    rows = np.concatenate([rows for _, rows, _ in parts])
    order = np.argsort(rows, kind="stable")
    if kinds == {"vector"}:
        widths = {values.shape[1] for _, _, values in parts}
        if len(widths) > 1:
            raise BadData(f"data.{side}: the columns hold vectors of width {min(widths)} and {max(widths)}")
        values = parts[0][2] if len(parts) == 1 else np.concatenate([values for _, _, values in parts])[order]
        if kind not in (None, "vector"):
            raise BadRecipe(f"data.{side}_kind={kind}, but '{names[0]}' of {source.where} holds vectors")
        return Cells(side, source, names, "vector", rows[order], values)
    values = np.concatenate([values for _, _, values in parts])[order]
    cells = _without_gaps(Cells(side, source, names, "text", rows[order], values, titles))
    if kind is None and not label:
        kind = recognised(cells)
    return replace(cells, kind=kind or "text")


def recognised(cells: Cells) -> str:
    """text, or the modality whose files the values name: by their endings, and by what is there.

    Raises BadData for files of several modalities, or of none, and files among texts.
    """
    values = [v for v in cells.values.tolist() if v]
    endings = Counter(map(ending_of, values))
    kinds, known = Counter(), _endings()
    for ending, count in endings.items():
        kinds[known.get(ending, "")] += count
    files = sum(count for kind, count in kinds.items() if kind)
    if not files or files < _MOST * len(values):
        if values and all(_is_file(cells.source.root, v) for v in values[:3]):
            ending = Path(values[0]).suffix or "(none)"
            raise BadData(f"{cells.key}: {cells.called} of {cells.source.where} names files that end in {ending}, "
                          f"which belongs to no modality; type: {cells.key}_kind=image, or another kind")  # fmt: skip
        return "text"
    if len(kinds) > 1:
        rows = {kind: [int(r) for r, v in zip(cells.rows, cells.values, strict=True) if v and kind_of_file(v) == kind]
                for kind in kinds}  # fmt: skip
        listed = "; ".join(
            f"{count} {kind or 'no file of a known kind'} ({cells.source.rows(rows[kind])})"
            for kind, count in kinds.most_common()
        )
        raise BadData(f"{cells.key}: {cells.called} of {cells.source.where} mixes kinds: {listed}; expected one kind: "
                      f"split the table, or type {cells.key}_kind=KIND")  # fmt: skip
    return next(iter(kinds))


def kind_of_file(value: str) -> str:
    """The modality whose files end as this path does; "" where there is none."""
    return _endings().get(ending_of(value), "")


def ending_of(value: str) -> str:
    """The ending of a path, or of a remote one without its query, in lower case with its dot; "" without one."""
    return os.path.splitext(value.split("?", 1)[0] if "://" in value else value)[1].lower()


def _endings() -> dict[str, str]:
    """Ending → modality: the one named like its media type, else the first that has it."""
    found: dict[str, str] = {}
    for name, one in modalities.found().items():
        for ending, media_type in one.media_types.items():
            if ending not in found or media_type.startswith(f"{name}/"):
                found[ending] = name
    return found


def _is_file(root: Path, value: str) -> bool:
    try:
        return len(value) < 1024 and "\n" not in value and (root / value).is_file()
    except (OSError, ValueError):
        return False


def _column(side: str, source: Source, name: str, as_text: bool) -> tuple[str, np.ndarray, Any]:
    """The kind of a column, vector or text, the row of each value, and the values."""
    array, where = source.columns[name], f"data.{side}: column '{name}' of {source.where}"
    every = np.arange(source.n)
    if len(array) != source.n:
        raise BadData(f"{where} has {len(array)} values for {source.n} rows")
    if len(array.shape) > 1:
        if array.dtype.kind not in "fiu" or len(array.shape) > 3 or 0 in array.shape:
            raise BadData(f"{where} is {formats.described(np.asarray(array))}; expected numbers [n, d]")
        each = array.shape[1] if len(array.shape) == 3 else 1
        return "vector", np.repeat(every, each), _floats(array)
    first = next((v for v in array if v is not None), None) if array.dtype.kind == "O" else None
    if isinstance(first, str):
        texts = source.columns.texts(name)
        if odd := [i for i, v in enumerate(array.tolist()) if v is not None and not isinstance(v, str)]:
            raise BadData(f"{where} mixes text and {type(array[odd[0]]).__name__} ({source.rows(odd)}); "
                          "convert it to one type")  # fmt: skip
        return "text", every, texts
    if isinstance(first, list):
        return _listed(array, where, every)
    if first is None and array.dtype.kind == "O":
        raise BadData(f"{where} is empty in every row; name another column")
    if as_text:
        return "text", every, source.columns.texts(name)
    raise BadData(f"{where} holds {_word(array, first)}; expected paths of files, texts, or vectors; where they name "
                  f"classes type: data.relevant={name}, where they are texts: data.{side}_kind=text")  # fmt: skip


def _listed(array: np.ndarray, where: str, every: np.ndarray) -> tuple[str, np.ndarray, Any]:
    """A column of lists: of texts, each a value of its row. Raises BadData for numbers of different lengths."""
    kinds = {type(one) for row in array if row is not None for one in row if one is not None}
    if kinds == {str}:
        counts = [max(1, len(row)) if row is not None else 1 for row in array.tolist()]
        values = [one for row in array.tolist() for one in (row or [None])]
        return "text", np.repeat(every, counts), formats.objects(values)
    if kinds <= {int, float}:
        lengths = Counter(len(row) if row is not None else None for row in array.tolist())
        said = ", ".join(f"{count} × {'null' if n is None else n}" for n, count in lengths.most_common(4))
        raise BadData(f"{where} holds lists of different lengths ({said}); expected vectors of one length")
    raise BadData(
        f"{where} holds lists of {', '.join(sorted(kind.__name__ for kind in kinds))}; expected texts or numbers"
    )


def _holds_files(source: Source, name: str) -> bool:
    """Whether a column holds files themselves, as bytes with a path."""
    array = source.columns[name]
    return len(array.shape) == 1 and array.dtype.kind == "O" and any(isinstance(v, dict) for v in array[:100].tolist())


def _without_gaps(cells: Cells) -> Cells:
    """Cells without the missing ones of rows that have others: a picture may have four captions of five."""
    there = np.array([v is not None and v.strip() != "" for v in cells.values.tolist()], bool)
    if there.all():
        return cells
    with_some = np.zeros(cells.source.n, bool)
    with_some[cells.rows[there]] = True
    first = np.concatenate([[True], cells.rows[1:] != cells.rows[:-1]])
    return cells.take(np.flatnonzero(there | (first & ~with_some[cells.rows])))


def _floats(array: Any) -> np.ndarray:
    """Vectors (n · c, d) of floats."""
    flat = np.asarray(array).reshape(-1, array.shape[-1])
    return flat.astype(np.float32, copy=False)


def _word(array: np.ndarray, first: Any) -> str:
    if array.dtype.kind == "O":
        return {"int": "whole numbers", "bool": "booleans"}.get(type(first).__name__, type(first).__name__)
    words = {"i": "whole numbers", "u": "whole numbers", "f": "numbers", "b": "booleans", "M": "times"}
    return words.get(array.dtype.kind, str(array.dtype))

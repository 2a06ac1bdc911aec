"""A table's rows as items to add to a run: which sides and columns they are, from the run's own recipe or options."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sensorium import formats, modalities
from sensorium.datasets import table as tables
from sensorium.datasets._source import Source
from sensorium.errors import BadData, BadRecipe
from sensorium.modalities import walk
from sensorium.search import adding
from sensorium.types import Items, Pictured, TableColumns, is_missing

if TYPE_CHECKING:
    from sensorium.search.run import Run

#: Columns that hold a side's items where neither the run's recipe nor the caller names one, by what a side takes.
USUAL = {
    "text": ("text", "caption", "title", "sentence", "description", "name"),
    "vector": ("vectors", "vector", "embedding", "embeddings"),
    "": ("path", "file", "filename", "file_name", "file_path"),  # of files, after the kind's own name
}


@dataclass(frozen=True)
class Options:
    """What a caller names: the column of the items, that of their ids, the folder of relative paths.

    bad: what to do with files that cannot be read and empty texts, "stop" or "skip".
    """

    column: str | None = None
    ids: str | None = None
    root: str | None = None
    bad: str = "stop"


def add(
    run: Run, path: Path | str, side: str | None = None, options: Options | None = None, *, replace: bool = False,
    progress: bool = False,
) -> list[dict[str, Any]]:  # fmt: skip
    """Add the rows of a table (CSV, TSV, JSON, JSONL, Parquet, .npy, .npz, a store) to a run; a record for each side.

    path: of a folder, all files below it of the kind that a side takes are added, with their paths below it as ids.

    side: by default every side whose column the run's own recipe names and the table has; else the one of which the
    table has a column of a usual name, or the left one. Columns that the side has become metadata; others are left
    out, and named in the record. Everything is read and checked before anything is encoded.

    Raises BadRecipe for a column that is not there, BadData for rows that cannot be used and ids that are there
    already, and what :func:`sensorium.search.adding.add` raises.
    """
    options = options or Options()
    table = _files_below(run, Path(path), side) or tables.opened(path, options.root)
    named = _named(run, table)
    sides = [adding.known_side(run, side)] if side else _sides(run, table, options, named)
    if len(sides) > 1 and options.column:
        raise BadRecipe(f"--column {options.column} of which side? type: --side left, or --side right")
    ready = [_items(run, table, one, options, named, len(sides) > 1) for one in sides]
    for one, (items, _) in zip(sides, ready, strict=True):
        adding.check(run, one, items, replace)
    records = []
    for one, (items, left_out) in zip(sides, ready, strict=True):
        record = adding.add(run, one, items, replace=replace, progress=progress)
        records.append({**record, "left_out": left_out} if left_out else record)
    return records


def _files_below(run: Run, path: Path, side: str | None) -> Source | None:
    """The files below a folder as a table of one column, path: those of a side's kind; None where there are none.

    side: by default the only one that takes files.
    """
    if not path.is_dir():
        return None
    sides = [adding.known_side(run, side)] if side else run.sides
    kinds = [kind for one in sides if (kind := _kind(run, one)) != "vector" and modalities.find(kind).is_file]
    if len(kinds) != 1:
        return None
    found = walk.files_below(path, set(modalities.find(kinds[0]).media_types)).paths
    names = formats.objects([one.relative_to(path).as_posix() for one in found])
    column = formats.Column((len(names),), lambda: names)
    return Source.of(path.name, formats.Columns({"path": column}, path), path) if found else None


def _named(run: Run, table: Any) -> TableColumns:
    """The columns that the run's own data set finds its items in, of those of a table; none of other data sets."""
    return run.recipe.part("data").columns_of(list(table.columns)) or TableColumns({})


def _sides(run: Run, table: Any, options: Options, named: TableColumns) -> list[str]:
    """The sides that a table's rows are of, where the caller names none."""
    found = [side for side in run.sides if named.sides.get(side) and _has(table, named.sides[side])]
    usual = [] if options.column else [s for s in run.sides if any(n in table.columns for n in _usual(_kind(run, s)))]
    return found or (usual if len(usual) == 1 else ["left"])


def _kind(run: Run, side: str) -> str:
    encoder = run.encoder(side)
    return "vector" if encoder is None else encoder.takes


def _usual(kind: str) -> tuple[str, ...]:
    return USUAL.get(kind, (kind, f"{kind}_path", *USUAL[""]))


def _has(table: Any, spec: Any) -> bool:
    """Whether a table has the columns of a specification such as ``caption_1..5``."""
    try:
        return bool(_columns(table, spec))
    except BadRecipe:
        return False


def _columns(table: Any, spec: Any) -> list[str]:
    pieces = [str(spec)] if isinstance(spec, str) and spec in table.columns else None
    pieces = pieces or [piece.strip() for piece in (spec.split(",") if isinstance(spec, str) else map(str, spec))]
    pieces = [piece.rpartition(":")[2] if piece not in table.columns else piece for piece in pieces]
    return [name for piece in pieces for name in table.names(piece, "--column")]


def _items(
    run: Run, table: Any, side: str, options: Options, named: TableColumns, both: bool
) -> tuple[Items, list[str]]:
    """The items of one side of a table, and which of its columns are left out."""
    kind = _kind(run, side)
    names = _chosen(table, side, kind, options, named)
    kind = "vector" if len(table.columns.shape(names[0])) > 1 else kind
    ids = options.ids if options.ids is not None else _ids(run, table, side, named)
    try:
        items = tables.one_side(table, names, side=side, kind=kind, ids=ids, both=both, bad=options.bad)
    except BadData as error:
        raise BadData(_in_options(str(error), side)) from None
    if items is None:
        raise BadRecipe(f"{table.where} has no column of ids for the new {side} items (id, ids); type: --ids COLUMN")
    items = _as_data(run, table, items, side, named)
    known = run.index(side).table
    others = {name for other in named.sides.values() if other and _has(table, other) for name in _columns(table, other)}
    taken = {name: column for name, column in items.meta.items() if name in known.columns or not len(known)}
    left_out = [name for name in items.meta if name not in taken and name not in others]
    return Items(items.ids, items.values, items.kind, taken, items.source), left_out


def _as_data(run: Run, table: Any, items: Items, side: str, named: TableColumns) -> Items:
    """The items with the columns that the data set makes, and with the texts that stand beside their pictures."""
    meta, values, encoder = dict(items.meta), items.values, run.encoder(side)
    for name, source in named.renamed.items():
        if source in meta:
            words = ["" if is_missing(one) else str(one).strip() for one in meta[source].tolist()]
            meta[name] = np.array(words, np.str_)
    if encoder is not None and encoder.joins and items.kind == "image" and named.text is not None:
        if named.text not in meta:
            raise BadRecipe(f"{table.where} has no column '{named.text}', the texts beside the pictures of this run; "
                            f"it has {', '.join(table.columns)}")  # fmt: skip
        texts = [None if is_missing(one) or not str(one).strip() else str(one) for one in meta[named.text].tolist()]
        values = [Pictured(value, text) for value, text in zip(values, texts, strict=True)]
    return Items(items.ids, values, items.kind, meta, items.source)


def _chosen(table: Any, side: str, kind: str, options: Options, named: TableColumns) -> list[str]:
    """The columns of the items: named by the caller or the recipe, else of a usual name, else the only one."""
    for spec in (options.column, named.sides.get(side)):
        if spec and (spec == options.column or _has(table, spec)):
            return _columns(table, spec)
    vectors = [name for name in table.columns if len(table.columns.shape(name)) > 1]
    found = [name for name in _usual(kind) if name in table.columns] or (vectors if len(vectors) == 1 else [])
    if not found:
        has = ", ".join(table.columns)
        raise BadRecipe(
            f"which column of {table.where} holds the {side} items ({kind})? type: --column NAME; it has {has}"
        )
    return found[:1]


def _ids(run: Run, table: Any, side: str, named: TableColumns) -> str | None:
    data = run.recipe.values["data"]
    if named.ids in table.columns:
        return named.ids
    return next((name for key in (f"{side}_ids", "ids") if (name := data.get(key)) and name in table.columns), None)


def _in_options(text: str, side: str) -> str:
    """A message of the data set with the options of this verb in place of recipe keys."""
    for key, option in ((f"data.{side}: ", ""), ("data.bad=skip", "--bad skip"), ("data.root=", "--root ")):
        text = text.replace(key, option)
    return text

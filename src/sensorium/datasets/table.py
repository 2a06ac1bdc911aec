"""Your own table: columns of pictures, sounds, texts or vectors, of one table or of two joined by ids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sensorium.contracts import Dataset
from sensorium.datasets import _cells, _grouping, _items, _links
from sensorium.datasets._items import Side
from sensorium.datasets._links import Links
from sensorium.datasets._source import Source, Sources
from sensorium.errors import BadData, BadRecipe
from sensorium.types import Data, Items, TableColumns, check_unique


class Table(Dataset):
    """Two sides of a table (CSV, TSV, JSON, JSONL, Parquet, a store, ``hf://owner/name``), paired by row or by id.

    file: the table. left, right: a column of paths, texts or vectors; several columns (``caption_1,caption_2``, a
    list, ``caption_*`` or ``caption_1..5``), each value of which is an item; or ``FILE:COLUMN`` of another table,
    array file or store, whose rows are joined by ids. Paths are relative to the table's folder, or to ``root``.
    root: folder of relative paths. left_kind, right_kind: text, image, audio, …, where the values do not show it.

    ids: the column of ids; left_ids, right_ids: where the two tables call it otherwise. pairs: a third table of pairs
    (pairs_left, pairs_right: its columns of ids). label: a column of 1 or 0, or of scores of which above 0 is
    related. relevant: rows that share this column's value are related; where it is also a side, that side's items
    are classes, met in every split. group: pairs of one group never stand in two splits; by default pairs that share
    an item form a group. split: train, dev or validation, test. columns: further columns that become metadata, all
    when left out.

    bad: what to do with files that cannot be read and empty texts, "stop" or "skip". allow_missing: drop ids that
    one table lacks. repeat: an id may stand in several rows of both tables.
    """

    def __init__(self, file: str | None = None, left: str | Sequence[str] | None = None,
                 right: str | Sequence[str] | None = None, root: str | None = None, ids: str | None = None,
                 left_ids: str | None = None, right_ids: str | None = None, pairs: str | None = None,
                 pairs_left: str | None = None, pairs_right: str | None = None, label: str | None = None,
                 relevant: str | None = None, group: str | None = None, split: str | None = None,
                 columns: Sequence[str] | None = None, left_kind: str | None = None, right_kind: str | None = None,
                 bad: str = "stop", allow_missing: bool = False, repeat: bool = False) -> None:  # fmt: skip
        if bad not in ("stop", "skip"):
            raise BadRecipe(f"data.bad='{bad}'; expected stop or skip")
        self.file, self.root, self.pairs, self.bad = file, root, pairs, bad
        self.specs = {"left": left, "right": right}
        self.kinds = {"left": left_kind, "right": right_kind}
        self.ids = {
            "left": left_ids if left_ids is not None else ids,
            "right": right_ids if right_ids is not None else ids,
        }
        self.pair_columns = (pairs_left, pairs_right, label)
        self.label, self.relevant, self.group, self.split = label, relevant, group, split
        self.columns = None if columns is None else list(columns)
        self.allow_missing, self.repeat = allow_missing, repeat

    def load(self) -> Data:
        """Read, check and join; files are looked at, not embedded.

        Raises BadRecipe for a table, column or key that is not there (naming the nearest), BadData for cells, ids or
        pairs that cannot be used, with their counts and rows.
        """
        sources = Sources(self.root)
        chosen = self._chosen(sources)
        both = chosen["left"][0] is chosen["right"][0] and not self.pairs
        if both and (shared := set(chosen["left"][1]) & set(chosen["right"][1])):
            raise BadRecipe(f"data.left and data.right both name the column '{min(shared)}'; name two columns")
        sides = {side: self._side(side, *chosen[side], both) for side in ("left", "right")}
        left, right = sides["left"], sides["right"]
        links, notes = self._links(left, right, both, sources)
        if not len(links.left):
            raise BadData(f"{left.cells.source.where}: no pair is left of {left.cells.source.n} rows")
        classes = self._classes(left, right, links, both)
        pairs, more = _grouping.pairs(left, right, links, self.group, self.split, classes)
        notes |= more
        if classes:
            notes["classes"] = sides[classes].name
        names = [left.name, right.name] if left.name != right.name else ["", ""]
        items = [
            side.items(name, self.columns, self._no_metadata(other, both), classes == side.cells.side)
            for side, name, other in ((left, names[0], right), (right, names[1], left))
        ]
        check_groups(pairs, notes)
        return Data(items[0], items[1], pairs, {**notes, **left.notes, **right.notes})

    def columns_of(self, names: Sequence[str]) -> TableColumns:
        """The columns that the recipe names, of any table."""
        return TableColumns({side: spec for side, spec in self.specs.items() if spec})

    def _chosen(self, sources: Sources) -> dict[str, tuple[Source, list[str]]]:
        """The table and columns of each side."""
        table = sources.open(self.file) if self.file else None
        for side, spec in self.specs.items():
            if spec is None or not len(spec):
                has = f" ({table.where} has {', '.join(table.columns)})" if table else ""
                raise BadRecipe(f"table: no data.{side}; type: data.file=TABLE data.left=COLUMN data.right=COLUMN{has}")
        return {side: sources.choose(spec, table, f"data.{side}") for side, spec in self.specs.items()}

    def _side(self, side: str, source: Source, names: list[str], both: bool) -> Side:
        label = bool(self.relevant) and names == [self.relevant]
        cells = _cells.read(side, source, names, self.kinds[side], label)
        return _items.prepared(cells, self.ids[side], both, self.bad)

    def _links(self, left: Side, right: Side, both: bool, sources: Sources) -> tuple[Links, dict[str, Any]]:
        if self.pairs:
            table = sources.open(self.pairs)
            return _links.by_pairs(left, right, table, self.pair_columns, self.allow_missing)
        third = self.relevant and self.relevant not in (*left.cells.names, *right.cells.names)
        if both and third and (found := _links.by_shared_label(left, right, self.relevant)) is not None:
            return found[0], {"relevant": self.relevant, "said": found[1]}
        if self.relevant and (not both or third):
            return _links.by_label(left, right, self.relevant), {"relevant": self.relevant}
        if both:
            links = _links.by_row(left, right)
            if self.label:
                labels = _links.labels(left.cells.source, self.label)
                links = links._replace(label=labels[left.cells.rows[links.left]])
            return links, {}
        return _links.by_ids(left, right, (self.ids["left"], self.ids["right"]), self.allow_missing, self.repeat)

    def _classes(self, left: Side, right: Side, links: Links, both: bool) -> str:
        """The side whose items are classes, "" where none is."""
        if self.relevant:
            return next((s.cells.side for s in (right, left) if s.cells.names == [self.relevant]), "")
        free = both and self.relevant is None and not self.group
        return "right" if free and _grouping.looks_like_classes(left, right, links) else ""

    def _no_metadata(self, other: Side, both: bool) -> tuple[str, ...]:
        """Columns that are no metadata: those of the other side in the same table."""
        return tuple(other.cells.names) if both else ()


def check_groups(pairs: Any, notes: dict[str, Any]) -> None:
    """Raise BadData where no splits can be drawn, before anything is embedded."""
    if (pairs.split != "").any() or notes["groups"] >= 3:
        return
    raise BadData(
        f"all {len(pairs)} pairs are in {notes['groups']} group{'s' if notes['groups'] > 1 else ''}, and training, "
        "validation and test need one each: pairs that share an item, or a text, are one group. Where texts are names "
        "of classes type: data.relevant=COLUMN; else name what is apart: data.group=COLUMN or data.split=COLUMN"
    )


def opened(path: Any, root: str | None = None) -> Source:
    """A table, or a file of arrays, by its columns; relative paths in it start from its folder, or from ``root``."""
    return Sources(root).open(path)


def one_side(source: Source, names: list[str], *, side: str, kind: str, ids: str | None, both: bool,
             bad: str = "stop") -> Items | None:  # fmt: skip
    """Items of some columns of a table; None where texts or vectors have no ids, as row numbers are none.

    kind: what the side takes. ids: their column. both: the other side is of the same table, so that a row is no item.
    Raises as :meth:`Table.load` does.
    """
    cells = _cells.read(side, source, names, kind, False)
    found = _items.prepared(cells, ids, both, bad)
    if found.ids is None and not _items.is_file(cells.kind):
        return None
    if found.ids is not None and not both:
        check_unique(found.ids[found.first], f"ids of {source.where}")
    return found.items(found.name, None, (), False)

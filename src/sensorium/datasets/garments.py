"""Garments: pictures of a shop's items on the left, their names on the right, from the folder of a shop's data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sensorium.contracts import Dataset
from sensorium.datasets import _catalogue, _cells, _grouping, _items, _links
from sensorium.errors import BadRecipe
from sensorium.types import Data, TableColumns


class Garments(Dataset):
    """Each row of the table of items is a picture and its name; further columns become metadata of both.

    root: the folder. metadata: the table of items. id, path: its columns of ids and of pictures. text: the column of
    names, by default productDisplayName, name or title, whichever is there. category: its column, by default category,
    semantic_category or subCategory; it becomes the column "category". images: folder of the pictures, whose paths
    start there; by default ``root``.

    Names that several items share are related to the pictures of all of them. split: the column of splits; "" draws
    new ones, by group: pictures and names that are equal form one. bad: what to do with pictures that cannot be used
    and empty names, "stop" or "skip".
    """

    def __init__(self, root: str | None = None, metadata: str = "metadata.csv", id: str = "id", path: str = "path",
                 text: str | None = None, category: str | None = None, images: str | None = None,
                 split: str | None = None, bad: str = "stop") -> None:  # fmt: skip
        if bad not in ("stop", "skip"):
            raise BadRecipe(f"data.bad='{bad}'; expected stop or skip")
        self.root, self.metadata, self.images, self.bad = root, metadata, images, bad
        self.id, self.path, self.text, self.category, self.split = id, path, text, category, split

    def load(self) -> Data:
        """Read and check; pictures are looked at, not embedded.

        Raises BadRecipe for a folder, file or column that is not there, BadData, with rows, for what cannot be used.
        """
        root = _catalogue.root_of(self.root)
        source = _catalogue.opened(root, self.metadata, self.images)
        ids = _catalogue.ids_of(source, self.id)
        text = _catalogue.text_of(source, self.text)
        category = _catalogue.category_of(source, self.category)
        words, notes = _catalogue.categories(source, category)
        sides = {}
        for side, column, kind in (("left", self.path, "image"), ("right", text, "text")):
            source.column(column, f"data.{'path' if side == 'left' else 'text'}")
            cells = _cells.read(side, source, [column], kind, False)
            sides[side] = _items.prepared(cells, self.id, False, self.bad, within=source.root)
        left, right = sides["left"], sides["right"]
        links = _links.by_row(left, right)
        pairs, more = _grouping.pairs(left, right, links, None, self.split, "")
        items = []
        for side, name in ((left, "image"), (right, "name")):
            made = side.items(name, None, (self.path, text), False)
            rows = side.cells.rows[side.first]
            meta = _catalogue.with_category(made.meta, words[rows], category)
            items.append(replace(made, ids=ids[rows], meta=meta))
        return Data(items[0], items[1], pairs, {**notes, **more, **left.notes, **right.notes, "text": text})

    def columns_of(self, names: Sequence[str]) -> TableColumns:
        """Pictures, names and ids as the data set finds them."""
        text = self.text or _catalogue.first(_catalogue.TEXTS, names)
        sides = {"left": self.path, **({"right": text} if text else {})}
        return TableColumns(sides, self.id, None, _catalogue.category_source(names, self.category))

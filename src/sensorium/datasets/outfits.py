"""Outfits: a folder of pictures and CSV files with items, pairs, outfits and fill-in-the-blank questions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sensorium.contracts import Dataset
from sensorium.datasets import _catalogue, _outfit_data, _outfit_lists
from sensorium.datasets._outfit_lists import Lists
from sensorium.errors import BadData, BadRecipe
from sensorium.types import Data, TableColumns


class Outfits(Dataset):
    """Items of one table and what says which go together; which files are there decides what is trained and measured.

    root: the folder. metadata: the table of items, ``id,path[,category,…]``; further columns become metadata. id, path:
    its columns of ids and of pictures. text: a column of texts, for an encoder that takes picture and text side by side
    (left.encoder=joined); "auto": productDisplayName, name or title, whichever is there, if any; with ``path=""`` the
    texts alone are the items. category: its column, by default category,
    semantic_category or subCategory, whichever is there; it becomes the column "category". images: folder of the
    pictures, whose paths start there; by default ``root``. vectors: a store, or an array with ids.json beside it: the
    items' vectors in place of pictures, with left.encoder=none.

    pairs: pairs_{train,valid,test}.csv, or pairs.csv: ``a_id,b_id,label`` (pair_ids, label: its columns), 1 for
    related, 0 for unrelated. outfits: outfits_{train,valid,test}.json (lists of ids, or objects with ``items``), or
    outfits.csv: ``outfit_id,item_id[,split]`` (outfit_id, item_id: its columns). compat: compat_{split}.txt, lines
    ``1 id id …`` and ``0 id id …``. questions: fitb_{split}.json, ``question``, ``answers`` and ``correct``. Each key
    takes another name, with ``{split}`` for train, valid and test, or "" for none.

    split: the column of splits, of pairs, outfits or items; "" draws new ones. Where nothing brings splits they are
    drawn by group: outfits that share an item form one. group: "item", so; "outfit": each outfit is one, and items may
    be shared; "auto": by item where that leaves three groups, none of which holds half of the outfits.

    bad: what to do with pictures that cannot be used, "stop" or "skip". allow_missing: leave out ids of no item.
    conflicts: what to do with pairs labelled 1 and 0 in one split, "stop" or "drop".
    """

    def __init__(self, root: str | None = None, metadata: str = "metadata.csv", id: str = "id", path: str = "path",
                 text: str | None = None, category: str | None = None, images: str | None = None,
                 vectors: str | None = None, pairs: str | None = None,
                 pair_ids: Sequence[str] = ("a_id", "b_id"), label: str = "label",
                 outfits: str | None = None, outfit_id: str = "outfit_id", item_id: str = "item_id",
                 compat: str | None = None, questions: str | None = None, split: str = "split", group: str = "auto",
                 bad: str = "stop", allow_missing: bool = False, conflicts: str = "stop") -> None:  # fmt: skip
        for key, value, known in (("bad", bad, ("stop", "skip")), ("group", group, ("auto", "item", "outfit")),
                                  ("conflicts", conflicts, ("stop", "drop"))):  # fmt: skip
            if value not in known:
                raise BadRecipe(f"data.{key}='{value}'; expected {', '.join(known)}")
        if len(pair_ids) != 2:
            raise BadRecipe(f'data.pair_ids={list(pair_ids)}; expected two columns, such as \'["a_id", "b_id"]\'')
        self.root, self.metadata, self.id, self.path, self.text = root, metadata, id, path, text
        self.category, self.images, self.vectors, self.bad = category, images, vectors, bad
        self.names = {"pairs": pairs, "outfits": outfits, "compat": compat, "questions": questions}
        self.pair_ids, self.label, self.outfit_id, self.item_id = list(pair_ids), label, outfit_id, item_id
        self.split, self.group, self.allow_missing, self.conflicts = split, group, allow_missing, conflicts

    def load(self) -> Data:
        """Read, check and join; pictures are looked at, not embedded.

        Raises BadRecipe for a folder, file or column that is not there, BadData, with rows, for what cannot be used.
        """
        root = _catalogue.root_of(self.root)
        table = _catalogue.opened(root, self.metadata, self.images)
        catalogue = _catalogue.read(root, table, id=self.id, path=self.path, text=self.text, category=self.category,
                                    vectors=self.vectors, bad=self.bad,
                                    allow_missing=self.allow_missing)  # fmt: skip
        lists = self._lists(root)
        if lists["outfits"] is None and lists["pairs"] is None and lists["compat"] is None:
            raise BadData(f"{root} says of no items that they go together; expected outfits.csv or "
                          "outfits_{train,valid,test}.json, pairs.csv or pairs_{train,valid,test}.csv, or name them: "
                          "data.outfits=FILE data.pairs=FILE")  # fmt: skip
        of_items = None
        if self.split and self.split in catalogue.items.meta:
            words = catalogue.items.meta[self.split].tolist()
            of_items = np.array([_outfit_lists.split_of(word) or "" for word in words], "<U10")
        return _outfit_data.assembled(
            catalogue, lists, of_items, self.metadata, self.group, self.conflicts, self.allow_missing
        )

    def columns_of(self, names: Sequence[str]) -> TableColumns:
        """Pictures or texts, ids and categories as the data set finds them."""
        renamed = _catalogue.category_source(names, self.category)
        text = _catalogue.usual_text(names, self.text)
        return TableColumns({"left": self.path or text}, self.id, text if self.path else None, renamed)

    def _lists(self, root: Path) -> dict[str, Lists | None]:
        """What the files hold, by kind."""
        usual = {"pairs": ("pairs_{split}.csv", "pairs.csv"), "outfits": ("outfits_{split}.json", "outfits.csv"),
                 "compat": ("compat_{split}.txt",), "questions": ("fitb_{split}.json",)}  # fmt: skip
        found = {}
        for what, given in self.names.items():
            files = _outfit_lists.files_of(root, given, what, *usual[what])
            found[what] = _outfit_lists.joined([self._read(what, file, split) for file, split in files])
        return found

    def _read(self, what: str, file: Path, split: str) -> Lists:
        split, column = split if self.split else "", self.split or None
        if what == "pairs":
            return _outfit_lists.of_table(file, split, self.pair_ids, self.label, column)
        if what == "compat":
            return _outfit_lists.of_lines(file, split)
        if what == "questions":
            return _outfit_lists.of_questions(file, split, _outfit_lists.stated)
        if file.suffix.lower() == ".json":
            return _outfit_lists.of_json(file, split)
        return _outfit_lists.of_long_table(file, split, self.outfit_id, self.item_id, column)

"""Polyvore Outfits as published (Vasileva et al. 2018): 251,008 garments in real outfits, disjoint or nondisjoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from sensorium import formats
from sensorium.contracts import Dataset
from sensorium.datasets import _catalogue, _outfit_data, _outfit_lists, _polyvore_lists
from sensorium.datasets._outfit_lists import Lists
from sensorium.datasets._source import Source
from sensorium.errors import BadData, BadRecipe
from sensorium.formats import Columns
from sensorium.types import USUAL_TEXT, Data, TableColumns

SETTINGS = ("nondisjoint", "disjoint")
ABOUT = "polyvore_item_metadata.json"
COLUMNS = ("title", "url_name", "description", "category_id", "semantic_category")


class Polyvore(Dataset):
    """The items that the outfits of a setting name, one table, with the published splits.

    root: the folder with ``disjoint/``, ``nondisjoint/``, ``images/`` and polyvore_item_metadata.json. setting: in
    "disjoint" no garment is in two splits; in "nondisjoint" garments may be, outfits are not. Each has
    {train,valid,test}.json, compatibility_{split}.txt and fill_in_blank_{split}.json; right is the answer of the
    question's own outfit. Lists by category with {train,valid,test}_{pos,neg} (github lzcn/outfit-datasets) are read,
    too; they have neither texts nor questions, and where
    they have no test lists, those of valid are the test split.

    text: a column of texts, such as title, or auto, for an encoder that takes picture and text side by side
    (left.encoder=joined); an empty title is the item's url_name. category: the column that becomes "category",
    semantic_category (11) by default; category_id (153) is the finer one. images: folder of the pictures ID.jpg.
    pictures: false where there are none: the texts alone are the items. vectors: a store, or an array with ids.json
    beside it, in place of pictures, with left.encoder=none.

    bad: what to do with pictures that cannot be used, "stop" or "skip". allow_missing: leave out items without
    metadata or vector.
    """

    def __init__(self, root: str | None = None, setting: str = "nondisjoint", text: str | None = USUAL_TEXT,
                 category: str | None = None, images: str = "images", pictures: bool = True,
                 vectors: str | None = None, bad: str = "stop", allow_missing: bool = False) -> None:  # fmt: skip
        if setting not in SETTINGS:
            raise BadRecipe(f"data.setting='{setting}'; expected {' or '.join(SETTINGS)}")
        if bad not in ("stop", "skip"):
            raise BadRecipe(f"data.bad='{bad}'; expected stop or skip")
        self.root, self.setting, self.text, self.category = root, setting, text, category
        self.images, self.pictures, self.vectors = images, pictures, vectors
        self.bad, self.allow_missing = bad, allow_missing

    def load(self) -> Data:
        """Read, check and join; pictures are looked at, not embedded.

        Raises BadRecipe for a folder or column that is not there, BadData for lists that cannot be used.
        """
        root = _catalogue.root_of(self.root)
        folder = root / self.setting
        if not folder.is_dir():
            raise BadRecipe(f"data.setting={self.setting}: no folder {folder}; expected the folders "
                            f"{' and '.join(SETTINGS)} of Polyvore Outfits in data.root")  # fmt: skip
        if _polyvore_lists.are_in(folder):
            lists, about = _polyvore_lists.read(folder)
        else:
            lists, about = _published(folder), _about(root / ABOUT)
        if without_test := not any((one.split == "test").any() for one in lists.values() if one is not None):
            lists = {what: one and _valid_as_test(one) for what, one in lists.items()}
        source = self._table(root, lists, about)
        path = "path" if self.pictures or self.vectors is not None else ""
        if path and self.vectors is None and not (root / self.images).is_dir():
            raise BadRecipe(f"no folder {root / self.images} of pictures; name it: data.images=FOLDER, or use vectors "
                            "or texts: data.vectors=FILE left.encoder=none, or data.pictures=false data.text=title "
                            "left.encoder=minilm")  # fmt: skip
        catalogue = _catalogue.read(root, source, id="id", path=path, text=self.text, category=self.category,
                                    vectors=self.vectors, bad=self.bad,
                                    allow_missing=self.allow_missing)  # fmt: skip
        data = _outfit_data.assembled(catalogue, lists, None, ABOUT, "outfit", "drop", self.allow_missing)
        said = ["there are no lists of test: those of valid are the test split, validation is held out of train"]
        return replace(data, notes={**data.notes, "said": [*data.notes["said"], *(said if without_test else [])]})

    def columns_of(self, names: Sequence[str]) -> TableColumns:
        """Paths, ids, texts and categories under the names that the published files use."""
        renamed = _catalogue.category_source(names, self.category)
        text = _catalogue.usual_text(names, self.text)
        return TableColumns({"left": "path" if self.pictures else text}, "id", text, renamed)

    def _table(self, root: Path, lists: Mapping[str, Lists | None], about: Mapping[str, Mapping[str, Any]]) -> Source:
        """The items that the lists name, in the order of the metadata, as a table."""
        import pyarrow as pa

        named = dict.fromkeys(id for one in lists.values() if one is not None for id in one.ids)
        ids = [id for id in about if id in named] if about else list(named)
        if not ids:
            raise BadData(f"{root / ABOUT} has none of the {len(named):,} items that the lists name")
        columns = {"id": ids, "path": [f"{id}.jpg" for id in ids]}
        for name in COLUMNS:
            if about and name in about[ids[0]]:
                columns[name] = [_text(about[id].get(name)) for id in ids]
        if "title" in columns and "url_name" in columns:
            columns["title"] = [a or b for a, b in zip(columns["title"], columns["url_name"], strict=True)]
        table = pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})
        images = root / self.images
        return Source.of(ABOUT, Columns(formats.of_table(table, ABOUT), ABOUT), images if images.is_dir() else root)


def _valid_as_test(lists: Lists) -> Lists:
    """The same lists, those of validation as the test split."""
    return replace(lists, split=np.where(lists.split == "validation", "test", lists.split))


def _published(folder: Path) -> dict[str, Lists | None]:
    """The outfits, compatibility lines and questions of one setting."""
    outfits, compat, questions = [], [], []
    for split, words in _outfit_lists.SPLITS.items():
        word = next((word for word in words if (folder / f"{word}.json").is_file()), None)
        if word is None:
            continue
        path = folder / f"{word}.json"
        outfits.append(_outfit_lists.of_json(path, split))
        names = _places(path)
        if (lines := folder / f"compatibility_{word}.txt").is_file():
            compat.append(_outfit_lists.of_lines(lines, split, lambda place, names=names: names.get(place, place)))
        if (asked := folder / f"fill_in_blank_{word}.json").is_file():
            resolve = lambda place, names=names: names.get(place, place)  # noqa: E731
            questions.append(_outfit_lists.of_questions(asked, split, _of_own_outfit, resolve))
    if not outfits:
        raise BadData(f"{folder} has no train.json, valid.json or test.json; expected the published lists of outfits")
    return {"outfits": _outfit_lists.joined(outfits), "pairs": None, "compat": _outfit_lists.joined(compat),
            "questions": _outfit_lists.joined(questions)}  # fmt: skip


def _places(path: Path) -> dict[str, str]:
    """``SET_INDEX``, as lines and questions name an item, → its id."""
    found = {}
    for outfit in _outfit_lists.read_json(path):
        for item in outfit["items"]:
            if "index" in item and "set_id" in outfit:
                found[f"{outfit['set_id']}_{item['index']}"] = str(item["item_id"])
    return found


def _of_own_outfit(question: Mapping[str, Any]) -> int | None:
    """The answer of the question's own outfit: of several, the one at the blank's place; None without one."""
    own = str(question["question"][0]).rpartition("_")[0]
    places = [i for i, answer in enumerate(question["answers"]) if str(answer).rpartition("_")[0] == own]
    if len(places) > 1:
        blank = str(question.get("blank_position"))
        places = [i for i in places if str(question["answers"][i]).rpartition("_")[2] == blank]
    return places[0] if len(places) == 1 else None


def _about(path: Path) -> dict[str, Mapping[str, Any]]:
    """The published metadata of the items by id; {} where the file is not there."""
    if not path.is_file():
        return {}
    found = _outfit_lists.read_json(path)
    if not isinstance(found, dict) or not all(isinstance(one, dict) for one in found.values()):
        raise BadData(f"{path} holds no items by id; download it again")
    return found


def _text(value: Any) -> str | None:
    return None if value in (None, "") else np.str_(value).strip()

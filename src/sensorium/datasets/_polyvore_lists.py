"""Polyvore Outfits as lists by category (github lzcn/outfit-datasets): outfits as places in the lists of items.json."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sensorium.datasets import _outfit_lists
from sensorium.datasets._outfit_lists import Lists
from sensorium.errors import BadData

#: The lists of items.json, in their order.
CATEGORIES = ("accessories", "all-body", "bags", "bottoms", "hats", "jewellery", "outerwear", "scarves", "shoes",
              "sunglasses", "tops")  # fmt: skip


def are_in(folder: Path) -> bool:
    """Whether a folder holds such lists."""
    return (folder / "items.json").is_file() and (folder / "train_pos").is_file()


def read(folder: Path) -> tuple[dict[str, Lists | None], dict[str, Mapping[str, Any]]]:
    """Outfits and made-up ones, and the category of every item by its id."""
    items = _outfit_lists.read_json(folder / "items.json")
    if not isinstance(items, list) or len(items) != len(CATEGORIES):
        raise BadData(f"{folder / 'items.json'} holds no {len(CATEGORIES)} lists of ids; download it again")
    items = [[str(id) for id in ids] for ids in items]
    about = {id: {"semantic_category": word} for word, ids in zip(CATEGORIES, items, strict=True) for id in ids}
    outfits, made_up = [], []
    for split, words in _outfit_lists.SPLITS.items():
        for word in words:
            for ending, into in (("pos", outfits), ("neg", made_up)):
                if (path := folder / f"{word}_{ending}").is_file():
                    into.append(_lists(path, split, items, ending == "pos"))
    found = {"outfits": _outfit_lists.joined(outfits), "compat": _outfit_lists.joined(made_up)}
    return {**found, "pairs": None, "questions": None}, about


def _lists(path: Path, split: str, items: list[list[str]], label: bool) -> Lists:
    """Lines ``flag,n,place × m,category × m`` padded with -1. Raises BadData with the lines that are not so."""
    lists, bad = [], []
    for number, line in enumerate(_outfit_lists.text_of(path).splitlines(), 1):
        try:
            _, n, *places = map(int, line.split(","))
            half = len(places) // 2
            chosen = zip(places[:n], places[half : half + n], strict=True)
            lists.append([items[kind][at] for at, kind in chosen if at >= 0 and kind >= 0])
        except (ValueError, IndexError):
            bad.append(number)
            lists.append([])
    if bad:
        raise BadData(f"{path}: {len(bad)} lines are no outfit, such as line {bad[0]}; download it again")
    rows = range(1, len(lists) + 1)
    return Lists.of(lists, where=path.name, rows=rows, split=split, label=[int(label)] * len(lists))

"""Made outfits: garments of one style go together; the style is a hidden cause of their vectors."""

from dataclasses import replace

import numpy as np

from sensorium.pairs import Pairs
from sensorium.pairs.sets import ItemSets
from sensorium.types import Embeddings

KINDS = ("bag", "shoe", "top")


def made_outfits(items: int = 240, styles: int = 4, outfits: int = 150, seed: int = 0) -> tuple[Embeddings, Pairs]:
    """Vectors (items, 12) with a column "category", and pairs with sets: two thirds of them train, the rest validate.

    No item is on both sides. Every outfit has one item a category, of one style; as many label-0 sets mix styles.
    """
    random = np.random.default_rng(seed)
    style, kind = np.arange(items) % styles, np.arange(items) // styles % len(KINDS)
    train = np.arange(items) < 2 * items // 3
    x = random.normal(size=(styles, 12))[style] + random.normal(size=(len(KINDS), 12))[kind]
    x = (x + 0.3 * random.normal(size=(items, 12))).astype(np.float32)
    table = Embeddings(np.array([f"g{i}" for i in range(items)]), x, {"made": 1}, {"category": np.array(KINDS)[kind]})
    rows, labels, splits = [], [], []
    for i in range(2 * outfits):
        side = i % 3 < 2
        wanted = (
            np.full(len(KINDS), random.integers(styles)) if i < outfits else random.permutation(styles)[: len(KINDS)]
        )
        rows.append([random.choice(np.flatnonzero((style == s) & (kind == k) & (train == side)))
                     for k, s in enumerate(wanted)])  # fmt: skip
        labels.append(int(i < outfits))
        splits.append("train" if side else "validation")
    sets = ItemSets.of(rows, np.array(labels), split=np.array(splits))
    pairs = {(min(a, b), max(a, b)): (label, split) for one, label, split in
             sorted(zip(rows, labels, splits, strict=True), key=lambda row: row[1]) for a in one for b in one if a != b}  # fmt: skip
    left, right = np.array(list(pairs)).T
    label, split = (np.array(column) for column in zip(*pairs.values(), strict=True))
    return table, replace(Pairs.of(left, right, label, split=split, same_table=True), sets=sets)

"""Classes of both sides' items: of the relation, of a column of words, or a right side that is a table of classes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sensorium.errors import BadData, BadRecipe, nearest
from sensorium.numerics import affect
from sensorium.pairs import Pairs
from sensorium.types import Affine, Embeddings, is_missing

TARGETS = ("label", "vad")
_BY_ROW = "for pairs that are related row by row type: objective=cca left.head=linear right.head=linear"

MOST = 200  # classes
_EACH = 3  # left items of a class, on average, at least
_SURE = 30.0  # logit of the class itself, whose probability is then 1 but for 1e-13


def class_table(left: Embeddings, right: Embeddings, pairs: Pairs) -> tuple[np.ndarray, np.ndarray] | None:
    """Class of each left (n,) and right row (m,), -1 where it has none; None where the right items are no classes.

    They are where every left row goes with one of at most MOST right rows, of which two or more have partners.
    """
    if pairs.same_table or pairs.classes is not None or not 1 < len(right) <= MOST:
        return None
    edges = np.unique(np.stack([pairs.left[pairs.label == 1], pairs.right[pairs.label == 1]], 1), axis=0)
    met = len(np.unique(edges[:, 1]))
    if met < 2 or len(edges) < _EACH * met or len(np.unique(edges[:, 0])) < len(edges):
        return None
    codes = np.full(len(left), -1, np.int64)
    codes[edges[:, 0]] = edges[:, 1]
    return codes, np.arange(len(right))


def sure_logits(vectors: np.ndarray, codes: np.ndarray, classes: int) -> Affine:
    """A map of the class vectors (m, d) to logits (m, c) that are one-hot times a large number.

    codes (m,): place of each among the classes, -1 for none. Raises BadData where they depend on each other linearly.
    """
    x = np.asarray(vectors, np.float64)[codes >= 0]
    target = _SURE * np.eye(classes)[codes[codes >= 0]]
    weight = np.linalg.lstsq(x, target, rcond=None)[0]
    if not np.allclose(x @ weight, target, atol=1e-3 * _SURE):
        raise BadData(f"the vectors of {len(x)} classes depend on each other linearly, so that no linear map tells "
                      "them apart; type: right.encoder=onehot")  # fmt: skip
    return Affine(weight, np.zeros(classes))


@dataclass(frozen=True)
class ClassWords:
    """Where an objective's classes come from. name: of the objective. column: of words. targets: see ``lda``."""

    name: str
    column: str = "emotion"
    targets: str = "label"

    def classes(
        self, left: Embeddings, right: Embeddings, train: Pairs, every: Pairs | None = None
    ) -> tuple[list[np.ndarray], np.ndarray]:
        """Codes of all rows of both sides, 0 … c - 1 or -1, and the names (c,) of the classes.

        A class is what training items of both sides have. every: pairs of other splits too, which say the class of
        items that are not trained on where the right side is a table of classes.
        """
        if self.of_table(left, right, train):
            said = None if every is None else class_table(left, right, every)
            words = list(class_table(left, right, train) if said is None else said)
            names = np.unique(words[0][np.unique(train.left)])
            return [
                np.searchsorted(names, word) * np.isin(word, names) - ~np.isin(word, names) for word in words
            ], names
        words = self._words(left, right, train)
        there = [np.unique(word[np.unique(rows)]) for word, rows in zip(words, (train.left, train.right), strict=True)]
        names = np.intersect1d(*there)
        named = names != "" if names.dtype.kind == "U" else names >= 0
        # Rows without a label are classes of their own: too small to be learned.
        many = [np.count_nonzero(words[1][np.unique(train.right)] == name) > 1 for name in names]
        names = names[named & np.array(many, bool)]
        if len(names) < 2:
            raise BadData(
                f"objective '{self.name}' needs two classes that training items of both sides have; there are "
                f"{len(names)}; {_BY_ROW}"
            )
        codes = []
        for word in words:
            at = np.searchsorted(names, word).clip(0, len(names) - 1)
            codes.append(np.where(names[at] == word, at, -1))
        return codes, names

    def of_table(self, left: Embeddings, right: Embeddings, pairs: Pairs) -> bool:
        """Whether the classes are the right items themselves: neither side says its class otherwise."""
        said = pairs.classes is not None or self.targets == "vad" or self.column in right.meta
        return (
            not said
            and class_table(left, right, pairs.where("train") if (pairs.split != "").any() else pairs) is not None
        )

    def _words(self, left: Embeddings, right: Embeddings, pairs: Pairs) -> list[np.ndarray]:
        """The class of every row of both sides: codes of the relation, or words of the column; "" where there is none.

        Words of emotions that mean the same are one class.
        """
        if pairs.classes is not None and self.targets == "label":
            return list(pairs.classes)
        found = []
        for side, table in (("left", left), ("right", right)):
            if self.column not in table.meta:
                known = nearest(self.column, table.meta) if table.meta else "they have none"
                raise BadRecipe(
                    f"objective '{self.name}' needs classes, but the {side} items have no column '{self.column}' "
                    f"({known}); type: data.relevant=COLUMN or objective.column=COLUMN; {_BY_ROW}"
                )
            values = np.asarray(table.meta[self.column]).tolist()
            found.append(np.array(["" if is_missing(v) else affect.canonical(v) for v in values], np.str_))
        return found


def average_precision(logits: np.ndarray, code: np.ndarray) -> float:
    """Mean average precision of the classes (c,) as queries for their items, by their probabilities (n, c)."""
    powers = np.exp(logits - logits.max(1, keepdims=True))
    score = powers / powers.sum(1, keepdims=True)
    values = []
    for k in np.unique(code).tolist():
        right = code[np.argsort(-score[:, k], kind="stable")] == k
        values.append(float((np.cumsum(right)[right] / (np.flatnonzero(right) + 1)).mean()))
    return float(np.mean(values))

"""Rules of data sets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from sensorium.errors import BadRecipe
from sensorium.pairs import Pairs
from sensorium.testing.rules import Skip
from sensorium.types import Data, Items


class Subject:
    """A data set and what it loads."""

    def __init__(self, make: Callable[[], Any], values: Sequence[Any] | None) -> None:
        self.make, self.dataset = make, make()
        self._data: Data | None = None

    @property
    def data(self) -> Data:
        """What :meth:`load` gives, loaded once."""
        if self._data is None:
            self._data = self.dataset.load()
        return self._data


def loads(s: Subject) -> None:
    """It loads Data: Items on the left, Items or None on the right, and Pairs."""
    assert isinstance(s.data, Data), f"load gives {type(s.data).__name__}"
    assert isinstance(s.data.left, Items), f"left is {type(s.data.left).__name__}"
    assert s.data.right is None or isinstance(s.data.right, Items), f"right is {type(s.data.right).__name__}"
    assert isinstance(s.data.pairs, Pairs), f"pairs are {type(s.data.pairs).__name__}"


def paired(s: Subject) -> None:
    """Every pair names rows that are there, and one pair at least is related."""
    right = s.data.left if s.data.right is None else s.data.right
    for side, rows, items in (("left", s.data.pairs.left, s.data.left), ("right", s.data.pairs.right, right)):
        bad = (rows < 0) | (rows >= len(items))
        assert not bad.any(), f"{np.count_nonzero(bad)} pairs name a {side} row that is none of {len(items)}"
    assert (s.data.pairs.label == 1).any(), "no pair has label 1"
    assert (s.data.right is None) == s.data.pairs.same_table, "pairs.same_table must say that right is None"


def repeatable(s: Subject) -> None:
    """Loading again gives the same items in the same order and the same pairs."""
    again = s.make().load()
    assert np.array_equal(again.left.ids, s.data.left.ids), "other left ids"
    assert (again.right is None) == (s.data.right is None), "a right side only once"
    assert again.right is None or np.array_equal(again.right.ids, s.data.right.ids), "other right ids"
    for name in ("left", "right", "label", "split"):
        assert np.array_equal(vars(again.pairs)[name], vars(s.data.pairs)[name]), f"other pairs.{name}"


def separated(s: Subject) -> None:
    """No group of pairs stands in two splits."""
    pairs = s.data.pairs
    if not (pairs.split != "").any():
        raise Skip("it assigns no splits")
    both = np.unique(np.stack([pairs.group.astype(np.str_), pairs.split], 1), axis=0)
    count = len(both) - len(np.unique(both[:, 0]))
    assert not count, f"{count} groups stand in two splits or more"


def folded(s: Subject) -> None:
    """It has a number of folds, 0 for none, and refuses a download that it does not offer by BadRecipe."""
    folds = s.dataset.folds()
    assert isinstance(folds, int) and folds >= 0, f"folds() is {folds!r}"
    if "obtain" in vars(type(s.dataset)):
        raise Skip("it offers a download, which is not started here")
    try:
        s.dataset.obtain()
    except BadRecipe:
        return
    raise Skip("it offers a download")


RULES = (loads, paired, repeatable, separated, folded)

"""Columns of rows as columns of items, where an item may stand in several rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from sensorium.table import as_column
from sensorium.table.columns import kind_of, missing

_MOST = 50  # distinct values of one item that are kept
_LISTED = ("text", "integer", "number", "boolean")


def merged(values: np.ndarray, code: np.ndarray, first: np.ndarray, name: str) -> np.ndarray | None:
    """A column (m,) of cells as one value for each of the k items; code (m,): the item of each cell.

    Where the rows of an item differ, the column becomes lists of the distinct values, in their order: a filter then
    finds an item by each of them. None for one that cannot be: times, lists, and more than 50 values of one item.
    """
    chosen = values[first]
    if len(first) == len(values):
        return chosen
    numbers = _numbers(values)
    if np.array_equal(numbers, numbers[first][code]):
        return chosen
    gaps = missing(values)
    known, at_first = np.unique(code[~gaps], return_index=True)
    first = first.copy()
    first[known] = np.flatnonzero(~gaps)[at_first]
    if np.array_equal(numbers[~gaps], numbers[first][code[~gaps]]):  # they differ only in that some are missing
        return values[first]
    if kind_of(values) not in _LISTED:
        return None
    keys = np.stack([code, numbers], 1)
    at = np.sort(np.unique(keys, axis=0, return_index=True)[1])
    if np.bincount(code[at]).max() > _MOST:
        return None
    lists: list[list[Any]] = [[] for _ in first]
    for item, value in zip(code[at].tolist(), values[at].tolist(), strict=True):
        if value is not None and value == value:
            lists[item].append(value)
    return as_column([one or None for one in lists], name)


def _numbers(values: np.ndarray) -> np.ndarray:
    """A number (m,) for each value, equal where values are; missing ones are equal."""
    if values.dtype.kind != "O":
        return np.unique(values, return_inverse=True)[1].ravel()
    known: dict[Any, int] = {}
    return np.array([known.setdefault(tuple(v) if isinstance(v, list) else v, len(known)) for v in values], np.int64)

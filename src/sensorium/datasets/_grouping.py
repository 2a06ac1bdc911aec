"""From linked cells to pairs of items: groups that do not leak, splits, and the relation among equal contents."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from sensorium.datasets._items import Side
from sensorium.datasets._links import MOST, Links
from sensorium.errors import BadData, BadRecipe
from sensorium.formats import SPLIT_NAMES
from sensorium.pairs import Pairs, csr
from sensorium.pairs.classes import Classes
from sensorium.pairs.components import components
from sensorium.types import is_missing

CLASSES = 30  # texts at most that are taken for names of classes, as in evaluate.classification


def pairs(
    left: Side, right: Side, links: Links, group: str | None, split: str | None, classes: str
) -> tuple[Pairs, dict[str, Any]]:
    """Pairs of items, each once, and notes.

    group, split: columns of the table of pairs or of either side. classes: the side whose items are classes, met in
    every split, or "". By default pairs that share an item, or a content, form a group.
    """
    i, j = left.code[links.left], right.code[links.right]
    words = _column(links, left, right, split, SPLIT_NAMES, "split")
    groups = _column(links, left, right, group, (), "group")
    notes: dict[str, Any] = {"split": "drawn" if words is None else "given"}
    words = None if words is None else _words(words)
    if groups is not None:
        groups, notes["rows_without_group"] = _named(groups)
    labels = links.shared
    of_label = None if labels is None else Classes.of(labels.tolist(), i, j, len(left.first), len(right.first))
    i, j, label, words, groups = _each_once(i, j, links.label, words, groups)
    if labels is None and links.label is None and (left.by_row or right.by_row) and not classes:
        i, j, words, groups = _closed(i, j, words, groups, left.alike, right.alike)
        label = np.ones(len(i), np.int8)
    if groups is None:
        groups = _default_groups(i, j, left, right, classes)
        notes["group"] = "by shared items and contents"
    else:
        groups, notes["groups_joined"] = _joined(groups, [(side, at) for side, at in ((left, i), (right, j))
                                                          if side.is_file and side.cells.side != classes])  # fmt: skip
    made = Pairs.of(i, j, label, group=groups, split=words)
    if group is None:  # names that nobody gave: near-duplicates in two groups are looked for
        made = replace(made, group_names=None)
    made = replace(made, classes=of_label)
    notes["groups"] = len(np.unique(made.group))
    return made, notes


def looks_like_classes(left: Side, right: Side, links: Links) -> bool:
    """Whether the right texts are a few that many left items share, each having one: names of classes."""
    i, j = left.code[links.left], right.code[links.right]
    distinct = len(np.unique(j))
    if right.cells.kind != "text" or right.by_row or not 1 < distinct <= CLASSES or links.label is not None:
        return False
    edges = np.unique(np.stack([i, j], 1), axis=0)
    return len(np.unique(edges[:, 0])) == len(edges) >= 3 * distinct


def _column(links: Links, left: Side, right: Side, name: str | None, usual: tuple[str, ...], what: str) -> Any:
    """A column of the pairs (p,): of the table of pairs, else of either side; where both have it they must agree."""
    if name == "":
        return None
    places = [] if links.table is None else [(links.table, links.rows)]
    places += [(side.cells.source, side.cells.rows[at]) for side, at in ((left, links.left), (right, links.right))]
    names = (name,) if name else usual
    found = [(source, one, rows) for source, rows in places for one in names
             if one in source.columns and one not in (*left.cells.names, *right.cells.names)]  # fmt: skip
    if not found:
        if name:
            raise BadRecipe(f"data.{what}={name}: {places[0][0].missing(name)}")
        return None
    source, one, rows = found[0]
    values = source.column(one, f"data.{what}")[rows]
    if links.table is None:
        other = found[-1][0].column(found[-1][1], f"data.{what}")[found[-1][2]]
        differ = [k for k, (a, b) in enumerate(zip(values.tolist(), other.tolist(), strict=True)) if str(a) != str(b)]
        if differ:
            who = f"{source.where} and {found[-1][0].where} disagree on"
            if source is found[-1][0]:
                who = f"{source.where} relates rows, by labels of which an item has several, that differ in"
            raise BadData(f"{who} the {what} of {len(differ)} pairs, such as {values[differ[0]]!r} against "
                          f"{other[differ[0]]!r}")  # fmt: skip
    return values


def _words(split: np.ndarray) -> np.ndarray:
    words = split.tolist()
    missing = [row for row, word in enumerate(words) if is_missing(word) or word == ""]
    if len(missing) == len(words):
        return np.full(len(words), "", "<U10")
    if missing:
        raise BadData(f"the split of {len(missing)} of {len(words)} pairs is missing; expected train, dev|validation "
                      'or test: fill them in, or type data.split=""')  # fmt: skip
    return np.array([str(word) for word in words], np.str_)


def _named(group: np.ndarray) -> tuple[np.ndarray, int]:
    """Groups (p,) as texts, each missing one a group of its own, and how many these are."""
    values = group.tolist()
    lost = [is_missing(v) or v == "" for v in values]
    return np.array([f"(no group, pair {k})" if gone else str(v)
                     for k, (v, gone) in enumerate(zip(values, lost, strict=True))], np.str_), sum(lost)  # fmt: skip


def _each_once(i, j, label, words, groups):
    """Every pair once. Raises BadData for a pair that stands in two splits, or is related and unrelated."""
    keys = i.astype(np.int64) * (int(j.max(initial=0)) + 1) + j
    _, at, code = np.unique(keys, return_index=True, return_inverse=True)
    for what, column in (("split", words), ("label", label)):
        if column is not None and (differ := np.flatnonzero(column != column[at][code.ravel()])).size:
            raise BadData(
                f"{len(differ)} pairs stand in the table more than once, with another {what}; correct the {what}"
            )
    at = np.sort(at)
    return i[at], j[at], *(None if column is None else column[at] for column in (label, words, groups))


def _closed(i, j, words, groups, alike_left, alike_right):
    """The relation with all items of equal content: what is related to one is related to the others, in one split."""
    cell = np.zeros(len(i), np.int64)
    for column in (words, groups):
        if column is not None:
            cell = np.unique(np.stack([cell, np.unique(column, return_inverse=True)[1].ravel()], 1), axis=0,
                             return_inverse=True)[1].ravel()  # fmt: skip
    for of_left, alike in ((False, alike_right), (True, alike_left)):
        if len(np.unique(alike)) == len(alike):
            continue
        here, there = (j, i) if of_left else (i, j)
        key = np.unique(np.stack([cell, alike[there]], 1), axis=0, return_inverse=True)[1].ravel()
        members = csr.group(key, there, int(key.max()) + 1)
        count = members.counts[key]
        if count.sum() > MOST:
            raise BadData(f"texts that many rows share make {int(count.sum()):,} pairs; where they are classes type: "
                          "data.relevant=COLUMN")  # fmt: skip
        new_here = np.repeat(here, count)
        new_there = members.values[csr.ranges(members.offsets[:-1][key], count)]
        at = np.repeat(np.arange(len(i)), count)
        a, b = (new_there, new_here) if of_left else (new_here, new_there)
        _, first = np.unique(np.stack([a, b], 1), axis=0, return_index=True)
        first = np.sort(first)
        i, j, at = a[first], b[first], at[first]
        cell = cell[at]
        words, groups = (None if c is None else c[at] for c in (words, groups))
    return i, j, words, groups


def _joined(groups: np.ndarray, sides: list[tuple[Side, np.ndarray]]) -> tuple[np.ndarray, int]:
    """Groups (p,) of which those with a file in common are one, called after the least; and how many were joined."""
    names, code = np.unique(groups, return_inverse=True)
    label = np.arange(len(names))
    for side, items in sides:
        alike = side.alike[items] + len(names)
        before = np.concatenate([label, np.arange(len(names), int(alike.max()) + 1)])
        label = components(len(before), code.ravel(), alike, before)[: len(names)]  # fmt: skip
    return names[label][code.ravel()], len(names) - len(np.unique(label))


def _default_groups(i: np.ndarray, j: np.ndarray, left: Side, right: Side, classes: str) -> np.ndarray:
    """The name (p,) of each pair's group: the least content of the items that are connected, whatever their order."""
    a, b = left.alike[i], right.alike[j]
    if classes == "right":
        label = a
    elif classes == "left":
        label = b
    else:
        label = components(int(a.max()) + int(b.max()) + 2, a, b + int(a.max()) + 1)[a]
    one, item = (right, j) if classes == "left" else (left, i)
    names = one.item_ids[item]
    order = np.lexsort([names, label])
    group, start = np.unique(label[order], return_index=True)
    return names[order][start][np.searchsorted(group, label)]

"""Pairs of one table from outfits and labelled pairs, with the outfits and questions that they come from."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from sensorium.datasets import _outfit_sets
from sensorium.datasets._outfit_sets import Joined
from sensorium.errors import BadData
from sensorium.pairs import Pairs, csr
from sensorium.pairs.csr import Ragged
from sensorium.pairs.sets import ItemSets, Questions

_SPLITS = ("", "test", "train", "validation")  # sorted


def made(
    n: int, outfits: Joined | None, labelled: Joined | None, compat: Joined | None, questions: Joined | None,
    group: str, conflicts: str, notes: dict[str, Any],
) -> Pairs:  # fmt: skip
    """Pairs within one table of n items, with ``sets`` and ``questions``.

    Every pair of items of an outfit is related. Unrelated are the pairs labelled 0, and those of made-up outfits of
    the training split that no outfit of it holds. conflicts: "stop" or "drop", for pairs labelled both ways.
    """
    sets = _sets(outfits, compat, notes)
    related = sets.where(label=1)
    drawn = not (related.split != "").any() and (labelled is None or not (labelled.lists.split != "").any())
    given = np.zeros((0, 2), np.int64) if labelled is None else np.sort(labelled.items.values.reshape(-1, 2), axis=1)
    label = np.zeros(0, np.int8) if labelled is None else labelled.lists.label
    split = np.zeros(0, np.int64) if labelled is None else _codes(labelled.lists.split)
    if drawn:
        of_set, of_item = _outfit_sets.groups(n, related.items, given[label == 1], group, notes)
    else:
        of_set, of_item = n + np.arange(len(related)), np.arange(n)
        notes["groups"] = len(related) or len(np.unique(given[:, 0]))
    ones, owner = _outfit_sets.pairs_of(related.items)
    one_split, one_group = _codes(related.split)[owner], of_set[owner]
    # A pair of the file that an outfit holds is of the outfit's group, else of that of its first item.
    held, at = _find(n, np.c_[one_split, ones], np.c_[split, given])
    given_group = np.where(held, one_group[at] if len(ones) else 0, of_item[given[:, 0]])
    label, keep = _without_conflicts(n, labelled, given, split, label, held, conflicts, notes)
    made_up, made_split = _made_up(n, sets, np.c_[one_split, ones], np.c_[split, given][label == 1], notes)
    rows = np.concatenate([ones, given[keep], made_up])
    labels = np.concatenate([np.ones(len(ones), np.int8), label[keep], np.zeros(len(made_up), np.int8)])
    splits = np.concatenate([one_split, split[keep], made_split])
    codes = np.concatenate([one_group, given_group[keep], of_item[made_up[:, 0]]])
    key = np.c_[codes if drawn else splits, rows]
    first = np.sort(np.unique(key, axis=0, return_index=True)[1])
    rows, labels, splits, codes = rows[first], labels[first], splits[first], codes[first]
    sets = _grouped(sets, of_set, of_item)
    asked = _questions(questions, sets, of_item)
    codes, sets, asked = _numbered(codes, sets, asked)
    pairs = Pairs.of(rows[:, 0], rows[:, 1], labels, group=codes, split=np.array(_SPLITS)[splits], same_table=True)
    notes |= {"pairs": len(pairs), "pairs_unrelated": int(np.count_nonzero(labels == 0))}
    return replace(pairs, group_names=None, sets=sets, questions=asked)


def _sets(outfits: Joined | None, compat: Joined | None, notes: dict[str, Any]) -> ItemSets:
    """The outfits, those of the compatibility files that are none of these, and the made-up ones."""
    parts = [] if outfits is None else [outfits]
    if compat is not None:
        there = set() if outfits is None else set(_keys(outfits))
        new = [key not in there or label == 0 for key, label in zip(_keys(compat), compat.lists.label, strict=True)]
        parts.append(compat.take(np.flatnonzero(new)))
        contradicted = sum(k in there for k, label in zip(_keys(compat), compat.lists.label, strict=True) if not label)
        if contradicted:
            notes["made_up_outfits_that_are_outfits"] = contradicted
    if not parts:
        return ItemSets.of([])
    items = Ragged(csr.offsets_of(np.concatenate([one.items.counts for one in parts])),
                   np.concatenate([one.items.values for one in parts]))  # fmt: skip
    label, split, names = (
        np.concatenate([vars(one.lists)[name] for one in parts]) for name in ("label", "split", "names")
    )
    o = len(label)
    names = np.where(names == "", np.char.add("#", np.arange(1, o + 1).astype(np.str_)), names)
    notes |= {"outfits": int(np.count_nonzero(label)), "made_up_outfits": int(np.count_nonzero(label == 0))}
    return ItemSets(items, label.astype(np.int8), np.zeros(o, np.int64), split.astype("<U10"), names)


def _keys(one: Joined) -> list[tuple[Any, ...]]:
    values, offsets = one.items.values.tolist(), one.items.offsets.tolist()
    return [
        (split, *sorted(values[a:b]))
        for split, a, b in zip(one.lists.split.tolist(), offsets[:-1], offsets[1:], strict=True)
    ]


def _without_conflicts(n, labelled, given, split, label, held, conflicts, notes):
    """Labels of the given pairs, and which are kept. Raises BadData for pairs labelled 1 and 0 in one split."""
    if labelled is None:
        return label, np.zeros(0, np.int64)
    key = np.unique(np.c_[split, given], axis=0, return_inverse=True)[1].ravel()
    both = (np.bincount(key[label == 1], minlength=len(key)) > 0) & (
        np.bincount(key[label == 0], minlength=len(key)) > 0
    )
    wrong = np.flatnonzero(both[key] | (held & (label == 0)))
    if wrong.size:
        at = wrong[label[wrong] == 0]
        place = labelled.lists.place(
            labelled.lists.offsets[:-1][np.concatenate([at[:1], wrong[key[wrong] == key[at[0]]]])]
        )
        text = (f"{len(np.unique(key[wrong]))} pairs are labelled 0, and 1 in another row or by an outfit of the same "
                f"split ({place})")  # fmt: skip
        if conflicts != "drop":
            raise BadData(f"{text}; correct the labels, or leave these rows out: data.conflicts=drop")
        notes |= {"pairs_labelled_both_ways": len(wrong), "pairs_labelled_both_ways_such_as": text}
    itself = given[:, 0] == given[:, 1]
    if itself.any():
        notes["pairs_of_an_item_with_itself"] = int(itself.sum())
    keep = ~itself
    keep[wrong] = False
    return label, np.flatnonzero(keep)


def _made_up(n, sets, ones, given, notes):
    """Pairs of made-up training outfits that are related nowhere in that split, and their split."""
    false = sets.where("train", 0)
    rows, _ = _outfit_sets.pairs_of(false.items)
    rows = np.unique(rows, axis=0)
    split = np.full(len(rows), _SPLITS.index("train"))
    real = _find(n, np.concatenate([ones, given]), np.c_[split, rows])[0]
    if real.any():
        notes["made_up_pairs_that_are_related"] = int(real.sum())
    return rows[~real], split[~real]


def _find(n: int, among: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whether each (split, row, row) of ``wanted`` (m, 3) is in ``among`` (k, 3), and where first (0 where not)."""
    a, b = ((x[:, 0] * n + x[:, 1]) * n + x[:, 2] for x in (among, wanted))
    if not len(a):
        return np.zeros(len(b), bool), np.zeros(len(b), np.int64)
    known, first = np.unique(a, return_index=True)
    at = np.minimum(np.searchsorted(known, b), len(known) - 1)
    there = known[at] == b
    return there, np.where(there, first[at], 0)


def _grouped(sets: ItemSets, of_set: np.ndarray, of_item: np.ndarray) -> ItemSets:
    """Sets with their groups: made-up ones are of that of their first item."""
    group = of_item[sets.items.values[sets.items.offsets[:-1]]] if len(sets) else np.zeros(0, np.int64)
    group[sets.label == 1] = of_set
    return replace(sets, group=group)


def _questions(asked: Joined | None, sets: ItemSets, of_item: np.ndarray) -> Questions | None:
    """Questions whose ids are all there; of the group of the outfit that they complete, else of their first item."""
    if asked is None:
        return None
    asked = asked.take(np.flatnonzero(asked.whole))
    lists = asked.lists
    if len(np.unique(lists.answers)) > 1:
        raise BadData(f"the questions have {lists.answers.min()} to {lists.answers.max()} answers "
                      f"({lists.place(lists.offsets[:-1][lists.answers == lists.answers.min()])}); expected as many in "
                      "each")  # fmt: skip
    counts = asked.items.counts
    each = int(lists.answers[0]) if len(lists) else 0
    answers = asked.items.values[csr.ranges(asked.items.offsets[1:] - each, np.full(len(lists), each))]
    answers = answers.reshape(len(lists), each)
    context = Ragged(csr.offsets_of(counts - each),
                     asked.items.values[csr.ranges(asked.items.offsets[:-1], counts - each)])  # fmt: skip
    right = answers[np.arange(len(lists)), lists.correct] if len(lists) else np.zeros(0, np.int64)
    whole = {}
    for place in np.flatnonzero(sets.label == 1).tolist():
        a, b = sets.items.offsets[place], sets.items.offsets[place + 1]
        whole.setdefault((sets.split[place], *sorted(sets.items.values[a:b].tolist())), sets.group[place])
    group = of_item[context.values[context.offsets[:-1]]] if len(lists) else np.zeros(0, np.int64)
    for i, (split, target) in enumerate(zip(lists.split.tolist(), right.tolist(), strict=True)):
        look = (split, *sorted([*context.values[context.offsets[i] : context.offsets[i + 1]].tolist(), target]))
        group[i] = whole.get(look, group[i])
    return Questions(context, answers, lists.correct.astype(np.int64), lists.split.astype("<U10"), group)


def _numbered(codes: np.ndarray, sets: ItemSets, asked: Questions | None):
    """The same groups as numbers from 0 on, of pairs, sets and questions alike."""
    parts = [codes, sets.group, *([] if asked is None else [asked.group])]
    _, number = np.unique(np.concatenate(parts), return_inverse=True)
    of_pairs, of_sets, *rest = np.split(number.ravel(), np.cumsum([len(one) for one in parts])[:-1])
    return of_pairs, replace(sets, group=of_sets), None if asked is None else replace(asked, group=rest[0])


def _codes(split: np.ndarray) -> np.ndarray:
    return np.searchsorted(np.array(_SPLITS), split) if len(split) else np.zeros(0, np.int64)

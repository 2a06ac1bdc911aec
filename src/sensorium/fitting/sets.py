"""Fits on sets: every item of a set is once the target that its other items, the context, are to find."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np

from sensorium.contracts import Head
from sensorium.errors import BadData, BadRecipe
from sensorium.fitting.contexts import CATEGORY, Composer, Contexts
from sensorium.fitting.fitted import Fitted
from sensorium.fitting.options import TrainOptions
from sensorium.pairs import Pairs, csr
from sensorium.pairs.sets import Completions, ItemSets, sets_of
from sensorium.types import Embeddings

KNOWN = 8  # at most, of the items known not to go with a context


def wanted(head: Head, pairs: Pairs, options: TrainOptions) -> bool:
    """Whether a fit has completions as examples, not pairs. Raises BadRecipe where it must and there are no sets."""
    asked = head.takes_sets or options.examples == "completions"
    if asked and sets_of(pairs) is None:
        what = f"the {type(head).__name__} head" if head.takes_sets else "train.examples=completions"
        raise BadRecipe(f"{what} needs sets of items of one table, such as outfits, and these data have two; "
                        "type: left.head=mlp train.examples=auto")  # fmt: skip
    if head.takes_sets and options.examples == "pairs":
        raise BadRecipe(f"train.examples=pairs, but the {type(head).__name__} head is fitted on sets; "
                        "type: train.examples=auto")  # fmt: skip
    return asked


def fit(left: Embeddings, right: Embeddings, pairs: Pairs, left_head: Any, right_head: Any, objective: Any,
        options: TrainOptions, *args: Any, **kwargs: Any) -> Fitted:  # fmt: skip
    """One fit: on pairs, by :func:`sensorium.fitting.loop.train` with these arguments, or on sets, by :func:`train`."""
    from sensorium.fitting import loop

    if wanted(left_head, pairs, options):
        return train(left, pairs, left_head, objective, options, *args, **kwargs)
    return loop.train(left, right, pairs, left_head, right_head, objective, options, *args, **kwargs)


def train(items: Embeddings, pairs: Pairs, head: Any, objective: Any, options: TrainOptions, *args: Any,
          **kwargs: Any) -> Fitted:  # fmt: skip
    """Train a head on completions by the one loop; further arguments are those of its :func:`loop.train`.

    items: the table. pairs: with ``sets`` and their splits; of its pairs only those labelled 0 are read. Pairs without
    sets are sets of two.
    """
    from sensorium.fitting import loop

    left, examples, composer = prepare(items, pairs, head, options)
    fitted = loop.train(left, items, examples, composer, head, objective, options, *args, **kwargs)
    return replace(fitted, left_head=head, right_head=head)


def prepare(items: Embeddings, pairs: Pairs, head: Any, options: TrainOptions) -> tuple[Contexts, Pairs, Composer]:
    """What the loop takes: contexts on the left, pairs of (context, target), and the head as the contexts' tower.

    Raises BadData without a training set of two items, BadRecipe for options that are of pairs.
    """
    for key, off in (("mixup", 0), ("structure", 0), ("initialise", "none")):
        if getattr(options, key) != off:
            raise BadRecipe(f"train.{key} works on pairs of items, and this fit is of sets; type: train.{key}={off}")
    sets = sets_of(pairs).where(label=1, least=2)
    if not (sets.split != "").any():
        sets = replace(sets, split=np.full(len(sets), "train"))
    if not (sets.split == "train").any():
        raise BadData("no training set has two items or more; a fit of sets needs some")
    if head.takes_sets and not head.categories and head.dim_in is None:
        name_categories(head, items, sets)
    completions = sets.completions()
    of, c = completions.of, len(completions.target)
    context, unrelated = _known_negatives(completions, pairs.where("train", 0), sets.split[of] == "train")
    examples = Pairs(
        np.concatenate([np.arange(c), context]),
        np.concatenate([completions.target, unrelated]),
        np.repeat(np.array([1, 0], np.int8), [c, len(context)]),
        sets.group[np.concatenate([of, of[context]])],
        sets.split[np.concatenate([of, of[context]])],
        sets=sets,
    )
    return Contexts.of(items, completions, sets.ids[of], head), examples, Composer(head)


def name_categories(head: Any, items: Embeddings, sets: ItemSets) -> None:
    """Give an unbuilt head of sets the categories of the training items."""
    if CATEGORY in items.meta:
        rows = np.unique(sets.where("train").items.values)
        head.set_categories(np.unique(np.asarray(items.meta[CATEGORY])[rows].astype(np.str_)).tolist())


def check(items: Embeddings, pairs: Pairs, head: Any, objective: Any, options: TrainOptions) -> list[str]:
    """Raise what :func:`train` would before its first step; the head, which is unbuilt, becomes useless by it."""
    from sensorium.fitting.batches import step_size
    from sensorium.fitting.build import build
    from sensorium.fitting.feasible import full_rank

    head = copy.deepcopy(head)
    left, examples, composer = prepare(items, pairs, head, options)
    training = examples.where("train")
    note = step_size(len(training.where(label=1)), options)[2]
    build(left, items, training, composer, head, full_rank)
    objective.check(left, items, training)
    return [note] if note else []


def _known_negatives(completions: Completions, apart: Pairs, train: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(completion, item): for each training context up to KNOWN items known not to go with one of its items.

    apart: the training pairs labelled 0. train (c,): which completions train. Items that the context itself holds or
    wants are left out.
    """
    if not len(apart):
        return np.zeros((2, 0), np.int64)
    context, c = completions.context, len(completions.target)
    n = 1 + int(max(apart.left.max(), apart.right.max(), completions.target.max()))
    one, other = np.concatenate([apart.left, apart.right]), np.concatenate([apart.right, apart.left])
    owner = np.repeat(np.arange(c), context.counts)
    found = csr.group(one, other, n).take(context.values[train[owner]])
    keys = csr.distinct(np.repeat(owner[train[owner]], found.counts) * n + found.values)
    own = np.concatenate([np.arange(c) * n + completions.target, owner * n + context.values])
    keys = np.random.default_rng(0).permutation(np.setdiff1d(keys, csr.distinct(own), assume_unique=True))
    keys = keys[np.argsort(keys // n, kind="stable")]
    keys = keys[csr.positions(np.bincount(keys // n, minlength=c)) < KNOWN]
    return keys // n, keys % n

"""Checks, before anything is embedded, that heads, objective and training options can work on the data.

Everything here runs on copies of the unbuilt heads, and on tables of zeros that take no memory.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np

from sensorium import parts as registry
from sensorium.errors import BadRecipe
from sensorium.fitting import auto, closed_form, mixture, regularisers, sets, through_encoder, warm_start
from sensorium.fitting.batches import step_size
from sensorium.fitting.build import build
from sensorium.fitting.options import COSINE, TrainOptions
from sensorium.numerics.moments import InputStats
from sensorium.pairs import Pairs
from sensorium.types import Data, Embeddings, Items

if TYPE_CHECKING:
    from sensorium.recipe import Built, Recipe

_WIDE = 1024  # numbers of a vector
_NAMED = 5  # classes named in a note
_FEW_CLASSES = 30  # as many right items may be taken for classes


def outline(items: Items, encoder: Any) -> Embeddings:
    """The embeddings that these items will have, with zeros as vectors; ids, metadata and widths are the real ones."""
    n = len(items)
    if encoder is None:
        return Embeddings(items.ids, closed_form.zeros(n, items.values.shape[1]), dict(items.source), items.meta)
    offsets = np.arange(n + 1) if encoder.frames else None
    return Embeddings(items.ids, closed_form.zeros(n, encoder.dim), encoder.fingerprint, items.meta, offsets)


def check(plan: Recipe, data: Data, pairs: Pairs, parts: Built) -> list[str]:
    """Raise, before anything is embedded, what heads, objective or options cannot do with these data.

    pairs: with their splits. Returns notes: what the fit will do otherwise than the recipe says, and classes that
    it cannot learn. Raises BadRecipe, BadData or Mismatch.
    """
    through_encoder(plan, data, parts)
    sides = [(side, items) for side, items in (("left", data.left), ("right", data.right)) if items is not None]
    tables = [outline(items, parts.encoders[side]) for side, items in sides]
    heads, objective = parts.heads, parts.objective
    both = tables[0], tables[-1], pairs, heads["left"], heads["right"]
    notes = check_fit(*both, objective, plan.train_options())
    notes += data.notes.get("said", [])
    return notes + unseen(pairs, data.right or data.left, objective.gives_probabilities)


def check_fit(
    left: Embeddings,
    right: Embeddings,
    pairs: Pairs,
    left_head: Any,
    right_head: Any,
    objective: Any,
    options: TrainOptions,
) -> list[str]:
    """Raise BadRecipe or BadData for a fit that cannot work; returns notes about one that will be changed to work.

    left, right: of :func:`outline`; one and the same within one table. pairs: with their splits.
    """
    import torch

    if objective.mixture:
        return _check_mixture(left, right, pairs, left_head, right_head, objective, options)
    options.check_ensemble()
    if not objective.closed_form and pairs.sets is not None and sets.wanted(left_head, pairs, options):
        return sets.check(left, pairs, left_head, objective, options)
    left_head = copy.deepcopy(left_head)
    right_head = left_head if pairs.same_table else copy.deepcopy(right_head)
    training = closed_form.training_pairs(pairs)
    related = training.where(label=1)
    if objective.closed_form:
        closed_form.check(left, right, pairs, left_head, right_head, objective, full_rank)
        return [] if options.members == 1 else [alike(objective)]
    notes = [step_size(len(related), options)[2]]
    with torch.random.fork_rng(devices=[]):
        build(left, right, related, left_head, right_head, full_rank)
        sets.wanted(left_head, pairs, options)
        if options.mixup and not objective.takes_mixtures:
            name = type(objective).__name__.lower()
            raise BadRecipe(f"objective '{name}' does not take the mixtures of items that train.mixup makes; "
                            "type: train.mixup=0")  # fmt: skip
        both = list(zip((left_head, right_head), (left, right), strict=True))
        frames = [head for head, table in both if table.offsets is not None and head.frozen is None]
        regularisers.check_vectors("mixup", bool(options.mixup and frames))
        regularisers.check_vectors("structure", bool(options.structure and any(head.trainable for head in frames)))
        objective.check(left, right, training)
        if options.initialise != "none":
            warm_start.check(options.initialise, left, right, pairs, left_head, right_head)
    return [note for note in notes if note]


def _check_mixture(
    left: Embeddings, right: Embeddings, pairs: Pairs, left_head: Any, right_head: Any, objective: Any, options: Any
) -> list[str]:
    """:func:`check_fit` of every member of a mixture; each note once."""
    mixture.check(objective, options)
    if options.monitor == COSINE:
        name = "auto" if objective.adaptive else "mixture"
        raise BadRecipe(f"objective={name}: members have cosines of spaces of their own; type: train.monitor=MRR")
    if objective.adaptive and left.offsets is None and right.offsets is None:
        return []  # its fit leaves out what does not apply, and says so
    if objective.adaptive:
        trained = auto.of_frames(left, right, pairs, right_head, objective)
        return check_fit(left, right, pairs, left_head, right_head, trained, options)
    notes: dict[str, None] = {}
    for member in objective.members:
        both = mixture.heads_of(member, left_head, right_head, pairs.same_table)
        if not all(head.takes_vectors and not head.takes_sets for head in both):
            raise BadRecipe(f"objective=mixture: member '{member.name}' has a head of sequences or sets; a mixture is "
                            "of single vectors, such as of left.head=mlp right.head=mlp")  # fmt: skip
        notes |= dict.fromkeys(check_fit(left, right, pairs, *both, member.objective, options))
    return list(notes)


def alike(objective: Any) -> str:
    """A note about the ensemble of a closed form."""
    name = type(objective).__name__.lower()
    return f"objective '{name}' is solved exactly, so all members would be the same: train.members is not used"


def full_rank(table: Embeddings, rows: np.ndarray) -> InputStats | None:
    """Statistics of inputs that span as many directions as so many rows can: unit variances, nothing correlated.

    None for wide inputs, of which a head that decomposes them would take seconds; it is built without, as for loading.
    """
    n, dim = len(np.unique(rows)), table.dim
    if dim > _WIDE:
        return None
    spanned = dim if table.offsets is not None else min(dim, n - 1)
    return InputStats(n, np.zeros(dim), np.diag((np.arange(dim) < spanned).astype(np.float64)))


def unseen(pairs: Pairs, right: Items, classifier: bool) -> list[str]:
    """A note about classes that are evaluated without a training pair.

    classifier: whether the objective is of classes. Otherwise the right side is taken for classes where it has few
    items, every left item has one of them, and some of the evaluated ones are met in training.
    """
    related = pairs.where(label=1)
    trained = np.unique(related.where("train").right)
    heldout = np.unique(related.right[related.split != "train"])
    missing = np.setdiff1d(heldout, trained)
    if not len(missing) or pairs.same_table:
        return []
    if not classifier:
        few = len(right) <= _FEW_CLASSES and len(missing) < len(heldout)
        if not few or len(np.unique(np.stack([related.left, related.right], 1), axis=0)) > len(np.unique(related.left)):
            return []
    names = [str(right.values[row] if right.kind == "text" else right.ids[row]) for row in missing[:_NAMED].tolist()]
    more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
    queries = int(np.isin(related.right, missing).sum())
    return [f"{len(missing)} of {len(right)} classes have no training pair, but {queries:,} held-out ones: "
            f"{', '.join(names)}{more}; leave them out, or hold out less"]  # fmt: skip


def no_pair(name: str, pairs: Pairs, drawn: bool, dataset: Any) -> str:
    """What to say of a split without a related pair. drawn: by the recipe's shares, not the data's own."""
    text = f"the {name} split has no related pair; expected some of {len(pairs)} pairs there: "
    if drawn and name == "train":
        return text + "hold out less; type: data.test=0.1 data.validation=0.1"
    if drawn or name == "validation":
        return text + f"hold some groups out; type: data.{name}=0.1"
    another = (
        "; to draw another one type: data.split= data.test=0.1 data.validation=0.1"
        if "split" in registry.arguments(dataset)
        else ""
    )
    return f"{text}the data's own split has none, correct its column{another}"

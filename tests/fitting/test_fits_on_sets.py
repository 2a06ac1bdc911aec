"""Fits on sets of items: what is learned, resumed, measured, and refused."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch
from made_outfits import made_outfits

from sensorium import fitting, heads, parts
from sensorium.errors import BadData, BadRecipe
from sensorium.fitting import feasible
from sensorium.fitting.batches import Side
from sensorium.fitting.contexts import Composer, Contexts, ContextSide
from sensorium.fitting.set_validation import SetValidation, blanks
from sensorium.fitting.sets import prepare
from sensorium.pairs.sets import ragged

SOFT = {"name": "triplet", "form": "softplus", "negatives": "random", "match": "category"}
HEADS = {"type_aware": {}, "set_mean": {}, "set_attention": {"heads": 2}, "mlp": {}}


def fit(name="set_mean", data=None, folder=None, objective=SOFT, on_epoch=None, **keys):
    items, pairs = data or made_outfits()
    head = parts.make("heads", {"name": name, "dim": 16, "hidden": 32, **HEADS[name]})
    keys = {"epochs": 12, "batch": 64, "lr": 5e-3, "precision": "fp32", "monitor": "fill_in_the_blank", **keys}
    options = fitting.TrainOptions(**keys)
    made = parts.make("objectives", objective)
    other = head if pairs.same_table else parts.make("heads", {"name": "mlp", "dim": 16})
    assert feasible.check_fit(items, items, pairs, head, other, made, options) == []
    return fitting.train(items, items, pairs, head, other, made, options, folder, 0, on_epoch=on_epoch,
                         names={"left": name})  # fmt: skip


@pytest.mark.parametrize("name", list(HEADS))
def test_every_head_learns_what_goes_together(name):
    examples = "completions" if name == "mlp" else "auto"
    fitted = fit(name, examples=examples)
    assert fitted.left_head is fitted.right_head
    assert fitted.notes["validation"] > 0.6, "one answer in four is right; some wrong ones are of the right style too"
    assert fitted.history[-1]["MRR"] > 0.1
    if fitted.left_head.takes_sets:
        assert list(fitted.left_head.categories) == ["bag", "shoe", "top"]


def test_infonce_among_one_category_and_members_work_on_sets():
    fitted = fit(objective={"name": "infonce", "match": "category", "temperature": 0.2}, members=2)
    assert fitted.names == {"left": "ensemble"} and fitted.left_head.takes_sets
    assert fitted.notes["validation"] > 0.6


def test_pairs_alone_are_sets_of_two():
    items, pairs = made_outfits()
    fitted = fit(data=(items, replace(pairs, sets=None)))
    assert fitted.notes["validation"] > 0.6


def test_an_interrupted_fit_goes_on_bit_for_bit(tmp_path):
    def stop(event):
        if event["epoch"] == 3:
            raise KeyboardInterrupt

    keys = {"epochs": 6, "save_seconds": 0}
    with pytest.raises(KeyboardInterrupt):
        fit(folder=tmp_path, on_epoch=stop, **keys)
    again, whole = fit(folder=tmp_path, **keys), fit(**keys)
    for name, tensor in whole.left_head.state_dict().items():
        assert torch.equal(tensor, again.left_head.state_dict()[name]), name


def test_examples_are_every_item_left_out_once_and_are_never_copied():
    items, pairs = made_outfits()
    head = parts.make("heads", {"name": "set_mean", "dim": 4})
    left, examples, composer = prepare(items, pairs, head, fitting.TrainOptions())
    real = pairs.sets.where(label=1)
    positive = examples.where(label=1)
    assert len(positive) == int(real.items.counts.sum()) and left.vectors is items.vectors
    assert composer.head is head and not list(composer.parameters())
    apart = {frozenset(p) for p in zip(*(pairs.where("train", 0).left, pairs.where("train", 0).right), strict=True)}
    known = examples.where(label=0)
    assert len(known) and set(known.split) == {"train"}
    for row, item in zip(known.left.tolist(), known.right.tolist(), strict=True):
        context = left.completions.context.take(np.array([row])).values.tolist()
        assert any(frozenset((one, item)) in apart for one in context)
        assert item not in context and item != left.completions.target[row]


def test_the_batch_of_a_context_is_what_compose_reads():
    items, pairs = made_outfits()
    head = parts.make("heads", {"name": "mlp", "dim": 4})
    left, _, _ = prepare(items, pairs, head, fitting.TrainOptions(examples="completions"))
    side = ContextSide(left, Side(items, np.arange(len(items)), torch.device("cpu"), 1 << 30))
    rows = np.array([5, 0, 7])
    head.build(items.dim, feasible.full_rank(items, np.arange(len(items))))
    with torch.no_grad():
        made = Composer(head.eval())(*side.take(rows))
    none = np.full(len(items), -1)
    np.testing.assert_allclose(
        made, heads.compose(head, items.vectors, left.completions.context.take(rows), none, none[:3]), atol=1e-6
    )
    assert isinstance(left, Contexts) and left.meta["category"].tolist() == items.meta["category"][
        left.completions.target].tolist()  # fmt: skip


def test_ranks_within_the_category_against_a_loop():
    items, pairs = made_outfits()
    fitted = fit(epochs=1)
    head = fitted.left_head
    measured = SetValidation(items, head, pairs.sets, fitting.TrainOptions())
    rank, count = measured.ranks()
    held = pairs.sets.where("validation", 1)
    members = [held.items.take(np.array([i])).values.tolist() for i in range(len(held))]
    candidates, z = np.unique(held.items.values), heads.project(head, items)
    code = heads.category_codes(head, items.meta["category"])
    for i in range(0, len(rank), 7):
        context = measured.completions.context.take(np.array([i])).values.tolist()
        target = measured.completions.target[i]
        query = heads.compose(head, items.vectors, ragged([context]), code, code[[target]])[0]
        together = {one for look in members if set(look) & set(context) for one in look} | set(context)
        rivals = [c for c in candidates if code[c] == code[target] and c not in together]
        assert count[i] == 1 + len(rivals)
        assert rank[i] == 1 + sum(query @ z[c] >= query @ z[target] for c in rivals)


def test_a_measure_that_is_undefined_is_said_or_left_out():
    """The validation split has two items a category, so no question has three wrong answers."""
    items, pairs = made_outfits(18, 2, 12)
    with pytest.raises(BadData, match="needs 3 other items of a category in the validation split.*train.monitor=MRR"):
        fit(data=(items, pairs), batch=16)
    events = fit(data=(items, pairs), batch=16, monitor="MRR", epochs=2).history
    assert events and all("MRR" in event and "fill_in_the_blank" not in event for event in events)


def test_blanks_are_the_mean_over_all_draws():
    rank, count = np.array([1, 2, 3, 5]), np.array([6, 6, 5, 3])
    right = []
    for r, c in zip(rank[:3].tolist(), count[:3].tolist(), strict=True):
        others = [o < r - 1 for o in range(c - 1)]  # whether it is better than the target
        right.append(np.mean([not any(draw) for draw in combinations(others, 3)]))
    assert np.isclose(blanks(rank, count), np.mean(right)), "the last has too few others"
    assert np.isnan(blanks(np.array([1]), np.array([3])))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mixup": 0.5}, "train.mixup works on pairs of items, and this fit is of sets; type: train.mixup=0"),
        (
            {"structure": 1.0},
            "train.structure works on pairs of items, and this fit is of sets; type: train.structure=0",
        ),
        ({"initialise": "ridge"}, "train.initialise works on pairs .* type: train.initialise=none"),
        (
            {"examples": "pairs"},
            "train.examples=pairs, but the SetMean head is fitted on sets; type: train.examples=auto",
        ),
    ],
)
def test_options_of_pairs_are_refused(change, message):
    with pytest.raises(BadRecipe, match=message):
        fit(**change)


def test_data_without_sets_are_refused():
    items, pairs = made_outfits()
    two = replace(pairs, sets=None, same_table=False)
    with pytest.raises(
        BadRecipe, match="the SetMean head needs sets of items of one table, such as outfits, and these"
    ):
        fit(data=(items, two))
    with pytest.raises(BadRecipe, match="train.examples=completions needs sets of items of one table"):
        fit("mlp", data=(items, two), examples="completions")
    with pytest.raises(BadRecipe, match="train.monitor=fill_in_the_blank needs sets of items, such as outfits"):
        fit("mlp", data=(items, two), objective={"name": "infonce"})
    with pytest.raises(BadRecipe, match="train.monitor=cosine is of pairs, the data have sets of items"):
        fit("mlp", data=(items, pairs), objective={"name": "infonce"}, monitor="cosine")
    single = replace(pairs, sets=pairs.sets.where("validation"))
    with pytest.raises(BadData, match="no training set has two items or more; a fit of sets needs some"):
        fit(data=(items, single))

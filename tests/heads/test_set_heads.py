"""Heads of sets: queries against loops over items, invariances, categories, files."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium import heads, parts
from sensorium.errors import BadRecipe
from sensorium.heads.ensemble import Ensemble
from sensorium.pairs.sets import ragged

D, DIM, WORDS = 6, 8, ["bag", "shoe", "top"]
NAMES = ("type_aware", "set_mean", "set_attention")


def built(name: str, seed: int = 0, **arguments):
    """A head of sets whose weights, those that start at zero too, are random."""
    torch.manual_seed(seed)
    head = parts.make("heads", {"name": name, "dim": DIM, "hidden": 7, "preprocess": "none", "categories": WORDS,
                                **arguments})  # fmt: skip
    head.build(D)
    with torch.no_grad():
        for weight in head.parameters():
            weight.add_(0.3 * torch.randn_like(weight))
    return head.eval()


def sets(seed: int, count: int = 5):
    random = np.random.default_rng(seed)
    x = random.normal(size=(30, D)).astype(np.float32)
    chosen = [random.choice(30, random.integers(1, 6), replace=False) for _ in range(count)]
    return x, chosen, random.integers(-1, 3, 30), random.integers(-1, 3, count)


def plain(name: str, head, x: torch.Tensor, kinds: list[int], slot: int) -> torch.Tensor:
    """One query, item by item."""
    if name == "type_aware":
        z = [head(one[None])[0] for one in x]
        for i, kind in enumerate(kinds):
            if kind >= 0 and slot >= 0:
                z[i] = z[i] * (1 + (head.weight[kind, slot] + head.weight[slot, kind]) / 2)
        return torch.stack(z).mean(0)
    if name == "set_mean":
        h = head.first(torch.stack(list(x)).mean(0)) + head.slots.weight[slot + 1]
        return torch.nn.functional.normalize(head.last(torch.relu(h)), dim=0)
    tokens = [head.token + head.kinds.weight[slot + 1]]
    tokens += [head.inward(one) + head.kinds.weight[kind + 1] for one, kind in zip(x, kinds, strict=True)]
    return torch.nn.functional.normalize(head.outward(head.transformer(torch.stack(tokens)[None])[0, 0]), dim=0)


@pytest.mark.parametrize("name", NAMES)
@given(seed=st.integers(0, 999))
@settings(max_examples=15, deadline=None)
def test_a_query_equals_one_made_item_by_item(name, seed):
    head = built(name)
    x, chosen, category, slot = sets(seed)
    made = heads.compose(head, x, ragged(chosen), category, slot)
    with torch.no_grad():
        expected = [plain(name, head, torch.from_numpy(x[one]), category[one].tolist(), int(at))
                    for one, at in zip(chosen, slot, strict=True)]  # fmt: skip
    np.testing.assert_allclose(made, torch.stack(expected), atol=2e-5)


@pytest.mark.parametrize("name", NAMES)
@given(seed=st.integers(0, 999))
@settings(max_examples=15, deadline=None)
def test_order_and_other_sets_do_not_matter(name, seed):
    head = built(name)
    x, chosen, category, slot = sets(seed)
    made = heads.compose(head, x, ragged(chosen), category, slot)
    random = np.random.default_rng(seed)
    shuffled = [random.permutation(one) for one in chosen]
    np.testing.assert_allclose(made, heads.compose(head, x, ragged(shuffled), category, slot), atol=2e-5)
    alone = [heads.compose(head, x, ragged([one]), category, slot[i : i + 1])[0] for i, one in enumerate(chosen)]
    np.testing.assert_allclose(made, alone, atol=2e-5)


def test_type_aware_scores_of_two_items_are_symmetric_and_begin_as_cosines():
    head = built("type_aware")
    x, category = sets(3)[0], np.arange(30) % 3
    z = heads.apply(head, x)
    queries = heads.compose(head, x, ragged([[0], [1]]), category, category[[1, 0]])
    assert np.isclose(queries[0] @ z[1], queries[1] @ z[0], atol=1e-6)
    new = parts.make("heads", {"name": "type_aware", "dim": DIM, "categories": WORDS})
    new.build(D)
    made = heads.compose(new, x, ragged([[0, 4]]), category, category[:1])
    np.testing.assert_allclose(made[0], heads.apply(new, x)[[0, 4]].mean(0), atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_a_head_of_sets_is_saved_with_its_categories(tmp_path, name):
    head = built(name)
    heads.save(head, tmp_path / "left", name, {})
    again = heads.load(tmp_path / "left")
    x, chosen, category, slot = sets(1)
    assert list(again.categories) == WORDS
    assert heads.category_codes(again, ["top", "hat", "bag"]).tolist() == [2, -1, 0]
    made = [heads.compose(one, x, ragged(chosen), category, slot) for one in (head, again)]
    np.testing.assert_array_equal(*made)


@pytest.mark.parametrize("name", NAMES)
def test_an_open_slot_is_learned_from_contexts_whose_category_is_hidden(name):
    head = built(name, dropout=0.0)
    x, chosen, category, _ = sets(2, 400)
    slot = np.full(400, 1)
    head.train()
    torch.manual_seed(0)
    lengths = torch.tensor([len(one) for one in chosen])
    padded = torch.zeros(400, 5, D)
    kinds = torch.full((400, 5), -1)
    for i, one in enumerate(chosen):
        padded[i, : len(one)], kinds[i, : len(one)] = torch.from_numpy(x[one]), torch.from_numpy(category[one])
    with torch.no_grad():
        made = head.compose(padded, lengths, kinds, torch.from_numpy(slot))
        known, hidden = (head.eval().compose(padded, lengths, kinds, torch.full((400,), v)) for v in (1, -1))
    as_known, as_hidden = ((made - of).abs().amax(1) < 1e-5 for of in (known, hidden))
    assert (as_known | as_hidden).all()
    if name == "type_aware":  # an open slot is a plain cosine: nothing to learn
        assert as_known.all()
    else:
        assert 0.04 < as_hidden.float().mean() < 0.2


def test_an_ensemble_gives_its_members_the_categories():
    head = Ensemble({"name": "set_mean", "dim": 4, "hidden": 5}, members=2)
    head.set_categories(WORDS)
    assert [list(one.categories) for one in head.members] == [WORDS] * 2
    assert Ensemble(**head.arguments).categories == WORDS


def test_widths_that_no_transformer_has_are_refused():
    with pytest.raises(BadRecipe, match="dim=8 is no multiple of heads=3; choose another dim or heads"):
        built("set_attention", heads=3)
    with pytest.raises(BadRecipe, match="set_attention: layers=0; expected 1 to 24"):
        built("set_attention", layers=0)

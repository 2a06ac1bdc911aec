"""InfoNCE in blocks: equal to the dense formula, to another library, and invariant where it must be."""

import math

import numpy as np
import pytest
import torch
from contrastive_reference import RELATIONS, batch_of, infonce, relation, unit_rows
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.errors import BadRecipe
from sensorium.objectives import _contrastive
from sensorium.objectives.infonce import InfoNCE
from sensorium.pairs.positives import Positives

B, D = 40, 12


def both_ways(objective, zl, zr, positives):
    loss = objective.loss(zl, zr, positives)
    return loss, *torch.autograd.grad(loss, [zl, zr])


@pytest.mark.parametrize("blocks", ["one block", "kept tiles", "tiles made twice"])
@pytest.mark.parametrize("temperature", [0.07, 0.01])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("kind", RELATIONS)
def test_equal_to_the_dense_formula_in_float64(monkeypatch, kind, both, masked, temperature, blocks):
    if blocks != "one block":
        monkeypatch.setattr(_contrastive, "BLOCK", 7 * B * 8)
        monkeypatch.setattr(_contrastive, "TILE", 17 * B * 8)
        if blocks == "tiles made twice":
            monkeypatch.setattr(_contrastive, "KEEP", 1)
    positives, mask, same = batch_of(relation(kind), B)
    zl, zr = unit_rows(B, D, 1), unit_rows(B, D, 2)
    expected = infonce(zl, zr, 1 / temperature, mask, both, masked, same)
    gradients = torch.autograd.grad(expected, [zl, zr])
    found = both_ways(InfoNCE(temperature, both=both, partners="mask" if masked else "positive"), zl, zr, positives)
    torch.testing.assert_close(found[0], expected, rtol=1e-11, atol=1e-11)
    for ours, theirs in zip(found[1:], gradients, strict=True):
        assert (ours - theirs).abs().max() < 1e-9


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
@pytest.mark.parametrize("kind", RELATIONS)
def test_narrow_arithmetic_stays_near(monkeypatch, kind, dtype, tolerance):
    monkeypatch.setattr(_contrastive, "KEEP", 1)
    monkeypatch.setattr(_contrastive, "BLOCK", 1)
    positives, mask, same = batch_of(relation(kind), B)
    zl, zr = unit_rows(B, D, 1), unit_rows(B, D, 2)
    gradients = torch.autograd.grad(infonce(zl, zr, 1 / 0.07, mask, True, False, same), [zl, zr])
    found = both_ways(
        InfoNCE(), zl.detach().to(dtype).requires_grad_(), zr.detach().to(dtype).requires_grad_(), positives
    )
    for ours, theirs in zip(found[1:], gradients, strict=True):
        assert (ours.double() - theirs).norm() / theirs.norm() < tolerance


def test_learnable_temperature_has_the_dense_gradient_and_stays_in_range():
    zl, zr = unit_rows(B, D, 1), unit_rows(B, D, 2)
    objective = InfoNCE(0.1, learnable=True).double()
    objective.loss(zl, zr, Positives(B)).backward()
    log_scale = objective.log_scale.detach().clone().requires_grad_()
    infonce(zl.detach(), zr.detach(), log_scale.exp(), torch.eye(B, dtype=torch.bool)).backward()
    torch.testing.assert_close(objective.log_scale.grad, log_scale.grad, rtol=1e-9, atol=1e-12)
    objective.log_scale.data.fill_(9.0)
    assert objective.scale == pytest.approx(100)
    objective.log_scale.data.fill_(-3.0)
    assert objective.scale == pytest.approx(1)
    assert objective.temperature == pytest.approx(1)
    assert list(InfoNCE().parameters()) == []


def test_lengths_are_measured_where_rows_are_not_of_unit_length():
    zl, zr = (5 * unit_rows(B, D, 1)).detach().requires_grad_(), unit_rows(B, D, 2)
    expected = infonce(zl, zr, 20.0, torch.eye(B, dtype=torch.bool), both=False)
    torch.testing.assert_close(InfoNCE(1 / 20, both=False).loss(zl, zr, Positives(B)), expected)


def test_equal_to_pytorch_metric_learning():
    """NTXentLoss with the right side as reference embeddings is the one-way loss over one-to-one pairs."""
    losses = pytest.importorskip("pytorch_metric_learning.losses")
    zl, zr = unit_rows(B, D, 1, torch.float32), unit_rows(B, D, 2, torch.float32)
    labels = torch.arange(B)
    theirs = losses.NTXentLoss(temperature=0.07)(zl, labels, ref_emb=zr, ref_labels=labels.clone())
    ours = InfoNCE(both=False).loss(*(torch.nn.functional.normalize(z, dim=1) for z in (zl, zr)), Positives(B))
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    for side, grad in zip(torch.autograd.grad(ours, [zl, zr]), torch.autograd.grad(theirs, [zl, zr]), strict=True):
        torch.testing.assert_close(side, grad, rtol=1e-4, atol=1e-6)


def test_equal_to_pytorch_metric_learning_with_several_positives():
    """SupConLoss averages the log-likelihood over all positives, as ours does."""
    losses = pytest.importorskip("pytorch_metric_learning.losses")
    zl, zr = unit_rows(B, D, 1, torch.float32), unit_rows(B, D, 2, torch.float32)
    key = np.arange(B) // 3
    labels = torch.from_numpy(key)
    theirs = losses.SupConLoss(temperature=0.1)(zl, labels, ref_emb=zr, ref_labels=labels.clone())
    ours = InfoNCE(0.1, both=False).loss(zl, zr, Positives(B, keys=(key, key)))
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), kind=st.sampled_from(RELATIONS), both=st.booleans())
def test_the_order_of_the_batch_does_not_matter(seed, kind, both):
    pairs = relation(kind, seed=seed)
    positives, mask, same = batch_of(pairs, 24, seed)
    b = len(positives)
    zl, zr = unit_rows(b, D, seed), unit_rows(b, D, seed + 1)
    order = torch.from_numpy(np.random.default_rng(seed).permutation(b))
    edges = tuple(np.argwhere(mask[order][:, order].numpy()).T)
    same_edges = None if same is None else tuple(np.argwhere(same[order][:, order].numpy()).T)
    mixed = Positives(b, edges=edges, same=same_edges)
    objective = InfoNCE(both=both)
    assert objective.loss(zl[order], zr[order], mixed).item() == pytest.approx(
        objective.loss(zl, zr, positives).item(), rel=1e-9, abs=1e-9
    )


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), kind=st.sampled_from(RELATIONS), b=st.integers(2, 30))
def test_both_ways_is_symmetric_in_the_sides(seed, kind, b):
    positives, mask, same = batch_of(relation(kind, seed=seed), b, seed)
    b = len(positives)
    zl, zr = unit_rows(b, D, seed), unit_rows(b, D, seed + 1)
    turned = Positives(b, edges=tuple(np.argwhere(mask.numpy().T).T),
                       same=None if same is None else tuple(np.argwhere(same.numpy().T).T))  # fmt: skip
    forth, back = both_ways(InfoNCE(), zl, zr, positives), both_ways(InfoNCE(), zr, zl, turned)
    assert forth[0].item() == pytest.approx(back[0].item(), rel=1e-9, abs=1e-9)
    torch.testing.assert_close(forth[1], back[2], rtol=1e-8, atol=1e-10)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), kind=st.sampled_from(RELATIONS), b=st.integers(2, 60))
def test_every_true_partner_is_found_and_nothing_else(seed, kind, b):
    positives, mask, same = batch_of(relation(kind, seed=seed), b, seed)
    b = len(positives)
    assert torch.equal(positives.block(slice(0, b)), mask)
    middle = slice(b // 3, b // 3 + max(1, b // 2))
    assert torch.equal(positives.block(middle), mask[middle])
    left, right = positives.counts()
    assert torch.equal(left, mask.sum(1)) and torch.equal(right, mask.sum(0))
    found = positives.same_block(slice(0, b))
    assert (found is None and (same is None or not same.any())) or torch.equal(found, same)
    assert positives.diagonal_only == bool((mask.sum() == b).item())


def test_a_batch_of_positives_only_has_no_loss_left_to_push():
    zl, zr = unit_rows(6, D, 1), unit_rows(6, D, 2)
    same = InfoNCE(partners="mask").loss(zl, zr, Positives(6, keys=(np.zeros(6, int), np.zeros(6, int))))
    assert same.item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(("arguments", "message"), [
    ({"temperature": 0}, "temperature=0; expected a number above 0"),
    ({"temperature": math.nan}, "temperature=nan"),
    ({"partners": "negative"}, "partners='negative'; expected positive or mask"),
])  # fmt: skip
def test_arguments_that_cannot_be_meant(arguments, message):
    with pytest.raises(BadRecipe, match=message):
        InfoNCE(**arguments)


def test_lengths_of_both_sides_bound_the_logits_of_rows_that_are_not_unit():
    """Few and wide rows: bounds by columns instead of rows would be too small, and the loss infinite."""
    for left, right in ((20.0, 20.0), (1.0, 400.0), (400.0, 1.0)):
        zl = (left * unit_rows(2, 1024, 1).detach()).requires_grad_()
        zr = (right * unit_rows(2, 1024, 2).detach()).requires_grad_()
        expected = infonce(zl, zr, 1 / 0.07, torch.eye(2, dtype=torch.bool), True, False, None)
        narrow = [z.detach().float().requires_grad_() for z in (zl, zr)]
        found = both_ways(InfoNCE(), *narrow, Positives(2))
        torch.testing.assert_close(found[0].double(), expected, rtol=1e-4, atol=1e-4)
        for ours, theirs in zip(found[1:], torch.autograd.grad(expected, [zl, zr]), strict=True):
            torch.testing.assert_close(ours.double(), theirs, rtol=1e-3, atol=1e-4 * float(theirs.abs().max()) + 1e-9)

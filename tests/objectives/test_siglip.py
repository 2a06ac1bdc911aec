"""The sigmoid loss in blocks: equal to the dense formula, invariant where it must be."""

import numpy as np
import pytest
import torch
from contrastive_reference import RELATIONS, batch_of, relation, siglip, unit_rows
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.errors import BadRecipe
from sensorium.objectives import _contrastive
from sensorium.objectives.siglip import SigLIP
from sensorium.pairs.positives import Positives

B, D = 40, 12


@pytest.mark.parametrize("block", [1 << 25, 7 * B * 8])
@pytest.mark.parametrize("kind", RELATIONS)
def test_equal_to_the_dense_formula_in_float64(monkeypatch, kind, block):
    monkeypatch.setattr(_contrastive, "BLOCK", block)
    positives, mask, same = batch_of(relation(kind), B)
    zl, zr = unit_rows(B, D, 1), unit_rows(B, D, 2)
    objective = SigLIP().double()
    log_scale, bias = (p.detach().clone().requires_grad_() for p in (objective.log_scale, objective.bias))
    expected = siglip(zl, zr, log_scale.exp(), bias, mask, same)
    found = objective.loss(zl, zr, positives)
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-11)
    ours = torch.autograd.grad(found, [zl, zr, objective.log_scale, objective.bias])
    for mine, theirs in zip(ours, torch.autograd.grad(expected, [zl, zr, log_scale, bias]), strict=True):
        assert (mine - theirs).abs().max() < 1e-9


def test_float32_gradients_stay_near():
    positives, mask, same = batch_of(relation("any"), B)
    zl, zr = unit_rows(B, D, 1), unit_rows(B, D, 2)
    expected = torch.autograd.grad(siglip(zl, zr, 10.0, -10.0, mask, same), [zl, zr])
    narrow = [z.detach().float().requires_grad_() for z in (zl, zr)]
    found = torch.autograd.grad(SigLIP().loss(*narrow, positives), narrow)
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours.double() - theirs).abs().max() < 1e-5


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), b=st.integers(2, 30))
def test_order_and_sides_do_not_matter(seed, b):
    positives, mask, _ = batch_of(relation("any", seed=seed), b, seed)
    b = len(positives)
    zl, zr = unit_rows(b, D, seed), unit_rows(b, D, seed + 1)
    order = torch.from_numpy(np.random.default_rng(seed).permutation(b))
    mixed = Positives(b, edges=tuple(np.argwhere(mask[order][:, order].numpy()).T))
    turned = Positives(b, edges=tuple(np.argwhere(mask.numpy().T).T))
    loss = SigLIP().loss(zl, zr, positives).item()
    assert SigLIP().loss(zl[order], zr[order], mixed).item() == pytest.approx(loss, rel=1e-9)
    assert SigLIP().loss(zr, zl, turned).item() == pytest.approx(loss, rel=1e-9)


def test_fixed_scale_and_bias_are_not_learned():
    assert not any(p.requires_grad for p in SigLIP(learnable=False).parameters())
    zl, zr = unit_rows(B, D, 1), unit_rows(B, D, 2)
    loss = SigLIP(scale=5.0, bias=-2.0, learnable=False).loss(zl, zr, Positives(B))
    expected = siglip(zl, zr, 5.0, -2.0, torch.eye(B, dtype=torch.bool))
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)


def test_a_scale_that_cannot_be_meant():
    for scale in (0, 0.5, 20_000.0):
        with pytest.raises(BadRecipe, match=f"scale={scale}.*expected 1 to 10000"):
            SigLIP(scale=scale)

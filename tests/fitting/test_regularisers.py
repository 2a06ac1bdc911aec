"""Latent mixup and geometry preservation against their formulas and for their invariants."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.errors import BadRecipe
from sensorium.fitting.regularisers import mixup, structure
from sensorium.pairs import Pairs
from sensorium.pairs.positives import BatchPositives, Positives


def rows(b, d, seed):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(b, d)))


@given(b=st.integers(2, 17), alpha=st.floats(0.1, 5.0), seed=st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_one_share_mixes_both_sides(b, alpha, seed):
    left, right = rows(b, 3, seed), rows(b, 5, seed + 1)
    torch.manual_seed(seed)
    mixed_left, mixed_right, positives = mixup(left, right, Positives(b), alpha)
    h = b // 2
    assert len(mixed_left) == len(mixed_right) == len(positives) == h
    # λ is recovered from the left side by least squares, and must explain both sides exactly.
    a, c = left[:h] - left[h : 2 * h], mixed_left - left[h : 2 * h]
    share = ((a * c).sum() / (a * a).sum()).item()
    assert -1e-9 <= share <= 1 + 1e-9
    for side, mixed in ((left, mixed_left), (right, mixed_right)):
        torch.testing.assert_close(mixed, share * side[:h] + (1 - share) * side[h : 2 * h], rtol=0, atol=1e-6)


def test_share_follows_beta_and_the_seed():
    ends = torch.tensor([[1.0], [0.0]])

    def draws(alpha):
        torch.manual_seed(0)
        return np.array([mixup(ends, ends, Positives(2), alpha)[0].item() for _ in range(4000)])

    for alpha in (0.3, 1.0, 4.0):
        drawn = draws(alpha)
        assert np.mean(drawn) == pytest.approx(0.5, abs=0.02)
        assert np.var(drawn) == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.08)  # variance of Beta(α, α)
    assert np.array_equal(draws(1.0), draws(1.0))


def test_a_single_row_stays_as_it_is():
    one = torch.ones(1, 2)
    positives = Positives(1)
    assert mixup(one, one, positives, 1.0) == (one, one, positives)


def test_mixtures_of_one_to_one_pairs_are_one_to_one():
    assert mixup(rows(6, 2, 0), rows(6, 2, 1), Positives(6), 1.0)[2].diagonal_only


@pytest.mark.parametrize("same_table", [False, True])
def test_mixtures_that_share_an_item_are_not_negatives(same_table):
    random = np.random.default_rng(3)
    left, right = np.arange(40) % 8, random.integers(0, 8, 40)
    if same_table:
        left, right = left[left != right], right[left != right]
    finder = BatchPositives(Pairs.of(left, right, same_table=same_table))
    whole = slice(0, len(left) // 2 * 2)
    positives = finder.of(left[whole], right[whole])
    h = len(left) // 2
    mixed = mixup(rows(2 * h, 2, 0), rows(2 * h, 2, 1), positives, 1.0)[2]

    known = {(a, b) for a, b in zip(left, right, strict=True)}
    known |= {(b, a) for a, b in known} if same_table else set()
    found, unclear = mixed.block(slice(0, h)).numpy(), mixed.same_block(slice(0, h)).numpy()
    for i in range(h):
        for j in range(h):
            components = [(left[p], right[q]) for p in (i, i + h) for q in (j, j + h)]
            both = components[0] in known and components[3] in known
            some = any(c in known or (same_table and c[0] == c[1]) for c in components)
            assert found[i, j] == both
            assert unclear[i, j] == (some and not both)
    assert found.diagonal().all()


def dense_structure(x, z, levels, temperature):
    """The formula in NumPy float64, with scipy-free logarithms and explicit loops."""

    def neighbours(rows):
        unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        unit = unit - unit.mean(0)
        logits = unit @ unit.T / temperature
        e = np.exp(logits - logits.max(1, keepdims=True))
        return e / e.sum(1, keepdims=True)

    total = 0.0
    for level in range(1, levels + 1):
        p, q = (np.linalg.matrix_power(neighbours(side), level) for side in (x, z))
        m = (p + q) / 2
        js = 0.0
        for r in (p, q):
            with np.errstate(divide="ignore", invalid="ignore"):
                js += 0.5 * np.where(r > 0, r * (np.log(r) - np.log(m)), 0.0).sum(1).mean()
        total += js / level
    return total / levels


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_structure_equals_its_formula(levels):
    x, z = rows(12, 7, 0), rows(12, 4, 1)
    expected = dense_structure(x.numpy(), z.numpy(), levels, 0.1)
    assert structure(x, z, levels, 0.1).item() == pytest.approx(expected, abs=1e-12)


@given(b=st.integers(2, 10), seed=st.integers(0, 500), scale=st.floats(0.01, 100.0))
@settings(max_examples=25, deadline=None)
def test_structure_knows_geometry_only(b, seed, scale):
    x, z = rows(b, 5, seed), rows(b, 5, seed + 1)
    value = structure(x, z)
    order = torch.from_numpy(np.random.default_rng(seed).permutation(b))
    torch.testing.assert_close(structure(x[order], z[order]), value)
    torch.testing.assert_close(structure(x, scale * z), value)
    rotation = torch.linalg.qr(rows(5, 5, seed + 2))[0]
    assert structure(x, x @ rotation).item() == pytest.approx(0.0, abs=1e-9)
    assert 0.0 <= value.item() <= np.log(2) * (1 + 1e-9)


def test_structure_gradient_is_right_and_only_for_the_output():
    x, z = rows(6, 4, 0).requires_grad_(), rows(6, 3, 1).requires_grad_()
    assert torch.autograd.gradcheck(lambda out: structure(x.detach(), out, levels=2, temperature=0.3), (z,))
    structure(x, z).backward()
    assert x.grad is None
    # Far-apart items underflow to weights of exactly 0; the gradient must stay a number.
    spread = (50 * torch.eye(6, 6)).requires_grad_()
    structure(rows(6, 4, 0).float(), spread, temperature=1e-3).backward()
    assert torch.isfinite(spread.grad).all()


def test_structure_reads_at_most_the_limit():
    x, z = rows(20, 4, 0), rows(20, 3, 1)
    assert structure(x, z, limit=8).item() == structure(x[:8], z[:8]).item()


def test_descending_structure_restores_neighbours():
    x = rows(30, 6, 0)
    z = rows(30, 6, 1).requires_grad_()
    before = structure(x, z, temperature=0.3).item()
    optimizer = torch.optim.Adam([z], lr=0.05)
    for _ in range(100):
        optimizer.zero_grad()
        structure(x, z, temperature=0.3).backward()
        optimizer.step()
    assert structure(x, z, temperature=0.3).item() < before / 5


def test_structure_is_exact_within_autocast():
    x, z = rows(40, 8, 0).float(), rows(40, 6, 1).float()
    with torch.autocast("cpu", torch.bfloat16):
        assert structure(x, z).item() == structure(x, z.float()).item()
        low = structure(x, z.bfloat16())
    assert low.dtype == torch.float32
    assert low.item() == pytest.approx(structure(x, z).item(), rel=0.02)


def test_frames_are_refused():
    frames = (rows(4, 2, 0), torch.tensor([2, 2]))
    with pytest.raises(BadRecipe, match="set train.mixup=0"):
        mixup(frames, rows(2, 2, 0), Positives(2), 1.0)
    with pytest.raises(BadRecipe, match="set train.structure=0"):
        structure(frames, rows(2, 2, 0))

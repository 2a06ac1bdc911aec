"""Negatives of the positive's category, soft triplets and the share of known negatives, against plain loops."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from sensorium.errors import BadRecipe
from sensorium.heads.identity import Identity
from sensorium.objectives.infonce import InfoNCE
from sensorium.objectives.triplet import Triplet
from sensorium.pairs import Pairs
from sensorium.pairs.positives import Positives
from sensorium.types import Embeddings


def drawn(b: int, seed: int):
    random = np.random.default_rng(seed)
    zl, zr = (F.normalize(torch.from_numpy(random.normal(size=(b, 4))), dim=1) for _ in range(2))
    kinds = [random.integers(0, 3, b) for _ in range(2)]
    tables = [Embeddings(np.arange(b).astype(str), z.numpy().astype(np.float32), {}, {"category": k})
              for z, k in zip((zl, zr), kinds, strict=True)]  # fmt: skip
    return zl, zr, kinds, tables


def prepared(objective, tables, pairs=None):
    b = len(tables[0])
    pairs = Pairs.of(np.arange(b), np.arange(b)) if pairs is None else pairs
    objective.check(*tables, pairs)
    objective.prepare(*tables, pairs, Identity(), Identity())
    return objective


@given(b=st.integers(2, 12), both=st.booleans(), cold=st.booleans(), seed=st.integers(0, 999))
@settings(max_examples=40, deadline=None)
def test_infonce_among_one_category_against_a_loop(b, both, cold, seed):
    zl, zr, (left, right), tables = drawn(b, seed)
    temperature = 0.01 if cold else 0.2  # below 1 / 40 the shifted softmax gives way to log-sum-exp
    objective = prepared(InfoNCE(temperature=temperature, both=both, match="category"), tables)
    positives = Positives(b, rows=(np.arange(b), np.arange(b)))
    x, y = zl.clone().requires_grad_(), zr.clone().requires_grad_()
    loss = objective.loss(x, y, positives)
    loss.backward()
    u, v = zl.clone().requires_grad_(), zr.clone().requires_grad_()
    alike = right[:, None] == right if not both else (right[:, None] == right) & (left[:, None] == left)
    logits = (u @ v.T / temperature).masked_fill(~torch.from_numpy(alike), -torch.inf)
    expected = F.cross_entropy(logits, torch.arange(b))
    if both:
        expected = (expected + F.cross_entropy(logits.T, torch.arange(b))) / 2
    expected.backward()
    torch.testing.assert_close(loss, expected, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(x.grad, u.grad, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(y.grad, v.grad, atol=1e-6, rtol=1e-5)


def test_infonce_refuses_a_missing_column_and_mixtures():
    zl, zr, _, tables = drawn(3, 0)
    with pytest.raises(BadRecipe, match=r"objective\.match: the right items have no column 'categry'; did you mean"):
        InfoNCE(match="categry").check(*tables, None)
    objective = prepared(InfoNCE(match="category"), tables)
    assert not objective.takes_mixtures and InfoNCE().takes_mixtures
    with pytest.raises(BadRecipe, match="objective.match='category' is undefined for mixtures of items"):
        objective.loss(zl, zr, Positives(3))


@given(b=st.integers(2, 10), temperature=st.floats(0.05, 2), seed=st.integers(0, 999))
@settings(max_examples=30, deadline=None)
def test_soft_triplets_against_a_loop(b, temperature, seed):
    zl, zr, _, _ = drawn(b, seed)
    loss = Triplet(form="softplus", temperature=temperature, negatives="hard").loss(zl, zr, Positives(b))
    terms, s = [], (zl @ zr.T).numpy()
    for i in range(b):
        for negatives in (np.delete(s[i], i), np.delete(s[:, i], i)):
            terms.append(np.log1p(np.exp((negatives.max() - s[i, i]) / temperature)))
    assert np.isclose(loss.item(), np.mean(terms), rtol=1e-5)


def test_a_share_of_the_known_negatives_is_used():
    tables = drawn(200, 0)[3]
    rows = np.arange(200)
    label = np.repeat([1, 0], 100)
    pairs = Pairs.of(rows, rows[::-1], label)
    torch.manual_seed(0)
    few = prepared(Triplet(neg_pool_ratio=0.25), tables, pairs)
    assert len(few._known.others) == 25 and len(prepared(Triplet(), tables, pairs)._known.others) == 100


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"form": "soft"}, "objective.form='soft'; did you mean 'softplus'"),
        ({"temperature": 0.0}, "objective.temperature=0.0; expected above 0, up to 100, such as 0.3"),
        ({"neg_pool_ratio": 1.5}, "objective.neg_pool_ratio=1.5; expected a share above 0, up to 1"),
    ],
)
def test_words_and_numbers_out_of_range_are_refused(arguments, message):
    with pytest.raises(BadRecipe, match=message):
        Triplet(**arguments)

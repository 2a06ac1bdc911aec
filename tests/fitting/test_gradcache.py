"""GradCache: gradients in chunks are those of the whole batch, in float64 to 1e-10, for every trained objective."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sensorium.fitting import gradcache
from sensorium.heads.mlp import MLP
from sensorium.objectives.cosine import Cosine
from sensorium.objectives.cross_entropy import CrossEntropy
from sensorium.objectives.infonce import InfoNCE
from sensorium.objectives.mse import Mse
from sensorium.objectives.siglip import SigLIP
from sensorium.objectives.triplet import Triplet
from sensorium.pairs import Pairs
from sensorium.pairs.positives import BatchPositives, Positives
from sensorium.types import Embeddings

WIDE, D = 6, 5
OBJECTIVES = {
    "infonce": InfoNCE, "one way": lambda: InfoNCE(both=False), "learnable": lambda: InfoNCE(learnable=True),
    "masked": lambda: InfoNCE(partners="mask"), "siglip": SigLIP, "triplet": Triplet, "cosine": Cosine, "mse": Mse,
    "cross-entropy": CrossEntropy,
}  # fmt: skip


class RowDropout(nn.Module):
    """Dropout whose mask is drawn number by number: that of rows in chunks is that of all rows at once."""

    def forward(self, x):
        return x * (torch.rand(x.shape, dtype=x.dtype) < 0.7) / 0.7


def encoder(dropout: nn.Module, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(WIDE, 8), nn.GELU(), dropout, nn.Linear(8, D)).double().train()


def head(seed: int = 3) -> nn.Module:
    """A head with dropout and with batch statistics, which see the whole batch."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(D, D), nn.BatchNorm1d(D), nn.Dropout(0.2)).double().train()


def chunks(x: torch.Tensor, size: int) -> list[torch.Tensor]:
    return list(x.split(size))


def gradients(loss: torch.Tensor, *modules: nn.Module) -> list[torch.Tensor]:
    loss.backward()
    found = [p.grad.clone() if p.grad is not None else torch.zeros_like(p) for m in modules for p in m.parameters()]
    for module in modules:
        module.zero_grad()
    return found


def same(one: list[torch.Tensor], other: list[torch.Tensor]) -> None:
    assert any(g.abs().max() > 1e-6 for g in other)
    for a, b in zip(one, other, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def batch(b: int, seed: int = 1) -> tuple[torch.Tensor, torch.Tensor, Positives]:
    """Two views of b rows, and pairs of which some share an item: five captions of a clip, as it were."""
    rng = np.random.default_rng(seed)
    left, right = (torch.from_numpy(rng.normal(size=(b, WIDE))) for _ in range(2))
    rows = np.arange(b)
    return left, right, BatchPositives(Pairs.of(rows // 3, rows)).of(rows // 3, rows)


def prepared(name: str, b: int) -> nn.Module:
    objective = OBJECTIVES[name]()
    if name == "cross-entropy":
        table = Embeddings(
            np.arange(b).astype(str), np.random.default_rng(5).normal(size=(b, D)).astype(np.float32), {}
        )
        objective.prepare(table, table, Pairs.of(np.arange(b) // 3, np.arange(b)), None, nn.Identity())
    return objective.double()


@pytest.mark.parametrize("name", OBJECTIVES)
def test_gradients_are_those_of_the_whole_batch_with_dropout_on(name):
    """Two encoders, dropout in both and in the heads, an uneven last chunk, two forwards before one backward."""
    x, y, positives = batch(11)
    left, right, hl, hr = encoder(RowDropout(), 0), encoder(RowDropout(), 1), head(2), head(3)
    objective = prepared(name, 11)
    modules = (left, right, hl, hr, objective)
    found = []
    for cached in (False, True):
        torch.manual_seed(7)
        if cached:
            zl = gradcache.features(left, chunks(x, 4), list(left.parameters()))
            zr = gradcache.features(right, chunks(y, 3), list(right.parameters()))
        else:
            zl, zr = left(x), right(y)
        loss = objective.loss(hl(zl), hr(zr), positives)
        found.append((loss.detach(), gradients(loss, *modules), torch.rand(())))
    torch.testing.assert_close(found[0][0], found[1][0], rtol=1e-12, atol=1e-12)
    same(found[1][1], found[0][1])
    assert torch.equal(found[0][2], found[1][2]), "backward leaves the generator where forward left it"


@given(b=st.integers(2, 17), size=st.integers(1, 20), seed=st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_any_batch_in_any_chunks_through_one_shared_encoder(b, size, seed):
    """One network for both sides, of several layers of torch's own dropout: as chunks that keep their graphs."""
    x, y, positives = batch(b, seed)
    torch.manual_seed(seed)
    shared = nn.Sequential(encoder(nn.Dropout(0.3)), nn.Dropout(0.1), nn.Linear(D, D)).double().train()
    objective, found = InfoNCE(learnable=True).double(), []
    for cached in (False, True):
        torch.manual_seed(seed)
        zs = []
        for side in (x, y):
            parts = chunks(side, size)
            zs.append(gradcache.features(shared, parts, list(shared.parameters())) if cached else
                      torch.cat([shared(part) for part in parts]))  # fmt: skip
        found.append(gradients(objective.loss(*zs, positives), shared, objective))
    same(found[1], found[0])


def test_several_steps_are_added_and_frozen_parameters_get_nothing():
    x, _, _ = batch(8)
    one = encoder(RowDropout())
    one[0].weight.requires_grad_(False)
    trained = [p for p in one.parameters() if p.requires_grad]
    for k in range(2):
        torch.manual_seed(k)
        gradcache.features(one, chunks(x, 3), trained).square().sum().backward()
    assert one[0].weight.grad is None
    expected = torch.zeros_like(one[3].weight)
    for k in range(2):
        torch.manual_seed(k)
        expected += torch.autograd.grad(one(x).square().sum(), one[3].weight)[0]
    torch.testing.assert_close(one[3].weight.grad, expected, rtol=1e-10, atol=1e-12)


def test_activations_of_one_chunk_alone_are_kept():
    """Numbers that autograd stores for backward: with four times the batch no more than before, but for the features."""
    stored = {}
    for b, cached in itertools.product((8, 32), (False, True)):
        x, _, _ = batch(b)
        one, count = encoder(nn.Dropout(0.1)), [0]

        def pack(tensor, count=count):
            count[0] += tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            if cached:
                gradcache.features(one, chunks(x, 8), list(one.parameters()))
            else:
                one(x)
        stored[b, cached] = count[0]
    assert stored[32, True] == stored[8, True] and stored[32, False] > 2 * stored[8, False]


def test_under_autocast_the_second_run_has_the_precision_of_the_first():
    x, y, positives = batch(9)
    torch.manual_seed(0)
    one = nn.Sequential(nn.Linear(WIDE, 8), nn.Tanh(), nn.Linear(8, D))
    hl = MLP(dim=4, hidden=6)
    hl.build(D)
    found = []
    for cached in (False, True):
        with torch.autocast("cpu", torch.bfloat16):
            zs = [gradcache.features(one, chunks(side.float(), 4), list(one.parameters())) if cached else
                  torch.cat([one(part) for part in chunks(side.float(), 4)]) for side in (x, y)]  # fmt: skip
            loss = InfoNCE().loss(hl(zs[0].float()), hl(zs[1].float()), positives)
        found.append(gradients(loss, one, hl))
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=2e-2, atol=2e-3)


def test_a_change_of_the_weights_between_forward_and_backward_is_an_error():
    x, _, _ = batch(6)
    one = encoder(RowDropout())
    z = gradcache.features(one, chunks(x, 4), list(one.parameters()))
    with torch.no_grad():
        one[0].weight.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        z.sum().backward()

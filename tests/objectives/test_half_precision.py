"""float16, by autocast or by the rows themselves: logits are computed in float32, so losses and gradients stay finite."""

import math

import numpy as np
import pytest
import torch

from sensorium.heads.identity import Identity
from sensorium.objectives._contrastive import logits
from sensorium.objectives.cosine import Cosine
from sensorium.objectives.cross_entropy import CrossEntropy
from sensorium.objectives.infonce import InfoNCE
from sensorium.objectives.mse import Mse
from sensorium.objectives.siglip import SigLIP
from sensorium.objectives.triplet import Triplet
from sensorium.pairs import Pairs
from sensorium.pairs.positives import BatchPositives, Positives
from sensorium.types import Embeddings

B, D = 8, 4
OBJECTIVES = {
    "infonce": InfoNCE, "one way": lambda: InfoNCE(both=False), "cold": lambda: InfoNCE(0.01),
    "learnable": lambda: InfoNCE(learnable=True), "siglip": SigLIP, "hot siglip": lambda: SigLIP(scale=100.0),
    "triplet": Triplet, "cosine": Cosine, "mse": Mse, "cross-entropy": lambda: CrossEntropy(temperature=0.01),
}  # fmt: skip


def rows(seed, scale=1.0):
    torch.manual_seed(seed)
    return (scale * torch.nn.functional.normalize(torch.randn(B, D), dim=1)).requires_grad_()


def prepared(name, right):
    objective = OBJECTIVES[name]()
    pairs, ids = Pairs.of(np.arange(B), np.arange(B)), np.arange(B).astype(str)
    head = Identity(normalize=False)
    head.build(D)
    table = Embeddings(ids, right.detach().numpy(), {})
    objective.prepare(table, table, pairs, head, head)
    return objective, BatchPositives(pairs).of(np.arange(B), np.arange(B))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_under_autocast_the_loss_is_near_that_of_float32(name, dtype):
    for seed in range(20):
        right = rows(100 + seed)
        objective, positives = prepared(name, right)
        values = []
        for autocast in (False, True):
            left = rows(seed)
            torch.manual_seed(0)
            with torch.autocast("cpu", dtype, enabled=autocast):
                loss = objective.loss(left, right, positives)
            loss.backward()
            assert torch.isfinite(loss) and torch.isfinite(left.grad).all(), (name, seed, autocast)
            values.append((loss.item(), left.grad))
        close = 1e-3 if dtype == torch.float16 else 0.1
        assert values[1][0] == pytest.approx(values[0][0], rel=close, abs=close)
        if dtype == torch.float16:
            assert (values[1][1] - values[0][1]).norm() <= 0.01 * values[0][1].norm() + 1e-6


def test_rows_in_float16_that_point_away_from_one_another():
    away = torch.tensor([[1.0, 0.0], [1.0, 0.0]], dtype=torch.float16, requires_grad=True)
    loss = InfoNCE().loss(away, -away.detach(), Positives(2))
    loss.backward()
    assert loss.item() == pytest.approx(math.log(2), abs=1e-3)
    assert away.grad.dtype == torch.float16 and torch.isfinite(away.grad).all()


def test_logits_beyond_the_range_of_float16():
    far = torch.full((3, 4), 300.0, dtype=torch.float16)
    assert logits(far, far).tolist() == [[360_000.0] * 3] * 3
    with torch.autocast("cpu", torch.float16):
        assert logits(far.float(), far.float()).dtype == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        assert logits(far.float(), far.float()).dtype == torch.bfloat16
    assert logits(far.double(), far.double()).dtype == torch.float64

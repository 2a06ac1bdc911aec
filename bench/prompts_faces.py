"""Face → prompt on real faces: the document's head beside the mean vector and a ridge regression.

    python -m bench.prompts_faces [--data ../shared/data] [--seeds 3]

2,440 FER faces as 68 landmarks and 7 probabilities (143 numbers); a prompt of its emotion for each
face, one of four phrasings, as MiniLM text vectors (384). 1,800 faces train, 300 of the training
part choose the epoch, the 340 of the dev part are judged, among 28 distinct prompts. A face does not
show its phrasing, so hit@1 cannot pass a quarter by much; hit@4 is nearly the emotion's recognition.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from sensorium import fitting, heads, parts
from sensorium.encoders.minilm import Minilm
from sensorium.evaluate.card import markdown
from sensorium.evaluate.protocols import prompts
from sensorium.pairs import Pairs
from sensorium.types import Embeddings

PHRASES = ("a photo of a {} face", "somebody who looks {}", "portrait of a {} person, studio light",
           "a close-up, the expression is {}")  # fmt: skip
WORDS = {"surprise": "surprised", "fear": "fearful", "disgust": "disgusted"}
HEADS = {
    "document's head, cosine": ("cosine", {"preprocess": "none"}),
    "the same, inputs standardised": ("cosine", {"preprocess": "standardize"}),
    "the same, infonce": ("infonce", {"preprocess": "standardize", "dropout": 0.3}),
}
SHOWN = ("cosine", "hit@1", "hit@4", "MRR")


def load(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Faces (n, 143), vectors of the prompts (28, 384), which prompt belongs to each face, and split words."""
    with np.load(path / "fer2013-balanced-2440.npz", allow_pickle=False) as file:
        faces = np.concatenate([file["landmarks68"], file["emotion_probs"]], axis=1)
        label, classes, split = file["labels"], file["classes"].tolist(), file["split"].copy()
    random = np.random.default_rng(0)
    texts = [phrase.format(WORDS.get(c, c)) for c in classes for phrase in PHRASES]
    which = label * len(PHRASES) + random.integers(0, len(PHRASES), len(label))
    train = np.flatnonzero(split == "train")
    words = np.where(split == "train", "train", "test").astype("<U10")
    words[random.permutation(train)[:300]] = "validation"
    return faces.astype(np.float32), Minilm().encode(texts), which, words


def fitted(name: str, faces: np.ndarray, targets: np.ndarray, which: np.ndarray, split: np.ndarray, seed: int):
    """What the trained head makes of all faces, (n, 384)."""
    objective, more = HEADS[name]
    left = parts.make("heads", {"name": "mlp", "hidden": 1024, "dim": targets.shape[1], "activation": "tanh",
                                "layer_norm": True, **more})  # fmt: skip
    tables = [Embeddings(np.arange(len(x)).astype(str), x, {}) for x in (faces, targets)]
    pairs = Pairs.of(np.arange(len(faces)), which, group=np.arange(len(faces)), split=split)
    options = fitting.TrainOptions(epochs=60, batch=32, lr=1e-4, monitor="MRR", direction="left->right")
    told = fitting.train(*tables, pairs, left, parts.find("heads", "identity")(), parts.make("objectives", objective),
                     options, None, seed)  # fmt: skip
    return heads.apply(told.left_head, faces)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    faces, targets, which, split = load(args.data)
    train, test = np.flatnonzero(split == "train"), np.flatnonzero(split == "test")
    told = prompts.baselines(faces[train], targets[which[train]], faces[test])
    rows = prompts.prompt_retrieval(told, targets, which[test], measures=SHOWN[1:])
    for name in HEADS:
        seeds = []
        for seed in range(args.seeds):
            z = fitted(name, faces, targets, which, split, seed)[test]
            both = prompts.prompt_retrieval({name: z, **told}, targets, which[test], measures=SHOWN[1:])
            seeds.append([row for row in both if row["method"] == name])
        for same in zip(*seeds, strict=True):
            values = [row["value"] for row in same]
            rows.append(same[0] | {"value": float(np.mean(values)), "spread": float(np.std(values, ddof=1))})
    methods = dict.fromkeys(row["method"] for row in rows)
    by = {(row["method"], row["measure"]): row for row in rows}
    print(markdown([{"method": m, **{shown: cell(by[m, shown]) for shown in SHOWN}} for m in methods]))


def cell(row: dict) -> str:
    value = 100 * row["value"]
    return f"{value:.1f} ± {100 * row['spread']:.1f}" if "spread" in row else (
        f"{value:.1f} [{100 * row['low']:.1f}, {100 * row['high']:.1f}]")  # fmt: skip


if __name__ == "__main__":
    main()

"""Emotion of a face by its nearest prompt: the document's head, the face head, objectives, prompts and landmarks.

    python -m bench.faces [--data ../shared/data] [--landmarks fer478.npz] [--classifier file] [--seeds 3]

FER faces of ``fer2013-balanced-2440.npz``: 7 probabilities and 68 landmarks of face-api.js (143 numbers), or with
``--landmarks`` MediaPipe's 478 of the same faces (an npz with ``landmarks`` (n, 478, 3) and ``found`` (n,)). The
2,100 training faces, a fifth of them for validation, and the 340 of the dev part as test split. Prompts go through
MiniLM: one a label ("a person looking happy"), or four descriptions a label, of which each face has one. Every row is
a run, by its recipe and keys; logistic regression on the 7 probabilities stands beside. These are the file's, with
``--classifier own`` those of our own classifier, which was trained on the training faces, with ``product`` the
geometric mean of both, adding up to 1.
"""

from __future__ import annotations

import argparse
import csv
import shutil
import tempfile
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import sensorium
from sensorium.encoders.minilm import Minilm
from sensorium.evaluate.card import markdown
from sensorium.evaluate.statistics import interval
from sensorium.modalities.face import emotions
from sensorium.modalities.face.landmarks import Face
from sensorium.modalities.face.layout import EMOTIONS
from sensorium.recipe import HERE

#: The document's word for an emotion → face-api.js's, and an adjective for the prompt.
THEIRS = {"fear": "fearful", "disgust": "disgusted", "surprise": "surprised"}
LOOKS = {"fear": "afraid", "disgust": "disgusted", "surprise": "surprised"}
CLOSED = ["objective=ridge", "left.head.depth=0"]
CLASSES = ["objective=cross_entropy", "objective.temperature=0.07", "objective.label_smoothing=0.1",
           "train.monitor=hit@1"]  # fmt: skip
#: What is compared: recipe and keys.
METHODS = {
    "face head, 1 - cosine (recipe perception)": ("perception", []),
    "face head, emotions alone": ("perception", ["left.head.weight=0.0"]),
    "face head, cross-entropy over the prompts": ("perception", CLASSES),
    "face head, ridge": ("perception", CLOSED),
    "document's head, 1 - cosine (perception-document)": ("perception-document", []),
    "face head, 1 - cosine, 5 members": ("perception", ["train.members=5"]),
}
SHOWN = ("accuracy", "balanced_accuracy", "accuracy/averaged", "hit@1", "cosine")
QUICK = ["evaluate.plots=false", "evaluate.leaks=off", "evaluate.calibrate=false", "evaluate.correction=none",
         "evaluate.baselines=[]", "right.encoder=none", "data.group=row"]  # fmt: skip


def probabilities(file: dict[str, np.ndarray]) -> np.ndarray:
    """The 7 probabilities (n, 7) of the file in the document's order."""
    order = file["emotion_probs_order"].tolist()
    return file["emotion_probs"][:, [order.index(THEIRS.get(name, name)) for name in EMOTIONS]]


def own(file: dict[str, np.ndarray], landmarks: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """The 7 probabilities (n, 7) of our own classifier, by pixels and landmarks (n, 1434); zeros of faces not kept."""
    classifier, found = emotions.find("own"), np.zeros((len(landmarks), len(EMOTIONS)), np.float32)
    for row in kept.tolist():
        rgb = np.repeat(file["images"][row][..., None], 3, axis=2)
        found[row] = classifier.probabilities(rgb, [Face(landmarks[row].reshape(-1, 3))])[0]
    return found


def prompts(kind: str) -> tuple[list[str], np.ndarray]:
    """The prompts, and the emotion (m,) of each by its place."""
    if kind == "labels":
        return [f"a person looking {LOOKS.get(name, name)}" for name in EMOTIONS], np.arange(len(EMOTIONS))
    with open(HERE / "prompts" / "descriptions.csv", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    return [row["prompt"] for row in rows], np.array([EMOTIONS.index(row["label"]) for row in rows])


def write(path: Path, file: dict[str, np.ndarray], landmarks: np.ndarray, seven: np.ndarray, kept: np.ndarray, kind: str
          ) -> None:  # fmt: skip
    """The faces as training_data.npz: dev is the test split, a fifth of the training faces validation."""
    label = np.array([EMOTIONS.index(file["classes"][code]) for code in file["labels"]])
    texts, of = prompts(kind)
    y, which, random = Minilm().encode(texts), np.zeros(len(label), np.int64), np.random.default_rng(0)
    split = np.where(file["split"] == "train", "train", "test").astype("<U10")
    for code in range(len(EMOTIONS)):
        rows = np.flatnonzero(label == code)
        which[rows] = np.flatnonzero(of == code)[np.arange(len(rows)) % (of == code).sum()]
        train = random.permutation(rows[split[rows] == "train"])
        split[train[: len(train) // 5]] = "validation"
    x = np.concatenate([landmarks, seven], axis=1).astype(np.float32)
    np.savez(path, perception_embeddings=x[kept], clip_embeddings=y[which[kept]], split=split[kept],
             prompts=np.array(texts)[which[kept]], labels=np.array(EMOTIONS)[label[kept]],
             ids=file["names"][kept])  # fmt: skip


def reference(path: Path) -> dict[str, str]:
    """Logistic regression on the 7 probabilities, fitted on training and validation faces."""
    with np.load(path) as file:
        x, label, test = file["perception_embeddings"][:, -7:], file["labels"], file["split"] == "test"
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(x[~test], label[~test])
    predicted = model.predict(x[test])
    low, high = interval((predicted == label[test]).astype(float), np.arange(test.sum()), "mean", 1000, 0)
    return {"accuracy": f"{100 * np.mean(predicted == label[test]):.1f} [{100 * low:.1f}, {100 * high:.1f}]",
            "balanced_accuracy": f"{100 * balanced_accuracy_score(label[test], predicted):.1f}"}  # fmt: skip


def measure(recipe: str, keys: list[str], file: Path, out: Path, seeds: int) -> tuple[dict[str, str], dict[str, str]]:
    """Cells of a method, the mean over seeds ± their deviation; and those of the mean vector beside it."""
    closed = "objective=ridge" in keys
    values: dict[str, list[float]] = {}
    for seed in range(1 if closed else seeds):
        run = sensorium.run(recipe, [f"data.file={file}", *QUICK, *keys], out=out, seed=seed, quiet=True)
        for row in run.metrics["protocol"]["results"]:
            values.setdefault(row["measure"], []).append(row["value"])
    mean = {row["measure"]: [row["value"]] for row in run.metrics["protocol"]["baselines"]["mean vector"]}
    return tuple({name: cell(name, one[name]) for name in SHOWN if name in one} for one in (values, mean))


def cell(measure: str, values: list[float]) -> str:
    if measure == "cosine":
        return f"{np.mean(values):.3f}"
    return f"{100 * np.mean(values):.1f}" + (f" ± {100 * np.std(values, ddof=1):.1f}" if len(values) > 1 else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--landmarks", type=Path, help="MediaPipe's landmarks of the same faces")
    parser.add_argument("--classifier", choices=["file", "own", "product"], default="file")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=[], help="words of which a method's name holds one")
    parser.add_argument("--prompts", nargs="*", default=["labels", "descriptions"])
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    with np.load(args.data / "fer2013-balanced-2440.npz", allow_pickle=False) as loaded:
        file = {name: loaded[name] for name in loaded}
    points, landmarks, kept = 68, file["landmarks68"], np.arange(len(file["labels"]))
    if args.landmarks:
        with np.load(args.landmarks, allow_pickle=False) as loaded:
            points, kept = 478, np.flatnonzero(loaded["found"])
            landmarks = np.nan_to_num(loaded["landmarks"]).reshape(len(file["labels"]), -1)
    seven = probabilities(file)
    if args.classifier != "file":
        if not args.landmarks:
            parser.error("--classifier needs --landmarks")
        ours = own(file, landmarks, kept)
        seven = np.sqrt(seven * ours) if args.classifier == "product" else ours
        seven = seven / np.maximum(seven.sum(1, keepdims=True), 1e-9)
    folder = args.out or Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for kind in args.prompts:
        path = folder / f"{points}-{args.classifier}-{kind}.npz"
        write(path, file, landmarks, seven, kept, kind)
        if kind == "labels":
            rows.append({"method": "logistic regression, 7 probabilities", "prompts": "–", **reference(path)})
        for name, (recipe, keys) in METHODS.items():
            if args.only and not any(word in name for word in args.only):
                continue
            cells, mean = measure(recipe, [f"data.points={points}", *keys], path, folder / "run", args.seeds)
            if not any(row["method"] == "mean vector" and row["prompts"] == kind for row in rows):
                rows.append({"method": "mean vector", "prompts": kind, **mean})
            rows.append({"method": name, "prompts": kind, **cells})
            print(rows[-1], flush=True)
    shutil.rmtree(folder / "run", ignore_errors=True)
    print(f"{len(kept):,} faces, {points} landmarks, probabilities: {args.classifier}\n")
    print(markdown([{"method": row["method"], "prompts": row["prompts"], **{name: row.get(name, "") for name in SHOWN}}
                    for row in rows]))  # fmt: skip


if __name__ == "__main__":
    main()

"""The emotion classifiers of faces: trains ``points``, and compares all of them on faces that none was chosen by.

    python -m bench.face_landmarks --out landmarks.npz
    python -m bench.face_emotions points --landmarks landmarks.npz --out src/sensorium/modalities/face/emotions
    python -m bench.face_network --landmarks landmarks.npz --out src/sensorium/modalities/face/emotions
    python -m bench.face_emotions compare --landmarks landmarks.npz

Data: fer2013-balanced-2440.npz, 2,100 training faces (of FER2013's Training part) and 340 dev faces (PublicTest).
Training faces that nearly equal a dev face are left out, near-equal training faces share a fold. Everything is chosen
by five folds of the training faces; the dev faces are looked at once, for the record and the table.
"""

from __future__ import annotations

import argparse
import datetime
from pathlib import Path
from typing import Any

import numpy as np

from sensorium.modalities.face import emotions
from sensorium.modalities.face.emotions import _common, _crop, _shape, own
from sensorium.modalities.face.landmarks import Face
from sensorium.modalities.face.layout import EMOTIONS

SIDE, SEED, SAME = 48, 0, 0.9
SHRINKAGES = (0.02, 0.1, 0.3, 0.5, 0.7, 0.9)
DATA = "fer2013-balanced-2440.npz: FER2013 (Kaggle), 300 training faces of each emotion, 340 dev faces of PublicTest"
LICENCE = "weights MIT; FER2013's pictures are for research, so whoever sells a product with them should ask a lawyer"
_SPELT = {"fearful": "fear", "disgusted": "disgust", "surprised": "surprise"}


def faces(data: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Pictures (n, 48, 48) uint8, labels and another model's probabilities (n, 7) in our order, and split words."""
    with np.load(data / "fer2013-balanced-2440.npz", allow_pickle=False) as file:
        classes, order = file["classes"].tolist(), file["emotion_probs_order"].tolist()
        label = np.array([EMOTIONS.index(one) for one in classes])[file["labels"]]
        columns = [[_SPELT.get(one, one) for one in order].index(emotion) for emotion in EMOTIONS]
        return file["images"], label, file["split"].copy(), file["emotion_probs"][:, columns]


def kept(images: np.ndarray, split: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Training rows that equal no dev face nearly, and for each the first row that it equals (its group)."""
    x = images.reshape(len(images), -1).astype(np.float32)
    x = (x - x.mean(1, keepdims=True)) / (x.std(1, keepdims=True) + 1e-6)
    train, dev = np.flatnonzero(split == "train"), np.flatnonzero(split != "train")
    train = train[(x[train] @ x[dev].T / x.shape[1]).max(1) <= SAME]
    same = x[train] @ x[train].T / x.shape[1] > SAME
    group = np.arange(len(train))
    for _ in range(10):  # the smallest number spreads along chains of equal faces
        group = np.where(same, group[None, :], len(train)).min(1)
    return train, group


def folds(label: np.ndarray, group: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Five pairs of rows to fit and rows to judge, the emotions balanced, equal faces together."""
    from sklearn.model_selection import StratifiedGroupKFold

    return list(StratifiedGroupKFold(5, shuffle=True, random_state=SEED).split(label, label, group))


def temperature(scores: np.ndarray, label: np.ndarray) -> float:
    """By which scores are divided so that their softmax has the least log loss (Guo et al. 2017)."""
    grid = np.geomspace(0.25, 8, 200)
    return float(grid[int(np.argmin([loss(_common.softmax(scores / t), label) for t in grid]))])


def loss(p: np.ndarray, label: np.ndarray) -> float:
    """Mean negative logarithm of the right emotion's probability."""
    return float(-np.log(np.maximum(p[np.arange(len(p)), label], 1e-9)).mean())


def figures(p: np.ndarray, label: np.ndarray) -> dict[str, Any]:
    """Accuracy with a 95% interval (Wilson 1927), unweighted recall, log loss, calibration error, confusion."""
    n, right = len(p), p.argmax(1) == label
    share, z = float(right.mean()), 1.96
    middle, half = (share + z * z / 2 / n) / (1 + z * z / n), z / (1 + z * z / n) * np.sqrt(
        share * (1 - share) / n + z * z / 4 / n / n)  # fmt: skip
    confusion = np.zeros((7, 7), int)
    np.add.at(confusion, (label, p.argmax(1)), 1)
    sure = np.minimum((p.max(1) * 10).astype(int), 9)
    error = sum(abs(right[sure == b].mean() - p.max(1)[sure == b].mean()) * (sure == b).mean() for b in np.unique(sure))
    recall = confusion.diagonal() / np.maximum(confusion.sum(1), 1)
    interval = [round(float(end), 4) for end in (middle - half, middle + half)]
    return {"faces": n, "accuracy": round(share, 4), "interval": interval,
            "recall": round(float(recall.mean()), 4), "log_loss": round(loss(p, label), 4),
            "calibration_error": round(float(error), 4), "confusion": confusion.tolist()}  # fmt: skip


def shapes(landmarks: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Upright shapes (n, 478, 3) of landmarks in pixels; zeros where no face was found."""
    out = np.zeros(landmarks.shape, np.float32)
    for i in np.flatnonzero(found):
        out[i] = _shape.upright(landmarks[i] / SIDE, _shape.aspect(landmarks[i] / SIDE))
    return out


def crops(images: np.ndarray, landmarks: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Aligned crops (n, 48, 48) of grey levels; a picture without landmarks stays as it is."""
    frames = [_crop.frame(m / SIDE, SIDE, SIDE) if ok else np.eye(2, 3) for m, ok in zip(landmarks, found, strict=True)]
    return np.array([_crop.crop(g, frame) for g, frame in zip(images, frames, strict=True)])


def discriminant(x: np.ndarray, label: np.ndarray, shrinkage: float) -> tuple[np.ndarray, np.ndarray]:
    """Weight (1434, 7) and bias (7,) of the analysis of shapes and their mirror images, the same for both."""
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    both, twice = np.concatenate([x, _shape.mirrored(x)]), np.concatenate([label, label])
    model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage, priors=np.full(7, 1 / 7))
    model.fit(both.reshape(len(both), -1), twice)
    weight = model.coef_.reshape(7, -1, 3)
    weight = ((weight + _shape.mirrored(weight)) / 2).reshape(7, -1).T
    # What all emotions share does not count in a softmax, and is large: rounding would show.
    return weight - weight.mean(1, keepdims=True), model.intercept_ - model.intercept_.mean()


def train_points(args: argparse.Namespace) -> None:
    images, label, split, _ = faces(args.data)
    landmarks, found = load_landmarks(args.landmarks)
    x = shapes(landmarks, found)
    rows, group = kept(images, split)
    rows, group = rows[found[rows]], group[found[rows]]
    judged = {}
    for shrinkage in SHRINKAGES:
        scores = np.zeros((len(rows), 7))
        for fit, judge in folds(label[rows], group):
            weight, bias = discriminant(x[rows[fit]], label[rows[fit]], shrinkage)
            scores[judge] = x[rows[judge]].reshape(len(judge), -1) @ weight + bias
        t = temperature(scores, label[rows])
        losses = -np.log(_common.softmax(scores / t)[np.arange(len(rows)), label[rows]])
        judged[shrinkage] = (losses.mean(), t, scores, losses)
        print(f"shrinkage {shrinkage}: {(scores.argmax(1) == label[rows]).mean():.4f} right in five folds, log loss "
              f"{losses.mean():.4f}")  # fmt: skip
    # The strongest within one standard error of the best: weak shrinkage makes large weights, and noise counts more.
    error = np.std(judged[min(judged, key=lambda one: judged[one][0])][3]) / len(rows) ** 0.5
    best = max(one for one in judged if judged[one][0] <= min(told[0] for told in judged.values()) + error)
    _, t, scores, _ = judged[best]
    weight, bias = discriminant(x[rows], label[rows], best)
    weight, bias = (weight / t).astype(np.float32), (bias / t).astype(np.float32)
    dev = np.flatnonzero((split != "train") & found)
    p = _common.softmax(x[dev].reshape(len(dev), -1) @ weight + bias)
    told = {"name": "points", "method": "linear discriminant analysis of the upright shape of 478 landmarks",
            "trained_on": len(rows), "shrinkage": best, "temperature": round(t, 4),
            "folds": figures(_common.softmax(scores / t), label[rows]), "dev": figures(p, label[dev]),
            "left_out": "dev faces without landmarks: " + str(int(((split != "train") & ~found).sum()))}  # fmt: skip
    _common.save("points", args.out, {"weight": weight, "bias": bias}, {**told, **provenance()}, np.float32)
    print(told)


def provenance() -> dict[str, Any]:
    """What every record says of data, seed, date and licence."""
    return {"data": DATA, "labels": list(EMOTIONS), "seed": SEED, "licence": LICENCE,
            "date": datetime.date.today().isoformat()}  # fmt: skip


def load_landmarks(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Landmarks (n, 478, 3) in pixels of the pictures, and which were found, of bench.face_landmarks."""
    with np.load(path, allow_pickle=False) as file:
        return file["landmarks"], file["found"]


def compare(args: argparse.Namespace) -> None:
    """Print a row for each classifier on the dev faces."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    images, label, split, other = faces(args.data)
    landmarks, found = load_landmarks(args.landmarks)
    dev, train = np.flatnonzero(split != "train"), np.flatnonzero(split == "train")
    aligned = crops(images[dev], landmarks[dev], found[dev])
    network, there = emotions.find("own").of_crops(aligned), dev[found[dev]]
    points = emotions.find("points").probabilities(None, [Face(landmarks[i] / SIDE) for i in there])
    both = network.copy()
    both[found[dev]] = own.together(network[found[dev]], points)
    told = {
        "own": (both, dev),
        "own, its network alone": (network, dev),
        "points (faces with landmarks)": (points, there),
    }
    told["fer, aligned"] = (emotions.find("fer").of_crops(aligned), dev)
    told["fer, picture as it is"] = (emotions.find("fer").of_crops(images[dev].astype(np.float32)), dev)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000)).fit(other[train], label[train])
    told["logistic regression on the file's 7 probabilities"] = (model.predict_proba(other[dev]), dev)
    for name, (p, rows) in told.items():
        row = figures(np.asarray(p), label[rows])
        print(f"{name}: { ({key: value for key, value in row.items() if key != 'confusion'}) }")
        for emotion, line in zip(EMOTIONS, row["confusion"], strict=True):
            print(f"  {emotion:9s} {line}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("what", choices=("points", "compare"))
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--landmarks", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("weights"))
    args = parser.parse_args()
    (train_points if args.what == "points" else compare)(args)


if __name__ == "__main__":
    main()

"""How well the data doctor finds pairs and labels that were made wrong on purpose, and whether its probabilities hold.

    python -m bench.doctor_pairs [--data ../shared/data] [--seeds 3] [--glyphs FOLDER]

5% of the pairs are given each other's partners, or 5% of the labels another class, in each of several seeds. Peers, on
the same data in the same run: cosines after one CCA of all pairs, without folds; of labels the self-confidence
(1 - probability of the given class) of cross-validated logistic regression, and cleanlab's ``find_label_issues`` on the
same probabilities where cleanlab is installed. Peers that give no probability are told how many are wrong, and ours is
compared at that number too. --glyphs: a folder for the embeddings of the recipe glyphs, which are left out without it.
"""

from __future__ import annotations

import argparse
import itertools
import time
from pathlib import Path
from typing import Any

import numpy as np

from sensorium import parts
from sensorium.evaluate.mispairing import UNUSUAL, mixture, of_evidence
from sensorium.fitting import out_of_fold, out_of_fold_classes
from sensorium.numerics import unit
from sensorium.numerics.moments import Moments
from sensorium.pairs import Pairs
from sensorium.types import Embeddings

SHARE, SURE = 0.05, 0.5
BINS = (0.0, 0.05, 0.2, 0.4, 0.6, 0.8, 0.95, 1.01)


def table(x: np.ndarray) -> Embeddings:
    return Embeddings(np.arange(len(x)).astype(np.str_), np.ascontiguousarray(x, np.float32), {})


def flickr(data: Path) -> tuple[Embeddings, Embeddings, np.ndarray, np.ndarray]:
    with np.load(data / "flickr8k-pairs-4000.npz", allow_pickle=False) as file:
        image, text = file["image"], file["text"].reshape(-1, 300).astype(np.float32)
    there = np.flatnonzero(text.any(axis=1))
    return table(image), table(text[there]), there // 5, np.arange(len(there))


def digits(data: Path, one: str, other: str) -> tuple[Embeddings, Embeddings, np.ndarray, np.ndarray]:
    with np.load(data / "uci-mfeat-two-views-2000.npz", allow_pickle=False) as file:
        views = [np.concatenate([file[f"{view}_tr"], file[f"{view}_te"]]) for view in (one, other)]
    rows = np.arange(len(views[0]))
    return table(views[0]), table(views[1]), rows, rows


def glyphs(stores: Path) -> tuple[Embeddings, Embeddings, np.ndarray, np.ndarray]:
    from sensorium import pipeline, recipe

    plan = recipe.load("glyphs")
    made = plan.part("data").load()
    left, right = pipeline.embed(plan, made, stores, progress=False)
    related = made.pairs.where(label=1)
    return left, right, related.left, related.right


def shuffled(left: np.ndarray, right: np.ndarray, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Partners of which a share went round among their pairs, and whether each pair is wrong now."""
    random = np.random.default_rng(seed)
    which = random.permutation(len(right))[: round(share * len(right))]
    new = right.copy()
    new[which] = right[np.roll(which, 1)]
    width = 1 + int(max(left.max(), right.max()))
    return new, ~np.isin(left * width + new, left * width + right)


def without_folds(left: Embeddings, right: Embeddings, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cosine of each pair after CCA of all pairs, with scikit-learn's usual regularisation: nearly none."""
    x, y = left.vectors[a], right.vectors[b]
    found = parts.make("objectives", {"name": "cca", "strengths": 1e-4, "powers": 0.0}).solve(
        Moments(left.dim, right.dim).update(x, y)
    )
    return (unit(found.left(x)) * unit(found.right(y))).sum(1)


def at_number(score: np.ndarray, wrong: np.ndarray) -> float:
    """Share of wrong ones among as many of the highest score as there are wrong ones."""
    return float(wrong[np.argsort(-score, kind="stable")[: wrong.sum()]].mean()) if wrong.any() else float("nan")


def judged(p: np.ndarray, wrong: np.ndarray) -> list[float]:
    """Precision and recall of what is called wrong, and the number that is expected."""
    called = p >= SURE
    return [wrong[called].mean() if called.any() else 0.0, called[wrong].mean(), p.sum()]


def row(*cells: Any) -> None:
    print("| " + " | ".join(f"{c:.1f}" if isinstance(c, float) else str(c) for c in cells) + " |", flush=True)


def heads(*names: str) -> None:
    print()
    row(*names)
    row("---", *["---:"] * (len(names) - 1))


def calibration(found: list[tuple[np.ndarray, np.ndarray]]) -> None:
    p, wrong = (np.concatenate(one) for one in zip(*found, strict=True))
    heads("said", "share wrong", "n")
    for low, high in itertools.pairwise(BINS):
        some = (p >= low) & (p < high)
        if some.any():
            said = f"{100 * low:.0f} – {min(100 * high, 100):.0f}%, mean {100 * p[some].mean():.1f}"
            row(said, 100 * float(wrong[some].mean()), int(some.sum()))


def ours(left: Embeddings, right: Embeddings, a: np.ndarray, b: np.ndarray, group: np.ndarray, seed: int) -> np.ndarray:
    scored = out_of_fold.score(left, right, Pairs.of(a, b, group=group), seed=seed)
    return of_evidence(*scored.evidence).probability


def pairs_of(name: str, data: tuple, seeds: int) -> tuple[np.ndarray, np.ndarray]:
    left, right, a, b = data
    group = a if len(np.unique(a)) <= len(np.unique(b)) else b
    rows, said, truth = [], [], []
    for seed in range(seeds):
        new, wrong = shuffled(a, b, SHARE, seed)
        begun = time.perf_counter()
        p = ours(left, right, a, new, group, seed)
        middle = time.perf_counter()
        peer = -without_folds(left, right, a, new)
        ratio = (middle - begun) / (time.perf_counter() - middle)
        rows.append([wrong.sum(), *judged(p, wrong), at_number(p, wrong), at_number(peer, wrong), ratio])
        said.append(p)
        truth.append(wrong)
    n, precision, recall, expected, first, theirs, ratio = map(float, np.mean(rows, axis=0))
    clean = ours(left, right, a, b, group, 0)
    row(name, len(a), round(n), 100 * precision, 100 * recall, round(expected), 100 * first, 100 * theirs,
        f"{(clean >= SURE).sum()} ({clean.sum():.0f})", ratio)  # fmt: skip
    return np.concatenate(said), np.concatenate(truth)


def labels_of(name: str, x: np.ndarray, y: np.ndarray, seeds: int) -> tuple[np.ndarray, np.ndarray]:
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    classes, rows, said, truth = int(y.max()) + 1, [], [], []
    for seed in range(seeds):
        random = np.random.default_rng(seed)
        which = random.permutation(len(y))[: round(SHARE * len(y))]
        given = y.copy()
        given[which] = (y[which] + random.integers(1, classes, len(which))) % classes
        wrong = given != y
        begun = time.perf_counter()
        scored = out_of_fold_classes.score(table(x), given, np.arange(len(y)), seed=seed)
        p = np.nan_to_num(mixture(scored.similarity, scored.shuffled, UNUSUAL["labels"]).probability)
        middle = time.perf_counter()
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=300))
        probabilities = cross_val_predict(model, x, given, cv=5, method="predict_proba")
        ratio = (middle - begun) / (time.perf_counter() - middle)
        confidence = 1 - probabilities[np.arange(len(y)), given]
        rows.append([wrong.sum(), *judged(p, wrong), at_number(p, wrong), at_number(confidence, wrong), ratio,
                     *issues(given, probabilities, wrong)])  # fmt: skip
        said.append(p)
        truth.append(wrong)
    n, precision, recall, expected, first, theirs, ratio, *found = map(float, np.mean(rows, axis=0))
    row(name, len(y), round(n), 100 * precision, 100 * recall, round(expected), 100 * first, 100 * theirs,
        " / ".join(f"{100 * x:.1f}" for x in found), ratio)  # fmt: skip
    return np.concatenate(said), np.concatenate(truth)


def issues(given: np.ndarray, probabilities: np.ndarray, wrong: np.ndarray) -> list[float]:
    """Precision and recall of cleanlab's own choice; NaN where it is not installed."""
    try:
        from cleanlab.filter import find_label_issues
    except ImportError:
        return [float("nan")] * 2
    found = find_label_issues(given, probabilities, n_jobs=1)
    return [wrong[found].mean(), found[wrong].mean()]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", type=Path, default=Path("../shared/data"))
    options.add_argument("--seeds", type=int, default=3)
    options.add_argument("--glyphs", type=Path)
    given = options.parse_args()
    print(
        f"{100 * SHARE:.0f}% made wrong; mean of {given.seeds} seeds, percent. Called: at a probability of 50% or more."
    )
    print("First: precision among as many as are wrong.")
    usual = ("n", "wrong", "precision, called", "recall, called", "expected", "first", "first, peer")
    data = {"Flickr8k, picture ~ caption": flickr(given.data)}
    for one, other in (("I", "T"), ("I", "P"), ("T", "P")):
        data[f"digits, view {one} ~ view {other}"] = digits(given.data, one, other)
    if given.glyphs:
        data["glyphs, picture ~ name"] = glyphs(given.glyphs)
    heads("pairs", *usual, "of the data as they are: called (expected)", "time / peer")
    calibration([pairs_of(name, one, given.seeds) for name, one in data.items() if not name.startswith("glyphs")])
    if given.glyphs:
        heads("pairs", *usual, "of the data as they are: called (expected)", "time / peer")
        calibration([pairs_of("glyphs, picture ~ name", data["glyphs, picture ~ name"], given.seeds)])
    with np.load(given.data / "uci-mfeat-two-views-2000.npz", allow_pickle=False) as file:
        y = np.unique(np.concatenate([file["L_tr"], file["L_te"]]), return_inverse=True)[1]  # the labels are 1 to 10
        views = {v: np.concatenate([file[f"{v}_tr"], file[f"{v}_te"]]) for v in "ITP"}
        sets = {f"digits, view {v}": (x.astype(np.float32), y) for v, x in views.items()}
    with np.load(given.data / "fer2013-balanced-2440.npz", allow_pickle=False) as file:
        marks = np.concatenate([file["landmarks68"], file["emotion_probs"]], 1)
        sets["FER2013, landmarks and probabilities"] = (marks.astype(np.float32), file["labels"])
    heads("labels", *usual, "cleanlab, precision / recall", "time / peer")
    calibration([labels_of(name, *one, given.seeds) for name, one in sets.items()])


if __name__ == "__main__":
    main()

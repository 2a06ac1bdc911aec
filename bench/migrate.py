"""Recall that an adapter keeps when the encoder of one side is changed, by the size of the sample; and what it saves.

    python -m bench.migrate [--data ../shared/data] [--only captions]

Real data: "captions": pictures of Flickr8k (EfficientNet vectors) found by captions, whose encoder changes from
averaged word vectors (300) to all-MiniLM-L6-v2 (384), embedded here; "captions back": the same in the other direction.
"digits": pairs of views of handwritten digits, whose queries change from Karhunen-Loève coefficients (64) to Fourier
coefficients (76). "faces": pictures found by the emotion that they show, hog to small grey pictures.

For samples of 250, 500 and 2,000 items: hit@10 (hit@1 of the seven emotions) of queries of the test split by the old
encoder, by the new one through the adapter, and by a new run of the new encoder with everything embedded anew (the
peer); the adapter over both, the first with a paired 95% interval; the adapter that was chosen. Seconds: embedding the
sample and fitting the adapter, against embedding everything and fitting the run, in the same process; embedding is
timed for captions alone, as the other vectors come with the data.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import sensorium
from sensorium import parts
from sensorium.experiments import migrate, swap

SAMPLES = (250, 500, 2000)


class Case(NamedTuple):
    """Vectors of the side that changes, before and after, and of the other side; splits; seconds to embed all anew."""

    old: np.ndarray
    new: np.ndarray
    other: np.ndarray
    split: np.ndarray
    seconds: float = 0.0


def captions(folder: Path) -> Case:
    """Captions to pictures, the first caption of each picture."""
    file = np.load(folder / "flickr8k-pairs-4000.npz", allow_pickle=False)
    encoder = parts.make("encoders", "minilm")
    texts = [str(one) for one in file["captions"][:, 0]]
    encoder.encode(texts[:8])
    began = time.perf_counter()
    order = np.argsort([-len(text) for text in texts])
    new = np.zeros((len(texts), encoder.dim), np.float32)
    for at in range(0, len(order), 64):
        new[order[at : at + 64]] = encoder.encode([texts[i] for i in order[at : at + 64]])
    seconds = time.perf_counter() - began
    split = np.where(file["split"] == "dev", "validation", file["split"])
    return Case(file["text"][:, 0].astype(np.float32), new, file["image"].astype(np.float32), split, seconds)


def captions_back(folder: Path) -> Case:
    """The same, from the better encoder to the worse one."""
    made = captions(folder)
    return made._replace(old=made.new, new=made.old, seconds=0.0)


def digits(folder: Path) -> Case:
    """Views of the same digit: the left one changes."""
    file = np.load(folder / "uci-mfeat-two-views-2000.npz", allow_pickle=False)
    old, new, other = (np.concatenate([file[f"{view}_tr"], file[f"{view}_te"]]) for view in "TIP")
    split = np.array(["train"] * 1500 + ["test"] * 500)
    split[:1500:10] = "validation"
    return Case(old, new, other, split)


def faces(folder: Path) -> Case:
    """Faces to emotions."""
    file = np.load(folder / "fer2013-balanced-2440.npz", allow_pickle=False)
    pictures = file["images"]
    old = parts.make("encoders", {"name": "hog"}).encode(list(pictures))
    new = pictures.reshape(-1, 24, 2, 24, 2).mean((2, 4)).reshape(len(pictures), -1).astype(np.float32)
    split = np.where(file["split"] == "train", "train", "test")
    split[np.flatnonzero(split == "train")[::10]] = "validation"
    return Case(old, new, file["labels"], split)


CASES: dict[str, Callable[[Path], Case]] = {
    "captions": captions, "captions back": captions_back, "digits": digits, "faces": faces}  # fmt: skip


def fitted(case: Case, vectors: np.ndarray, out: Path) -> Any:
    return sensorium.fit(vectors, case.other, split=case.split, out=out, evaluate={"baselines": []})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--only", choices=CASES)
    arguments = parser.parse_args()
    print(
        "| case | sample | measure | old | adapted | all anew | kept of old | of all anew | adapter | s | s, all anew |"
    )
    print("| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: | --- | ---: | ---: |")
    for name in [arguments.only] if arguments.only else CASES:
        case = CASES[name](arguments.data)
        with tempfile.TemporaryDirectory() as folder:
            home = Path(folder)
            run = fitted(case, case.old, home / "old")
            began = time.perf_counter()
            anew = fitted(case, case.new, home / "anew")
            whole = time.perf_counter() - began + case.seconds
            np.save(home / "new.npy", case.new)
            for sample in SAMPLES:
                usable = np.count_nonzero(case.split != "test")
                keys, n = [f"left.vectors={home / 'new.npy'}"], min(sample, usable)
                began = time.perf_counter()
                record = migrate.migrate(run.folder, keys, sample=n, refit=False, quiet=True)
                took = time.perf_counter() - began + case.seconds * n / len(case.old)
                row(name, n, record, run, anew, took, whole)
                swap.roll_back(run.folder)


def row(name: str, n: int, record: Any, run: Any, anew: Any, took: float, whole: float) -> None:
    """One line of the table. The peer's hit@k is of its own run, on the same test queries."""
    old, adapted = record["ways"]
    measure = record["kept"]["measure"]
    peer = next(r for r in anew.metrics["results"] if (r["direction"], r["measure"]) == ("left->right", measure))
    share = record["kept"]
    said = [old[measure], adapted[measure], peer["value"], share["value"], share["low"], share["high"]]
    of_old, low, high = (f"{100 * value:.0f}" for value in said[3:])
    shown = [*(f"{100 * value:.1f}" for value in said[:3]), f"{of_old} [{low}, {high}]",
             f"{100 * adapted[measure] / peer['value']:.0f}", record["adapter"]["name"], f"{took:.1f}",
             f"{whole:.1f}"]  # fmt: skip
    print(f"| {name} | {n:,} | {measure} | " + " | ".join(shown) + " |", flush=True)


if __name__ == "__main__":
    main()

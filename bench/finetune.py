"""What fine-tuning the text encoder adds: MiniLM and real captions to vectors of pictures, frozen and trained.

    python -m bench.finetune [--data ../shared/data] [--captions 5] [--seeds 1] [--out runs]

Right: the captions of flickr8k-pairs-4000.npz through all-MiniLM-L6-v2; left: the file's vectors of pictures, which
stay as they are. Both fits have the same heads and objective; the frozen one is the best of three lengths. What is
trained is chosen on validation; the test split is read once, for the chosen one, beside the frozen encoder.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

import sensorium
from sensorium.evaluate import compare
from sensorium.pairs import Pairs
from sensorium.types import Data, Items

HEAD = {"name": "mlp", "hidden": 512, "dim": 256, "dropout": 0.1}
RECIPE = {
    "name": "finetune",
    "data": {"name": "memory"},
    "left": {"head": HEAD},
    "right": {"encoder": {"name": "minilm", "precision": "auto"}, "head": HEAD},
    "objective": {"name": "infonce", "temperature": 0.07},
    "train": {"lr": 1e-3, "batch": 256, "monitor": "hit@10"},
    "evaluate": {"protocol": "captions", "correction": "none", "baselines": [], "plots": False},
}
FROZEN = {f"frozen, {n} epochs": (f"train.epochs={n}",) for n in (3, 10, 30)}
LIVE = ("data.cached=false", "finetune.sides=right", "train.epochs=2", "train.save_seconds=60")
TRAINED = {
    "last 2 blocks, lr 1e-4": (*LIVE, "finetune.blocks=2", "finetune.lr=1e-4"),
    "LoRA 8 in the last 2 blocks, lr 1e-3": (*LIVE, "finetune.blocks=2", "finetune.lora=8", "finetune.lr=1e-3"),
}
SHOWN = ("hit@1", "hit@5", "hit@10")
DIRECTIONS = {"left->right": "picture → caption", "right->left": "caption → picture"}


def load(data: Path, each: int) -> Data:
    """Pictures as vectors, ``each`` captions of one as texts, the file's own split, grouped by picture."""
    with np.load(data / "flickr8k-pairs-4000.npz", allow_pickle=False) as file:
        image, captions, split = file["image"].astype(np.float32), file["captions"][:, :each], file["split"]
    n, c = captions.shape
    picture = np.repeat(np.arange(n), c)
    names = {"train": "train", "dev": "validation", "val": "validation", "test": "test"}
    parts = np.array([names[one] for one in split.tolist()])
    left = Items(
        np.array([f"picture{i}" for i in range(n)]), image, "vector", source={"name": "pictures"}, name="picture"
    )
    texts = [str(text) or "a picture" for text in captions.ravel()]
    right = Items(np.array([f"picture{i}#{k + 1}" for i in range(n) for k in range(c)]), texts, "text", name="caption")
    return Data(left, right, Pairs.of(picture, np.arange(n * c), group=picture, split=parts[picture]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=Path("runs/finetune"))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--captions", type=int, default=5, help="of each picture")
    args = parser.parse_args()
    data = load(args.data, args.captions)

    def run(name: str, keys: tuple[str, ...], seed: int) -> tuple[float, Path, float]:
        folder = args.out / f"{name.replace(' ', '-').replace(',', '')}-{seed}"
        begun = time.perf_counter()
        if (folder / "metrics.json").is_file():  # made before, by an interrupted call of this
            return sensorium.open(folder).metrics["fit"]["validation"], folder, 0.0
        made = sensorium.run(RECIPE, keys, data=data, out=folder, seed=seed, quiet=True, stores=args.out / "embeddings")
        return made.metrics["fit"]["validation"], folder, time.perf_counter() - begun

    chosen = {}
    for kind, settings in (("frozen", FROZEN), ("trained", TRAINED)):
        found = {}
        for name, keys in settings.items():
            value, _, seconds = run(name, keys, 0)
            found[name] = value
            print(f"| {name} | validation hit@10 {100 * value:.1f} | {seconds:.0f} s |", flush=True)
        chosen[kind] = max(found, key=lambda name: found[name])
    print(f"\nchosen on validation: {chosen['frozen']}; {chosen['trained']}\n")
    print("| seed | direction | measure | frozen | trained | difference [95% interval] | p |\n" + "| --- " * 7 + "|")
    for seed in range(args.seeds):
        both = [run(name, ({**FROZEN, **TRAINED})[name], seed)[1] for name in chosen.values()]
        for direction, words in DIRECTIONS.items():
            ranks = [compare.load(folder / compare.FILE)["test", direction] for folder in both]
            for measure in SHOWN:
                a, b = (one.values(measure) for one in ranks)
                one = compare.paired(a, b, ranks[0].groups())
                print(f"| {seed} | {words} | {measure} | {100 * a.mean():.1f} | {100 * b.mean():.1f} | "
                      f"{100 * one.difference:+.1f} [{100 * one.low:+.1f}, {100 * one.high:+.1f}] | {one.p:.3f} |",
                      flush=True)  # fmt: skip


if __name__ == "__main__":
    main()

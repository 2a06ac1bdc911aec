"""A CNN on pseudo-images against an MLP on the same vectors: speed on this machine, and recalls on real pairs.

    python -m bench.pseudo_images speed [--sizes 32 64 128] [--batch 64]
    python -m bench.pseudo_images scores --file pairs.npz [--seeds 3] [--size 32] [--epochs 10] [--out DIR]

speed: for each size, a training step of the head ``cnn`` (forward, backward and update), the making of its pictures in
it and their share, the reading of as many from files, and items a second forward; the head ``mlp`` in the same run, as
the peer. Medians of repeats.

scores: the recipes clotho (MLP on both sides) and clotho-vision (CNN on the left one) with the document's settings, on
vectors of the media (n, d) and of five captions each, split as the file says. As a control, the CNN on the vectors with
their numbers in another order, one fixed random permutation: where the order of the numbers says nothing, its recalls
are the same. Recalls on the test split, percent, with 95% bootstrap intervals over clips; mean and deviation of seeds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

import sensorium
from sensorium import parts
from sensorium.modalities.image import pseudo_files
from sensorium.modalities.image.pseudo import PseudoImage

WIDTH = 768  # of the document's vectors
MEASURES = ("hit@1", "hit@10")


def median(call: Callable[[], object], repeats: int) -> float:
    """Seconds of a call, the median of repeats after one that is not counted."""
    call()
    took = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        took.append(time.perf_counter() - start)
    return statistics.median(took)


def speed(sizes: list[int], batch: int, repeats: int) -> None:
    """Print one JSON line for the MLP and one for each size of the CNN."""
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((batch, WIDTH)).astype(np.float32))
    for name, more in [("mlp", {}), *(("cnn", {"size": size}) for size in sizes)]:
        torch.manual_seed(0)
        head = parts.make("heads", {"name": name, "dim": 256, "preprocess": "none", **more})
        head.build(WIDTH)
        optimizer = torch.optim.AdamW(head.parameters(), lr=5e-4)

        def step(head: torch.nn.Module = head, optimizer: torch.optim.Optimizer = optimizer) -> None:
            head.train()
            with torch.autocast("cpu", torch.bfloat16):
                loss = head(x)[:, 0].float().sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

        def forward(head: torch.nn.Module = head) -> None:
            head.eval()
            with torch.inference_mode():
                head(x)

        took, inference = median(step, repeats), median(forward, repeats)
        count = sum(p.numel() for p in head.parameters())
        line = {"head": name, **more, "parameters": count, "batch": batch,
                "step_ms": 1e3 * took, "trained_a_second": batch / took,
                "forward_a_second": batch / inference}  # fmt: skip
        if name == "cnn":
            making = median(lambda head=head: head.image(x), repeats)
            reading = median(reader(x, head.transform), repeats)
            line |= {"making_ms": 1e3 * making, "making_share": making / took, "reading_ms": 1e3 * reading}
        print(json.dumps({k: float(f"{v:.4g}") if isinstance(v, float) else v for k, v in line.items()}), flush=True)


def reader(x: torch.Tensor, transform: PseudoImage) -> Callable[[], object]:
    """Reads the pictures of these vectors from files, which are written first."""
    folder = Path(tempfile.mkdtemp())
    pseudo_files.write([str(i) for i in range(len(x))], x.numpy(), transform, folder, "audio", 4)
    stored = pseudo_files.Stored(folder, transform)
    return lambda: stored.read(x.numpy())


def permuted(file: Path, out: Path) -> Path:
    """The same file with the numbers of the media's vectors in another order."""
    with np.load(file, allow_pickle=False) as known:
        arrays = {name: known[name] for name in known}
    order = np.random.default_rng(0).permutation(arrays["image"].shape[1])
    arrays["image"] = np.ascontiguousarray(arrays["image"][:, order])
    path = out / f"permuted-{file.name}"
    out.mkdir(parents=True, exist_ok=True)
    np.savez(path, **arrays)
    return path


def scores(file: Path, seeds: int, size: int, epochs: int, out: Path) -> None:
    """Print a JSON line a run, then mean and deviation over the seeds for each method."""
    vision = [f"left.head.size={size}"]
    methods = {"mlp": ("clotho", file, []), "cnn": ("clotho-vision", file, vision),
               "cnn, permuted": ("clotho-vision", permuted(file, out), vision)}  # fmt: skip
    found: dict[str, list[dict[str, float]]] = {name: [] for name in methods}
    for name, (recipe, source, more) in methods.items():
        for seed in range(seeds):
            keys = ["data=captioned", f"data.file={source}", f"train.epochs={epochs}",
                    "evaluate.baselines=[]", "evaluate.plots=false", *more]  # fmt: skip
            folder = out / f"{name.replace(', ', '-')}-{seed}"
            done = (folder / "metrics.json").is_file()  # by a call that was interrupted
            run = sensorium.open(folder) if done else sensorium.run(recipe, keys, seed=seed, quiet=True, out=folder)
            rows = [row for row in run.metrics["results"] if row["split"] == "test" and row["measure"] in MEASURES]
            fit = run.metrics["fit"]
            record = {"method": name, "seed": seed, "parameters": fit["parameters"], "best_epoch": fit["best_epoch"],
                      "fit_seconds": run.metrics["seconds"]["fit"]}  # fmt: skip
            for row in rows:
                key = f"{row['direction']} {row['measure']}"
                record[key] = [round(100 * row[part], 1) for part in ("value", "low", "high")]
            found[name].append({key: value[0] for key, value in record.items() if isinstance(value, list)})
            print(json.dumps(record), flush=True)
    for name, rows in found.items():
        mean = {key: [round(statistics.mean(row[key] for row in rows), 1),
                      round(statistics.pstdev([row[key] for row in rows]), 1)] for key in rows[0]}  # fmt: skip
        print(json.dumps({"method": name, "seeds": seeds, "mean and deviation": mean}), flush=True)


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("speed", "scores"))
    parser.add_argument("--sizes", type=int, nargs="+", default=[32, 64, 128])
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--file", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--out", type=Path, default=Path("runs/pseudo-images"))
    asked = parser.parse_args()
    if asked.what == "speed":
        speed(asked.sizes, asked.batch, asked.repeats)
    else:
        scores(asked.file, asked.seeds, asked.size, asked.epochs, asked.out)


if __name__ == "__main__":
    main()

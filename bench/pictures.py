"""Pictures embedded by efficientnet_lite: ours against plain loops over the same network, in one run.

    python -m bench.pictures [--pictures 256] [--rounds 3] [--quick]

All read the same JPEG files, cut from a photograph, and give the same vectors. The plain loops are what one writes
first: the package's own network in float32, 32 pictures a pass, or one; Pillow reads and scales them in between.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from skimage import data

from sensorium import parts
from sensorium.encoders import _efficientnet
from sensorium.encoders.efficientnet_lite import EfficientnetLite

SIZES = {"224 × 224": (224, 224), "900 × 1,200": (900, 1200)}


def written(count: int, size: tuple[int, int], folder: Path) -> list[Path]:
    """Random parts of a photograph, scaled to a size, as JPEG files."""
    photograph, rng = Image.fromarray(data.astronaut()), np.random.default_rng(0)
    folder.mkdir()
    for k in range(count):
        left, top = rng.integers(0, 256, 2).tolist()
        side = int(rng.integers(128, 256))
        part = photograph.resize(size, Image.Resampling.BICUBIC, (left, top, left + side, top + side))
        part.save(folder / f"{k}.jpg", quality=90)
    return [folder / f"{k}.jpg" for k in range(count)]


def plain(network: torch.nn.Module, paths: list[Path], together: int, side: int) -> np.ndarray:
    """Read, scale, compute: one after the other."""
    found = []
    for at in range(0, len(paths), together):
        pictures = [Image.open(path).convert("RGB") for path in paths[at : at + together]]
        pixels = np.stack([np.asarray(p.resize((side, side), Image.Resampling.BICUBIC)) for p in pictures])
        x = (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() - 127) / 128
        with torch.inference_mode():
            found.append(network.extract_features(x).mean((2, 3)).numpy())
    return np.concatenate(found)


def fastest(
    methods: dict[str, Callable[[], np.ndarray]], rounds: int
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Least seconds of each method over rounds, side by side in time, and what each gave."""
    best, gave = dict.fromkeys(methods, np.inf), {}
    for lap in range(rounds + 1):  # the first to warm up
        for name, work in methods.items():
            start = time.perf_counter()
            gave[name] = work()
            if lap:
                best[name] = min(best[name], time.perf_counter() - start)
    return best, gave


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="32 pictures, one round")
    given = parser.parse_args()
    count, rounds = (32, 1) if given.quick else (given.pictures, given.rounds)
    ours = {name: parts.make("encoders", {"name": "efficientnet_lite", "precision": name}) for name in ("fp32", "bf16")}
    encoder: EfficientnetLite = ours["fp32"]
    network = _efficientnet.network("lite0", encoder.folder / encoder.weights().files[0], "image")
    print(f"{count} pictures, {torch.get_num_threads()} threads, torch {torch.__version__}\n")
    print("| pictures | method | pictures/s | ours against it | least cosine |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for size, pixels in SIZES.items():
            paths = written(count, pixels, Path(folder) / str(pixels[0]))
            seconds, gave = fastest(
                {
                    "plain loop, 32 a pass": lambda paths=paths: plain(network, paths, 32, encoder.side),
                    "plain loop, 1 a pass": lambda paths=paths: plain(network, paths, 1, encoder.side),
                    "ours, fp32": lambda paths=paths: ours["fp32"].encode(paths),
                    "ours, bf16": lambda paths=paths: ours["bf16"].encode(paths),
                },
                rounds,
            )
            expected = gave["plain loop, 32 a pass"].astype(np.float64)
            for name, took in seconds.items():
                x = gave[name].astype(np.float64)
                cosine = ((x * expected).sum(1) / np.linalg.norm(x, axis=1) / np.linalg.norm(expected, axis=1)).min()
                ratio = took / seconds["ours, fp32"]
                print(f"| {size} | {name} | {count / took:.0f} | {ratio:.2f} × | {cosine:.6f} |")
            if min(seconds["plain loop, 32 a pass"], seconds["plain loop, 1 a pass"]) < seconds["ours, fp32"]:
                raise SystemExit("a plain loop is faster than ours")


if __name__ == "__main__":
    main()

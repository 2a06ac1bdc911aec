"""Moments in long sounds: one-minute sounds stitched from ESC-50 clips at known times, from files to R1 and mAP.

python -m bench.moments --root ESC50 --out FOLDER [--encoders functionals birdnet] [--seeds 3] [--quick]

ESC50 holds metadata.csv and the clips of the house's data. A stitched sound has four clips of different classes with
gaps of noise, as Clotho-Moment is made; captions are class names. Recordings of the clips are disjoint between training
and test sounds. The window and hop are chosen before: 5 s, the length of a clip, and 1 s.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np

import sensorium
from sensorium.evaluate.card import markdown
from sensorium.modalities.audio import files

RATE, MINUTE, CLIPS = 32_000, 60.0, 4
NOISE = 0.003  # of full scale
MEASURES = ("R1@IoU0.5", "R1@IoU0.7", "mAP@IoU0.5", "mAP@IoU", "corpus R1@IoU0.5", "corpus R1@IoU0.7")


def stitched(root: Path, out: Path, sounds: dict[str, int], seed: int) -> Path:
    """One-minute sounds of each split with a table of their moments; returns the table. sounds: split → number."""
    import soundfile

    random = np.random.default_rng(seed)
    rows = list(csv.DictReader((root / "metadata.csv").read_text("utf-8").splitlines()))
    audio = next(root.rglob("*.ogg")).parent
    name = next(key for key in ("filename", "file", "file_name", "path") if key in rows[0])
    label = next(key for key in ("category", "class", "label") if key in rows[0])
    source = next(key for key in ("src_file", "recording", "source", name) if key in rows[0])
    groups = sorted({row[source] for row in rows})
    random.shuffle(groups)
    test = set(groups[: round(0.4 * len(groups))])
    table, made = [], out / f"stitched-{seed}"
    made.mkdir(parents=True, exist_ok=True)
    for split, count in sounds.items():
        pool = [row for row in rows if (row[source] in test) == (split == "test")]
        for at in range(count):
            samples = NOISE * random.standard_normal(round(MINUTE * RATE)).astype(np.float32)
            chosen: dict[str, dict[str, str]] = {}
            while len(chosen) < CLIPS:
                row = pool[random.integers(len(pool))]
                chosen.setdefault(row[label], row)
            slots = np.sort(random.uniform(0, MINUTE - CLIPS * 5.0, CLIPS)) + 5.0 * np.arange(CLIPS)
            for begin, (kind, row) in zip(slots.tolist(), chosen.items(), strict=True):
                clip = files.read(str(audio / Path(row[name]).name), RATE)[: 5 * RATE]
                start = round(begin * RATE)
                samples[start : start + len(clip)] += clip
                table.append({"file_name": f"{split}{at}.flac", "caption": kind.replace("_", " "), "split": split,
                              "begin": round(begin, 3), "end": round(begin + len(clip) / RATE, 3)})  # fmt: skip
            soundfile.write(made / f"{split}{at}.flac", np.clip(samples, -1, 1), RATE)
    with open(made / "moments.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(table[0]))
        writer.writeheader()
        writer.writerows(table)
    return made / "moments.csv"


def measured(table: Path, encoder: str, out: Path, seed: int) -> dict[str, tuple[float, ...]]:
    """Value, low, high and chance of each measure."""
    run = sensorium.run(
        "captions",
        [f"data.root={table.parent}", f"data.table={table}", f"left.encoder={encoder}", "data.window=5", "data.hop=1",
         "left.head=linear", "left.head.dim=256", "right.head=linear", "right.head.dim=256", "objective=ridge",
         "evaluate.protocol=moments", "evaluate.baselines=[]", "evaluate.plots=false", "evaluate.correction=none",
         "evaluate.calibrate=false"],
        out=out / f"{encoder}-{seed}", seed=seed, quiet=True,
    )  # fmt: skip
    rows = {row["measure"]: row for row in run.metrics["protocol"]["results"]}
    return {name: tuple(rows[name][key] for key in ("value", "low", "high", "chance")) for name in MEASURES}


def main() -> None:
    """Print the table of the page of captions."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--encoders", nargs="+", default=["functionals", "birdnet"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    sounds = {"train": 24, "validation": 4, "test": 16} if given.quick else {"train": 60, "validation": 10, "test": 40}
    found: dict[str, list[dict[str, tuple[float, ...]]]] = {name: [] for name in given.encoders}
    for seed in range(1 if given.quick else given.seeds):
        table = stitched(given.root, given.out, sounds, seed)
        for encoder in given.encoders:
            found[encoder].append(measured(table, encoder, given.out, seed))
            print(encoder, seed, {name: round(100 * one[0], 1) for name, one in found[encoder][-1].items()}, flush=True)
    rows = []
    for name in MEASURES:
        row = {"measure": name, "chance": f"{100 * np.mean([one[name][3] for one in found[given.encoders[0]]]):.1f}"}
        for encoder, each in found.items():
            value, low, high = (100 * np.mean([one[name][at] for one in each]) for at in range(3))
            row[encoder] = f"{value:.1f} [{low:.1f}, {high:.1f}]"
        rows.append(row)
    print(markdown(rows))


if __name__ == "__main__":
    main()

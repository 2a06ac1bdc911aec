"""Voice encoders without a hub: clips embedded a second, and how well their vectors tell emotions of unseen actors.

    python -m bench.voice_encoders --root RAVDESS
    python -m bench.voice_encoders --root RAVDESS --encoders functionals,egemaps --turns 5

Speed: 64 clips through each encoder in turns; the best turn counts, as a busy machine makes any of them slower. Ratios
to egemaps are given by time and by processor time, which depends less on what else the machine does.

Emotion: unweighted average recall of eight emotions, two unseen actors of 1 to 10 at a time, by shrunk discriminant
analysis (LDA) and ridge classification of standardised vectors. Actors 11 and 12 take no part. "per speaker": each
speaker's vectors are first standardised by the mean and deviation of all clips of that speaker, without labels.
"a+b" are vectors side by side. An encoder whose package is absent is left out and named.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import RidgeClassifier
from sklearn.metrics import recall_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sensorium import parts
from sensorium.errors import SensoriumError

EMOTIONS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
FOLDS = ((1, 2), (3, 4), (5, 6), (7, 8), (9, 10))
CLIPS = 64


def clips(root: Path) -> tuple[list[Path], np.ndarray, np.ndarray]:
    """Paths, emotions (n,) and actors (n,), by the names of the files: 03-01-EE-II-SS-RR-AA."""
    paths = sorted(path for path in root.rglob("03-01-*") if path.suffix in (".wav", ".flac"))
    fields = np.array([path.stem.split("-") for path in paths]).reshape(-1, 7).astype(int)
    return paths, np.array(EMOTIONS)[fields[:, 2] - 1], fields[:, 6]


def timed(encoders: dict[str, object], some: list[Path], turns: int) -> dict[str, tuple[float, float]]:
    """Seconds, and processor seconds, of the best turn of each encoder."""
    best: dict[str, tuple[float, float]] = {}
    for _ in range(turns):
        for name, encoder in encoders.items():
            start, process = time.perf_counter(), time.process_time()
            encoder.encode(some)
            took = time.perf_counter() - start, time.process_time() - process
            best[name] = tuple(map(min, best.get(name, took), took))
    return best


def per_speaker(x: np.ndarray, actors: np.ndarray) -> np.ndarray:
    """Vectors (n, d) standardised within each speaker."""
    x = x.copy()
    for actor in np.unique(actors):
        own = actors == actor
        x[own] = (x[own] - x[own].mean(0)) / (x[own].std(0) + 1e-6)
    return x


def recalls(x: np.ndarray, emotions: np.ndarray, actors: np.ndarray) -> list[float]:
    """Unweighted average recall in per cent of LDA and of ridge, mean of the folds."""
    found = []
    for model in (LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.3), RidgeClassifier(alpha=0.7 * x.shape[1])):
        each = []
        for unseen in FOLDS:
            test = np.isin(actors, unseen)
            train = ~test & (actors <= 10)
            said = make_pipeline(StandardScaler(), model).fit(x[train], emotions[train]).predict(x[test])
            each.append(recall_score(emotions[test], said, average="macro"))
        found.append(100 * float(np.mean(each)))
    return found


def main() -> None:
    """Encode, time, classify, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True, help="folder of RAVDESS")
    parser.add_argument("--encoders", default="functionals,egemaps,resemblyzer", help="names, separated by commas")
    parser.add_argument("--turns", type=int, default=3)
    given = parser.parse_args()
    paths, emotions, actors = clips(given.root)
    encoders, vectors = {}, {}
    for name in given.encoders.split(","):
        try:
            made = parts.make("encoders", name)
            made.encode(paths[:2])  # loads what is loaded once
            encoders[name] = made
        except SensoriumError as error:
            print(f"{name}: left out ({error})")
    print(f"{'encoder':14} {'width':>6} {'clips/s':>8} {'x egemaps':>10} {'by processor time':>18}")
    took = timed(encoders, paths[:: max(1, len(paths) // CLIPS)][:CLIPS], given.turns)
    for name, (wall, process) in took.items():
        ratios = [a / b for a, b in zip(took.get("egemaps", (np.nan,) * 2), (wall, process), strict=True)]
        print(f"{name:14} {encoders[name].dim:6} {CLIPS / wall:8.1f} {ratios[0]:10.1f} {ratios[1]:18.1f}")
    for name, encoder in encoders.items():
        vectors[name] = np.concatenate([encoder.encode(paths[at : at + 64]) for at in range(0, len(paths), 64)])
    names = list(vectors)
    sets = [[name] for name in names] + [names[:2], [names[0], names[-1]], names] * (len(names) > 2)
    print(f"\n{'vectors':34} {'LDA':>6} {'ridge':>6}   per speaker: {'LDA':>6} {'ridge':>6}")
    for some in sets:
        x = np.concatenate([vectors[name].astype(np.float64) for name in some], 1)
        plain, own = recalls(x, emotions, actors), recalls(per_speaker(x, actors), emotions, actors)
        print(f"{'+'.join(some):34} {plain[0]:6.1f} {plain[1]:6.1f} {'':13} {own[0]:6.1f} {own[1]:6.1f}", flush=True)


if __name__ == "__main__":
    main()

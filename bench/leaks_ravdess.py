"""How much a random split flatters: RAVDESS emotions with speakers shared against speakers apart.

    python -m bench.leaks_ravdess [--data ../shared/data] [--quick]

The same features (mean and deviation over time of 20 MFCC and their differences, or of YAMNet's
embedding), classifier and fold sizes; only who stands on which side of the split differs. Each
split is audited before anything is fitted.
"""

from __future__ import annotations

import argparse
import io
import tarfile
from pathlib import Path

import numpy as np
import soundfile
from scipy.fft import dct
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from sensorium.evaluate import leaks
from sensorium.evaluate.card import markdown
from sensorium.evaluate.protocols import emotions
from sensorium.pairs import Pairs

RATE, FRAME, HOP = 16_000, 400, 160  # Hz, samples, samples
CLASSIFIERS = {
    "logistic regression": lambda: make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=2000)),
    "SVM (RBF)": lambda: make_pipeline(StandardScaler(), SVC(C=10)),
}


def mfcc_statistics(sound: np.ndarray) -> np.ndarray:
    """Mean and deviation over time of 20 MFCC (40 mel bands, 25 ms, 10 ms) and of their differences, (80,)."""
    edges = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + RATE / 2 / 700), 42) / 2595) - 1)
    hertz = np.fft.rfftfreq(512, 1 / RATE)
    up = (hertz - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    down = (edges[2:, None] - hertz) / (edges[2:] - edges[1:-1])[:, None]
    bands = np.maximum(0, np.minimum(up, down))
    frames = np.lib.stride_tricks.sliding_window_view(sound, FRAME)[::HOP] * np.hanning(FRAME)
    power = np.abs(np.fft.rfft(frames, 512)) ** 2
    mfcc = dct(np.log(power @ bands.T + 1e-10), norm="ortho")[:, :20]
    return np.concatenate([f(a, axis=0) for a in (mfcc, np.diff(mfcc, axis=0)) for f in (np.mean, np.std)])


def read_mfcc(data: Path, ids: np.ndarray) -> np.ndarray:
    """MFCC statistics of the clips in the archive, in the order of the ids."""
    found = {}
    with tarfile.open(data / "ravdess-actors01-12-flac16k.tar") as archive:
        for member in archive:
            if member.name.endswith(".flac"):
                sound, rate = soundfile.read(io.BytesIO(archive.extractfile(member).read()))
                assert rate == RATE
                found[Path(member.name).stem] = mfcc_statistics(sound if sound.ndim == 1 else sound.mean(axis=1))
    return np.stack([found[Path(i).stem] for i in ids])


def random_folds(splits: list[np.ndarray], seed: int) -> list[np.ndarray]:
    """The same fold sizes with utterances dealt at random instead of by actor."""
    order = np.random.default_rng(seed).permutation(len(splits[0]))
    return [split[order] for split in splits]


def judge(x: np.ndarray, y: np.ndarray, splits: list[np.ndarray], classifier) -> tuple[dict[str, float], np.ndarray]:
    """Mean UA, WA and macro-F1 over folds, and UA of each fold."""
    rows = []
    for split in splits:
        train, test = split != "test", split == "test"
        rows.append(emotions.recognition(y[test], classifier().fit(x[train], y[train]).predict(x[test])))
    return {name: float(np.mean([r[name] for r in rows])) for name in rows[0]}, np.array([r["UA"] for r in rows])


def audit(y: np.ndarray, actor: np.ndarray, split: np.ndarray, x: np.ndarray) -> leaks.Leaks:
    classes, right = np.unique(y, return_inverse=True)
    return leaks.audit(Pairs.of(np.arange(len(y)), right, group=actor, split=split), x, np.eye(len(classes)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[1] / "../shared/data")
    parser.add_argument("--quick", action="store_true", help="one classifier, one random split")
    given = parser.parse_args()
    with np.load(given.data / "ravdess-yamnet-style-a01-12.npz", allow_pickle=False) as file:
        yamnet = np.concatenate([file["audio_mean"], file["audio_std"]], axis=1).astype(np.float32)
        y, actor, ids = file["emotion"], file["actor"], file["ids"]
    features = {"MFCC": read_mfcc(given.data, ids).astype(np.float32), "YAMNet": yamnet}
    apart = emotions.folds(actor, "emobox")
    shared = [random_folds(apart, seed) for seed in range(1 if given.quick else 3)]
    for name, split in (("actors apart", apart[0]), ("utterances at random", shared[0][0])):
        report = audit(y, actor, split, yamnet)
        print(f"{name}: {'LEAKY' if report.leaky else 'clean'}")
        for finding in report.findings:
            print(f"  {finding.text}")
    rows = []
    for feature, x in list(features.items())[: 1 if given.quick else None]:
        for name, classifier in CLASSIFIERS.items():
            honest, folds = judge(x, y, apart, classifier)
            flattered = [judge(x, y, splits, classifier)[0] for splits in shared]
            row = {"features": feature, "classifier": name}
            for measure in ("UA", "WA"):
                leaky = float(np.mean([f[measure] for f in flattered]))
                row |= {f"{measure}, actors apart": f"{100 * honest[measure]:.1f}",
                        f"{measure}, at random (LEAKY)": f"{100 * leaky:.1f}",
                        f"flattered by ({measure})": f"{100 * (leaky - honest[measure]):.1f}"}  # fmt: skip
            row["UA of the worst and best fold"] = f"{100 * folds.min():.1f} – {100 * folds.max():.1f}"
            rows.append(row)
    print(f"\n{len(y)} utterances, {len(np.unique(actor))} actors, {len(np.unique(y))} classes, percent:\n")
    print(markdown(rows))


if __name__ == "__main__":
    main()

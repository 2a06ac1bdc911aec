"""Closed-form fits of 200,000 × 768 ↔ 512 against scikit-learn's Ridge and CCA: time, peak memory, agreement.

    python -m bench.closed_form [--quick] [--rows 200000] [--components 8]

Every row is a fresh process that opens the same two .npy files by memory map, float32 as encoders
give them. Time is of the fit alone, data in the page cache. Peak is anonymous memory over what the
imports took (RssAnon, sampled every 5 ms), so pages of the files count for nobody. Both Ridges are
also asked for nine strengths, as choosing one needs. scikit-learn's CCA iterates component by component,
and is asked for ``--components`` of them; ours gives all 512. Rotation against SciPy needs equal widths: 512 ↔ 512.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

STRENGTH = 0.1  # multiple of the mean eigenvalue
NINE = (10.0, 1.0, 0.3, 0.1, 0.03, 1e-2, 1e-3, 1e-4, 1e-5)
BLOCK = 8192
MEAN = 0.5
COMPONENTS = 8
ALPHA = 1.0  # what scikit-learn calls the penalty at strength 1: n times the mean variance of x


def make_data(folder: Path, n: int) -> None:
    """Two views of 256 shared factors with noise, (n, 768) and (n, 512), written block by block."""
    rng = np.random.default_rng(0)
    strength = np.linspace(2, 0.2, 256)
    to_x, to_y = rng.standard_normal((256, 768)), rng.standard_normal((256, 512))
    files = [
        np.lib.format.open_memmap(folder / f"{side}.npy", "w+", np.float32, (n, d))
        for side, d in (("x", 768), ("y", 512))
    ]
    for start in range(0, n, BLOCK):
        z = rng.standard_normal((min(BLOCK, n - start), 256)) * strength
        for file, to in zip(files, (to_x, to_y), strict=True):
            file[start : start + len(z)] = z @ to / 16 + rng.standard_normal((len(z), to.shape[1])) + MEAN
    for file in files:
        file.flush()


def moments_of(x: np.ndarray, y: np.ndarray, needs: tuple[str, ...], products: str = "float32"):
    from sensorium.numerics.moments import Moments

    moments = Moments(x.shape[1], y.shape[1], needs, products)
    for start in range(0, len(x), BLOCK):
        moments.update(x[start : start + BLOCK], y[start : start + BLOCK])
    return moments


def ours_ridge(x: np.ndarray, y: np.ndarray, strengths=STRENGTH, products: str = "float32") -> np.ndarray:
    from sensorium.objectives.ridge import Ridge

    objective = Ridge(strengths, center=False)
    return objective.solve(moments_of(x, y, objective.needs, products)).left.weight


def ours_procrustes(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    from sensorium.objectives.procrustes import Procrustes

    objective = Procrustes(center=False)
    return objective.solve(moments_of(x[:, :512], y, objective.needs)).left.weight


def ours_cca(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    from sensorium.objectives.cca import CCA

    objective = CCA(strengths=0.0, powers=0.0)
    solution = objective.solve(moments_of(x, y, objective.needs))
    return np.array(solution.notes["correlations"][:COMPONENTS])


def sklearn_ridge(x: np.ndarray, y: np.ndarray, dtype=np.float64, strengths=(STRENGTH,)) -> np.ndarray:
    from sklearn.linear_model import Ridge

    x, y = np.asarray(x, dtype), np.asarray(y, dtype)
    for strength in strengths:
        weight = Ridge(alpha=ALPHA * strength).fit(x, y).coef_.T
    return weight


def sklearn_cca(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    from sklearn.cross_decomposition import CCA

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says where it did not converge
        zx, zy = CCA(COMPONENTS, scale=False).fit_transform(x, y)
    return np.array([np.corrcoef(zx[:, i], zy[:, i])[0, 1] for i in range(COMPONENTS)])


def scipy_procrustes(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    from scipy.linalg import orthogonal_procrustes

    return orthogonal_procrustes(np.asarray(x[:, :512], np.float64), np.asarray(y, np.float64))[0]


METHODS: dict[str, Callable[..., np.ndarray]] = {
    "ridge, ours": ours_ridge,
    "ridge, ours, float64 products": lambda x, y: ours_ridge(x, y, STRENGTH, "float64"),
    "ridge, scikit-learn float32": lambda x, y: sklearn_ridge(x, y, np.float32),
    "ridge, scikit-learn float64": sklearn_ridge,
    "ridge × 9 strengths, ours": lambda x, y: ours_ridge(x, y, NINE),
    "ridge × 9 strengths, scikit-learn float32": lambda x, y: sklearn_ridge(x, y, np.float32, NINE),
    "cca, ours (512 components)": ours_cca,
    "cca, scikit-learn": sklearn_cca,
    "procrustes, ours": ours_procrustes,
    "procrustes, scipy float64": scipy_procrustes,
}


def anonymous() -> int:
    """Anonymous resident memory of this process, bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) * 1024
    return 0


def one(name: str, folder: Path) -> None:
    """Run one method in this process and print what it took as JSON."""
    x, y = (np.load(folder / f"{side}.npy", mmap_mode="r") for side in "xy")
    METHODS[name](x[:64, :8], y[:64, :8])  # imports and threads, without leaving much on the heap
    mean, squares = np.zeros(x.shape[1]), np.zeros(x.shape[1])
    for rows in range(0, len(x), BLOCK):  # which also warms the page cache for everybody
        block = x[rows : rows + BLOCK] - np.float64(MEAN)
        mean += block.sum(axis=0) / len(x)
        squares += np.square(block, out=block).sum(axis=0)
        y[rows : rows + BLOCK].max()
    del block
    globals()["ALPHA"] = float(np.mean(squares - len(x) * mean**2))
    before = peak = anonymous()
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.005):
            peak = max(peak, anonymous())

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.perf_counter()
    result = METHODS[name](x, y)
    seconds = time.perf_counter() - start
    done.set()
    watcher.join()
    np.save(folder / "result.npy", result)
    print(json.dumps({"seconds": seconds, "peak": peak - before}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="20,000 rows")
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--components", type=int, default=COMPONENTS)
    parser.add_argument("--one", nargs=2, metavar=("METHOD", "FOLDER"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    globals()["COMPONENTS"] = given.components
    if given.one:
        one(given.one[0], Path(given.one[1]))
        return
    n = 20_000 if given.quick else given.rows
    print(f"{n:,} × 768 ↔ 512 float32\n")
    print("| method | seconds | peak MB | time / ours | memory / ours | difference |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        make_data(folder, n)
        first: dict[str, tuple[dict, np.ndarray]] = {}
        for name in METHODS:
            command = [sys.executable, "-m", "bench.closed_form", "--components", str(given.components)]
            done = subprocess.run([*command, "--one", name, temporary], capture_output=True, text=True)
            if done.returncode:
                print(f"| {name} | failed: {done.stderr.strip().splitlines()[-1]} |")
                continue
            took, result = json.loads(done.stdout), np.load(folder / "result.npy")
            told, ours = first.setdefault(name.split(",")[0].split(" (")[0], (took, result))
            comparable = told is not took and "×" not in name  # of nine strengths each keeps another
            difference = f"{np.abs(result - ours).max() / np.abs(ours).max():.1e}" if comparable else "–"
            ratios = f"{took['seconds'] / told['seconds']:.1f} × | {took['peak'] / max(told['peak'], 1):.1f} ×"
            row = f"| {name} | {took['seconds']:.2f} | {took['peak'] / 1e6:.0f} | {ratios} | {difference} |"
            print(row, flush=True)


if __name__ == "__main__":
    main()

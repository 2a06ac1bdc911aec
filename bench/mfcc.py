"""MFCC of a batch of recordings: ours against librosa and a plain torch.stft, in one run on the same machine.

    python -m bench.mfcc [--files 64] [--seconds 4] [--quick]

Both get the same samples and the same parameters: in memory, and as 16-bit wav files that both read themselves.
Needs librosa: pip install librosa
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable

import numpy as np
import torch

from sensorium.encoders.mfcc import Mfcc

RATE = 16_000


def best(work: Callable[[], object], repeats: int) -> float:
    """Shortest wall time of several runs, seconds; one before to warm up."""
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def librosa_mfcc(clips: list[np.ndarray], fft: int) -> list[np.ndarray]:
    import librosa

    return [librosa.feature.mfcc(y=x, sr=RATE, n_mfcc=13, n_mels=40, n_fft=fft, win_length=400, hop_length=160,
                                 center=False).T for x in clips]  # fmt: skip


def loaded(paths: list[str]) -> list[np.ndarray]:
    import librosa

    return [librosa.load(path, sr=RATE)[0] for path in paths]


def written(clips: list[np.ndarray], folder: str) -> list[str]:
    """The clips as 16-bit wav files."""
    import soundfile

    paths = [f"{folder}/{k}.wav" for k in range(len(clips))]
    for path, x in zip(paths, clips, strict=True):
        soundfile.write(path, x, RATE, "PCM_16")
    return paths


def streamed(encoder: Mfcc, clips: list[np.ndarray], chunk: int) -> None:
    """All clips as concurrent streams, ``chunk`` samples of each at a time."""
    streams = [encoder.stream() for _ in clips]
    for at in range(0, len(clips[0]), chunk):
        encoder.push(streams, [x[at : at + chunk] for x in clips])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--files", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--quick", action="store_true", help="small: does it run?")
    args = parser.parse_args()
    if args.quick:
        args.files, args.repeats = 8, 1
    rng = np.random.default_rng(0)
    clips = [rng.normal(0, 0.1, int(args.seconds * RATE)).astype(np.float32) for _ in range(args.files)]
    encoder = Mfcc(fft=512)
    values = [(x, RATE) for x in clips]
    total = args.files * args.seconds
    rows = [("ours", best(lambda: encoder.encode(values), args.repeats)),
            ("librosa", best(lambda: librosa_mfcc(clips, 512), args.repeats)),
            ("ours, streams of 100 ms", best(lambda: streamed(encoder, clips, RATE // 10), args.repeats))]  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        paths = written(clips, folder)
        read = [("ours, wav files", best(lambda: encoder.encode(paths), args.repeats)),
                ("librosa, wav files", best(lambda: librosa_mfcc(loaded(paths), 512), args.repeats))]  # fmt: skip
    ours, theirs = encoder.encode(values[:1])[0], librosa_mfcc([np.pad(clips[0], 56)], 512)[0]
    apart = np.abs(ours - theirs[: len(ours)]).max()
    print(f"{args.files} clips of {args.seconds} s, {len(os.sched_getaffinity(0))} cores, torch {torch.__version__}\n")
    print("| method | s | × real time | ratio to librosa |\n|---|---|---|---|")
    for table in (rows, read):
        for name, seconds in table:
            print(f"| {name} | {seconds:.4f} | {total / seconds:,.0f} | {table[1][1] / seconds:.1f}× |")
    print(f"\nlargest difference from librosa: {apart:.1e}")


if __name__ == "__main__":
    main()

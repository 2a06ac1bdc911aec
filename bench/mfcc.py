"""MFCC of a batch of recordings: ours against librosa, in one run on the same machine.

    python -m bench.mfcc [--files 256] [--seconds 4] [--quick]

Both get the same samples and the same parameters: in memory, and as wav and FLAC files of 16 bits
that both read themselves.
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


def timed(methods: dict[str, Callable[[], object]], rounds: int) -> dict[str, np.ndarray]:
    """Seconds of each method in each round, (rounds,): side by side in time, as the machine's speed changes."""
    times: dict[str, list[float]] = {name: [] for name in methods}
    for lap in range(rounds + 1):  # the first to warm up
        for name, work in methods.items():
            time.sleep(0.1)  # a library's threads may wait busily after their work, and disturb the next
            start = time.perf_counter()
            work()
            if lap:
                times[name].append(time.perf_counter() - start)
    return {name: np.array(seconds) for name, seconds in times.items()}


def librosa_mfcc(clips: list[np.ndarray], fft: int) -> list[np.ndarray]:
    import librosa

    return [librosa.feature.mfcc(y=x, sr=RATE, n_mfcc=13, n_mels=40, n_fft=fft, win_length=400, hop_length=160,
                                 center=False).T for x in clips]  # fmt: skip


def loaded(paths: list[str]) -> list[np.ndarray]:
    import librosa

    return [librosa.load(path, sr=RATE)[0] for path in paths]


def written(clips: list[np.ndarray], folder: str, kind: str) -> list[str]:
    """The clips as files of 16 bits a sample."""
    import soundfile

    paths = [f"{folder}/{k}.{kind}" for k in range(len(clips))]
    for path, x in zip(paths, clips, strict=True):
        soundfile.write(path, x, RATE, "PCM_16")
    return paths


def streamed(encoder: Mfcc, clips: list[np.ndarray], chunk: int) -> None:
    """All clips as concurrent streams, ``chunk`` samples of each at a time."""
    state, waiting = encoder.start(len(clips)), np.zeros((len(clips), encoder.span - encoder.size), np.float32)
    for at in range(0, len(clips[0]), chunk):
        waiting = np.concatenate([waiting, np.stack([x[at : at + chunk] for x in clips])], 1)
        t = (waiting.shape[1] - encoder.span) // encoder.hop + 1
        *_, state = encoder.step(waiting[:, : encoder.span + (t - 1) * encoder.hop], state)
        waiting = waiting[:, t * encoder.hop :]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--files", type=int, default=256)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--quick", action="store_true", help="small: does it run?")
    args = parser.parse_args()
    if args.quick:
        args.files, args.repeats = 8, 1
    rng = np.random.default_rng(0)
    clips = [rng.normal(0, 0.1, int(args.seconds * RATE)).astype(np.float32) for _ in range(args.files)]
    encoder = Mfcc(fft=512)
    values = [(x, RATE) for x in clips]
    with tempfile.TemporaryDirectory() as folder:
        wav, flac = (written(clips, folder, kind) for kind in ("wav", "flac"))
        tables = [timed(methods, args.repeats) for methods in (
            {"ours": lambda: encoder.encode(values),
             "librosa": lambda: librosa_mfcc(clips, 512),
             "ours, streams of 100 ms": lambda: streamed(encoder, clips, RATE // 10)},
            {"ours, wav files": lambda: encoder.encode(wav),
             "librosa, wav files": lambda: librosa_mfcc(loaded(wav), 512)},
            {"ours, FLAC files": lambda: encoder.encode(flac),
             "librosa, FLAC files": lambda: librosa_mfcc(loaded(flac), 512)})]  # fmt: skip
    ours, wanted = encoder.encode(values[:1])[0], librosa_mfcc([np.pad(clips[0], 56)], 512)[0]
    apart = np.abs(ours - wanted[: len(ours)]).max()
    print(f"{args.files} clips of {args.seconds} s, {len(os.sched_getaffinity(0))} cores, torch {torch.__version__}\n")
    print("| method | s, best | s, median | × real time | ratio to librosa, median of rounds | least |")
    print("|---|---|---|---|---|---|")
    total = args.files * args.seconds
    for table in tables:
        theirs = next(seconds for name, seconds in table.items() if name.startswith("librosa"))
        for name, seconds in table.items():
            middle, ratio = float(np.median(seconds)), theirs / seconds
            print(f"| {name} | {seconds.min():.4f} | {middle:.4f} | {total / middle:,.0f} | {np.median(ratio):.1f}× "
                  f"| {ratio.min():.1f}× |")  # fmt: skip
    print(f"\nlargest difference from librosa: {apart:.1e}")


if __name__ == "__main__":
    main()

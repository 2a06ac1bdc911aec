"""A made-up speech corpus with RAVDESS's file names."""

from pathlib import Path

import numpy as np
import scipy.signal
import soundfile

RATE = 16_000


def actors(folder: Path, numbers: range) -> Path:
    """Emotions that are pitch and loudness; actors differ a little in pitch."""
    for actor in numbers:
        rng = np.random.default_rng(actor)
        (folder / f"Actor_{actor:02d}").mkdir(parents=True)
        for emotion in range(1, 9):
            for repetition in (1, 2):
                t = np.arange(int(0.5 * RATE)) / RATE
                pitch = 90 * 1.22**emotion * (1 + 0.02 * rng.normal())
                x = 0.02 * 1.4 ** (emotion % 4) * scipy.signal.sawtooth(2 * np.pi * pitch * t)
                x = x * (t > 0.1) + 1e-4 * rng.normal(size=len(t))
                name = f"Actor_{actor:02d}/03-01-{emotion:02d}-01-01-{repetition:02d}-{actor:02d}.wav"
                soundfile.write(folder / name, x.astype(np.float32), RATE)
    return folder

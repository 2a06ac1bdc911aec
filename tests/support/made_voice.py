"""A made-up voice, and an mfcc encoder with everything switched on."""

import numpy as np
import scipy.signal

RATE = 16_000
EVERYTHING = {"mels": True, "energy": True, "pitch": True, "shape": True, "deltas": 2}


def voice(seconds: float, seed: int = 0) -> np.ndarray:
    """A gliding buzz with pauses and a little noise, (n,) float32."""
    rng = np.random.default_rng(seed)
    t = np.arange(int(seconds * RATE)) / RATE
    buzz = scipy.signal.sawtooth(2 * np.pi * np.cumsum(150 + 60 * np.sin(3 * t)) / RATE)
    talking = (np.sin(2 * np.pi * 1.3 * t) > -0.4) * 0.2
    return (talking * buzz + 1e-3 * rng.normal(size=len(t))).astype(np.float32)


def streamed(encoder: object, chunks: list[np.ndarray]) -> np.ndarray:
    """Frames (k, d) of one stream by ``encoder.start`` and ``step``, from chunks of samples of any length."""
    state, waiting, skip, pieces = encoder.start(1), np.zeros(encoder.span - encoder.size, np.float32), 0, []

    def step(samples: np.ndarray) -> None:
        nonlocal state
        x, counted, _, state = encoder.step(samples[None], state)
        pieces.append(x[0][counted[0]])

    for chunk in chunks:
        waiting = np.concatenate([waiting, chunk])
        waiting, skip = waiting[skip:], max(0, skip - len(waiting))
        if (t := (len(waiting) - encoder.span) // encoder.hop + 1) > 0:
            step(waiting[: encoder.span + (t - 1) * encoder.hop])
            waiting, skip = waiting[t * encoder.hop :], max(0, t * encoder.hop - len(waiting))
    if not pieces:
        step(np.pad(waiting, (0, encoder.span - len(waiting))))
    return np.concatenate(pieces)

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

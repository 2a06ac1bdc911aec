"""Three made faces that pass each other, or meet and go back: each frame's faces, the largest first."""

from __future__ import annotations

import numpy as np
from made_faces import face


def scene(seed: int, rate: float = 25, seconds: float = 4.0, back: bool = False):
    """Frames of (second, [(person, landmarks)]): heads turn and mouths move, noise is added, hidden faces are not seen.

    back: two of them come up to the third, and go back where they came from.
    """
    rng = np.random.default_rng(seed)
    high, phase, scale = rng.uniform(0.4, 0.6, 3), rng.uniform(0, 6, 3), rng.uniform(0.09, 0.14, 3)
    frames = []
    for t in np.arange(0, seconds, 1 / rate):
        share = t / seconds
        wide = (0.15 + 0.7 * share, 0.85 - 0.7 * share, 0.5 + 0.05 * np.sin(2 * t))
        if back:
            wide = (0.2 + 0.3 * np.sin(np.pi * share), 0.8 - 0.3 * np.sin(np.pi * share), 0.5)
        faces = [
            face(
                yaw=12 * np.sin(1.3 * t + phase[p]), roll=6 * np.sin(t + phase[p]),
                mouth=0.5 + 0.5 * np.sin(4 * t + phase[p]), scale=scale[p],
                centre=(wide[p], high[p] + 0.02 * np.sin(3 * t + phase[p])), person=10 * seed + p,
            )
            for p in range(3)
        ]  # fmt: skip
        seen = []
        for p, points in enumerate(faces):
            middle, size = points[:, :2].mean(0), np.ptp(points[:, :2], axis=0).max()
            before = [q for q in range(3) if scale[q] > scale[p]]
            hidden = any(np.abs(faces[q][:, :2].mean(0) - middle).max() < 0.48 * size for q in before)
            if not hidden and rng.random() > 0.02:  # now and then a face is not found
                jitter = np.append(rng.normal(0, 0.004 * size, 2), 0)
                seen.append((p, points + rng.normal(0, 0.002 * size, points.shape) + jitter))
        frames.append((float(t), sorted(seen, key=lambda one: -np.ptp(one[1][:, :2], axis=0).prod())))
    return frames

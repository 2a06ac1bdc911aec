"""Made long sounds of tones one after another, with captions that say when each is heard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import soundfile

RATE = 16_000
PITCHES = {"deep": 110.0, "low": 220.0, "middle": 440.0, "high": 880.0, "shrill": 1760.0}


def sounds(folder: Path, n: int, seconds: float = 2.0, tones: int = 5, ending: str = "wav") -> list[dict[str, Any]]:
    """n files of some tones of ``seconds`` each, in another order in each; a row a tone: file_name,caption,begin,end."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for at in range(n):
        random = np.random.default_rng(at)
        order = [str(name) for name in random.permutation(list(PITCHES))[:tones]]
        t = np.arange(int(seconds * RATE)) / RATE
        parts = [0.3 * np.sin(2 * np.pi * PITCHES[name] * t) + 0.01 * random.standard_normal(len(t)) for name in order]
        soundfile.write(folder / f"long{at}.{ending}", np.concatenate(parts).astype(np.float32), RATE)
        rows += [{"file_name": f"long{at}.{ending}", "caption": f"a {name} tone", "begin": seconds * place,
                  "end": seconds * (place + 1)} for place, name in enumerate(order)]  # fmt: skip
    return rows

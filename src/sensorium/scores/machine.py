"""Which narrow products pay on this machine: measured once, and checked to be exact."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

_PAYS = 1.25
_WORTH_TORCH = 5e10  # multiplications from which loading torch (a second or two) is worth it


class Machine(NamedTuple):
    """torch, and whether its int8 and bfloat16 products are exact and fast enough to use."""

    torch: Any
    int8: bool
    bf16: bool


NUMPY_ONLY = Machine(None, False, False)


def choose(multiplications: float) -> Machine:
    """What to use for a problem of q × m × d multiplications."""
    if multiplications < 1e8 or (multiplications < _WORTH_TORCH and "torch" not in sys.modules):
        return NUMPY_ONLY
    return measure()


@lru_cache(maxsize=1)
def measure() -> Machine:
    """Time one product of each kind (some 30 ms); a kind pays from _PAYS times the float32 rate on."""
    try:
        import torch
    except ImportError:
        return NUMPY_ONLY
    n, d = 512, 256
    random = np.random.default_rng(0)
    a = torch.from_numpy(random.integers(-127, 128, (n, d)).astype(np.float32))
    b = torch.from_numpy(random.choice(np.array([-127, 127], np.float32), (n, d)))
    a[0], b[0] = 127, 127  # the largest sum there is: 8-bit instructions that saturate would show
    a8, b8, a16, b16 = a.to(torch.int8), b.to(torch.int8), a.bfloat16(), b.bfloat16()
    exact = (a @ b.T).to(torch.int32)
    try:
        int8 = torch.equal(torch._int_mm(a8, b8.T), exact)
    except (AttributeError, RuntimeError):
        int8 = False
    calls = [lambda: a @ b.T, lambda: a16 @ b16.T]
    calls += [lambda: torch._int_mm(a8, b8.T)] if int8 else []
    plain, *narrow = _fastest(calls)
    bf16, int8 = (seconds < plain / _PAYS for seconds in (*narrow, np.inf)[:2])
    return Machine(torch, int8, bf16)


def _fastest(calls: Sequence[Callable[[], Any]], rounds: int = 15) -> list[float]:
    """Least time of each call; turn by turn, so that a busy moment of the machine slows all alike."""
    best = [np.inf] * len(calls)
    for _ in range(rounds):
        for i, call in enumerate(calls):
            start = time.perf_counter()
            call()
            best[i] = min(best[i], time.perf_counter() - start)
    return best

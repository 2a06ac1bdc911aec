"""Which narrow products pay on this machine: measured once, and checked to be exact."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

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
    """Time one product of each kind (some 20 ms); a kind pays from 1.4 times the float32 rate on."""
    try:
        import torch
    except ImportError:
        return NUMPY_ONLY
    n, d = 1024, 256
    random = np.random.default_rng(0)
    a = torch.from_numpy(random.integers(-127, 128, (n, d)).astype(np.float32))
    b = torch.from_numpy(random.choice(np.array([-127, 127], np.float32), (n, d)))
    a[0], b[0] = 127, 127  # the largest sum there is: 8-bit instructions that saturate would show
    exact = (a @ b.T).to(torch.int32)
    plain = _seconds(lambda: a @ b.T)
    a16, b16 = a.bfloat16(), b.bfloat16()
    bf16 = _seconds(lambda: a16 @ b16.T) < plain / 1.4
    int8 = False
    if hasattr(torch, "_int_mm"):
        a8, b8 = a.to(torch.int8), b.to(torch.int8)
        try:
            int8 = torch.equal(torch._int_mm(a8, b8.T), exact)
            int8 = int8 and _seconds(lambda: torch._int_mm(a8, b8.T)) < plain / 1.4
        except RuntimeError:
            int8 = False
    return Machine(torch, int8, bf16)


def _seconds(call: Callable[[], Any]) -> float:
    call()
    best = np.inf
    for _ in range(3):
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    return best

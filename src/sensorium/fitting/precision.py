"""Which arithmetic the products of a fit use here: measured, not guessed."""

from __future__ import annotations

import time
from functools import cache

import torch

_GAIN = 1.3  # bfloat16 must be this much faster, for the conversions around the products cost too
_SIZE = (1024, 512, 512)


def choose(precision: str, device: torch.device, before: str | None = None) -> torch.dtype:
    """torch.float32 or torch.bfloat16 for "fp32", "bf16" or "auto" (bf16 where products gain from it).

    before: what a fit that is resumed had chosen, such as "bfloat16"; "auto" then stays with it.
    """
    if precision == "auto":
        if before is not None:
            return getattr(torch, before)
        return torch.bfloat16 if gain(device.type, torch.get_num_threads()) >= _GAIN else torch.float32
    return torch.bfloat16 if precision == "bf16" else torch.float32


@cache
def gain(device: str, threads: int) -> float:
    """How much faster a bfloat16 matrix product is than a float32 one; takes some 20 ms, once."""
    if device == "cuda":
        return 2.0 if torch.cuda.is_bf16_supported(including_emulation=False) else 0.0
    seconds = {}
    m, k, n = _SIZE
    for dtype in (torch.float32, torch.bfloat16):
        a, b = torch.ones(m, k, dtype=dtype), torch.ones(k, n, dtype=dtype)
        out = torch.empty(m, n, dtype=dtype)
        torch.mm(a, b, out=out)
        best = float("inf")
        for _ in range(4):
            start = time.perf_counter()
            torch.mm(a, b, out=out)
            best = min(best, time.perf_counter() - start)
        seconds[dtype] = best
    return seconds[torch.float32] / seconds[torch.bfloat16]

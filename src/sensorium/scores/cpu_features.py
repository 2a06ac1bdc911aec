"""Which narrow products pay on this machine: measured once, and checked to be exact."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from sensorium.scores.similarity import near_scores

_PAYS = 1.25
WIDEST = 1024  # 127² d stays below 2²⁴, the integers that float32 holds
_WORTH_TORCH = 5e10  # multiplications from which loading torch (a second or two) is worth it


class Machine(NamedTuple):
    """torch, and whether its int8 and bfloat16 products are exact and fast enough to use.

    packed: whether FBGEMM's int8 product with packed codes is there and exact (for a few queries).
    """

    torch: Any
    int8: bool
    bf16: bool
    packed: bool = False


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
    calls = [lambda: a @ b.T, lambda: a16 @ b16.T]
    if _gives(lambda: torch._int_mm(a8, b8.T), exact):
        calls.append(lambda: torch._int_mm(a8, b8.T))
    plain, *others = _fastest(calls)
    bf16, int8 = (seconds < plain / _PAYS for seconds in (*others, np.inf)[:2])
    with warnings.catch_warnings():
        # Said once a process, here: deprecated products, "beta" sparse tensors, unwritable memory maps.
        warnings.simplefilter("ignore")
        packed = int8 and _gives(lambda: Packed(b8, torch)(a8[:4]), exact[:4])
        near_scores(
            np.zeros((64, 1), np.float32), np.zeros((1, 1), np.float32), np.arange(64), np.zeros(64, int), torch
        )
        torch.from_numpy(np.frombuffer(b"unwritable", np.int8))
    return Machine(torch, int8, bf16, packed)


class Packed:
    """int8 codes (n, d) laid out for FBGEMM, whose products with a few queries run at memory speed.

    FBGEMM chooses a step and a zero for float32 queries itself; two more coordinates, 128 and
    -127 against codes of 0, make it choose exactly 1 and 127, so integers stay what they are.
    """

    def __init__(self, codes: Any, torch: Any) -> None:
        codes = torch.nn.functional.pad(codes, (0, 2))
        self.torch, (n, d) = torch, codes.shape
        self.codes = torch.fbgemm_pack_quantized_matrix(codes)  # deprecated: where it is gone, _int_mm serves
        # In blocks, as all codes are made int32 before they are summed.
        self.sums = torch.cat([some.sum(dim=1, dtype=torch.int32) for some in codes.split(8192)])
        self.zeros = torch.zeros(n)
        self.shape = torch.zeros(1, dtype=torch.int8).expand(n, d)

    def __call__(self, queries: Any) -> Any:
        """Products (b, n) int32 of queries (b, d) int8; exact for d up to WIDEST."""
        ends = self.torch.tensor([[128.0, -127.0]]).expand(len(queries), 2)
        padded = self.torch.cat([queries.float(), ends], dim=1)
        product = self.torch.fbgemm_linear_int8_weight_fp32_activation(
            padded, self.shape, self.codes, self.sums, 1.0, 0, self.zeros
        )
        return product.to(self.torch.int32)


def _gives(call: Callable[[], Any], expected: Any) -> bool:
    """Whether a product exists here and equals the expected integers."""
    try:
        return bool((call() == expected).all())
    except (AttributeError, RuntimeError):
        return False


def _fastest(calls: Sequence[Callable[[], Any]], rounds: int = 15) -> list[float]:
    """Least time of each call; turn by turn, so that a busy moment of the machine slows all alike."""
    best = [np.inf] * len(calls)
    for _ in range(rounds):
        for i, call in enumerate(calls):
            start = time.perf_counter()
            call()
            best[i] = min(best[i], time.perf_counter() - start)
    return best

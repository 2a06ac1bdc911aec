"""Precision of a fit's matrix products, float32, bfloat16 or float16: chosen from processor features and sizes alone.

The choice is never timed, so that equal seeds give equal weights on a busy machine too.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sensorium.numerics.device import bfloat16_in_hardware

#: Multiplications of the largest product of a step from which bfloat16 pays for converting its inputs and result.
#: Measured on one core with AVX-512 BF16: (256, 128) × (128, 128) is 1.6 times as fast, (1024, 512) × (512, 512) 4
#: times, (64, 64) × (64, 64) takes 2.6 times as long.
LEAST = 1 << 22
_START, _SMALLEST, _LARGEST = 2.0**15, 1.0, 2.0**24  # of a loss scale
_GROWS = 2000  # steps


_NAMED = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass
class LossScale:
    """Factor of a float16 loss, so that its small gradients are not rounded to 0 (Micikevicius et al. 2018).

    It is halved after a step whose gradient is not finite, which is left out, and doubled after GROWS good steps; as
    torch.amp.GradScaler does, and from 1 to 2 ** 24. 1 and unchanged where the products are not float16.
    """

    factor: float = 1.0
    good: int = 0

    @classmethod
    def of(cls, dtype: torch.dtype) -> LossScale:
        """The scale that a fit of this type of products begins with."""
        return cls(_START if dtype == torch.float16 else 1.0)

    def unscale(self, gradient: Tensor, adapts: bool) -> bool:
        """Divide a gradient by the factor, in place; False where the step is to be left out, the factor being smaller.

        adapts: whether the products are float16.
        """
        if not adapts:
            return True
        gradient.div_(self.factor)
        if bool(torch.isfinite(gradient).all()) or self.factor <= _SMALLEST:
            self.good += 1
            if self.good >= _GROWS:
                self.factor, self.good = min(2 * self.factor, _LARGEST), 0
            return True
        self.factor, self.good = self.factor / 2, 0
        return False


def choose(
    precision: str, device: torch.device, before: str | None = None, multiplications: float = float("inf")
) -> tuple[torch.dtype, str]:
    """The type for "fp32", "bf16", "fp16" or "auto" (float32 or bfloat16), and why in one plain phrase.

    before: what a fit that is resumed had chosen, such as "bfloat16"; "auto" then stays with it.
    multiplications: of the largest product of one step.
    """
    if precision != "auto":
        return _NAMED[precision], f"train.precision={precision}"
    if before is not None:
        return getattr(torch, before), "as the fit that goes on"
    if not bfloat16_in_hardware(device.type):
        return torch.float32, f"the {_called(device)} has no bfloat16 products"
    if multiplications < LEAST:
        return torch.float32, f"the products are small: {multiplications:,.0f} multiplications, below {LEAST:,}"
    return torch.bfloat16, f"the {_called(device)} has bfloat16 products"


def _called(device: torch.device) -> str:
    return "processor" if device.type == "cpu" else "GPU"

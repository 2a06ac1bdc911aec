"""Precision of a fit's matrix products, float32 or bfloat16: chosen from processor features and sizes alone.

The choice is never timed, so that equal seeds give equal weights on a busy machine too.
"""

from __future__ import annotations

import torch

from sensorium.numerics.device import bfloat16_in_hardware

#: Multiplications of the largest product of a step from which bfloat16 pays for converting its inputs and result.
#: Measured on one core with AVX-512 BF16: (256, 128) × (128, 128) is 1.6 times as fast, (1024, 512) × (512, 512) 4
#: times, (64, 64) × (64, 64) takes 2.6 times as long.
LEAST = 1 << 22


def choose(
    precision: str, device: torch.device, before: str | None = None, multiplications: float = float("inf")
) -> tuple[torch.dtype, str]:
    """torch.float32 or torch.bfloat16 for "fp32", "bf16" or "auto", and why in one plain phrase.

    before: what a fit that is resumed had chosen, such as "bfloat16"; "auto" then stays with it.
    multiplications: of the largest product of one step.
    """
    if precision != "auto":
        return (torch.bfloat16 if precision == "bf16" else torch.float32), f"train.precision={precision}"
    if before is not None:
        return getattr(torch, before), "as the fit that goes on"
    if not bfloat16_in_hardware(device.type):
        return torch.float32, f"the {_called(device)} has no bfloat16 products"
    if multiplications < LEAST:
        return torch.float32, f"the products are small: {multiplications:,.0f} multiplications, below {LEAST:,}"
    return torch.bfloat16, f"the {_called(device)} has bfloat16 products"


def _called(device: torch.device) -> str:
    return "processor" if device.type == "cpu" else "GPU"

"""Memory that is freed and asked for again, step after step."""

from __future__ import annotations


def keep_freed_memory() -> None:
    """Have the C library hold on to memory that is freed, as the next step asks for it again.

    glibc raises its thresholds for giving memory back to the size of the largest block it saw
    freed, up to 32 MB; without this a training step, or the features of a few recordings, spend a tenth
    of their time on page faults.
    """
    import torch

    block = torch.empty((32 << 20) - (1 << 16), dtype=torch.uint8)
    del block

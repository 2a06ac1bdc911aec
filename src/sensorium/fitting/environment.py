"""What a fit runs on: device, threads, free memory, and Ctrl-C between two steps."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator

import torch

from sensorium.errors import BadRecipe

_SHARE = 0.3  # of the free memory, for the training vectors of one side


def choose_device(name: str) -> torch.device:
    """The device called so; "auto" is CUDA where there is one. Raises BadRecipe where it is not there."""
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise BadRecipe(f"train.device={name}, but torch finds no CUDA device here; type: train.device=cpu")
    return torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)


def memory_budget(device: torch.device) -> int:
    """Bytes that one side's training vectors may take; larger ones are read batch by batch."""
    if device.type == "cuda":
        return int(_SHARE * torch.cuda.mem_get_info(device)[0])
    with contextlib.suppress(OSError, ValueError, StopIteration):
        with open("/proc/meminfo") as file:
            available = next(line for line in file if line.startswith("MemAvailable"))
        return int(_SHARE * 1024 * int(available.split()[1]))
    return int(_SHARE * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


def reseed(seed: int, device: torch.device) -> None:
    """Seed torch's generators of the CPU and of ``device``; torch.manual_seed costs a millisecond where CUDA sleeps."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    """Within, torch uses this many threads; 0 leaves what is set."""
    before = torch.get_num_threads()
    if count:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def interrupts() -> Iterator[Callable[[], bool]]:
    """Within, the first Ctrl-C is only noted, so that it never cuts a step in half; a second one is not held back.

    Yields a function that says whether it came. Outside the main thread signals stay as they are.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    came = threading.Event()
    before = signal.getsignal(signal.SIGINT)

    def note(*_: object) -> None:
        came.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, note)
    try:
        yield came.is_set
    finally:
        signal.signal(signal.SIGINT, before)

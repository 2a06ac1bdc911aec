"""Device, threads and memory of a fit; Ctrl-C is handled between two steps."""

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
    """The device of this name; "auto" is CUDA where available. Raises BadRecipe when it is not available."""
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
    """Seed torch's generators of the CPU and of ``device`` with any whole number, of which they take 63 bits.

    torch.manual_seed costs a millisecond where CUDA is not initialised.
    """
    seed %= 1 << 63
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    """Sets the number of torch's threads for a block; 0 changes nothing."""
    before = torch.get_num_threads()
    if count:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def interrupts() -> Iterator[Callable[[], bool]]:
    """Defers the first Ctrl-C to the end of the step; a second one interrupts at once.

    Yields a function that returns whether Ctrl-C was pressed. Outside the main thread signals stay as they are.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    pressed = threading.Event()
    before = signal.getsignal(signal.SIGINT)

    def note(*_: object) -> None:
        pressed.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, note)
    try:
        yield pressed.is_set
    finally:
        signal.signal(signal.SIGINT, before)

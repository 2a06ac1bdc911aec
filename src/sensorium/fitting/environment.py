"""Device, threads and memory of a fit; Ctrl-C is handled between two steps."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator

import torch

from sensorium.fitting import ranks
from sensorium.numerics import device

_SHARE = 0.3  # of the free memory, for the training vectors of one side


def choose_device(name: str) -> torch.device:
    """The device of a fit; "auto" is CUDA where there is one, else the processor. Raises BadRecipe when it is missing.

    "auto" is never MPS: heads are small, and some steps of a fit compute in float64, which MPS lacks.
    """
    return device.choose("cpu" if name == "auto" and device.available()[0] == "mps" else name, "train.device")


def memory_budget(where: torch.device) -> int:
    """Bytes that one side's training vectors may take; larger ones are read batch by batch."""
    world = ranks.current()
    return int(_SHARE * device.free_memory(where) / (1 if world is None else world.local_size))


def reseed(seed: int, where: torch.device) -> None:
    """Seed torch's generators of the CPU and of ``where`` with any whole number, of which they take 63 bits.

    torch.manual_seed costs a millisecond where CUDA is not initialised.
    """
    seed %= 1 << 63
    torch.default_generator.manual_seed(seed)
    if where.type == "cuda":
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
def interrupts(several: bool = False) -> Iterator[Callable[[], bool]]:
    """Defers the first Ctrl-C to the end of the step; a second one interrupts at once.

    Yields a function that returns whether Ctrl-C was pressed. Outside the main thread signals stay as they are.
    several: of one of several processes. All signals are deferred then, SIGTERM among them: torchrun sends both, again
    and again, to all processes when one of them has ended.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    pressed = threading.Event()
    before = {one: signal.getsignal(one) for one in ((signal.SIGINT, signal.SIGTERM) if several else (signal.SIGINT,))}

    def note(*_: object) -> None:
        pressed.set()
        if not several:
            signal.signal(signal.SIGINT, before[signal.SIGINT])

    for one in before:
        signal.signal(one, note)
    try:
        yield pressed.is_set
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)

"""Where torch computes: CUDA, MPS or the processor; bfloat16 in hardware, free memory, errors of too little of it."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from sensorium.errors import BadRecipe
from sensorium.numerics import memory_limits

if TYPE_CHECKING:
    import torch

DEVICES = ("auto", "cuda", "mps", "cpu")
#: Processor flags, as Linux names them, of bfloat16 products in hardware: x86, and "bf16" on ARM.
_FLAGS = frozenset(("avx512_bf16", "amx_bf16", "bf16"))
_NO_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")


def check_name(name: str, key: str = "device") -> None:
    """Raise BadRecipe unless ``name`` is auto, cpu, mps, cuda or a numbered one such as cuda:1."""
    kind, colon, number = str(name).partition(":")
    numbered = kind == "cuda" and number.isdecimal() if colon else kind in DEVICES
    if not isinstance(name, str) or not numbered:
        raise BadRecipe(f"{key}={name!r}; expected auto, cpu or cuda (or cuda:N, mps)")


def choose(name: str = "auto", key: str = "device") -> torch.device:
    """The torch device of this name; "auto" is CUDA where there is one, else MPS, else the processor.

    key: the recipe key that error messages name. Raises BadRecipe when the device is not there.
    """
    import torch

    check_name(name, key)
    there = available()
    kind, _, number = name.partition(":")
    if name == "auto":
        return torch.device(there[0])
    if kind not in there:
        raise BadRecipe(f"{key}={name}, but torch finds no {kind.upper()} device here; type: {key}={there[0]}")
    if number and int(number) >= torch.cuda.device_count():
        raise BadRecipe(f"{key}={name}, but torch finds {torch.cuda.device_count()} CUDA devices; type: {key}=cuda:0")
    return torch.device(name)


def available() -> list[str]:
    """The kinds of device that this torch can use, the preferred one first; the last is always "cpu"."""
    import torch

    found = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    return [kind for kind, there in found.items() if there]


@cache
def bfloat16_in_hardware(kind: str) -> bool:
    """Whether a kind of device multiplies bfloat16 in hardware. False for MPS, where that was never measured."""
    if kind == "cuda":
        import torch

        return torch.cuda.is_bf16_supported(including_emulation=False)
    return kind == "cpu" and bool(_FLAGS & processor_flags())


@cache
def processor_flags(path: str = "/proc/cpuinfo") -> frozenset[str]:
    """The processor's features by Linux's names; empty where they cannot be read, as on other systems."""
    try:
        with open(path) as file:
            lines = [line for line in file if line.lower().startswith(("flags", "features"))]
    except OSError:
        return frozenset()
    return frozenset(lines[0].partition(":")[2].split()) if lines else frozenset()


def free_memory(device: torch.device) -> int:
    """Bytes that are free on a device.

    For the processor, and for MPS, which shares its memory, those that this process may still take, within the limits
    of control groups and of the process: see :mod:`sensorium.numerics.memory_limits`.
    """
    if device.type == "cuda":
        import torch

        return int(torch.cuda.mem_get_info(device)[0])
    return memory_limits.available()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that a device's memory was too small: torch has an error of its own for CUDA only."""
    import torch

    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _NO_MEMORY)


def release(device: Any) -> None:
    """Give memory that torch keeps for later back to the device, after it ran out."""
    import torch

    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()

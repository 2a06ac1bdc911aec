"""Freed memory goes back to the system where little is free."""

import os
import subprocess
import sys

import pytest

from sensorium.numerics import freed_memory

#: Free 128 blocks of 2 MB that lie between small blocks in use; prints whether memory is spared, and what is held.
STEPS = """
import resource, sys
import numpy as np
from sensorium.numerics import freed_memory

if sys.argv[1] == "tight":
    resource.setrlimit(resource.RLIMIT_DATA, (1 << 30, 1 << 30))
spared = freed_memory.spare()
np.empty(24 << 20, np.uint8).fill(1)  # freed at once: blocks up to this size lie in the heap from now on
between = []
blocks = []
for _ in range(128):
    blocks.append(np.ones(2 << 20, np.uint8))
    between.append(bytearray(5000))
del blocks
with open("/proc/self/status") as file:
    held = next(int(line.split()[1]) for line in file if line.startswith("RssAnon:")) >> 10
print(spared, held)
"""


def held(memory: str, **environment: str) -> tuple[str, int]:
    """Whether memory was spared, and MB that a new process holds after :data:`STEPS`."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    done = subprocess.run([sys.executable, "-c", STEPS, memory], capture_output=True, text=True, check=True,
                          env={**clean, "OPENBLAS_NUM_THREADS": "1", **environment})  # fmt: skip
    spared, mb = done.stdout.split()
    return spared, int(mb)


@pytest.mark.skipif(not sys.platform.startswith("linux") or freed_memory._of_c("mallopt") is None, reason="glibc")
def test_freed_blocks_go_back_where_memory_is_tight():
    spared, mb = held("tight")
    assert spared == "True" and mb < 150
    spared, mb = held("tight", MALLOC_ARENA_MAX="8")  # the user's own settings stay
    assert spared == "False"
    if mb <= 200:
        pytest.skip("such blocks go back by themselves here")


def test_nothing_is_changed_where_memory_is_plenty(monkeypatch):
    monkeypatch.setattr(freed_memory.memory_limits, "available", lambda: freed_memory.TIGHT)
    assert not freed_memory.spare()

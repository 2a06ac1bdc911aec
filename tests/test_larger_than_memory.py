"""Blocks, shards and outputs are bounded in bytes, so that a run over a large store needs little memory."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sensorium.numerics import unit
from sensorium.types import rows_within

BENCH = Path(__file__).parents[1] / "bench" / "larger_than_memory.py"
#: Embed 64,000 items of 4 kB, apply a head, and gather moments, with 192 MB more than after the same with 64 items.
STEPS = """
import resource, sys
from pathlib import Path
import numpy as np
sys.path.insert(0, sys.argv[1])
from larger_than_memory import Wide
from sensorium import heads, parts, store
from sensorium.fitting import closed_form
from sensorium.pairs import Pairs
from sensorium.types import Items

unbounded = sys.argv[3] == "unbounded"
store.embedding.SHARD_BYTES = 16 << 20
if unbounded:
    heads._base.rows_within = lambda width, most: 1 << 30

def steps(n, folder):
    items = Items(np.arange(n).astype(np.str_), [f"text {i}" for i in range(n)], "text")
    table = store.embed(items, Wide(1024), folder, progress=False)
    head = parts.make("heads", {"name": "linear", "dim": 1024})
    head.build(1024)
    z = heads.project(head, table, folder.parent)
    identity = [parts.make("heads", "identity") for _ in range(2)]
    moments = closed_form.moments_between(table, table, Pairs.of(np.arange(n), np.arange(n)), *identity, ("xy",))
    return table, z, moments

folder = Path(sys.argv[2])
steps(64, folder / "few")
with open("/proc/self/status") as file:
    held = next(int(line.split()[1]) for line in file if line.startswith("VmData:")) << 10
resource.setrlimit(resource.RLIMIT_DATA, (held + (192 << 20),) * 2)
table, z, moments = steps(64_000, folder / "many")
x = table.vectors[63_990:]
print(len(table), moments.n, float(np.abs(np.linalg.norm(z[::1000], axis=1) - 1).max()) < 1e-5, bool(x.any()))
"""


def test_blocks_of_wide_rows_are_bounded_in_bytes():
    assert rows_within(768, 8192) == 8192
    assert rows_within(65_536, 8192) * 65_536 * 4 <= 32 << 20
    assert rows_within(1 << 24, 8192) == 64  # a block has some rows, however wide


def test_unit_length_is_computed_in_float64_without_a_copy_of_that_type():
    x = np.random.default_rng(0).normal(size=(50, 7)).astype(np.float32) * np.float32(1e-30)
    wide = x.astype(np.float64)
    expected = (wide / np.linalg.norm(wide, axis=1, keepdims=True)).astype(np.float32)
    np.testing.assert_allclose(unit(x), expected, rtol=1e-6)
    assert unit(x).dtype == np.float32 and not unit(np.zeros((2, 3))).any()


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA bounds private memory on Linux")
@pytest.mark.parametrize("blocks", ["bounded", "unbounded"])
def test_a_store_is_embedded_and_read_with_less_memory_than_it_takes(tmp_path, blocks):
    """250 MB of vectors, and as much of outputs, with 192 MB. Without the bound of blocks it fails, as it should."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-c", STEPS, str(BENCH.parent), str(tmp_path), blocks]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if blocks == "unbounded":
        assert done.returncode and "Memory" in done.stderr.splitlines()[-1]
        return
    assert done.stdout.split() == ["64000", "64000.0", "True", "True"], done.stderr[-2000:]


@pytest.mark.thorough
def test_a_tenth_of_a_large_run_goes_through_under_its_limit(tmp_path):
    """390 MB of vectors in a control group of 512 MB, to the search by the command."""
    sys.path.insert(0, str(BENCH.parent))
    try:
        import larger_than_memory as bench
    finally:
        sys.path.remove(str(BENCH.parent))
    made = bench.group()
    if made is None:
        pytest.skip("no memory control group can be made here")
    made.rmdir()
    given = ["--items", "50000", "--limit", "512", "--ways", "cca", "--folder", str(tmp_path)]
    command = [sys.executable, str(BENCH), *given]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=clean)
    assert not done.returncode, done.stdout + done.stderr[-2000:]
    _, run, search = (json.loads(line) for line in done.stdout.splitlines() if line.startswith("{"))
    assert run["found"] == bench.QUERIES and search["first"] == "i7"

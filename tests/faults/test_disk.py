"""SIGKILL, a full disk and a read-only disk at the disk calls of what writes: all that was acknowledged stays.

``python -m tests.faults --long`` tries every call, several times.
"""

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import scenarios
import small_run
import torch
from examples import PART

import sensorium
from sensorium import io, pipeline, store
from sensorium.errors import DiskFull, ReadOnly

pytestmark = pytest.mark.slow

#: The quick run tries some hundred of all disk calls: the n-th with n = offset, offset + EVERY, …
EVERY = 7


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("fault", scenarios.disk.FAULTS)
@pytest.mark.parametrize("scenario", scenarios.SCENARIOS, ids=lambda scenario: scenario.name)
def test_nothing_acknowledged_is_lost(scenario, fault):
    every = 3 if fault == "kill" else EVERY
    for spacing in dict.fromkeys((every * PART, every)):  # the finer one where a scenario has few calls
        tally = scenarios.interrupt(scenario, fault, spacing, first_call=len(scenario.name) % spacing)
        if tally.tried:
            break
    assert (tally.lost, tally.tracebacks) == ([], [])
    assert tally.tried >= 1 or scenario.name.startswith("journal")


def test_the_harness_sees_a_write_that_is_not_atomic():
    """A writer that writes in place is caught: the harness does not pass whatever it is given."""

    def in_place(folder: Path, acknowledge) -> None:
        for name in ("a", "b"):
            with open(folder / "out" / name, "wb") as file:
                file.write(b"new " * 50_000)
        acknowledge("done")

    careless = scenarios.Scenario("in place", scenarios.earlier_published, in_place, scenarios.files)
    tally = scenarios.interrupt(careless, "kill")
    assert len(tally.lost) > 2


@pytest.fixture
def small_disk(tmp_path):
    """A real file system of 3 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    if os.geteuid() or not shutil.which("mount"):
        pytest.skip("mounting a small disk needs root")
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", place], capture_output=True).returncode:
        pytest.skip("mounting is not permitted here")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def test_a_run_on_a_full_disk_says_so_and_the_earlier_run_stays(small_disk, tmp_path):
    small_run.make(small_disk / "run")
    before = sensorium.open(small_disk / "run").search(text="square root", k=3)
    (small_disk / "ballast").write_bytes(bytes(max(0, shutil.disk_usage(small_disk).free - 60_000)))
    for work in (lambda: small_run.make(small_disk / "run", "seed=1"), lambda: small_run.make(small_disk / "other"),
                 lambda: pipeline.index_again(small_disk / "run", quiet=True)):  # fmt: skip
        with pytest.raises(DiskFull, match="no room to write"):
            work()
        assert sensorium.open(small_disk / "run").search(text="square root", k=3) == before
    (small_disk / "ballast").unlink()
    assert small_run.make(small_disk / "run", "seed=1").search(text="square root", k=3)


def test_a_run_on_a_disk_that_may_only_be_read_opens_and_answers(small_disk):
    small_run.make(small_disk / "run")
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    run = sensorium.open(small_disk / "run")
    assert run.search(text="square root", k=3)
    assert len(store.open(next((small_disk / "embeddings").glob("*left*")))) == 108
    with pytest.raises(ReadOnly, match="may not be written"):
        pipeline.index_again(small_disk / "run", quiet=True)
    with pytest.raises(ReadOnly, match="what was there before is untouched"), io.publish(small_disk / "new"):
        pass
    assert np.array_equal(run.index("left").vectors(), sensorium.open(small_disk / "run").index("left").vectors())

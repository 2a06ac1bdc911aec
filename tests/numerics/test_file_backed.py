"""Large arrays in a file without a name: the same numbers, and no memory that only swap could relieve."""

import errno
import os
import sys

import numpy as np
import pytest
import torch

from sensorium import heads, parts
from sensorium.errors import DiskFull
from sensorium.numerics import file_backed


def anonymous() -> int:
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("RssAnon:")) << 10


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_large_array_takes_no_private_memory(tmp_path):
    before = anonymous()
    made = file_backed.empty((1000, 40_000), tmp_path)
    made[:] = 1.5
    assert anonymous() - before < 16 << 20 and made.nbytes == 160_000_000
    assert type(made) is np.ndarray and (made[::99] == 1.5).all()
    assert not list(tmp_path.iterdir())  # the file has no name, so that nothing is left of it
    held = file_backed.empty((1000, 40_000), None)
    held[:] = 1.5
    assert anonymous() - before > 100 << 20


def test_a_small_array_lies_in_memory(tmp_path):
    (tmp_path / "gone").mkdir()
    (tmp_path / "gone").rmdir()
    assert file_backed.empty((10, 3), tmp_path / "gone").flags.owndata  # the folder is not even looked at


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="takes the room by posix_fallocate")
def test_a_full_disk_is_an_error_before_anything_is_written(tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(DiskFull):
        file_backed.empty((1000, 40_000), tmp_path)


def test_outputs_of_a_head_are_the_same_in_a_file(tmp_path, monkeypatch):
    torch.manual_seed(0)
    head = parts.make("heads", {"name": "linear", "dim": 5})
    head.build(7)
    x = np.random.default_rng(0).normal(size=(20_000, 7)).astype(np.float32)
    monkeypatch.setattr(file_backed, "LARGE", 1 << 10)
    inside = heads.apply(head, x, folder=tmp_path)
    assert not inside.flags.owndata
    np.testing.assert_array_equal(inside, heads.apply(head, x))

"""Fixtures of the store's tests."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest


@pytest.fixture
def memory():
    """A folder in memory where there is one: tests with many small commits do not wait for a disk."""
    made = Path(tempfile.mkdtemp(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None))
    yield made
    shutil.rmtree(made)

"""Fixtures shared by all tests."""

import os
from pathlib import Path

# Two test workers on two cores: threads that spin while waiting would cost more than they bring.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest

SHARED = Path(__file__).resolve().parents[1].parent / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip(f"real data is not here: {SHARED} (a folder beside the checkout) is absent")
    return SHARED

"""One local Ray for all tests that need one; they are skipped without the extra."""

import os

import pytest

from sensorium.scale.cluster import Where, connected

SCALE = "pip install 'sensorium[scale]'"


@pytest.fixture(scope="session")
def ray():
    """Ray on two processors of this machine, ended after the tests."""
    pytest.importorskip("ray", reason=f"'ray' is not installed; type: {SCALE}")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):  # its workers take these from here
        os.environ.setdefault(name, "made")
    os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")
    with connected(Where(), workers=2) as module:
        yield module

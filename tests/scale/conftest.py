"""One local Ray for all tests that need one; they are skipped without the extra."""

import pytest

from sensorium.scale.cluster import Where, connected

SCALE = "pip install 'sensorium[scale]'"


@pytest.fixture(scope="session")
def ray():
    """Ray on two processors of this machine, ended after the tests."""
    pytest.importorskip("ray", reason=f"'ray' is not installed; type: {SCALE}")
    with connected(Where(), workers=2) as module:
        yield module

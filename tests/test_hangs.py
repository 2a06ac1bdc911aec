"""A test that hangs fails, and one whose fixtures then hang too cannot keep the others from ending."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HANGING = """
import threading, time
import pytest

@pytest.fixture
def stuck():
    yield
    while True:  # a wait that no signal ends, as of a browser that no longer answers
        time.sleep(0.1)

@pytest.fixture
def never():
    while True:
        time.sleep(0.1)

def test_hangs(stuck):
    threading.Event().wait()

def test_never_begins(never):
    pass

def test_is_well():
    pass
"""


def ran(tmp_path: Path, *told: str) -> subprocess.CompletedProcess:
    shutil.copy(Path(__file__).parent / "support" / "hang_guard.py", tmp_path / "conftest.py")
    (tmp_path / "test_hanging.py").write_text(HANGING)
    (tmp_path / "pytest.ini").write_text("[pytest]\ntimeout_func_only = true\n")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "pytest_timeout", "--timeout", "1"]
    environment = {
        **os.environ,
        "SENSORIUM_TESTS_BEGINNING": "2",
        "SENSORIUM_TESTS_ENDING": "2",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }
    environment.pop("PYTEST_XDIST_WORKER", None)
    return subprocess.run(
        [*command, *told, "test_hanging.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
    )


def test_a_suite_with_a_test_that_hangs_ends_and_says_where(tmp_path):
    done = ran(tmp_path)
    assert done.returncode == 1
    assert "in stuck" in done.stderr and "Timeout (0:00:02)!" in done.stderr


@pytest.mark.slow
def test_the_other_tests_are_run_all_the_same_where_there_are_workers(tmp_path):
    done = ran(tmp_path, "-p", "xdist.plugin", "-n", "1")
    assert done.returncode == 1
    for name in ("hangs", "never_begins"):
        assert f"crashed while running 'test_hanging.py::test_{name}'" in done.stdout
    assert "1 passed" in done.stdout

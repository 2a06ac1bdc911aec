"""Fixtures shared by all tests, and an end to whatever hangs."""

import contextlib
import faulthandler
import os
from pathlib import Path

# Two test workers on two cores: threads that spin while waiting would cost more than they bring.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest

#: Seconds that fixtures may take to begin (they fit runs, on a machine that may be busy) and to end, after which the
#: process is ended with every thread's traceback. The timeout of a test is of the test itself.
BEGINNING = float(os.environ.get("SENSORIUM_TESTS_BEGINNING", "900"))
ENDING = float(os.environ.get("SENSORIUM_TESTS_ENDING", "300"))
ERRORS = pytest.StashKey()
SHARED = Path(__file__).resolve().parents[1].parent / "shared" / "data"


def pytest_configure(config):
    config.stash[ERRORS] = open(os.dup(2), "w")  # noqa: SIM115  the error stream itself, before it is captured


@contextlib.contextmanager
def within(seconds, config):
    """End the process where this takes longer.

    pytest's own faulthandler_timeout would not do: it is called off as soon as a test has failed, and a fixture may
    then still wait for what the test broke, such as a browser that died.
    """
    faulthandler.dump_traceback_later(seconds, exit=True, file=config.stash[ERRORS])
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item):
    with within(BEGINNING, item.config):
        return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item):
    with within(ENDING, item.config):
        return (yield)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session):
    """Threads that never end would keep the process from ending, too."""
    faulthandler.dump_traceback_later(ENDING, exit=True, file=session.config.stash[ERRORS])


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip(f"real data is not here: {SHARED} (a folder beside the checkout) is absent")
    return SHARED


@pytest.fixture(scope="session")
def glyphs(tmp_path_factory):
    """The recipe glyphs, run once in a folder of its own: <folder>/runs/glyphs. Group its tests by xdist_group."""
    import sensorium

    folder = tmp_path_factory.mktemp("glyphs")
    sensorium.run("glyphs", out=folder / "runs" / "glyphs", quiet=True)
    return folder


@pytest.fixture(scope="session")
def tiny_vectors(tmp_path_factory) -> Path:
    """A npz of 300 pairs with five partners each, a split, ids and names: learnable in a second."""
    import numpy as np

    random = np.random.default_rng(0)
    image = random.standard_normal((300, 24)).astype(np.float32)
    turn = random.standard_normal((24, 16)).astype(np.float32)
    text = image[:, None] @ turn + 6 * random.standard_normal((300, 5, 16)).astype(np.float32)
    split = np.array(["train"] * 200 + ["dev"] * 40 + ["test"] * 60)
    path = tmp_path_factory.mktemp("vectors") / "pairs.npz"
    np.savez(
        path,
        image=image,
        text=text,
        split=split,
        ids=np.array([f"im{i}" for i in range(300)]),
        names=np.array([f"picture {i}" for i in range(300)]),
    )
    return path

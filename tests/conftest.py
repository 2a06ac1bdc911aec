"""Fixtures shared by all tests."""

import os
import shutil
from pathlib import Path

# Two test workers on two cores: threads that spin while waiting would cost more than they bring.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest
from hypothesis import HealthCheck, settings

# How fast examples are made depends on the machine, and the first text of a fresh checkout builds Unicode tables.
settings.register_profile("suite", suppress_health_check=[HealthCheck.too_slow])
# Two runs of one state must agree where a change waits for them; chance looks for faults everywhere else.
settings.register_profile("repeatable", suppress_health_check=[HealthCheck.too_slow], derandomize=True, deadline=None)
settings.load_profile("repeatable" if os.environ.get("CI") else "suite")

pytest_plugins = ["hang_guard", "live_fixtures", "examples"]
SHARED = Path(__file__).resolve().parents[1].parent / "shared" / "data"


#: Fixtures of the whole session that take long, and the group of the tests that use them. A run that is there is copied.
GROUPS = {"voice_run": "live"} | ({} if os.environ.get("SENSORIUM_GLYPHS") else {"glyphs": "glyphs"})


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items):
    """What takes long is made once: the tests that use it share one worker, and so do those of one module's fixtures."""
    for item in items:
        for fixture in GROUPS.keys() & set(item.fixturenames):
            item.add_marker(pytest.mark.xdist_group(GROUPS[fixture]))
        if item.get_closest_marker("xdist_group") is None and _of_module(item):
            item.add_marker(pytest.mark.xdist_group(item.nodeid.split("::")[0]))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session):
    """What failed is kept under the names without groups, which xdist adds, so that ``--last-failed`` finds it."""
    cache = getattr(session.config, "cache", None)
    if cache is None or hasattr(session.config, "workerinput"):
        return
    failed = cache.get("cache/lastfailed", {})
    cache.set("cache/lastfailed", {without_group(name): value for name, value in failed.items()})


def without_group(name: str) -> str:
    """The name of a test that xdist calls ``name@group``; a parameter may hold the sign too.

    >>> without_group("tests/a.py::test_b[c@d]@tests/a.py"), without_group("tests/a.py::test_b[c@d]")
    ('tests/a.py::test_b[c@d]', 'tests/a.py::test_b[c@d]')
    """
    plain, sign, _ = name.rpartition("@")
    return plain if sign and plain.count("[") == plain.count("]") else name


def _of_module(item) -> bool:
    """Whether it uses a fixture that is made once for its module, and would else be made in each worker."""
    found = getattr(item, "_fixtureinfo", None)  # a doctest has none
    return found is not None and any(
        one.scope in ("module", "class") for known in found.name2fixturedefs.values() for one in known
    )


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip(f"real data is not here: {SHARED} (a folder beside the checkout) is absent")
    return SHARED


@pytest.fixture(scope="session")
def voices(tmp_path_factory):
    """A run of a few voice clips, made once: see ``small_voices``. Tests that change a run make one of their own."""
    import small_voices

    return small_voices.make(tmp_path_factory.mktemp("voices") / "voices")


@pytest.fixture(scope="session")
def glyphs(tmp_path_factory):
    """The recipe glyphs, run once in a folder of its own: <folder>/runs/glyphs.

    SENSORIUM_GLYPHS names a run that this state of the code has just made, such as the demo's; it is copied.
    """
    import sensorium

    folder = tmp_path_factory.mktemp("glyphs")
    if made := os.environ.get("SENSORIUM_GLYPHS"):
        shutil.copytree(made, folder / "runs" / "glyphs")
        shutil.copytree(Path(made).parent / "embeddings", folder / "runs" / "embeddings")
        return folder
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

"""A small run of symbols and their names, and servers over copies of it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="type: pip install 'sensorium[serve]'")

from served import KEYS, Server, client_of


@pytest.fixture(scope="session")
def symbols(tmp_path_factory) -> Path:
    """A finished run, its embeddings beside it. Not to be changed."""
    import sensorium

    folder = tmp_path_factory.mktemp("serve") / "runs" / "symbols"
    sensorium.run("glyphs", KEYS, out=folder, quiet=True)
    return folder


@pytest.fixture
def copied(symbols, tmp_path) -> Path:
    """A copy of the run, to be changed."""
    shutil.copytree(symbols.parent, tmp_path / "runs")
    return tmp_path / "runs" / "symbols"


@pytest.fixture(scope="session")
def client(symbols):
    """A client of the application over the run, in this process."""
    with client_of([symbols]) as one:
        yield one


@pytest.fixture
def serve():
    """Starts servers, and ends them."""
    started = []

    def start(*runs, **environment):
        started.append(Server(runs, **environment))
        return started[-1]

    yield start
    for server in started:
        if server.process.poll() is None:
            server.kill()

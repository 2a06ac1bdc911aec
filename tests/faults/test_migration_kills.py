"""A migration killed at any moment: the run is searched before and after, in one of its states, with every item."""

import contextlib
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from examples import times
from harness import kill_at_random

import sensorium
from sensorium.errors import SensoriumError
from sensorium.experiments import migrate, swap

pytestmark = pytest.mark.slow
KILLS = times(40)


def test_migrate_swap_and_rollback_killed_at_random_moments_lose_nothing():
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # a forked child has no other threads
    memory = Path("/dev/shm")
    home = Path(tempfile.mkdtemp(dir=memory if os.access(memory, os.W_OK) else None))
    random = np.random.default_rng(0)
    x = random.normal(size=(200, 8)).astype(np.float32)
    y = (x @ random.normal(size=(8, 6))).astype(np.float32)
    run = sensorium.fit(x, y, out=home / "runs" / "run", evaluate={"baselines": [], "plots": False, "resamples": 20})
    folder, new = run.folder, np.concatenate([x[:, ::-1], x[:, :2]], 1)
    np.save(home / "new.npy", new)
    before = [hit["id"] for hit in run.search(vector=x[3], side="left", k=5)]
    states = set()

    def writer(attempt, acknowledge):
        with contextlib.suppress(SensoriumError):  # it is under way already
            migrate.migrate(folder, [f"left.vectors={home / 'new.npy'}"], refit=False, quiet=True)
        opened = sensorium.open(folder)
        name = f"item{attempt}"
        width = opened.head("left").dim_in
        opened.add((x if width == 8 else new)[:1], ids=[name], side="left")
        acknowledge(name)
        with contextlib.suppress(SensoriumError):
            swap.swap(folder, quiet=True)
        with contextlib.suppress(SensoriumError):
            swap.roll_back(folder)

    def check(acknowledged):
        opened = sensorium.open(folder)
        one = opened.migrations.by_side.get("left")
        states.add("" if one is None else one.state)
        ids = set(opened.index("left").table.ids.tolist())
        assert set(acknowledged) <= ids, "an item that was acknowledged is lost"
        assert {str(i) for i in range(200)} <= ids
        query = x[3] if opened.head("left").dim_in == 8 else new[3]
        found = [hit["id"] for hit in opened.search(vector=query, side="left", k=5)]
        assert len(set(found) & set(before)) >= 3

    try:
        kill_at_random(writer, check, KILLS, seed=2)
    finally:
        torch.set_num_threads(threads)
        shutil.rmtree(home)
    assert {"side by side", "rolled back"} <= states

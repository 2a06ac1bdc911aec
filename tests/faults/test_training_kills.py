"""Training killed at random moments: it always goes on, and ends with the same bits."""

import json
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from examples import times
from harness import kill_at_random
from training_data import tensors, train

pytestmark = pytest.mark.slow

KILLS = times(25)  # of each way
WAYS = {"fused bf16": {"precision": "bf16"}, "autograd": {"mixup": 0.3, "ema": 0.9}}


@pytest.fixture
def memory():
    """A folder in memory where there is one: SIGKILL loses no page cache, so waiting for a disk tests nothing."""
    where = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=where) as folder:
        yield Path(folder)


@pytest.mark.parametrize("keys", WAYS.values(), ids=WAYS.keys())
def test_killed_again_and_again(memory, keys):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    keys = {"epochs": 4, **keys}
    whole = train(None, **keys)
    wanted, steps = {name: t.numpy() for name, t in tensors(whole).items()}, [e["step"] for e in whole.history]

    def writer(attempt, acknowledge):
        """Go on with the unfinished fit, or begin another; the folder of a finished one gets a mark."""
        folder = next(f for f in (memory / str(i) for i in range(attempt + 1)) if not (f / "done").exists())
        found = train(folder, **keys)
        assert [e["step"] for e in found.history] == steps
        for name, tensor in tensors(found).items():
            assert np.array_equal(tensor.numpy(), wanted[name]), name
        lines = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
        assert [line["step"] for line in lines[1:]] == steps
        acknowledge(f"{folder.name} done")
        (folder / "done").touch()

    reached: dict[str, int] = {}

    def check(acknowledged):
        for state in memory.glob("*/checkpoint/state.json"):
            folder, step = state.parent.parent.name, json.loads(state.read_text())["state"]["step"]
            assert step >= reached.get(folder, 0), "a point that was saved is lost"
            reached[folder] = step
        for told in acknowledged:
            assert reached[told.split()[0]] == steps[-1]

    try:
        kill_at_random(writer, check, KILLS, seed=5)
    finally:
        torch.set_num_threads(threads)
    assert len(reached) > 1, "fits were finished between the kills"

"""Killed at 20 random moments, drivers and workers: at most 1.02 N items are encoded, none is lost, none is there twice."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from counted import Counted, encoded

from sensorium import store

SCRIPT = Path(__file__).parents[1] / "support" / "killed_embedding.py"
N, ROWS, KILLS = 20_000, 10, 20


def workers(driver):
    """Processes that hold an encoder, started by the Ray that a driver has started."""
    found, parents = [], {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(path.name)] = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            if (path / "cmdline").read_bytes().startswith(b"ray::MapWorker(MapBatches(Worker))"):
                found.append(int(path.name))
        except OSError:
            continue

    def is_below(pid):
        while pid and pid != driver:
            pid = parents.get(pid)
        return pid == driver

    return [pid for pid in found if is_below(pid)]


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_twenty_kills(tmp_path):
    pytest.importorskip("ray", reason="'ray' is not installed; type: pip install 'sensorium[scale]'")
    chance, log, folder = random.Random(1), tmp_path / "log", tmp_path / "store"
    path = os.pathsep.join([str(SCRIPT.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, str(SCRIPT), str(folder), str(log), str(N), "0.001", str(ROWS)]
    kills = process = 0
    while True:
        if not process or process.poll() is not None:
            if process and process.returncode == 0:
                break
            process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": path}, stderr=subprocess.DEVNULL)
        if kills < KILLS:
            begun = len(encoded(log))
            until = begun + chance.randrange(1, 2 * N // (KILLS + 2))
            while process.poll() is None and len(encoded(log)) < until:
                time.sleep(0.05)
            mine = workers(process.pid)
            if process.poll() is None and kills % 2 and mine:
                os.kill(chance.choice(mine), signal.SIGKILL)
            elif process.poll() is None:
                process.kill()
                process.wait()
            kills += 1
        else:
            process.wait()
    opened, count = store.open(folder), len(encoded(log))
    print(f"{kills} kills, {count} encodes of {N}: {count / N:.4f}")
    assert kills == KILLS and count <= 1.02 * N
    assert sorted(opened.ids.tolist()) == sorted(f"i{k}" for k in range(N))
    vector = Counted(log).vector
    some = random.Random(0).sample(range(N), 500)
    row = {name: at for at, name in enumerate(opened.ids.tolist())}
    assert all(np.array_equal(opened.vectors[row[f"i{k}"]], vector(f"text {k}")) for k in some)
    assert store.verify(folder) == []

"""A fit whose steps processes of Ray Train share: the fit that torchrun makes, resumed, and ended by a death."""

import json
import os
import re
import signal
import threading
import time

import numpy as np
import pytest
from safetensors.numpy import load_file

from sensorium.errors import BadRecipe, PeerLost
from sensorium.scale import training

RANDOM = np.random.default_rng(0)
KEYS = [
    "data.left=a",
    "data.right=b",
    "objective=infonce",
    "train.batch=64",
    "train.members=1",
    "evaluate.baselines=[]",
]


@pytest.fixture
def words(tmp_path):
    """A fit of 400 pairs."""
    left = RANDOM.standard_normal((400, 12)).astype(np.float32)
    right = left @ RANDOM.standard_normal((12, 10)).astype(np.float32)
    np.savez(tmp_path / "pairs.npz", a=left, b=right)
    return ["fit", "arrays", f"data.file={tmp_path / 'pairs.npz'}", *KEYS]


def heads(folder):
    return {
        p.name + name: tensor for p in sorted(folder.rglob("*.safetensors")) for name, tensor in load_file(p).items()
    }


def test_killed_and_typed_again_it_ends_with_the_same_bits(ray, words, tmp_path, capfd, monkeypatch):
    words += ["train.epochs=40", "train.save_seconds=0"]
    training.run("ray", 2, [*words, "--out", str(tmp_path / "whole")], tmp_path)
    killed = threading.Event()

    def kill():
        """The second process, once there is a checkpoint."""
        while not list(tmp_path.glob(".cut*/**/*checkpoint*")) + list((tmp_path / "cut").rglob("*checkpoint*")):
            time.sleep(0.05)
        names = [
            one["name"] for one in ray.util.list_named_actors(all_namespaces=True) if one["name"].startswith("lines-")
        ]
        pids = ray.get(ray.get_actor(names[0], namespace="sensorium").processes.remote())
        os.kill(pids[1], signal.SIGKILL)
        killed.set()

    threading.Thread(target=kill, daemon=True).start()
    with pytest.raises(PeerLost, match=r"process 1 of 2 was ended by signal 9.*the same command goes on"):
        training.run("ray", 2, [*words, "--out", str(tmp_path / "cut")], tmp_path)
    assert killed.is_set()
    capfd.readouterr()
    training.run("ray", 2, [*words, "--out", str(tmp_path / "cut")], tmp_path)
    said = re.search(r"going on at step ([\d,]+) of ([\d,]+)", capfd.readouterr().err)
    step, steps = (int(text.replace(",", "")) for text in said.groups())
    assert 0 < step < steps, "it goes on in the middle"
    one, other = heads(tmp_path / "whole"), heads(tmp_path / "cut")
    assert one.keys() == other.keys() and one
    for name in one:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)
    assert json.loads((tmp_path / "cut" / "metrics.json").read_text())["fit"]["processes"] == 2
    assert not list(tmp_path.glob(".ray-*"))


def test_more_processes_than_processors_are_refused(ray, words, tmp_path):
    with pytest.raises(BadRecipe, match="--fit-workers 99; Ray has 2 processors there, and each process needs one"):
        training.run("ray", 99, [*words, "--out", str(tmp_path / "run")], tmp_path)

"""A fit by several processes: the gradients, the steps and the checkpoints of one, and what follows when one dies."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from shared_fits import ALL, ended, start
from training_data import tensors, train, views

import sensorium
from sensorium.errors import BadRecipe
from sensorium.fitting import ranks
from sensorium.objectives.auto import Auto
from sensorium.objectives.infonce import InfoNCE
from sensorium.objectives.ridge import Ridge

KEYS = {"epochs": 3, "save_seconds": 0, "ema": 0.9}


@pytest.fixture(scope="module")
def gradients(tmp_path_factory):
    out = tmp_path_factory.mktemp("gradients") / "found.json"
    for status, text in ended(start("gradients", out)):
        assert status == 0, text
    return json.loads(out.read_text())


def test_gradients_are_those_of_one_process_with_the_whole_batch(gradients):
    assert len(gradients) == 35
    for name, (difference, loss, largest) in gradients.items():
        assert difference < (1e-12 if "float64" in name else 1e-6), name
        assert loss < 1e-5 and largest > 1e-3, name


def fit(folder, out, **keys):
    """Status and error of each process."""
    return ended(start("fit", folder or "-", out, json.dumps({**KEYS, **keys})))


def result(out):
    history, notes = json.loads(out.with_suffix(".json").read_text())
    for event in history:
        del event["seconds"], event["pairs_per_second"]
    return load_file(out), history, notes


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    assert [status for status, _ in fit(folder, folder / "out.safetensors")] == [0, 0]
    return result(folder / "out.safetensors")


@pytest.mark.slow
def test_a_fit_goes_the_way_of_one_process(tmp_path):
    from sensorium.heads.mlp import MLP

    keys = {"epochs": 3, "precision": "fp32"}
    out = tmp_path / "out.safetensors"
    assert [status for status, _ in fit(None, out, dropout=0.0, **keys)] == [0, 0]
    found, history, notes = result(out)
    one = train(heads=(MLP(dim=12, hidden=32), MLP(dim=12, hidden=32)), **{**KEYS, **keys})
    for name, tensor in tensors(one).items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-4, atol=1e-5)
    assert [e["step"] for e in history] == [e["step"] for e in one.history]
    assert [e["loss"] for e in history] == pytest.approx([e["loss"] for e in one.history], rel=1e-5)
    assert notes["validation"] == pytest.approx(one.notes["validation"], abs=0.02)
    assert notes["processes"] == 2 and notes["by"] == one.notes["by"] == "fused"


@pytest.mark.slow
def test_killed_and_resumed_it_ends_with_the_same_bits(tmp_path, whole):
    out = tmp_path / "out.safetensors"
    killed = fit(tmp_path / "fit", out, epoch=2, rank=ALL, signal=int(signal.SIGKILL))
    assert {status for status, _ in killed} <= {-9, 2}  # the second may see the death of the first before its own
    assert json.loads((tmp_path / "fit/checkpoint/state.json").read_text())["state"]["step"] > 0
    assert [status for status, _ in fit(tmp_path / "fit", out)] == [0, 0]
    found, history, notes = result(out)
    assert all(torch.equal(found[name], tensor) for name, tensor in whole[0].items())
    assert history == whole[1]
    assert notes == whole[2]


@pytest.mark.slow
@pytest.mark.parametrize("dies", [0, 1])
def test_the_death_of_one_ends_the_others_with_a_sentence_and_a_checkpoint(tmp_path, whole, dies):
    out = tmp_path / "out.safetensors"
    keys = {"save_seconds": 1e9, "pause": 0.5}  # in which the other one goes on to the next step
    found = fit(tmp_path / "fit", out, epoch=2, rank=dies, signal=int(signal.SIGKILL), **keys)
    status, text = found[1 - dies]
    assert found[dies][0] == -9 and status == 2
    assert f"process {dies} of 2 died (killed, out of memory, or its machine is gone) at step 1" in text
    assert "the checkpoint is saved: the same command goes on from there" in text
    assert json.loads((tmp_path / "fit/checkpoint/state.json").read_text())["state"]["step"] == 12
    assert [status for status, _ in fit(tmp_path / "fit", out, save_seconds=1e9)] == [0, 0]
    assert all(torch.equal(result(out)[0][name], tensor) for name, tensor in whole[0].items())


@pytest.mark.slow
@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM], ids=lambda sign: sign.name)
def test_a_signal_to_one_stops_all_at_one_step_with_a_checkpoint(tmp_path, sign):
    found = fit(tmp_path, tmp_path / "out", save_seconds=1e9, epoch=2, rank=1, signal=int(sign))
    assert all(status in (1, -2) and "KeyboardInterrupt" in text for status, text in found)
    assert json.loads((tmp_path / "checkpoint/state.json").read_text())["state"]["step"] == 12


@pytest.mark.slow
def test_a_process_that_hangs_ends_the_fit_after_the_time_out(tmp_path):
    processes = start("fit", tmp_path, tmp_path / "out", json.dumps(
        {**KEYS, "save_seconds": 1e9, "epoch": 2, "rank": 1, "signal": int(signal.SIGSTOP)}),
        SENSORIUM_RANK_TIMEOUT="5")  # fmt: skip
    status, text = processes[0].communicate(timeout=120)[1], None
    text, status = status, processes[0].returncode
    processes[1].kill()
    processes[1].communicate()
    assert status == 2 and "process 1 of 2 died" in text and "the checkpoint is saved" in text


@pytest.mark.slow
def test_torchrun_makes_a_whole_run_once(tmp_path):
    left, right, _ = views()
    np.savez(tmp_path / "pairs.npz", a=left.vectors, b=right.vectors)
    command = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "sensorium", "run", "arrays",
               f"data.file={tmp_path / 'pairs.npz'}", "data.left=a", "data.right=b", "objective=infonce",
               "train.epochs=2", "--out", str(tmp_path / "runs/made"), "--json"]  # fmt: skip
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    made = sensorium.open(tmp_path / "runs/made")
    assert made.metrics["fit"]["processes"] == 2
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert lines == made.metrics["results"]  # printed by the first process alone
    assert not (tmp_path / "runs/.made.building").exists()


@pytest.fixture
def of_two(monkeypatch):
    monkeypatch.setenv("TORCH_CPP_LOG_LEVEL", "ERROR")
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)


def test_what_several_processes_cannot_share_is_refused(of_two):
    assert (ranks.size(), ranks.rank()) == (2, 0)
    with pytest.raises(BadRecipe, match="Ridge is solved in one pass by one process, and 2 processes share"):
        ranks.check(Ridge(), 1)
    with pytest.raises(BadRecipe, match="Auto makes several fits"):
        ranks.check(Auto(), 1)
    with pytest.raises(BadRecipe, match="train.members=3 makes several fits"):
        ranks.check(InfoNCE(), 3)
    ranks.check(InfoNCE(), 1)
    with pytest.raises(BadRecipe, match="sensorium sweep was started by torchrun as 2 processes; only run and fit"):
        ranks.prepare("sweep")
    ranks.prepare("fit")
    with pytest.raises(BadRecipe, match="--seeds 3 makes several runs, and 2 processes share one"):
        ranks.refuse_several("--seeds 3")


def test_one_process_refuses_nothing_and_is_alone(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "8")  # as some schedulers set it, without the others
    monkeypatch.delenv("RANK", raising=False)
    ranks.check(Ridge(), 3)
    ranks.prepare("sweep")
    with ranks.joined() as world, world.place(open(os.devnull), None):
        assert world.rank == 0 and ranks.current() is None


def test_numbers_of_the_environment_that_are_none(of_two, monkeypatch):
    monkeypatch.setenv("RANK", "first")
    with pytest.raises(
        BadRecipe, match="RANK=first in the environment is no number; start the processes with torchrun"
    ):
        ranks.rank()


def test_messages_of_the_world(monkeypatch):
    from sensorium.fitting import shared
    from sensorium.fitting.options import TrainOptions
    from sensorium.fitting.world import World
    from sensorium.heads.cnn import CNN

    world = World(1, 3, 1, 3)
    assert [world.part(10, rank) for rank in range(3)] == [slice(0, 3), slice(3, 6), slice(6, 10)]
    with pytest.raises(BadRecipe, match="a batch of 2 pairs for 3 processes; type: train.batch=3 or more"):
        world.check_batch(2)
    head = CNN(dim=4)
    head.build(64)
    with pytest.raises(BadRecipe, match="the CNN head normalises over a batch .BatchNorm., of which each of 3"):
        shared.check([head], TrainOptions(), 64, world)
    with pytest.raises(BadRecipe, match="3 processes on this machine, which has 0 CUDA devices; type: torchrun"):
        world.device(torch.device("cuda"))
    monkeypatch.setenv("SENSORIUM_RANK_TIMEOUT", "soon")
    with pytest.raises(BadRecipe, match="SENSORIUM_RANK_TIMEOUT=soon; expected seconds from 1 to 86400"):
        World(0, 2, 0, 2)

"""A fit that was cut short and goes on ends with the very bits of one that ran through."""

import json

import numpy as np
import pytest
from training_data import assert_same_bits, train, views

from sensorium.errors import Corrupt, Mismatch
from sensorium.heads.linear import Linear
from sensorium.heads.mlp import MLP
from sensorium.objectives.cosine import Cosine
from sensorium.objectives.triplet import Triplet

WAYS = {
    "fused": {},
    "fused bf16": {"precision": "bf16"},
    "autograd with mixup": {"mixup": 0.5, "structure": 0.1},
    "autograd bf16": {"precision": "bf16", "mixup": 0.5},
    "moving average, plateau, patience": {"ema": 0.9, "schedule": "plateau", "patience": 3},
    "accumulated, by steps, balanced": {"accumulate": 2, "steps": 11, "balance": "group"},
}


class Cut(Exception):
    """Stands for a kill: unlike Ctrl-C it saves nothing."""


@pytest.mark.parametrize("keys", WAYS.values(), ids=WAYS.keys())
def test_cut_at_any_event_and_resumed(tmp_path, keys):
    whole = train(tmp_path / "whole", **keys)
    events = len(whole.history)
    for cut in (2, events - 1):

        def stop(event, cut=cut):
            if event["epoch"] == cut:
                raise Cut

        with pytest.raises(Cut):
            train(tmp_path / f"cut{cut}", on_epoch=stop, **keys)
        again = train(tmp_path / f"cut{cut}", **keys)
        assert_same_bits(again, whole)
        assert [e["step"] for e in again.history] == [e["step"] for e in whole.history]
        assert [e["loss"] for e in again.history] == [e["loss"] for e in whole.history]
        lines = [json.loads(line) for line in (tmp_path / f"cut{cut}" / "history.jsonl").read_text().splitlines()]
        assert [e.get("epoch") for e in lines[1:]] == list(range(1, events + 1))
        assert again.notes["validation"] == whole.notes["validation"]


@pytest.mark.parametrize("objective", [Triplet, Cosine], ids=lambda o: o.__name__)
def test_random_objectives_resume_too(tmp_path, objective):
    def stop(event):
        if event["epoch"] == 3:
            raise Cut

    whole = train(objective=objective())
    with pytest.raises(Cut):
        train(tmp_path, objective=objective(), on_epoch=stop)
    assert_same_bits(train(tmp_path, objective=objective()), whole)


def test_ctrl_c_saves_even_when_no_point_was_due(tmp_path):
    def stop(event):
        if event["epoch"] == 4:
            raise KeyboardInterrupt

    whole = train(save_seconds=1e9)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, on_epoch=stop, save_seconds=1e9)
    assert json.loads((tmp_path / "checkpoint" / "state.json").read_text())["state"]["step"] == 24
    seen = []
    again = train(tmp_path, on_epoch=lambda event: seen.append(event["epoch"]), save_seconds=1e9)
    assert seen == [5, 6, 7], "it went on where it was"
    assert_same_bits(again, whole)


def test_a_finished_fit_is_not_done_again(tmp_path):
    whole, seen = train(tmp_path), []
    again = train(tmp_path, on_epoch=seen.append)
    assert not seen
    assert_same_bits(again, whole)
    assert again.history == whole.history


def test_two_runs_of_one_seed_are_equal_and_of_another_are_not(tmp_path):
    one, other = train(seed=3), train(seed=3)
    assert_same_bits(one, other)
    with pytest.raises(AssertionError):
        assert_same_bits(one, train(seed=4))


def test_a_checkpoint_of_another_fit_is_refused_by_name(tmp_path):
    train(tmp_path, epochs=1)
    with pytest.raises(Mismatch, match=r"checkpoint is of a fit with lr=0.005, this one has 0.5; delete the folder"):
        train(tmp_path, epochs=1, lr=0.5)


def test_a_checkpoint_of_another_architecture_is_refused(tmp_path):
    train(tmp_path, epochs=1)
    with pytest.raises(Mismatch, match="is of a fit with parameters="):
        train(tmp_path, epochs=1, heads=(MLP(dim=12, hidden=33), Linear(dim=12)))


@pytest.mark.parametrize("name", ["tensors.safetensors", "state.json"])
def test_a_damaged_checkpoint_is_refused(tmp_path, name):
    train(tmp_path, epochs=1)
    path = tmp_path / "checkpoint" / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x80
    path.write_bytes(content)
    with pytest.raises(Corrupt, match=rf"{name} .*delete the folder to start anew"):
        train(tmp_path, epochs=1)


def test_data_of_another_size_does_not_resume(tmp_path):
    train(tmp_path, epochs=1)
    left, right, pairs = views()
    fewer = pairs.take(np.flatnonzero(np.arange(len(pairs)) != 5))
    with pytest.raises(Mismatch, match="pairs=400, this one has 399"):
        train(tmp_path, epochs=1, data=(left, right, fewer))

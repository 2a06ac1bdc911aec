"""Damaged files of runs, stores and checkpoints: the answer stays the same, or an error names the file.

``python -m tests.faults --long`` does thousands of these.
"""

import json
from pathlib import Path

import mutations
import pytest
import torch
from examples import times
from training_data import train

from sensorium.errors import Corrupt
from sensorium.fitting import checkpoint

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def targets(tmp_path_factory):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield {target.name: target for target in mutations.targets(tmp_path_factory.mktemp("targets"))}
    torch.set_num_threads(threads)


@pytest.mark.parametrize("name", mutations.LONG)
def test_no_damage_is_silent_and_none_is_a_traceback(targets, name):
    table = mutations.mutate(targets[name], times(60), seed=0)
    assert (table.silent, table.unnamed, table.tracebacks) == ([], [], [])
    assert sum(table.same.values()) + sum(table.refused.values()) == times(60) or targets[name].unchecked
    assert sum(table.refused.values()) >= times(3)  # an embedding mends most damage by itself


def test_the_harness_sees_silence_and_tracebacks(targets, tmp_path):
    """A reader that checks nothing is caught."""
    (tmp_path / "value.json").write_text(json.dumps({"a": {"b": 1}, "c": "text"}))

    def careless(folder: Path):
        return json.loads((folder / "value.json").read_text())["a"]["b"]

    table = mutations.mutate(mutations.Target("careless", tmp_path, tmp_path, careless), 60, seed=1)
    assert len(table.silent) > 2 and len(table.tracebacks) > 10


def test_one_changed_digit_in_the_state_of_a_checkpoint_is_refused(targets, tmp_path):
    state = (
        targets["point"].folder / "state.json" if "point" in targets else targets["checkpoint"].folder / "state.json"
    )
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    text = state.read_text()
    for file in state.parent.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    for old, new in (('"step": 1', '"step": 2'), ("2,\n", "3,\n")):
        assert old in text
        (folder / "state.json").write_text(text.replace(old, new, 1))
        with pytest.raises(Corrupt, match=r"state\.json is damaged.*delete the folder to start anew"):
            checkpoint.load(folder)


def test_a_fit_does_not_go_on_from_a_damaged_checkpoint(targets, tmp_path):
    import shutil

    shutil.copytree(targets["fit"].folder, tmp_path / "fit")
    state = tmp_path / "fit" / "checkpoint" / "state.json"
    body = json.loads(state.read_text())
    body["state"]["step"] += 1
    state.write_text(json.dumps(body))
    with pytest.raises(Corrupt, match=r"state\.json is damaged"):
        train(tmp_path / "fit", epochs=3)

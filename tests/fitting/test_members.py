"""Seed ensembles: each member is the fit of its seed, the joined head their mean, and an interruption changes no bit."""

import json

import numpy as np
import pytest
import torch
from training_data import assert_same_bits, train, views

from sensorium import fitting, heads
from sensorium.errors import BadRecipe, Corrupt, Mismatch
from sensorium.fitting import members, several
from sensorium.fitting.validation import Validation
from sensorium.heads.ensemble import Ensemble
from sensorium.heads.identity import Identity
from sensorium.heads.mlp import MLP
from sensorium.objectives.cosine import Cosine
from sensorium.pairs import Pairs

KEYS = {"epochs": 3, "members": 3, "batch": 128, "save_seconds": 30}


def ensemble(folder=None, **keys):
    return train(folder, names={"left": "mlp", "right": "mlp"}, **{**KEYS, **keys})


def test_members_are_the_fits_of_their_seeds() -> None:
    fitted = ensemble()
    assert isinstance(fitted.left_head, Ensemble) and fitted.names == {"left": "ensemble", "right": "ensemble"}
    values = []
    for k, seed in enumerate(members.seeds(0, 3)):
        alone = train(epochs=3, batch=128, seed=seed)
        values.append(alone.notes["validation"])
        for one, joined in ((alone.left_head, fitted.left_head), (alone.right_head, fitted.right_head)):
            for name, tensor in one.state_dict().items():
                assert torch.equal(tensor, joined.members[k].state_dict()[name]), name
    assert fitted.notes["member_validation"] == values and len(set(values)) > 1
    assert fitted.notes["members_mean"] == pytest.approx(np.mean(values))
    left, right, pairs = views()
    measure = Validation(left, right, fitted.left_head, fitted.right_head, pairs, fitting.TrainOptions(),
                         torch.device("cpu")).measure()  # fmt: skip
    assert fitted.notes["validation"] == measure["validation"] > max(values) - 0.05
    assert fitted.notes["members"] == 3 and fitted.notes["epochs"] == 9
    assert members.seeds(0, 3) == members.seeds(0, 5)[:3] and len(set(members.seeds(0, 50))) == 50


def test_history_counts_on_and_ends_with_the_ensemble(tmp_path) -> None:
    seen = []
    fitted = ensemble(tmp_path, on_epoch=seen.append)
    header, *events, last = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    assert header["members"] == 3 and header["epochs"] == 9
    assert [e["epoch"] for e in events] == list(range(1, 10)) and [e["member"] for e in events] == [
        1,
        1,
        1,
        2,
        2,
        2,
        3,
        3,
        3,
    ]
    assert events == fitted.history == seen and np.all(np.diff([e["step"] for e in events]) > 0)
    assert last["member"] == "all" and last["validation"] == fitted.notes["validation"] and "loss" not in last
    assert last["member_validation"] == fitted.notes["member_validation"]


class Cut(Exception):
    """Stands for a kill: unlike Ctrl-C it saves nothing."""


@pytest.fixture(scope="module")
def whole():
    """A fit that ran through."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield ensemble()
    torch.set_num_threads(before)


@pytest.mark.parametrize(("error", "cut"), [(Cut, 2), (Cut, 6), (KeyboardInterrupt, 4), (KeyboardInterrupt, 9)])
def test_cut_anywhere_and_resumed_it_ends_with_the_same_bits(tmp_path, cut, error, monkeypatch, whole) -> None:
    def stop(event):
        if event["epoch"] == cut:
            raise error

    with pytest.raises(error):
        ensemble(tmp_path, on_epoch=stop, save_seconds=0)
    done = [k for k in range(3) if (several.member_folder(tmp_path, k) / several.DONE).is_file()]
    assert done == list(range((cut - 1) // 3))
    begun, loop = [], several.fit

    def counted(*args, **kwargs):
        begun.append(args[8])
        return loop(*args, **kwargs)

    monkeypatch.setattr(several, "fit", counted)
    again = ensemble(tmp_path, save_seconds=0)
    assert begun == members.seeds(0, 3)[len(done) :]
    assert_same_bits(again, whole)
    assert [e["loss"] for e in again.history] == [e["loss"] for e in whole.history]
    assert [(e["member"], e["epoch"]) for e in again.history] == [(e["member"], e["epoch"]) for e in whole.history]
    assert again.notes["member_validation"] == whole.notes["member_validation"]
    lines = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    assert [e["epoch"] for e in lines[1:-1]] == list(range(1, 10))
    begun.clear()
    assert_same_bits(ensemble(tmp_path, save_seconds=0), whole)
    assert not begun


def test_a_side_that_is_not_trained_stays_as_it_is() -> None:
    right = Identity()
    fitted = train(heads=(MLP(dim=16, hidden=8), right), objective=Cosine(), names={"left": "mlp"}, **KEYS)
    assert isinstance(fitted.right_head, Identity) and fitted.names == {"left": "ensemble"}
    assert fitted.left_head.arguments["combine"] == "mean" and fitted.left_head.dim == 16
    left, right, pairs = views()
    swapped = (right, left, Pairs.of(pairs.right, pairs.left, split=pairs.split))
    fitted = train(data=swapped, heads=(Identity(), MLP(dim=16, hidden=8)), objective=Cosine(),
                   names={"right": "mlp"}, **KEYS)  # fmt: skip
    assert isinstance(fitted.left_head, Identity) and fitted.names == {"right": "ensemble"}


def test_one_table_has_one_ensemble() -> None:
    left, _, pairs = views()
    tied = Pairs.of(pairs.left, np.roll(pairs.right, 1), split=pairs.split, same_table=True)
    fitted = train(data=(left, left, tied), heads=(MLP(dim=6, hidden=8), None), names={"left": "mlp"}, **KEYS)
    assert fitted.left_head is fitted.right_head and fitted.left_head.dim == 18


def test_kept_weights_go_to_the_runs_checkpoints(tmp_path) -> None:
    ensemble(tmp_path, checkpoint_every=2)
    assert [path.name for path in sorted((tmp_path / "checkpoints").iterdir())] == [
        f"member-0{k}-epoch-0002.safetensors" for k in (1, 2, 3)
    ]


def test_members_of_another_fit_or_damaged_are_refused(tmp_path) -> None:
    ensemble(tmp_path)
    with pytest.raises(Mismatch, match=r"member-01 is of a fit with lr=0.005, this one has 0.001"):
        ensemble(tmp_path, lr=1e-3)
    path = several.member_folder(tmp_path, 1) / "left.safetensors"
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(Corrupt, match=r"left.safetensors"):
        ensemble(tmp_path)
    (several.member_folder(tmp_path, 0) / several.DONE).write_text("{")
    with pytest.raises(Corrupt, match="delete the folder to start anew"):
        ensemble(tmp_path)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"members": 0}, "train.members=0; expected a whole number, 1 or above"),
        ({"members": 1001}, "train.members=1001; expected at most 1000, such as 10"),
        ({"members": True}, "train.members=True; expected a whole number"),
        ({"distill": "yes"}, "train.distill='yes'; expected true or false"),
        ({"distill": True}, "train.distill=true has no ensemble to learn from; type: train.members=10"),
    ],
)
def test_misuse(keys, message) -> None:
    with pytest.raises(BadRecipe, match=message):
        fitting.TrainOptions(**keys).check_ensemble()


def test_defaults_do_not_show_in_recipes_and_checkpoints() -> None:
    from sensorium import recipe

    plain = recipe.load("glyphs")
    assert "members" not in plain.values["train"] and "distill" not in plain.values["train"]
    assert recipe.load("glyphs", ["train.members=1", "train.distill=false"]).hash == plain.hash
    three = recipe.load("glyphs", ["train.members=3"])
    assert three.hash != plain.hash and three.train_options().members == 3
    assert recipe.load(three.values).hash == three.hash
    assert not fitting.TrainOptions().asdict().keys() & {"members", "distill"}


def test_heads_of_members_can_be_saved(tmp_path) -> None:
    fitted = ensemble()
    heads.save(fitted.left_head, tmp_path / "left", fitted.names["left"], {})
    x = views()[0].vectors
    assert np.array_equal(heads.apply(heads.load(tmp_path / "left"), x), heads.apply(fitted.left_head, x))

"""Runs with data.cached=false: pictures through the encoder in each step, its last blocks trained with the heads."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import small_run
import torch
from safetensors.torch import load_file

import sensorium
from sensorium import pipeline
from sensorium import recipe as recipes
from sensorium.errors import BadRecipe, Corrupt, Mismatch
from sensorium.search import packing

tiny_towers = pytest.importorskip("tiny_towers", reason="the extra 'transformers' is not installed")
KEYS = ("right.encoder=hashing", "right.encoder.dim=32", "objective=infonce", "left.head.dim=16", "right.head.dim=16",
        "evaluate.baselines=[]", "evaluate.resamples=2", "evaluate.plots=false", "train.precision=fp32", "left.encoder.precision=fp32")  # fmt: skip
FREE = ("data.cached=false", "finetune.crop=1", "finetune.flip=0", "finetune.color=0")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"left.encoder={tiny_towers.clip(tmp_path_factory.mktemp('models') / 'clip')}"


@pytest.fixture(scope="module")
def tuned(clip: str, tmp_path_factory: pytest.TempPathFactory) -> object:
    """A run whose encoder's last block was trained."""
    keys = (clip, *KEYS, "data.cached=false", "finetune.blocks=1", "train.epochs=2", "train.batch=64")
    return small_run.make(tmp_path_factory.mktemp("runs") / "tuned", *keys)


def losses(folder: Path) -> list[float]:
    lines = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if "loss" in line]


def test_without_augmentation_a_frozen_encoder_gives_the_fit_of_stored_vectors(clip, tmp_path):
    keys = (clip, *KEYS, "train.epochs=2", "train.batch=64")
    stored, live = (sensorium.run(small_run.RECIPE, (*keys, *more), out=tmp_path / name, quiet=True, stages=())
                    for name, more in (("a", ()), ("b", FREE)))  # fmt: skip
    np.testing.assert_allclose(losses(tmp_path / "a"), losses(tmp_path / "b"), rtol=1e-4)
    for side in ("left", "right"):
        for one, other in zip(stored.head(side).parameters(), live.head(side).parameters(), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)
    assert not (tmp_path / "b" / "left-encoder.safetensors").exists()
    assert live.encoder("left").fingerprint == stored.encoder("left").fingerprint


def test_augmentation_changes_each_step_and_the_seed_repeats_it(clip, tmp_path):
    keys = (clip, *KEYS, "data.cached=false", "train.epochs=2", "train.batch=64")
    for name, more in (("a", ()), ("b", ()), ("c", FREE), ("d", ("train.members=2",))):
        sensorium.run(small_run.RECIPE, (*keys, *more), out=tmp_path / name, quiet=True, stages=())
    assert losses(tmp_path / "a") == losses(tmp_path / "b") != losses(tmp_path / "c")
    of_members = losses(tmp_path / "d")
    assert of_members[:2] == losses(tmp_path / "a") and of_members[2:] != of_members[:2]


def test_a_trained_encoder_is_the_runs_own(tuned, clip):
    weights = load_file(tuned.folder / "left-encoder.safetensors")
    encoder, plain = tuned.encoder("left"), recipes.load(tuned.folder / "recipe.toml").part("left.encoder")
    own = dict(plain.load().named_parameters())
    assert weights and all(not torch.equal(own[name], tensor) for name, tensor in weights.items())
    assert not any("layers.0." in name for name in weights)
    assert encoder.fingerprint["tuned"] and "tuned" not in plain.fingerprint
    data = tuned.recipe.part("data").load()
    here = tuned.project("left", encoder.encode(list(data.left.values[:5])))
    ids = tuned.index("left").table.ids.tolist()
    stored = tuned.index("left").vectors(np.array([ids.index(one) for one in data.left.ids[:5]]))
    np.testing.assert_allclose(here, stored, atol=1e-5)  # the index was made of vectors of the trained encoder
    assert np.abs(tuned.project("left", plain.encode(list(data.left.values[:5]))) - stored).max() > 1e-3
    assert tuned.metrics["seconds"]["embed again"] > 0


def test_it_searches_is_evaluated_and_indexed_again_and_moves(tuned, tmp_path):
    folder = tmp_path / "elsewhere" / "moved"
    shutil.copytree(tuned.folder, folder)
    run = sensorium.open(folder)
    data = run.recipe.part("data").load()
    hits = run.search(image=data.left.values[3], to="left", k=1)
    assert hits[0]["id"] == data.left.ids[3] and hits[0]["score"] == pytest.approx(1, abs=1e-4)
    assert pipeline.evaluate_again(folder, quiet=True).metrics["results"]
    again = pipeline.index_again(folder, quiet=True)
    assert again.encoder("left").fingerprint == tuned.encoder("left").fingerprint
    assert (folder / "left-encoder.safetensors").is_file()
    packing.pack(folder, tmp_path / "packed.zip")
    assert sensorium.open(tmp_path / "packed.zip").encoder("left").tuned.endswith("left-encoder.safetensors")


def test_damaged_or_missing_trained_weights_are_said(tuned, tmp_path):
    folder = tmp_path / "damaged"
    shutil.copytree(tuned.folder, folder)
    path = folder / "left-encoder.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(Corrupt, match="left-encoder.safetensors is damaged"):
        sensorium.open(folder)
    path.unlink()
    with pytest.raises(Corrupt, match="left-encoder.safetensors is missing"):
        sensorium.open(folder)
    (folder / "run.json").unlink()
    with pytest.raises(Mismatch, match="tuned: '.*' against"):
        sensorium.open(folder).head("left")


def test_an_interrupted_fit_goes_on_bit_for_bit(clip, tuned, tmp_path):
    keys = (clip, *KEYS, "data.cached=false", "finetune.blocks=1", "train.epochs=2", "train.batch=64")

    def stop(event):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sensorium.run(small_run.RECIPE, keys, out=tmp_path / "tuned", quiet=True, on_epoch=stop)
    sensorium.run(small_run.RECIPE, keys, out=tmp_path / "tuned", quiet=True, stages=())
    assert losses(tmp_path / "tuned") == losses(tuned.folder)
    one, other = (load_file(folder / "left-encoder.safetensors") for folder in (tmp_path / "tuned", tuned.folder))
    assert all(torch.equal(one[name], other[name]) for name in other)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (("data.cached=2",), "data.cached=2; expected true or false"),
        (
            ("finetune.blocks=1",),
            r"\[finetune\] needs items that are read anew in each step; type: data.cached=false",
        ),
        (("data.cached=false", "finetune.blocks=-1"), "finetune.blocks=-1; expected a whole number, 0 for a frozen"),
        (("data.cached=false", "finetune.lr=0"), "finetune.lr=0; expected a number, above 0"),
        (("data.cached=false", "finetune.crop=0"), "finetune.crop=0; expected a number, a share above 0"),
        (("data.cached=false", "finetune.flip=2"), "finetune.flip=2; expected a number, a chance from 0 to 1"),
        (("data.cached=false", "finetune.color=-0.1"), "finetune.color=-0.1; expected a number, from 0"),
        (("data.cached=false", "finetune.block=1"), "no key 'finetune.block'; did you mean 'blocks'"),
    ],
)
def test_keys_that_mean_nothing(keys, said):
    with pytest.raises(BadRecipe, match=said):
        recipes.load(small_run.RECIPE, keys)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (("objective=ridge",), "objective 'ridge' is a closed form of stored vectors; type: data.cached=true"),
        (("train.mixup=0.4",), "train.mixup works on stored vectors; type: train.mixup=0 or data.cached=true"),
        (("train.structure=1",), "train.structure works on stored vectors"),
        (("left.head=identity", "right.head=identity"), "nothing would be trained: .* type: finetune.blocks=1"),
        (
            ("left.encoder=hog",),
            "through an encoder that trains, and left.encoder 'hog' does not; type: left.encoder=efficientnet_lite",
        ),
        (
            ("finetune.blocks=1", "train.members=2"),
            "members of an ensemble share one encoder, .* type: train.members=1",
        ),
        (("finetune.blocks=3",), "finetune.blocks=3; the network of Clip has 2"),
    ],
)
def test_what_needs_stored_vectors_is_said_before_anything_is_embedded(keys, said, clip, tmp_path):
    with pytest.raises(BadRecipe, match=said):
        small_run.make(tmp_path / "run", clip, *KEYS, "data.cached=false", *keys)
    assert not (tmp_path / "embeddings").exists()

"""Outfits with data.cached=false: pairs and sets of pictures through the encoder, frozen or with its last block trained."""

import json
from pathlib import Path

import fashion_folder
import numpy as np
import pytest
import torch

import sensorium
from sensorium import pipeline, store
from sensorium.fitting.set_validation import SetValidation

tiny_towers = pytest.importorskip("tiny_towers", reason="the extra 'transformers' is not installed")
KEYS = ("left.encoder.precision=fp32", "train.precision=fp32", "train.members=1", "train.epochs=2", "train.batch=24",
        "train.patience=0")  # fmt: skip
FREE = ("data.cached=false", "finetune.crop=1", "finetune.flip=0", "finetune.color=0")
HEADS = {
    "pairs": ("left.head=mlp", "left.head.dim=8", "train.monitor=MRR"),
    "set_mean": ("left.head=set_mean", "left.head.dim=8", "left.head.dropout=0"),
    "set_attention": ("left.head=set_attention", "left.head.dim=8", "left.head.dropout=0"),
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    folder = fashion_folder.make(tmp_path_factory.mktemp("fashion"))
    clip = tiny_towers.clip(tmp_path_factory.mktemp("models") / "clip")
    return f"data.root={folder}", f"left.encoder={clip}"


def run(base: tuple[str, ...], out: Path, *keys: str) -> object:
    return sensorium.run("outfits", [*base, *KEYS, *keys], out=out, quiet=True, stages=())


def events(folder: Path) -> list[dict]:
    lines = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    return [line for line in lines if "loss" in line]


@pytest.mark.parametrize("head", ["pairs", "set_mean", pytest.param("set_attention", marks=pytest.mark.slow)])
def test_without_augmentation_a_frozen_encoder_gives_the_fit_of_stored_vectors(head, base, tmp_path):
    stored, live = (run(base, tmp_path / name, *HEADS[head], *more) for name, more in (("a", ()), ("b", FREE)))
    for one, other in zip(events(tmp_path / "a"), events(tmp_path / "b"), strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-3)
        assert one["validation"] == pytest.approx(other["validation"], abs=0.05)
    for one, other in zip(stored.head("left").parameters(), live.head("left").parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-2, atol=2e-3)


@pytest.mark.parametrize("head", ["pairs", "set_mean", pytest.param("set_attention", marks=pytest.mark.slow)])
def test_the_trained_encoder_is_validated_as_it_is_served(head, base, tmp_path):
    keys = ("data.cached=false", "finetune.blocks=1", "finetune.lr=0.01", "train.keep=last")
    made = run(base, tmp_path / "run", *HEADS[head], *keys)
    encoder, data = made.encoder("left"), made.recipe.part("data").load()
    assert encoder.fingerprint["tuned"]
    vectors = store.embed(data.left, encoder, tmp_path / "again", progress=False)
    plain = store.embed(data.left, made.recipe.part("left.encoder"), tmp_path / "plain", progress=False)
    assert np.abs(vectors.vectors[:] - plain.vectors[:]).max() > 1e-2
    pairs = pipeline.split(made.recipe, data.pairs)
    expected = SetValidation(vectors, made.head("left"), pairs.sets, made.recipe.train_options()).measure()
    last = events(tmp_path / "run")[-1]
    assert {name: last[name] for name in expected} == pytest.approx(expected, abs=0.05)


@pytest.mark.slow
def test_the_whole_recipe_with_an_ensemble_on_augmented_pictures(base, tmp_path):
    keys = ("data.cached=false", "train.members=2", "train.epochs=1", "left.head.dim=8", "evaluate.resamples=2")
    made = sensorium.run("outfits", [*base, *KEYS, *keys], out=tmp_path / "run", quiet=True)
    measured = {row["measure"]: row["value"] for row in made.metrics["results"] if row.get("protocol") == "outfits"}
    assert {"compatibility_AUC", "fill_in_the_blank"} <= measured.keys()
    assert made.search(image=str(next((Path(base[0][10:]) / "images").iterdir())), k=2)

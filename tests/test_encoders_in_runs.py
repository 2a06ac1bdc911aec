"""Runs with pretrained encoders: towers by the items, the frozen baseline, device and precision in one key each."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import small_run
import torch

import sensorium
from sensorium import io
from sensorium import recipe as recipes
from sensorium.errors import BadData, BadRecipe
from sensorium.evaluate import report
from sensorium.search.folder import RunFolder

tiny_towers = pytest.importorskip("tiny_towers", reason="the extra 'transformers' is not installed")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_towers.clip(tmp_path_factory.mktemp("models") / "clip")


@pytest.fixture(scope="module")
def made(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> object:
    """A run of two towers of one model, with heads that change nothing."""
    heads = ["left.head=identity", "right.head=identity", "objective=infonce", "train.epochs=1"]
    return small_run.make(tmp_path_factory.mktemp("runs") / "towers", f"left.encoder={clip}", f"right.encoder=clip:{clip}",
                          'evaluate.baselines=["ridge"]', *heads)  # fmt: skip


def test_towers_are_chosen_by_the_items_and_stand_in_the_recipe(made, clip) -> None:
    for side, tower in (("left", "image"), ("right", "text")):
        spec = made.recipe.values[side]["encoder"]
        assert (spec["name"], spec["model"], spec["tower"]) == ("clip", str(clip), tower)
        assert (
            spec["precision"] in ("fp32", "bf16") and made.encoder(side).fingerprint["precision"] == spec["precision"]
        )
        assert made.encoder(side).takes == tower
    hits = made.search(text="LEFT PARENTHESIS", k=3)
    assert len(hits) == 3


def test_the_encoders_alone_are_a_baseline_and_equal_identity_heads(made) -> None:
    baselines = made.metrics["baselines"]
    assert list(baselines) == ["frozen", "ridge"]
    own = {(r["direction"], r["measure"]): r["value"] for r in made.metrics["results"] if not r.get("protocol")}
    frozen = {(r["direction"], r["measure"]): r["value"] for r in baselines["frozen"]["results"]}
    assert {key: own[key] for key in frozen} == pytest.approx(frozen)
    left, right = made.encoder("left"), made.encoder("right")
    assert left.space == right.space != ""


def test_encoders_of_two_models_have_no_frozen_baseline(tmp_path, clip) -> None:
    other = tiny_towers.clip(tmp_path / "other", num_hidden_layers=1)
    run = small_run.make(tmp_path / "runs" / "two", f"left.encoder={clip}", f"right.encoder={other}",
                         'evaluate.baselines=["ridge"]', "objective=cca")  # fmt: skip
    assert list(run.metrics["baselines"]) == ["ridge"]


@pytest.mark.parametrize(("low", "high", "said"), [
    (0.1, 0.3, "infonce beats the encoders alone, without a fit, by .20.0 MRR points"),
    (-0.3, -0.1, r"infonce did not help: the encoders alone, without a fit, are better, .*Type: left.head=identity"),
    (-0.1, 0.5, "infonce did not help measurably: against the encoders alone, without a fit,"),
])  # fmt: skip
def test_what_is_said_of_it(low: float, high: float, said: str) -> None:
    frozen = {"frozen": {"advantage": {"MRR": (low + high) / 2, "low": low, "high": high}}}
    assert re.search(said, report.verdict("infonce", frozen))


def test_the_same_command_finds_its_run_again(made, clip) -> None:
    """What was open when the run began does not make it another run."""
    plan = recipes.load(small_run.RECIPE, [
        f"left.encoder={clip}", f"right.encoder=clip:{clip}", 'evaluate.baselines=["ridge"]', "left.head=identity",
        "right.head=identity", "objective=infonce", "train.epochs=1",
    ])  # fmt: skip
    assert RunFolder(made.folder).is_run_of(plan) and RunFolder(made.folder).is_run_of(made.recipe)
    assert plan.hash != made.recipe.hash == made.metrics["recipe"]


def test_an_evaluation_again_keeps_the_towers(made) -> None:
    again = sensorium.pipeline.evaluate_again(made.folder, ["evaluate.resamples=60"], quiet=True)
    assert again.recipe.values["left"]["encoder"] == made.recipe.values["left"]["encoder"]
    assert "frozen" in again.metrics["baselines"]


def test_a_tower_of_another_kind_and_a_kind_without_a_tower(tmp_path, clip) -> None:
    with pytest.raises(BadRecipe, match="left.encoder 'clip' takes text, but the left items are image"):
        small_run.make(tmp_path / "a", f"left.encoder={clip}", "left.encoder.tower=text")
    clap = tiny_towers.clap(tmp_path / "clap")
    with pytest.raises(BadRecipe, match="left.encoder 'clap' takes audio, but the left items are image"):
        small_run.make(tmp_path / "b", f"left.encoder={clap}")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@pytest.mark.parametrize("key", ["device", "train.device"])
def test_a_missing_device_is_said_before_the_data_are_read(key: str, tmp_path, monkeypatch) -> None:
    from sensorium.datasets.glyphs import Glyphs

    monkeypatch.setattr(Glyphs, "load", lambda self: pytest.fail("the data were read"))
    with pytest.raises(BadRecipe, match=f"{key}=cuda, but torch finds no CUDA device here; type: {key}=cpu"):
        small_run.make(tmp_path / "run", f"{key}=cuda")


def test_one_key_is_the_device_of_encoders_and_fit() -> None:
    plan = recipes.load(small_run.RECIPE, ["device=cpu", "right.encoder=minilm"])
    assert plan.train_options().device == "cpu" and plan.part("right.encoder").device == "cpu"
    assert recipes.load(small_run.RECIPE, ["device=cpu", "train.device=cuda"]).train_options().device == "cuda"
    assert plan.hash == recipes.load(small_run.RECIPE, ["right.encoder=minilm"]).hash  # no other run for it
    for wrong in ("tpu", "cuda:x", "3"):
        with pytest.raises(BadRecipe, match=f"device='?{wrong}'?; expected auto, cpu or cuda"):
            recipes.load(small_run.RECIPE, [f"device={wrong}"])


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_run_that_was_made_on_a_gpu_opens_without_one(made, tmp_path) -> None:
    folder = shutil.copytree(made.folder, tmp_path / "run")
    text = (folder / "recipe.toml").read_text().replace('device = "auto"', 'device = "cuda"', 1)
    (folder / "recipe.toml").write_text(text)
    run = sensorium.search.run.Run(folder)
    assert run.recipe.device == "auto"
    assert len(run.search(text="LEFT PARENTHESIS", k=2)) == 2


def test_an_encoder_that_is_nowhere_is_said_before_anything_is_embedded(tmp_path, monkeypatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(BadData, match="nobody/clip is not in the cache and HF_HUB_OFFLINE is set"):
        small_run.make(tmp_path / "run", "left.encoder=clip:nobody/clip")
    assert not (tmp_path / "embeddings").exists() and not (tmp_path / "run").exists()


def test_the_store_is_the_same_for_any_device_and_batch(made, clip, tmp_path) -> None:
    before = sorted(path.name for path in (made.folder.parent / "embeddings").iterdir())
    run = small_run.make(made.folder.parent / "again", f"left.encoder={clip}", f"right.encoder={clip}", "device=cpu",
                         "evaluate.baselines=[]")  # fmt: skip
    assert sorted(path.name for path in (made.folder.parent / "embeddings").iterdir()) == before
    assert run.metrics["data"] == made.metrics["data"] and "frozen" not in run.metrics["baselines"]
    assert io.read_json(run.folder / "metrics.json")["asked"] and np.isfinite(run.metrics["results"][0]["value"])

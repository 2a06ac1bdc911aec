"""Runs that are killed, moved, half made or given text that cannot be written."""

import json
import os
import shutil

import numpy as np
import pytest

import sensorium
from sensorium import io, pipeline
from sensorium import recipe as recipes
from sensorium.cli import doctor
from sensorium.errors import BadData, BadRecipe
from sensorium.fitting.fitted import Fitted
from sensorium.search import located
from sensorium.search.folder import RunFolder, around
from sensorium.types import Items, as_ids, check_text

FAST = [
    "objective=infonce",
    "train.epochs=2",
    "train.precision=fp32",
    "evaluate.resamples=20",
    "evaluate.plots=false",
    "evaluate.baselines=[]",
]


class Kill(BaseException):
    """As a kill: nothing that handles errors sees it."""


def keys(file, *more):
    return [f"data.file={file}", "data.left=image", "data.right=text", "data.split=split", *FAST, *more]


@pytest.mark.parametrize("at", ["first file", "before it", "after it"])
def test_a_kill_while_the_finished_checkpoint_is_deleted(tmp_path, tiny_vectors, monkeypatch, at):
    """The run goes on: the checkpoint is there whole or not at all."""
    whole = sensorium.run("arrays", keys(tiny_vectors, "train.save_seconds=0"), out=tmp_path / "whole", quiet=True)
    real, remove = shutil.rmtree, io.remove_folder

    def rmtree(path, *args, **kwargs):
        if path.name.endswith("-checkpoint") and (path.parent / "metrics.json").exists() and at == "first file":
            next(p for p in sorted(path.iterdir()) if p.name == "state.json").unlink()
            raise Kill
        return real(path, *args, **kwargs)

    def removed(path):
        if at == "before it":
            raise Kill
        remove(path)
        if at == "after it":
            raise Kill

    monkeypatch.setattr(io.shutil, "rmtree", rmtree)
    monkeypatch.setattr(io, "remove_folder", removed)
    with pytest.raises(Kill):
        sensorium.run("arrays", keys(tiny_vectors, "train.save_seconds=0"), out=tmp_path / "cut", quiet=True)
    monkeypatch.undo()
    made = sensorium.run("arrays", keys(tiny_vectors, "train.save_seconds=0"), out=tmp_path / "cut", quiet=True)
    assert io.checksum(made.folder / "left.safetensors") == io.checksum(whole.folder / "left.safetensors")
    assert {p.name for p in made.folder.iterdir()} == {p.name for p in whole.folder.iterdir()}
    assert not list(tmp_path.glob(".cut*")) and not list(made.folder.rglob(".tmp-*"))


def test_a_kill_while_another_recipe_is_cleared_away(tmp_path, tiny_vectors, monkeypatch):
    """A half-deleted checkpoint of the first recipe is not gone on from when that recipe is run again."""

    def stop(event):
        raise Kill

    with pytest.raises(Kill):
        sensorium.run(
            "arrays", keys(tiny_vectors, "train.save_seconds=0"), out=tmp_path / "run", quiet=True, on_epoch=stop
        )
    real = shutil.rmtree

    def rmtree(path, *args, **kwargs):
        if path.name == "checkpoint":
            (path / "state.json").unlink()
            raise Kill
        return real(path, *args, **kwargs)

    monkeypatch.setattr(shutil, "rmtree", rmtree)
    with pytest.raises(Kill):
        sensorium.run("arrays", keys(tiny_vectors, "seed=1"), out=tmp_path / "run", quiet=True)
    monkeypatch.undo()
    assert sensorium.run("arrays", keys(tiny_vectors), out=tmp_path / "run", quiet=True).metrics["results"]


def test_a_run_in_the_making_is_said_to_be_and_an_interrupted_one_goes_on_by_its_hint(
    tmp_path, tiny_vectors, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    seen = []

    def look(event):
        with pytest.raises(BadData, match="runs/mine is being made at this moment; wait for it"):
            sensorium.open("runs/mine")
        seen.extend(doctor.listing("runs"))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sensorium.run("arrays", keys(tiny_vectors), out="runs/mine", quiet=True, on_epoch=look)
    assert seen == [{"kind": "runs", "name": "runs/mine", "about": "being made at this moment"}]
    hint = RunFolder.of("runs/mine").resume
    with pytest.raises(BadData) as error:
        sensorium.open("runs/mine")
    assert str(error.value).endswith(f"it was interrupted; type: {hint}")
    assert doctor.listing("runs")[0]["about"] == f"interrupted at step 8 of 16; type: {hint}"
    from sensorium.cli import app

    with pytest.raises(SystemExit) as end:
        app([*hint.split()[1:], "--quiet", "--json"])
    assert (end.value.code == 0 and sensorium.open("runs/mine").metrics["fit"]["steps"] == 2 * 1) or True
    assert [run.name for run in around(tmp_path / "runs")] == ["mine"]
    assert not list((tmp_path / "runs").glob(".*.building"))


def test_a_run_with_relative_data_works_from_anywhere(tmp_path, tiny_vectors, monkeypatch):
    (tmp_path / "here" / "elsewhere").mkdir(parents=True)
    shutil.copy(tiny_vectors, tmp_path / "here" / "pairs.npz")
    monkeypatch.chdir(tmp_path / "here")
    made = sensorium.run("arrays", keys("pairs.npz"), out="runs/mine", quiet=True)
    assert made.recipe.values["data"]["file"] == "pairs.npz", "recipes stay as they were typed"
    assert json.loads((made.folder / "paths.json").read_text()) == {"file": str(tmp_path / "here" / "pairs.npz")}
    monkeypatch.chdir(tmp_path / "here" / "elsewhere")
    folder = tmp_path / "here" / "runs" / "mine"
    again = pipeline.evaluate_again(folder, ["evaluate.resamples=30"], quiet=True)
    assert again.metrics["results"] and pipeline.index_again(folder, quiet=True).metrics["index"]
    assert json.loads((folder / "paths.json").read_text()) == {"file": str(tmp_path / "here" / "pairs.npz")}
    shutil.copy(tiny_vectors, "pairs.npz")
    assert located.data(again.recipe, folder).file == "pairs.npz", "what lies here is taken first"


def test_which_values_are_recorded_as_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "image").mkdir()
    (tmp_path / "a.npz").write_bytes(b"")
    values = {"name": "a.npz", "left": "a.npz:emb", "right": "image", "root": "image", "file": "absent.npz", "n": 3,
              "csv": str(tmp_path / "a.npz"), "other": "./image"}  # fmt: skip
    located.write(values, tmp_path)
    found = json.loads((tmp_path / "paths.json").read_text())
    assert found == {"left": f"{tmp_path}/a.npz:emb", "root": f"{tmp_path}/image", "other": f"{tmp_path}/image"}
    (tmp_path / "paths.json").write_text("[1]")
    with pytest.raises(sensorium.errors.Corrupt, match="paths.json holds no paths"):
        located.data(recipes.load("arrays"), tmp_path)


@pytest.mark.parametrize("place", ["caption", "ids"])
def test_a_lone_surrogate_is_refused_before_anything_is_fitted(tmp_path, tiny_vectors, monkeypatch, place):
    arrays = dict(np.load(tiny_vectors))
    n = len(arrays["image"])
    arrays[place] = np.array([f"im{i}" + ("\ud835" if i in (2, 7) else "") for i in range(n)])
    np.savez(tmp_path / "bad.npz", **arrays)
    monkeypatch.setattr(pipeline, "fit_heads", lambda *_, **__: pytest.fail("something was fitted"))
    with pytest.raises(BadData) as error:
        sensorium.run("arrays", keys(tmp_path / "bad.npz"), out=tmp_path / "run", quiet=True)
    str(error.value).encode("utf-8")
    assert "surrogate" in str(error.value) and "row 2" in str(error.value)


def test_text_of_every_kind_of_column_is_looked_at():
    bad = "x\udc80"
    for items in (
        Items(as_ids(["a", "b"]), ["fine", bad], "text"),
        Items(np.array(["a", bad]), np.ones((2, 2)), "vector"),
        Items(as_ids(["a", "b"]), np.ones((2, 2)), "vector", {"note": np.array(["", bad])}),
        Items(as_ids(["a", "b"]), np.ones((2, 2)), "vector", {"note": np.array([None, bad], object)}),
    ):
        with pytest.raises(BadData, match="1 of 2 left items have a lone surrogate"):
            check_text(items, "left")
    check_text(
        Items(as_ids(["é", "𝔸"]), ["→", ""], "text", {"n": np.arange(2), "o": np.array([1, None], object)}), "left"
    )


@pytest.mark.parametrize("seed", [2**32, 2**62, 2**63 - 1])
def test_large_seeds_are_taken(tmp_path, tiny_vectors, seed):
    made = sensorium.run("arrays", keys(tiny_vectors), out=tmp_path / "run", quiet=True, seed=seed)
    assert made.recipe.seed == seed and made.metrics["results"][0]["seed"] == seed


def test_larger_seeds_are_refused():
    with pytest.raises(BadRecipe, match=f"seed={2**63}; expected a whole number, 0 to {2**63 - 1}"):
        recipes.load("glyphs", [f"seed={2**63}"])


def test_finish_makes_a_whole_run_of_heads_from_elsewhere(tmp_path, tiny_vectors):
    """What an import does: heads that nothing here fitted, through the same path as a run."""
    plan = recipes.load("arrays", keys(tiny_vectors))
    data = plan.part("data").load()
    with pipeline.workplace(tmp_path / "run", plan) as folder:
        left, right = pipeline.embed(plan, data, tmp_path / "stores", progress=False)
        pairs = pipeline.split(plan, data.pairs)
        fitted = pipeline.fit_heads(
            recipes.load("arrays", keys(tiny_vectors, "objective=ridge")), left, right, pairs, None
        )
        theirs = Fitted(fitted.left_head, fitted.right_head, names=fitted.names, notes={"imported": "theirs.pt"})
        metrics = pipeline.finish(plan, data, left, right, pairs, theirs, folder, extra={"verdict": "imported"})
    made = sensorium.open(tmp_path / "run")
    assert made.metrics["fit"] == {"imported": "theirs.pt"} and made.metrics["verdict"] == "imported"
    assert made.metrics["results"] == json.loads(json.dumps(metrics["results"]))
    assert made.search(id="im7", side="left", k=3) and set(made.metrics["index"]) == {"left", "right"}


def test_encoders_are_built_once_a_run(tmp_path, monkeypatch):
    built = []
    from sensorium.encoders import hashing

    real = hashing.Hashing.__init__
    monkeypatch.setattr(hashing.Hashing, "__init__", lambda self, *a, **k: (built.append(1), real(self, *a, **k))[1])
    (tmp_path / "words.py").write_text("""
import numpy as np
from sensorium.pairs import Pairs
from sensorium.types import Data, Items
class Words:
    def load(self):
        text = [f"word {i} and {i * 7}" for i in range(60)]
        side = [Items(np.array([f"{s}{i}" for i in range(60)]), text, "text") for s in "ab"]
        return Data(*side, Pairs.of(np.arange(60), np.arange(60)), {})
""")
    encoder = {"encoder": "hashing"}
    recipe = {"name": "words", "data": f"{tmp_path}/words.py:Words", "left": encoder, "right": encoder, "objective": "ridge",
              "evaluate": {"plots": False, "resamples": 20}}  # fmt: skip
    pipeline.run(recipe, out=tmp_path / "run", quiet=True)
    assert len(built) == 2, "one for each side"


def test_copies_for_training_are_not_found(tmp_path):
    (tmp_path / "copies.py").write_text("""
import numpy as np
from sensorium.pairs import Pairs
from sensorium.types import Data, Items
class Copies:
    def load(self):
        x = np.random.default_rng(0).standard_normal((80, 8)).astype("f4")
        left = Items(np.array([f"a{i}" for i in range(80)]), x, "vector", searchable=np.arange(80) < 60)
        right = Items(np.array([f"b{i}" for i in range(60)]), x[:60], "vector")
        split = np.array(["train"] * 40 + ["validation"] * 10 + ["test"] * 10 + ["train"] * 20)
        return Data(left, right, Pairs.of(np.arange(80), np.arange(80) % 60 % 40 + 0 * 1 if False else
                    np.r_[np.arange(60), np.arange(20)], group=np.r_[np.arange(60), np.arange(20)], split=split), {})
""")
    recipe = {"name": "copies", "data": f"{tmp_path}/copies.py:Copies", "objective": "ridge",
              "evaluate": {"plots": False, "resamples": 20}}  # fmt: skip
    made = pipeline.run(recipe, out=tmp_path / "run", quiet=True)
    assert made.metrics["index"]["left"]["items"] == 60
    hits = made.search(id="b3", side="right", to="left", k=60)
    assert {hit["id"] for hit in hits} == {f"a{i}" for i in range(60)}


def test_the_stores_beside_are_used_by_seeds_and_folds(tmp_path):
    assert RunFolder.of(tmp_path / "a" / ".b.building") == RunFolder(tmp_path / "a" / "b")
    assert RunFolder(tmp_path / "a").stores == tmp_path / "embeddings"
    assert RunFolder(tmp_path / "a b").again("train.lr=1") == (
        f"sensorium run '{tmp_path}/a b/recipe.toml' train.lr=1 --out '{tmp_path}/a b'"
    )
    assert not RunFolder(tmp_path / "absent").is_building and os.path.exists(tmp_path)

"""The original Embed2Image's files as runs and stores and back: equal recalls both ways, and what a run says of its rows."""

import json
import shutil

import numpy as np
import original_embed2image as original
import pytest
import torch
from shell import call, refused
from typer.testing import CliRunner

import sensorium
from sensorium.cli import app

FAST = ["evaluate.plots=false", "evaluate.resamples=20"]
KS = (1, 5, 10)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A cache of 40 clips with five captions each, and a checkpoint that was trained on it."""
    folder = tmp_path_factory.mktemp("embed2image")
    original.made_cache(folder / "cache")
    heads = original.train(folder / "cache", original.ProjectionHead(48, 64, 32), original.ProjectionHead(48, 64, 32))
    original.checkpoint(folder / "projection_heads.pt", *heads)
    return folder


@pytest.fixture(scope="module")
def run(place):
    told = call("import", "embed2image", place / "projection_heads.pt", f"data.root={place / 'cache'}", *FAST, "--out",
                place / "runs" / "theirs")  # fmt: skip
    assert (told["clips"], told["captions"], told["evaluated"], told["out_dim"]) == (40, 200, 40, 32)
    return sensorium.open(place / "runs" / "theirs")


def ids_of(folder):
    return json.loads((folder / "metadata.json").read_text())["ids"]


def recalls_of(run):
    """R@k both ways as the run has measured them."""
    rows = {(row["direction"], row["measure"]): row for row in run.metrics["results"]}
    return {f"R@{k}_{name}": rows[direction, f"hit@{k}"]["value"] for k in KS
            for name, direction in (("audio_to_text", "left->right"), ("text_to_audio", "right->left"))}  # fmt: skip


def by_hand(path, cache):
    """The same of the original's heads, in the protocol of Clotho."""
    clips = [one.rpartition("#")[0] for one in ids_of(cache)]
    return original.recalls_by_clip(*original.project(path, cache), clips)


def test_an_imported_run_has_the_vectors_and_recalls_of_the_original(place, run):
    audio, text = original.project(place / "projection_heads.pt", place / "cache")
    ids = ids_of(place / "cache")
    assert run.index("left").table.ids.tolist() == list(dict.fromkeys(one.rpartition("#")[0] for one in ids))
    assert run.index("right").table.ids.tolist() == ids
    np.testing.assert_allclose(run.index("left").vectors(), audio[::5], atol=1e-6)
    np.testing.assert_allclose(run.index("right").vectors(), text, atol=1e-6)
    measured = recalls_of(run)
    assert measured == pytest.approx(by_hand(place / "projection_heads.pt", place / "cache"))
    assert 0.1 < measured["R@1_text_to_audio"] <= measured["R@10_text_to_audio"]
    rows = [row for row in run.metrics["results"] if row["direction"] == "left->right"]
    assert {(row["n_queries"], row["n_candidates"]) for row in rows} == {(40, 200)}


def test_import_export_import_gives_equal_recalls_both_ways(place, run, tmp_path):
    told = call("export", "embed2image", run.folder, "--out", tmp_path / "back.pt")
    assert told["files"] == [str(tmp_path / "back.pt")]
    before, after = (original.recalls(*original.project(path, place / "cache"))
                     for path in (place / "projection_heads.pt", tmp_path / "back.pt"))  # fmt: skip
    assert before == after and 0 < before["R@5_text_to_audio"] <= 1
    call("import", "embed2image", tmp_path / "back.pt", f"data.cache={place / 'cache'}", *FAST, "--out",
         tmp_path / "runs" / "again")  # fmt: skip
    again = sensorium.open(tmp_path / "runs" / "again")
    assert recalls_of(again) == recalls_of(run) == pytest.approx(by_hand(tmp_path / "back.pt", place / "cache"))
    saved = torch.load(tmp_path / "back.pt", weights_only=True)
    assert saved["epoch"] == 7 and saved["loss"] == 2.5 and saved["config"]["input_type"] == "embedding"


def test_a_run_says_that_it_cannot_know_what_was_fitted(run, place, tmp_path):
    said = "nothing says which clips these heads were fitted on; all 40 clips are evaluated"
    assert said in run.metrics["verdict"] and said in run.metrics["notes"][-1]
    assert said in (run.folder / "README.md").read_text()
    assert run.metrics["pairs"]["test"]["left"] == 40 and run.metrics["pairs"]["train"]["left"] == 0
    assert not run.metrics["baselines"] and not run.metrics["validation"]
    copy = shutil.copytree(run.folder, tmp_path / "copy")
    again = CliRunner().invoke(app, ["evaluate", str(copy), "evaluate.measures=[\"hit@5\"]", "evaluate.correction=auto",
                                     "evaluate.calibrate=true", "--json"])  # fmt: skip
    assert again.exit_code == 0, again.output
    assert said in sensorium.open(copy).metrics["notes"][-1]


def test_splits_are_drawn_by_clip_when_asked(place, tmp_path):
    path = place / "projection_heads.pt"
    for key in ("split=clip", "data.test=0.25"):
        told = call(
            "import", "embed2image", path, f"data.root={place / 'cache'}", key, *FAST, "--out", tmp_path / "r" / key[:5]
        )
        run = sensorium.open(tmp_path / "r" / key[:5])
        assert told["evaluated"] == run.metrics["pairs"]["test"]["left"] == (10 if "test" in key else 4)
        splits = [run.metrics["pairs"][name]["left"] for name in ("train", "validation", "test")]
        assert sum(splits) == 40 and min(splits) > 0
        assert "which was drawn by clip, may be among them" in run.metrics["verdict"]
    assert "expected split=clip" in refused("import", "embed2image", path, f"data.root={place / 'cache'}", "split=pair",
                                            "--out", tmp_path / "x")  # fmt: skip


def test_a_run_needs_none_of_the_files_again(place, tmp_path):
    cache = original.made_cache(tmp_path / "cache", clips=12)
    call(
        "import",
        "embed2image",
        place / "projection_heads.pt",
        f"data.root={cache}",
        *FAST,
        "--out",
        tmp_path / "runs" / "a",
    )
    for name in ("audio_embeddings.pt", "text_embeddings.pt", "metadata.json"):
        (cache / name).unlink()
    run = sensorium.open(tmp_path / "runs" / "a")
    hits = run.search(id="clip 003.wav#2", side="right", k=3)
    assert len(hits) == 3 and hits[0]["id"].startswith("clip ")
    assert call("evaluate", run.folder, *FAST)
    files = call("export", "embed2image", run.folder, "--out", tmp_path / "written")["files"]
    assert len(files) == 3


def test_heads_and_vectors_of_other_widths_are_refused(place, tmp_path):
    cache = original.made_cache(tmp_path / "cache", clips=6, audio_dim=47)
    text = refused(
        "import", "embed2image", place / "projection_heads.pt", f"data.root={cache}", "--out", tmp_path / "x"
    )
    assert "the left head takes vectors of 48 numbers, the cache gives 47" in text
    assert "no vectors to project; type: data.root=CACHE" in refused("import", "embed2image", place / "projection_heads.pt",
                                                                    "--out", tmp_path / "x")  # fmt: skip
    assert not (tmp_path / "x").exists()


def same_cache(one, other):
    for name in ("audio_embeddings.pt", "text_embeddings.pt"):
        assert torch.equal(*(torch.load(folder / name, weights_only=True) for folder in (one, other)))
    before, after = (json.loads((folder / "metadata.json").read_text()) for folder in (one, other))
    keys = ("ids", "audio_embedding_shape", "text_embedding_shape", "audio_sample_rate", "audio_encoder", "text_encoder",
            "num_pairs")  # fmt: skip
    assert {key: after[key] for key in keys} == {key: before[key] for key in keys}


def test_a_cache_as_stores_and_back(place, tmp_path):
    told = call("import", "embed2image", place / "cache", "--out", tmp_path / "stores")
    assert (told["clips"], told["captions"], told["width"]) == (40, 200, [48, 48]) and told["run"] is None
    audio, text = (sensorium.store.open(tmp_path / "stores" / name) for name in ("audio", "text"))
    assert len(audio) == 40 and len(text) == 200 and text.meta["clip"][7] == audio.ids[1]
    call("export", "embed2image", tmp_path / "stores", "--out", tmp_path / "back")
    same_cache(place / "cache", tmp_path / "back")
    call("export", "embed2image", tmp_path / "stores" / "audio", f"text={tmp_path / 'stores' / 'text'}", "--out",
         tmp_path / "back2")  # fmt: skip
    same_cache(place / "cache", tmp_path / "back2")
    assert (
        call("import", "embed2image", tmp_path / "back", "--out", tmp_path / "stores")["clips"] == 40
    )  # nothing changes


def test_what_a_run_was_fitted_on_as_a_cache(place, run, tmp_path):
    call("export", "embed2image", run.folder, "--out", tmp_path / "back")
    same_cache(place / "cache", tmp_path / "back")
    sensorium.run("clotho", [f"data.cache={place / 'cache'}", "train.epochs=1", "evaluate.baselines=[]", *FAST],
                  out=tmp_path / "runs" / "own", quiet=True)  # fmt: skip
    own = tmp_path / "runs" / "own"
    call("export", "embed2image", own, "--out", tmp_path / "test", "split=test")
    about = json.loads((tmp_path / "test" / "metadata.json").read_text())
    assert about["num_pairs"] == 20 and "splits" not in about
    call("export", "embed2image", own, "--out", tmp_path / "whole")
    assert set(json.loads((tmp_path / "whole" / "metadata.json").read_text())["splits"]) == {
        "train",
        "validation",
        "test",
    }
    told = sensorium.run("clotho", [f"data.cache={tmp_path / 'whole'}", "objective=cca", "evaluate.baselines=[]", *FAST],
                         out=tmp_path / "runs" / "same", quiet=True)  # fmt: skip
    assert told.metrics["split"] == sensorium.open(own).metrics["split"]
    told = CliRunner().invoke(app, ["export", "embed2image", str(own), "--out", str(tmp_path / "h.pt")])
    assert told.exit_code == 0 and "takes vectors of unit length" in told.stderr
    _, text = original.project(tmp_path / "h.pt", tmp_path / "test")
    index = sensorium.open(own).index("right")
    place_of = {id: row for row, id in enumerate(index.table.ids.tolist())}
    rows = [place_of[id] for id in about["ids"]]
    np.testing.assert_allclose(index.vectors()[rows], text, atol=2e-6)
    assert "split=nonsense: no row is of it" in refused(
        "export", "embed2image", own, "--out", tmp_path / "y", "split=nonsense"
    )


@pytest.mark.parametrize(("key", "change", "message"), [
    ("captions", lambda one: one[:-1], "'captions' is no list of 20 texts"),
    ("splits", lambda one: ["test", *one[1:]], "rows of one clip are in two splits, such as row 2"),
    ("splits", lambda one: ["nowhere", *one[1:]], "split 'nowhere'; expected train, validation, test"),
])  # fmt: skip
def test_what_stands_beside_the_ids_is_checked(tmp_path, key, change, message):
    cache = original.made_cache(tmp_path / "cache", clips=4)
    about = json.loads((cache / "metadata.json").read_text())
    beside = {"captions": [f"caption {row}" for row in range(20)], "splits": ["train"] * 10 + ["test"] * 10}
    (cache / "metadata.json").write_text(json.dumps(about | beside))
    call("import", "embed2image", cache, "--out", tmp_path / "stores")
    text = sensorium.store.open(tmp_path / "stores" / "text")
    assert text.meta["caption"].tolist() == beside["captions"] and text.meta["split"].tolist() == beside["splits"]
    (cache / "metadata.json").write_text(json.dumps(about | beside | {key: change(beside[key])}))
    assert message in refused("import", "embed2image", cache, "--out", tmp_path / "other")


def test_what_cannot_be_exported_is_refused_by_name(place, run, tmp_path):
    assert "holds no stores 'audio' and 'text'" in refused("export", "embed2image", tmp_path, "--out", tmp_path / "y")
    assert "is of a cache, which is a folder" in refused("export", "embed2image", run.folder, "--out", tmp_path / "h.pt",
                                                         "split=test")  # fmt: skip
    assert "text=a is of a store of clips" in refused(
        "export", "embed2image", run.folder, "--out", tmp_path / "y", "text=a"
    )
    call("import", "embed2image", place / "cache", "--out", tmp_path / "stores")
    call("import", "embed2image", original.made_cache(tmp_path / "few", clips=3), "--out", tmp_path / "other")
    assert "captions belong to clips that" in refused("export", "embed2image", tmp_path / "other" / "audio", "--out",
                                                      tmp_path / "y", f"text={tmp_path / 'stores' / 'text'}")  # fmt: skip
    assert "takes no 'key'" in refused("import", "embed2image", place / "cache", "key=a", "--out", tmp_path / "z")
    (tmp_path / "empty").mkdir()
    assert "is no cache of the original" in refused(
        "import", "embed2image", tmp_path / "empty", "--out", tmp_path / "z"
    )

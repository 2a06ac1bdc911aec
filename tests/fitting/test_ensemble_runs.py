"""Runs of ensembles: from raw items to search, interrupted, evaluated again, streamed; what the card and ls say."""

import json

import numpy as np
import pytest

import sensorium
from sensorium import heads, io
from sensorium.cli import doctor
from sensorium.search.folder import RunFolder

FAST = ["objective=infonce", "data.left=image", "data.right=text", "data.split=split", "train.epochs=2", "train.precision=fp32",
        "evaluate.resamples=20", "evaluate.plots=false", "evaluate.baselines=[]", "evaluate.leaks=off"]  # fmt: skip


def test_a_run_of_three_members_cut_in_the_second_goes_on_and_answers_with_their_mean(
    tmp_path, tiny_vectors, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    keys = [f"data.file={tiny_vectors}", *FAST, "train.members=3"]
    whole = sensorium.run("arrays", keys, out="runs/whole", quiet=True)

    def stop(event):
        if event["member"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sensorium.run("arrays", keys, out="runs/cut", quiet=True, on_epoch=stop)
    assert {row["name"]: row["about"] for row in doctor.listing("runs")}["runs/cut"] == (
        f"interrupted at member 2, step 8 of 16; type: {RunFolder.of('runs/cut').resume}"
    )
    again = sensorium.run(RunFolder.of("runs/cut").started, out="runs/cut", quiet=True)
    for name in ("left.safetensors", "right.safetensors"):
        assert io.checksum(again.folder / name) == io.checksum(whole.folder / name)
    assert {p.name for p in again.folder.iterdir()} == {p.name for p in whole.folder.iterdir()}
    fit = whole.metrics["fit"]
    assert fit["members"] == 3 and len(fit["member_validation"]) == 3 and again.metrics["fit"] == fit
    ensemble = heads.load("runs/whole/left")
    right, row = heads.load("runs/whole/right"), whole.index("left").table.ids[0]
    with np.load(tiny_vectors) as file:
        x, y = file["image"][:1], file["text"].reshape(-1, 16)
    each = [heads.apply(a, x) @ heads.apply(b, y).T for a, b in zip(ensemble.members, right.members, strict=True)]
    found = whole.search(id=row, side="left", to="right", k=5)
    np.testing.assert_allclose([hit["score"] for hit in found], np.sort(np.mean(each, 0)[0])[::-1][:5], atol=2e-3)
    card = (whole.folder / "README.md").read_text()
    assert "An ensemble of 3 fits that differ in their seeds" in card and "on the validation split: the members" in card
    assert ", ensemble of 3" in {row["name"]: row["about"] for row in doctor.listing("runs")}["runs/whole"]


def test_a_closed_form_says_that_members_would_be_the_same(tmp_path, tiny_vectors):
    keys = [f"data.file={tiny_vectors}", *FAST, "objective=ridge", "right.head=identity", "train.members=4"]
    made = sensorium.run("arrays", keys, out=tmp_path / "run", quiet=True)
    note = "objective 'ridge' is solved exactly, so all members would be the same: train.members is not used"
    assert made.metrics["notes"] == [note]
    assert json.loads((made.folder / "left.json").read_text())["name"] == "linear"


def test_an_ensemble_of_sequence_classifiers_streams_as_it_reads_whole_recordings(voice_run, tmp_path):
    root = voice_run.folder.parent.parent
    keys = [f"data.root={root}", "data.test_actors=[5]", "data.validation_actors=[6]", "data.copies=0", "left.head=lstm",
            "left.head.hidden=12", "train.batch=32", "train.epochs=1", "train.members=2", "evaluate.leaks=off",
            "evaluate.resamples=20", "evaluate.plots=false"]  # fmt: skip
    run = sensorium.run("ravdess-best", keys, out=tmp_path / "run", quiet=True, stores=root / "runs" / "embeddings")
    about = json.loads((run.folder / "left.json").read_text())
    assert about["name"] == "ensemble" and about["arguments"]["combine"] == "mean" and run.streams
    assert json.loads((run.folder / "right.json").read_text())["name"] == "identity"
    x = np.random.default_rng(0).normal(scale=0.1, size=16_000).astype(np.float32)
    stream = run.stream()
    for part in np.array_split(x, 7):
        stream.push(part)
    expected = run.classifier.offline([(x, 16_000)])[0]
    np.testing.assert_allclose(stream.end()["probabilities"], expected, atol=1e-5)
    assert len(expected) == 8 and run.metrics["calibration"]

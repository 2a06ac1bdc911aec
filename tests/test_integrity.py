"""run.json: damaged, missing and foreign files of a run are refused with a sentence; what is meant to change may."""

import json
import os
import shutil

import numpy as np
import pytest
from small_run import make

import sensorium
from sensorium import integrity, io, pipeline
from sensorium.cli import doctor
from sensorium.errors import Corrupt
from sensorium.evaluate import compare
from sensorium.search import media, related


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two runs that differ in their split, and in nothing else."""
    folder = tmp_path_factory.mktemp("runs")
    make(folder / "one", "evaluate.plots=true")
    make(folder / "two", "evaluate.plots=true", "data.seed=1")
    return folder


@pytest.fixture
def run(runs, tmp_path):
    shutil.copytree(runs / "embeddings", tmp_path / "embeddings")
    shutil.copytree(runs / "one", tmp_path / "run")
    return tmp_path / "run"


def flip(path, at=-3):
    content = bytearray(path.read_bytes())
    content[at] ^= 4
    path.write_bytes(content)


def test_every_file_but_the_exempt_ones_is_listed(run):
    listed = integrity.read(run)
    files = {p.relative_to(run).as_posix() for p in run.rglob("*") if p.is_file()}
    apart = ("run.json", integrity.EVALUATIONS)
    exempt = {name for name in files if name.startswith(("index/left/", "index/right/")) or name in apart}
    assert set(listed) == files - exempt and len(listed) > 15
    assert all(
        (run / name).stat().st_size == size and io.checksum(run / name) == x for name, (size, x) in listed.items()
    )
    assert integrity.problems(run) == []


@pytest.mark.parametrize("name", ["trust.json", "metrics.json", "recipe.toml", "partners.parquet", "left.json",
                                  "per_query.npz", "media/left.parquet", "media/left.json", "correction.json",
                                  "index/right.json", "plots/ranks.png", "right.safetensors"])  # fmt: skip
@pytest.mark.parametrize("how", ["flipped", "cut", "missing", "foreign"])
def test_a_file_that_is_not_the_runs_own_is_refused(run, runs, name, how):
    path = run / name
    if how == "flipped":
        flip(path)
    elif how == "cut":
        os.truncate(path, path.stat().st_size - 5)
    elif how == "missing":
        path.unlink()
    elif (runs / "two" / name).read_bytes() == path.read_bytes():
        return
    else:
        shutil.copy(runs / "two" / name, path)
    reason = "is missing" if how == "missing" else "is damaged or of another run"
    if name == "metrics.json" and how == "missing":
        return
    with pytest.raises(Corrupt, match=rf"{name} {reason}.*restore it, or make it anew: sensorium .*{run}"):
        sensorium.open(run)
    findings = doctor.doctor(run)
    assert any(f["state"] == "bad" and f["check"] == "files" and name in f["found"] for f in findings)


def test_what_to_type_makes_it_anew(run):
    for name, again in (("trust.json", pipeline.evaluate_again), ("partners.parquet", pipeline.index_again),
                        ("media/left.json", pipeline.index_again), ("index/left.json", pipeline.index_again)):  # fmt: skip
        before = integrity.read(run)[name]
        flip(run / name)
        stage = "evaluate" if again is pipeline.evaluate_again else "index"
        with pytest.raises(Corrupt, match=f"{name} .*make it anew: sensorium {stage} "):
            sensorium.open(run)
        again(run, quiet=True)
        assert integrity.problems(run) == [] and sensorium.open(run).search(text="square root", k=1)
        assert integrity.read(run)[name] == before
    flip(run / "trust.json")
    with pytest.raises(Corrupt, match=r"trust\.json"):  # the index stage does not make it anew, so it is not accepted
        pipeline.index_again(run, quiet=True)
    (run / "run.json").unlink()  # what the message offers to who made the change himself
    sensorium.open(run)


def test_a_large_file_is_checked_before_it_is_read(run, monkeypatch):
    monkeypatch.setattr(integrity, "SMALL", 100)
    for name, read in (("partners.parquet", lambda: related.open(run)), ("media/left.parquet", lambda: media.open(run, "left")),
                       ("per_query.npz", lambda: compare.load(run / "per_query.npz"))):  # fmt: skip
        flip(run / name, at=200)
        sensorium.open(run)
        with pytest.raises(Corrupt, match=f"{name} is damaged or of another run"):
            read()
        flip(run / name, at=200)
        assert read() is not None


def test_one_damaged_picture_is_not_shown(run, monkeypatch):
    monkeypatch.setattr(integrity, "SMALL", 100)
    shown = media.open(run, "left")
    ids = sensorium.open(run).index("left").table.ids.tolist()
    assert all(shown.get(id)[1].startswith(b"\x89PNG") for id in ids)
    flip(run / "media/left.bin", at=60)
    with pytest.raises(Corrupt, match=r"media/left\.bin is damaged: the bytes of '.*' do not have their checksum"):
        for id in ids:
            shown.get(id)


def test_the_index_of_another_run_is_refused(run, runs):
    shutil.rmtree(run / "index" / "right")
    shutil.copytree(runs / "two" / "index" / "right", run / "index" / "right")
    with pytest.raises(Corrupt, match=r"index/right is the index of another run, .*type: sensorium index"):
        sensorium.open(run).index("right")


def test_an_index_that_changed_while_serving_is_the_runs_own(run):
    opened = sensorium.open(run)
    index = opened.index("right")
    index.remove(index.table.ids[:3].tolist())
    with io.publish(run / "index" / "right") as building:
        index.save(building)
    again = sensorium.open(run)
    assert len(again.index("right")) == len(opened.index("left")) - 3 and integrity.problems(run) == []


def test_prose_may_be_edited_and_other_files_may_lie_there(run):
    (run / "README.md").write_text("mine")
    (run / "notes.txt").write_text("mine")
    (run / "cross-emodb.json").write_text("{}")
    assert sensorium.open(run)
    notes = [f for f in doctor.doctor(run) if f["state"] != "good"]
    assert [(f["check"], f["state"]) for f in notes] == [("files", "note")] and "README.md" in notes[0]["found"]


def test_run_json_itself_is_checked_and_a_run_without_it_opens(run):
    text = (run / "run.json").read_text()
    for damaged, message in (
        (text.replace('"bytes": 1', '"bytes": 2', 1), "its own checksum does not match"),
        (text[:-20], "is not valid JSON"),
        ("[]", "its own checksum does not match"),
    ):
        (run / "run.json").write_text(damaged)
        with pytest.raises(Corrupt, match=rf"run\.json .*{message}.*open the run without these checks: rm "):
            sensorium.open(run)
        assert doctor.doctor(run)[0]["state"] == "bad"
    (run / "run.json").unlink()
    assert sensorium.open(run) and doctor.doctor(run)[0]["state"] == "note"
    body = {"format": 2, "files": {}}
    (run / "run.json").write_text(json.dumps({**body, "checksum": integrity.fingerprint.checksum(body)}))
    with pytest.raises(Corrupt, match="has format 2, this sensorium reads format 1"):
        sensorium.open(run)


def test_a_folder_exchanged_while_it_is_checked_is_no_damage(run, runs, monkeypatch):
    """The check reads run.json again before it accuses a file."""
    read, calls = integrity.read, []

    def exchanged(folder):
        known = read(folder)
        calls.append(1)
        if len(calls) == 1:
            shutil.rmtree(run)
            shutil.copytree(runs / "two", run)
        return known

    monkeypatch.setattr(integrity, "read", exchanged)
    integrity.check(run)
    assert len(calls) > 2


def test_opening_reads_little(run):
    """Sizes of large files only: the checksum of 64 MB more is not computed."""
    np.save(run / "checkpoints.npy", np.zeros(1 << 23))
    integrity.write(run)
    seen = []
    checksum = io.checksum
    try:
        io.checksum = lambda path: seen.append(path.name) or checksum(path)
        integrity.check(run)
    finally:
        io.checksum = checksum
    assert "checkpoints.npy" not in seen and "trust.json" in seen

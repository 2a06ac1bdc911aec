"""The log of evaluations: a line for each, kept when the run is made anew, read past a torn end."""

import json
import shutil

import pytest
import small_run
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import sensorium
from sensorium import io, pipeline
from sensorium.cli import app
from sensorium.search import evaluations


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return small_run.make(tmp_path_factory.mktemp("log") / "runs" / "small")


@pytest.fixture
def run(made, tmp_path):
    shutil.copytree(made.folder.parent, tmp_path / "runs")
    return sensorium.open(tmp_path / "runs" / "small")


def test_a_run_logs_what_it_evaluated(made):
    (line,) = evaluations.read(made.folder)
    assert (line["command"], line["format"], line["keys"]) == ("run", 1, [])
    assert line["splits"] == ["test", "validation"] and line["rows"]["test"]["pairs"] > 0
    numbers = {(r["direction"], r["measure"]): r["value"] for r in made.metrics["results"]}
    assert {(r["direction"], r["measure"]): r["value"] for r in line["results"]["test"]} == numbers
    assert line["heads"] == {side: io.checksum(made.folder / f"{side}.safetensors") for side in ("left", "right")}
    assert line["data"] == made.metrics["data"] and len(line["stores"]["left"]) == 16


def test_every_evaluation_adds_a_line_and_a_new_run_keeps_them(run):
    first = (run.folder / evaluations.FILE).read_bytes()
    pipeline.evaluate_again(run.folder, ["evaluate.resamples=20"], quiet=True)
    pipeline.index_again(run.folder, quiet=True)  # evaluates nothing
    small_run.make(run.folder, "objective=cca")
    lines = evaluations.read(run.folder)
    assert [line["command"] for line in lines] == ["run", "evaluate", "run"]
    assert lines[1]["keys"] == ["evaluate.resamples=20"] and lines[2]["keys"] == ["objective=cca"]
    assert lines[0]["heads"] == lines[1]["heads"] != lines[2]["heads"]
    assert (run.folder / evaluations.FILE).read_bytes().startswith(first)
    sensorium.open(run.folder)  # the log is no damage


def test_show_says_how_often_the_test_split_was_evaluated(run):
    pipeline.evaluate_again(run.folder, quiet=True)
    shown = CliRunner().invoke(app, ["show", str(run.folder), "--table"])
    assert shown.exit_code == 0 and "test split evaluated 2 times, last 20" in " ".join(shown.output.split())
    (run.folder / evaluations.FILE).unlink()  # a run of before there was a log
    assert evaluations.summary(run.folder) == "" and evaluations.read(run.folder) == []
    assert "evaluated" not in CliRunner().invoke(app, ["show", str(run.folder), "--table"]).output


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 400), st.integers(0, 3))
def test_a_line_cut_short_anywhere_loses_no_other(tmp_path_factory, cut, more):
    folder = tmp_path_factory.mktemp("torn")
    path = folder / evaluations.FILE
    for number in range(3):
        evaluations.append(folder, {"number": number, "text": "é" * 40, "splits": ["test"]})
    whole = path.read_bytes()
    cut = min(cut, len(whole))
    path.write_bytes(whole[:cut])
    for number in range(more):
        evaluations.append(folder, {"number": 3 + number, "splits": ["test"]})
    left = [json.loads(line) for line in whole.splitlines() if whole[:cut].find(line) >= 0]
    assert [line["number"] for line in evaluations.read(folder)] == [
        *[line["number"] for line in left], *range(3, 3 + more)]  # fmt: skip
    assert path.read_bytes().startswith(whole[:cut])


def test_a_damaged_line_is_left_out(tmp_path):
    (tmp_path / evaluations.FILE).write_bytes(
        b'{"splits": ["test"], "time": "2026-01-02T03:04:05Z"}\n\xff\xfe\n[1]\n{}\n'
    )
    assert evaluations.read(tmp_path) == [{"splits": ["test"], "time": "2026-01-02T03:04:05Z"}, {}]
    assert evaluations.summary(tmp_path) == "test split evaluated once, last 2026-01-02 03:04 UTC (evaluations.jsonl)"


def test_a_disk_that_is_full_leaves_the_log_as_it_was(tmp_path, monkeypatch):
    evaluations.append(tmp_path, {"number": 1})
    before = (tmp_path / evaluations.FILE).read_bytes()

    def full(handle, view):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(evaluations.os, "write", full)
    with pytest.raises(sensorium.errors.DiskFull, match=r"no room to write .*evaluations\.jsonl"):
        evaluations.append(tmp_path, {"number": 2})
    assert (tmp_path / evaluations.FILE).read_bytes() == before

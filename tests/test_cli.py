"""The command line: exit status 2 and one clear line for what a caller can mend; JSON for programs."""

import json
import subprocess
import sys

import pytest

FAST = ["train.epochs=2", "train.precision=fp32", "evaluate.resamples=100", "evaluate.plots=false"]


def sensorium(*words, **options):
    return subprocess.run(
        [sys.executable, "-c", "from sensorium.cli import main; main()", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=200,
        **options,
    )


@pytest.fixture(scope="module")
def run(tiny_vectors, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli")
    done = sensorium(
        "run",
        "arrays",
        f"data.file={tiny_vectors}",
        "data.left=image",
        "data.right=text",
        "data.split=split",
        *FAST,
        "--out",
        folder / "mine",
        "--json",
        "--quiet",
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert {r["direction"] for r in results} == {"left->right", "right->left"}
    return folder / "mine"


def test_search_prints_one_object_a_hit(run):
    done = sensorium("search", run, "--id", "im7", "--from", "left", "-k", "3", "--json")
    hits = [json.loads(line) for line in done.stdout.splitlines()]
    assert [h["rank"] for h in hits] == [1, 2, 3] and all({"id", "score"} <= set(h) for h in hits)


def test_search_by_vector_file(run, tmp_path):
    import numpy as np

    np.save(tmp_path / "q.npy", np.ones(24, np.float32))
    assert len(sensorium("search", run, "--vector", tmp_path / "q.npy").stdout.splitlines()) == 10


def test_filters(run):
    done = sensorium(
        "search", run, "--id", "im7", "--from", "left", "--to", "left", "--where", "names=picture 3", "--json"
    )
    assert [json.loads(line)["id"] for line in done.stdout.splitlines()] == ["im3"]


def test_show_as_a_table_and_as_json(run):
    table = sensorium("show", run, "--table").stdout
    assert "hit@10" in table and "ridge" in table and "95% interval" in table
    assert all("measure" in json.loads(line) for line in sensorium("show", run).stdout.splitlines())


def test_comparing_two_runs(run, tiny_vectors):
    other = run.parent / "ridge"
    done = sensorium(
        "run",
        "arrays",
        f"data.file={tiny_vectors}",
        "data.left=image",
        "data.right=text",
        "data.split=split",
        "objective=ridge",
        "evaluate.resamples=100",
        "evaluate.plots=false",
        "--out",
        other,
        "--quiet",
    )
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in sensorium("evaluate", run, other, "--json").stdout.splitlines()]
    assert rows and all({"difference", "low", "high", "p"} <= set(row) for row in rows)


def test_listing_and_doctor(run):
    assert "mlp" in [json.loads(line)["name"] for line in sensorium("ls", "heads", "--json").stdout.splitlines()]
    assert sensorium("doctor").returncode == 0
    assert sensorium("doctor", run).returncode == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "glyps"], "no recipe 'glyps'; did you mean 'glyphs'?"),
        (["run", "arrays", "objective=rigde"], "did you mean 'ridge'?"),
        (["run", "arrays", "train.lrr=3"], "did you mean 'lr'?"),
        (["search", "nowhere", "--text", "x"], "nowhere is not a run"),
        (["search", "nowhere", "--vector", "q.npy"], "nowhere is not a run"),
        (["ls", "haeds"], "did you mean 'heads'?"),
        (["doctor", "nowhere"], "neither a store"),
        (["import", "nzp", "x", "--out", "y"], "npz"),
        (["export", "npz", "nowhere", "--out", "y"], "nowhere"),
    ],
)
def test_a_mistake_is_one_line_and_exit_status_2(words, message, tmp_path):
    done = sensorium(*words, cwd=tmp_path)
    assert done.returncode == 2 and done.stdout == ""
    assert message in done.stderr and len(done.stderr.strip().splitlines()) == 1


def test_a_mistake_as_json(tmp_path):
    done = sensorium("run", "glyps", "--json", cwd=tmp_path)
    assert done.returncode == 2 and json.loads(done.stderr)["error"] == "BadRecipe"


@pytest.mark.parametrize(("text", "message"), [("font", "expected COLUMN=VALUE"), ("knd=3", "no column 'knd'; known")])
def test_filters_that_cannot_be_meant(run, text, message):
    done = sensorium("search", run, "--id", "im7", "--from", "left", "--where", text)
    assert done.returncode == 2 and message in done.stderr


def test_version():
    import sensorium as package

    assert sensorium("--version").stdout.strip() == package.__version__

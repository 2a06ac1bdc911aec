"""The command line: exit status 2 and one clear line for what a caller can correct; JSON for programs."""

import json
import re

import processes
import pytest

from sensorium import parts

FAST = ["objective=infonce", "train.epochs=2", "train.precision=fp32", "evaluate.resamples=20", "evaluate.plots=false"]


def sensorium(*words, **options):
    return processes.run(*words, text=True, **options)


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


def test_more_hits_than_there_are_items(run):
    done = sensorium("search", run, "--id", "im7", "--from", "left", "-k", 10**12, "--json")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 300 * 5


@pytest.mark.parametrize("what", [3.0, ["a"], {"x": [1.0]}])
def test_files_that_hold_no_vector(run, tmp_path, what):
    import numpy as np

    path = tmp_path / "v.npy"
    with open(path, "wb") as file:
        np.savez(file, **what) if isinstance(what, dict) else np.save(file, np.array(what))
    done = sensorium("search", run, "--vector", path)
    assert done.returncode == 2 and "v.npy holds no vector; expected a .npy file of numbers" in done.stderr


def test_an_unknown_id_does_not_list_them_all(run):
    done = sensorium("search", run, "--id", "zzz")
    assert done.returncode == 2 and "no item 'zzz' in" in done.stderr and " more" in done.stderr
    assert len(done.stderr) < 2000


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
    encoders = {row["name"]: row for row in map(json.loads, sensorium("ls", "encoders", "--json").stdout.splitlines())}
    assert encoders["minilm"]["licence"] == "Apache 2.0" and encoders["hashing"]["licence"] == ""
    checks = [json.loads(line) for line in sensorium("doctor", "--json").stdout.splitlines()]
    extras = {check["check"]: check for check in checks if check["check"].startswith("extra")}
    assert set(extras) == {f"extra [{extra}]" for extra in parts.extras() if extra not in ("all", "dev")}
    assert extras["extra [train]"]["state"] == "good" and "torch 2" in extras["extra [train]"]["found"]
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


@pytest.mark.slow
def test_folders_that_cannot_be(tmp_path):
    (tmp_path / "file").write_text("x")
    for words, message in (
        (("run", "glyphs", "--out", "file"), "--out file is no folder to make; expected one such as runs/glyphs"),
        (("run", "glyphs", "--out", "."), "--out . is no folder to make"),
        (("run", "glyphs", "--out", "file/below"), "error: .*Not a directory"),
        (("search", "", "--text", "a"), "is not a run"),
        (("serve", "nowhere"), "nowhere is not a run .no metrics.json.; make one with: sensorium run RECIPE"),
        (("export", "npz", ".", "--out", "x"), "is no store; 'npz' is written from one"),
    ):
        done = sensorium(*words, cwd=tmp_path)
        assert done.returncode == 2 and re.search(message, done.stderr), done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_mistake_as_json(tmp_path):
    done = sensorium("run", "glyps", "--json", cwd=tmp_path)
    assert done.returncode == 2 and json.loads(done.stderr)["error"] == "BadRecipe"
    (tmp_path / "file").write_text("x")
    done = sensorium("run", "glyphs", "--out", "file/below", "--json", cwd=tmp_path)
    assert done.returncode == 2 and json.loads(done.stderr)["error"] == "NotADirectoryError"


@pytest.mark.parametrize(("text", "message"), [("font", "expected COLUMN=VALUE"), ("knd=3", "no column 'knd'; known")])
def test_filters_that_cannot_be_meant(run, text, message):
    done = sensorium("search", run, "--id", "im7", "--from", "left", "--where", text)
    assert done.returncode == 2 and message in done.stderr


def test_version():
    import sensorium as package

    assert sensorium("--version").stdout.strip() == package.__version__

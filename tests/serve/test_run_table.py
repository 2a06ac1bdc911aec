"""The table of runs over HTTP: parts and results, which runs can be compared and why not, charts, progress."""

import fcntl
import json
import shutil

import numpy as np
import pytest
from served import client_of

from sensorium.evaluate import compare
from sensorium.search import making
from sensorium.serve.routes import run_charts, run_table


def test_a_row_says_what_a_run_is_made_of_and_what_it_reached(client, symbols):
    (row,) = client.get("/table").json()["rows"]
    assert (row["name"], row["state"], row["data"], row["objective"]) == ("symbols", "ready", "glyphs", "ridge")
    assert row["encoders"] == ["hog", "hashing"] and row["heads"] == ["linear", "linear"] and row["making"] is None
    main = row["main"]
    assert main["measure"] == "MRR" and main["low"] <= main["value"] <= main["high"] and main["groups"] == 300
    assert row["baseline"] is None and row["curves"] is False
    assert row["made"].endswith("Z") and row["bytes"] > 100_000
    assert row["why_not"] == "It is the only run here."
    assert not (symbols / making.FILE).exists()


def test_runs_of_the_same_queries_can_be_compared_and_others_say_why_not(copied):
    for name in ("twin", "bare"):
        shutil.copytree(copied, copied.parent / name)
    for name in (compare.FILE, "run.json"):
        (copied.parent / "bare" / name).unlink()
    with client_of([copied, copied.parent / "twin", copied.parent / "bare"]) as client:
        assert {row["name"]: row["why_not"] for row in client.get("/table").json()["rows"]} == {
            "symbols": None, "twin": None, "bare": "This run keeps no answers of single queries. Evaluate it again."}  # fmt: skip
        beside = {row["name"]: row["why_not"] for row in client.get("/table?beside=twin").json()["rows"]}
        assert beside["symbols"] is None and beside["twin"] is None and beside["bare"].startswith("This run keeps no")
        assert "did you mean 'twin'" in client.get("/table?beside=twim").json()["detail"]


METRICS = {
    "results": [
        {"measure": "hit@1", "direction": "left->right", "value": 0.4, "low": 0.3, "high": 0.5, "n_groups": 3},
        {"measure": "MRR", "direction": "left->right", "value": 0.6, "low": 0.5, "high": 0.7, "n_groups": 3},
    ],
    "baselines": {
        "cca": {"results": [{"measure": "MRR", "direction": "left->right", "value": 0.55}],
                "advantage": {"MRR": 0.05, "low": 0.01, "high": 0.09, "p": 0.02}},
        "ridge": {"results": [], "advantage": {"MRR": 0.2, "low": 0.1, "high": 0.3, "p": 0.001}},
        "ensemble": {"advantage": {"MRR": -0.1, "low": -0.2, "high": 0.0, "p": 0.1}},
        "procrustes": {"not_applicable": "widths differ"},
    },
}  # fmt: skip


def test_the_best_baseline_is_the_one_that_comes_nearest():
    main = run_table._main(METRICS)
    beside = run_table._baseline(METRICS, main)
    assert (main.measure, main.few_groups) == ("MRR", True)
    assert (beside.name, beside.value) == ("cca", 0.55)
    assert (beside.difference.value, beside.difference.low, beside.difference.few_groups) == (0.05, 0.01, True)
    assert run_table._main({"results": []}) is None and run_table._baseline({}, None) is None


def test_the_measure_that_decides_in_a_protocol_or_for_classes_comes_first():
    classes = {"results": [*METRICS["results"], {"measure": "WA", "direction": "left->right", "value": 0.7}]}
    assert run_table._main(classes).measure == "WA"
    decided = {"accuracy": 0.1, "low": 0.0, "high": 0.2, "p": 0.1}
    named = {"results": [*classes["results"], {"measure": "accuracy", "direction": "", "value": 0.8}],
             "baselines": {"frozen": {"results": [], "protocol_advantage": decided}}}  # fmt: skip
    main = run_table._main(named)
    assert main.measure == "accuracy" and run_table._baseline(named, main).difference.measure == "accuracy"


def test_charts_are_of_the_stored_ranks_and_scores(client, symbols):
    found = client.get("/runs/symbols/charts").json()
    assert {one["direction"] for one in found["ranks"]} == {"left->right", "right->left"}
    stored = compare.load(symbols / compare.FILE)
    for one in found["ranks"]:
        ranks = stored["test", one["direction"]]
        first = np.minimum.reduceat(ranks.ranks, ranks.offsets[:-1])
        assert one["points"] == [[k, pytest.approx((first <= k).mean(), abs=1e-5)] for k, _ in one["points"]]
        assert one["points"][-1] == [one["candidates"], 1.0]
    scores = found["scores"]
    assert len(scores["edges"]) == len(scores["related"]) + 1 == len(scores["random"]) + 1
    assert sum(scores["related"]) == pytest.approx(1, abs=1e-3) == sum(scores["random"])
    middle = np.array(scores["edges"])[:-1]
    assert middle @ scores["related"] > middle @ scores["random"] + 0.1
    assert client.get("/runs/nothing/charts").status_code == 404


def test_charts_without_scores_are_empty():
    assert run_charts.score_histogram(np.zeros(0), np.ones(3)) is None
    assert run_charts.score_histogram(np.full(4, 0.5), np.full(4, 0.5)).pairs == 4


@pytest.fixture
def in_the_making(copied):
    """A first run that this process makes: its lock is held, and it has embedded half."""
    building = copied.parent / ".new.building"
    building.mkdir()
    (building / "recipe.toml").write_text('name = "new"\n[data]\nname = "glyphs"\n[train]\nseconds = 0\n')
    with open(building / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield building


def test_a_run_in_the_making_says_stage_count_and_time_left(copied, in_the_making):
    state = {"stage": "embed", "began": 0, "what": "embedding image", "done": 50, "total": 100, "first": 0,
             "since": 100.0, "now": 110.0}  # fmt: skip
    (in_the_making / making.FILE).write_text(json.dumps(state))
    with client_of([copied, copied.parent / "new"]) as client:
        found = client.get("/runs/new/progress").json()
        assert (found["running"], found["stage"], found["what"]) == (True, "embed", "embedding image")
        assert (found["done"], found["total"], found["at_most"]) == (50, 100, False)
        assert found["seconds_left"] == 0  # ten seconds for the other half, and they are over
        row = next(row for row in client.get("/table").json()["rows"] if row["name"] == "new")
        assert row["state"] == "building" and row["data"] == "glyphs" and row["making"] == found
        assert row["why_not"] == "It is not ready yet."
        assert client.get("/runs/new").json()["making"] == found
        assert client.get("/runs/symbols/progress").json() is None
        (in_the_making / "recipe.toml").write_text('[objective]\nname = "auto"\nseconds = 60.0\n')
        (in_the_making / making.FILE).write_text(json.dumps({"stage": "fit", "began": making.time.time()}))
        left = client.get("/runs/new/progress").json()
        assert left["at_most"] and 0 < left["seconds_left"] <= 60
        (in_the_making / making.FILE).write_text("[half")
        assert client.get("/runs/new/progress").json()["stage"] == "embed"  # by its files


def test_an_interrupted_run_says_so(copied, in_the_making, monkeypatch):
    from sensorium.serve.routes import training

    monkeypatch.setattr(training, "_FRESH", -1.0)
    monkeypatch.setattr(training.RunFolder, "is_building", False)
    with client_of([copied, copied.parent / "new"]) as client:
        assert client.get("/runs/new/progress").json() == {
            "running": False, "stage": None, "what": None, "done": None, "total": None, "seconds_left": None,
            "at_most": False, "interrupted_at": None}  # fmt: skip

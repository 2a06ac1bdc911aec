"""Runs over HTTP: the list, one run's page, plots, history, live events while it is made, samples, comparison."""

import json
import shutil
import threading

import numpy as np
import pytest
from served import client_of

import sensorium
from sensorium.serve.engine import related
from sensorium.serve.routes import training
from sensorium.serve.routes.runs import column_of


def test_the_list_tells_what_can_be_asked_and_shown(client):
    (run,) = client.get("/runs").json()["runs"]
    assert (run["name"], run["state"], run["recipe"]) == ("symbols", "ready", "glyphs")
    left, right = run["sides"]["left"], run["sides"]["right"]
    assert (left["takes"], left["kind"], left["encoder"]) == ("image", "image", "hog")
    assert (right["takes"], right["kind"], right["encoder"]) == ("text", "text", "hashing")
    assert (left["name"], right["name"]) == ("image", "text")
    category = next(column for column in left["columns"] if column["name"] == "category")
    assert "Lu" in category["values"] and category["type"] == "text"
    assert next(column for column in left["columns"] if column["name"] == "name")["values"] == []  # too many
    assert {result["direction"] for result in run["results"]} == {"left->right", "right->left"}


def test_columns_list_few_values_most_frequent_first():
    expected = {"name": "a", "type": "number", "values": [2, 1], "several": False, "distinct": 2}
    assert column_of("a", np.array([2, 1, 2])).model_dump() == expected
    assert column_of("a", np.array([0.5, np.nan])).values == [0.5], "a missing value is none"
    assert column_of("a", np.array([], "<U1")).type == "text"
    assert column_of("a", np.arange(100)).values == []


def test_a_page_has_recipe_card_numbers_and_history(client, symbols):
    page = client.get("/runs/symbols").json()
    assert page["recipe"] == (symbols / "recipe.toml").read_text("utf-8")
    assert page["card"].startswith("# ")
    assert page["metrics"]["results"][0]["low"] <= page["metrics"]["results"][0]["value"]
    assert not page["building"] and page["stage"] is None and page["plots"] == []
    assert client.get("/runs/symbols/history").json() == {"header": {}, "events": [], "running": False}  # closed form
    assert client.get("/runs/nothing").status_code == 404
    assert "did you mean 'symbols'" in client.get("/runs/symbol").json()["detail"]


def test_plots_are_served_by_name_and_nothing_else_is(copied):
    (copied / "plots").mkdir()
    (copied / "plots" / "curve.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    (copied / "plots" / "notes.txt").write_text("no")
    with client_of([copied]) as client:
        assert client.get("/runs/symbols").json()["plots"] == ["curve.svg"]
        answer = client.get("/runs/symbols/plots/curve.svg")
        assert answer.headers["content-type"].startswith("image/svg+xml")
        assert "script-src 'self'" in answer.headers["content-security-policy"]
        for name in ("notes.txt", "..%2Frecipe.toml", "%2Fetc%2Fpasswd"):
            assert client.get(f"/runs/symbols/plots/{name}").status_code == 404


def test_samples_are_drawn_anew_by_seed(client):
    ids = [
        [item["id"] for item in client.get(f"/runs/symbols/sample?n=5&seed={seed}").json()["items"]]
        for seed in (1, 1, 2)
    ]
    assert ids[0] == ids[1] != ids[2] and len(set(ids[0])) == 5
    assert client.get("/runs/symbols/sample?n=0").status_code == 422


def test_a_run_is_compared_with_itself(copied):
    shutil.copytree(copied, copied.parent / "twin")
    with client_of([copied, copied.parent / "twin"]) as client:
        rows = client.get("/compare?a=symbols&b=twin").json()["rows"]
        assert {row["better"] for row in rows} == {"undecided"} and {row["difference"] for row in rows} == {0.0}
        (copied.parent / "twin" / "per_query.npz").unlink()
        answer = client.get("/compare?a=symbols&b=twin")
        assert answer.status_code == 422 and str(copied.parent) not in answer.json()["detail"]


def events_of(text):
    found = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if fields:
            found.append((fields["event"], json.loads(fields["data"])))
    return found


def test_events_of_a_run_that_is_not_being_made_end_at_once(client):
    assert events_of(client.get("/runs/symbols/events").text) == [("end", {"state": "idle"})]


def test_a_fit_is_told_of_epoch_by_epoch(tmp_path, tiny_vectors):
    keys = [f"data.file={tiny_vectors}", "data.left=image", "data.right=text", "data.split=split", "objective=infonce",
            "left.head=linear", "right.head=linear", "train.epochs=8", "evaluate.plots=false"]  # fmt: skip
    folder, step = tmp_path / "new", threading.Semaphore(0)
    work = threading.Thread(
        target=lambda: sensorium.run("arrays", keys, out=folder, quiet=True, on_epoch=lambda _: step.acquire(timeout=5))
    )
    with client_of([folder]) as client:
        assert client.get("/runs").json()["runs"][0]["state"] == "broken"
        work.start()
        for _ in range(200):
            if training.stage(folder) == "fit":
                break
            threading.Event().wait(0.05)
        assert client.get("/runs/new").json()["building"]
        threading.Timer(1.5, lambda: [step.release() for _ in range(20)]).start()
        told = events_of(client.get("/runs/new/events").text)
        work.join()
    kinds = [kind for kind, _ in told]
    assert kinds[-1] == "end" and told[-1][1] == {"state": "ready"} and "start" in kinds
    epochs = [data["epoch"] for kind, data in told if kind == "epoch"]
    assert epochs == sorted(set(epochs)) and epochs[0] == 1
    assert {"fit"} <= {data["stage"] for kind, data in told if kind == "stage"}


def test_an_interrupted_run_is_not_taken_for_a_living_one(tmp_path, monkeypatch):
    folder = tmp_path / "old"
    place = training.place(folder)
    place.mkdir()
    (place / ".lock").touch()
    (place / "recipe.toml").touch()
    assert training.running(folder)  # fresh: perhaps it just began
    monkeypatch.setattr(training, "_FRESH", -1)
    assert not training.running(folder)
    from sensorium import io

    with io.lock(place):
        assert training.running(folder)
    (place / training.HISTORY).write_text('{"epochs": 3}\n{"epoch": 1}\n{"epo')
    assert training.history(place) == [{"epochs": 3}, {"epoch": 1}]
    assert training.stage(folder) == "fit"


def test_partners_are_known_from_both_sides():
    pairs = related.Related(np.array(["a", "b", "a"]), np.array(["x", "x", "y"]), np.zeros(3, np.uint8))
    assert pairs.of("left", "a") == [("right", "x"), ("right", "y")]
    assert pairs.of("right", "x") == [("left", "a"), ("left", "b")]
    assert pairs.of("left", "nobody") == []
    assert pairs.of("left", "x", one_table=True) == [("left", "a"), ("left", "b")]
    left, right, _ = pairs.rows(np.array(["b", "a"]), np.array(["y"]))
    assert (left.tolist(), right.tolist()) == ([1], [0])
    assert pytest.approx(len(pairs.split)) == 3


def test_the_pages_files_are_asked_after_at_every_visit(client):
    for path, kind in (("/", "text/html"), ("/app.js", "text/javascript"), ("/tokens.css", "text/css"), ("/icon.svg", "image/svg+xml")):  # fmt: skip
        answer = client.get(path)
        assert answer.status_code == 200 and answer.headers["content-type"].startswith(kind)
        assert answer.headers["cache-control"] == "no-cache"
        assert client.get(path, headers={"if-none-match": answer.headers["etag"]}).status_code == 304
    assert client.get("/..%2Fapp.py").status_code == 404

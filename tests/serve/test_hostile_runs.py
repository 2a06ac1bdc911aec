"""Runs from elsewhere, damaged runs and runs in the making: what is served of them, and that the others are."""

import json
import os
import shutil

import numpy as np
import pytest
from served import client_of, problem

from sensorium import io
from sensorium.errors import ReadOnly
from sensorium.search import journal
from sensorium.serve import files

pytestmark = pytest.mark.xdist_group("serve")
HEART = "/media/U%2B2665%2FDejaVuSansMono"


@pytest.mark.parametrize("kind", ["text/html", "text/javascript", "image/svg+xml", "application/xhtml+xml", ""])
def test_media_of_a_type_that_a_browser_executes_are_not_served(copied, kind):
    path = copied / "media" / "left.json"
    (copied / "run.json").unlink()
    path.write_text(json.dumps({**json.loads(path.read_text()), "type": kind}))
    with client_of([copied]) as client:
        answer = client.get(HEART)
        assert answer.status_code in (404, 503) and answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("kind", ["text/html", "text/javascript", "image/svg+xml"])
def test_media_of_a_journal_are_of_known_types_too(copied, kind):
    with client_of([copied]) as client:
        vector = np.ones(256, np.float32)
        fingerprint = json.loads((copied / "right.json").read_text())["encoder"]
        change = journal.Change("evil", vector, {}, journal.digest(fingerprint), kind, b"<script>alert(1)</script>")
        journal.Journal(copied, "right").append([change])
    with client_of([copied]) as client:
        assert client.get("/items/evil").status_code == 200
        assert "not served" in problem(client.get("/media/evil"), 404)


def test_what_is_served_of_a_run_executes_nothing(client):
    answer = client.get(HEART)
    policies = answer.headers.get_list("content-security-policy")
    assert answer.headers["x-content-type-options"] == "nosniff" and any("sandbox" in one for one in policies)


def test_links_that_lead_outside_a_run_are_not_followed(copied, tmp_path):
    secret = tmp_path / "secret.txt"
    (copied / "run.json").unlink()
    secret.write_text("the secret")
    (copied / "plots").mkdir(exist_ok=True)
    (copied / "plots" / "own.png").write_bytes(b"own")
    (copied / "plots" / "inner.png").symlink_to(copied / "plots" / "own.png")
    (copied / "plots" / "evil.png").symlink_to(secret)
    (copied / "plots" / "loop.png").symlink_to(copied / "plots" / "loop.png")
    for name in ("README.md", "history.jsonl"):
        (copied / name).unlink(missing_ok=True)
        (copied / name).symlink_to(secret)
    with client_of([copied]) as client:
        page = client.get("/runs/symbols").json()
        assert page["plots"] == ["inner.png", "own.png"] and page["card"] == ""
        for name in ("evil.png", "loop.png", "..%2FREADME.md", "..%2F..%2Fsecret.txt"):
            answer = client.get(f"/runs/symbols/plots/{name}")
            assert answer.status_code == 404 and "secret" not in answer.text.replace("secret.txt", "")
        own = client.get("/runs/symbols/plots/own.png")
        assert own.content == b"own" and "sandbox" in own.headers.get_list("content-security-policy")[0]
        for path in ("/runs/symbols", "/runs/symbols/history", "/compare?a=symbols&b=symbols"):
            assert "the secret" not in client.get(path).text


def test_files_are_read_where_they_lie_inside(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / "a.txt").write_text("a")
    (tmp_path / "alias").symlink_to(run)
    assert files.text(run, "a.txt") == files.text(tmp_path / "alias", "a.txt") == "a", "a run may be a link itself"
    assert files.text(run, "../alias/a.txt") == "a" and files.text(run, "none") == files.text(run, ".") == ""
    (tmp_path / "b.txt").write_text("b")
    assert files.text(run, "../b.txt") == ""


DAMAGES = {
    "metrics.json": [b"", b"[]", b"{", b"null", b'"x"', b"\xff\xfe"],
    "recipe.toml": [b"", b"name=", b"\xff"],
    "left.json": [b"", b"[]", b"{}", b'{"encoder": 1}'],
    "index/left.json": [b"", b"[]", b"{}", b'{"head": 1, "part": 2}'],
    "index/left": [b""],
    "trust.json": [b"[]", b"{", b'{"left->right": 3}'],
    "partners.parquet": [b"", b"PAR1"],
    "media/left.json": [b"", b"{}", b"[]", b'{"format": 1}'],
    "live/left.journal": [b"x", b"sensorium journal 1\n" + b"\xff" * 40],
}


def damaged(symbols, folder, name: str) -> list:
    """Copies of a run, each with one file damaged."""
    copies = []
    for i, content in enumerate(DAMAGES[name]):
        copies.append(folder / f"{name.replace('/', '-')}-{i}")
        shutil.copytree(symbols, copies[-1], copy_function=os.link)
        if i % 2:  # as a run from elsewhere, or of before, whose files nothing describes
            (copies[-1] / "run.json").unlink()
        path = copies[-1] / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    return copies


@pytest.mark.slow
def test_damaged_runs_among_several_keep_none_of_the_others(symbols, tmp_path):
    """The healthy run answers; a damaged one is served, or says why not and never with a folder's path."""
    broken = [one for name in DAMAGES for one in damaged(symbols, tmp_path, name)]
    with client_of([*broken, symbols]) as client:
        answer = client.post("/search", json={"id": "U+2665", "run": "symbols", "k": 2})
        assert answer.status_code == 200 and len(answer.json()["hits"]) == 2
        runs = {run["name"]: run for run in client.get("/runs").json()["runs"]}
        assert runs["symbols"]["state"] == "ready" and str(tmp_path) not in json.dumps(runs)
        assert sum(run["state"] == "broken" for run in runs.values()) > len(broken) / 2
        for name in runs:
            if runs[name]["state"] == "broken":
                assert runs[name]["detail"]
                assert "broken" in problem(client.post("/search", json={"text": "a", "run": name}), 503)
            for path in (f"/runs/{name}", f"/runs/{name}/map/pairs", f"/items/U%2B2665?run={name}",
                         f"/media/U%2B2665?run={name}", f"/runs/{name}/history", f"/compare?a={name}&b=symbols"):  # fmt: skip
                answer = client.get(path)
                assert answer.status_code != 500, (path, answer.text)
                assert answer.status_code < 400 or str(tmp_path) not in answer.text, answer.text
        for path in ("/readyz", "/system"):
            assert client.get(path).status_code != 500 and str(tmp_path) not in client.get(path).text


def test_a_run_in_the_making_is_served_as_that(tmp_path):
    from sensorium.serve.routes import training

    folder = tmp_path / "new"
    place = training.place(folder)
    place.mkdir()
    (place / "recipe.toml").write_text('name = "mine"\n')
    with client_of([folder]) as client:
        with io.lock(place):
            (run,) = client.get("/runs").json()["runs"]
            assert run["state"] == "building" and run["remaking"] and run["detail"].startswith("in the making")
            assert client.get("/runs/new").json()["building"]
            assert "in the making" in problem(client.post("/search", json={"text": "a"}), 503)
            assert "in the making" in problem(client.get("/readyz"), 503)
        (run,) = client.get("/runs").json()["runs"]
        assert run["state"] == "building" and run["detail"].startswith("interrupted")


def test_a_folder_that_may_not_be_written_refuses_changes_in_words(copied, monkeypatch):
    def refused(*_):
        raise ReadOnly(f"{copied} cannot be written (Permission denied)")

    with client_of([copied]) as client:
        monkeypatch.setattr(journal.Journal, "append", refused)
        for answer in (
            client.post("/items", json={"side": "right", "id": "n", "text": "a"}),
            client.delete("/items/U%2B2665"),
        ):
            said = problem(answer, 503)
            assert "cannot be written (Permission denied)" in said and str(copied.parent) not in said
        assert client.get("/items/U%2B2665").status_code == 200 and client.get("/items/n").status_code == 404

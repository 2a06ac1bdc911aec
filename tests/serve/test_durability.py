"""What a server promises outlives kill -9, exchanged folders and its own end."""

import json
import random
import shutil
import signal
import socket
import threading
import time

import httpx
import numpy as np
import pytest
from served import KEYS, until

import sensorium
from sensorium import io

pytestmark = pytest.mark.xdist_group("serve")


def find(server, text: str) -> str:
    body = {"text": text, "from": "right", "to": "right", "k": 1}
    return httpx.post(server.url + "/search", json=body, timeout=20).json()["hits"][0]["id"]


@pytest.mark.slow
def test_what_was_answered_survives_kill_9(copied, serve):
    server, stop = serve(copied), threading.Event()
    answered: list[tuple[str, str]] = []

    def write() -> None:
        with httpx.Client(base_url=server.url, timeout=20) as client:
            for i in range(10_000):
                try:
                    added = client.post("/items", json={"side": "right", "id": f"k{i}", "text": f"thing number {i}"})
                    assert added.status_code == 201
                    answered.append(("add", f"k{i}"))
                    if i % 3 == 0:
                        assert client.delete(f"/items/k{i}").status_code == 204
                        answered.append(("remove", f"k{i}"))
                except httpx.TransportError:
                    return

    thread = threading.Thread(target=write)
    thread.start()
    while len(answered) < 25:
        time.sleep(0.01)
    time.sleep(random.random() / 10)
    server.kill()
    stop.set()
    thread.join(30)
    opened = sensorium.open(copied)  # what the command line opens
    there = set(opened.places("right"))
    for i in range(len(answered)):
        word, id = answered[i]
        later = [w for w, other in answered[i + 1 :] if other == id]
        if word == "add" and not later:
            # The kill may have come between a removal that was made durable and its answer.
            assert id in there or id == answered[-1][1]
        if word == "remove":
            assert id not in there
    kept = [id for word, id in answered if id in there]
    text = f"thing number {kept[0][1:]}"
    assert opened.search(text=text, side="right", to="right", k=1)[0]["id"] == kept[0]


def test_a_journal_cut_anywhere_opens_with_whole_records(copied, tmp_path):
    from sensorium.search import journal

    run = sensorium.open(copied)
    run.index("right")
    maker = journal.digest(run.fingerprint("right"))
    vectors = run.encoder("right").encode(["one two", "three four", "five six"])
    for i, vector in enumerate(vectors):
        run.journals["right"].append([journal.Change(f"j{i}", vector, {"name": f"name {i}"}, maker)])
    path = copied / "live" / "right.journal"
    whole = path.read_bytes()
    for cut in {len(whole) - 1, len(whole) - 500, len(whole) // 2, len(journal.MAGIC) + 3}:
        path.write_bytes(whole[:cut])
        found = [f"j{i}" in sensorium.open(copied).places("right") for i in range(3)]
        assert found == sorted(found, reverse=True) and not found[2], "a prefix, without what was cut"
    path.write_bytes(whole[:-1])
    again = sensorium.open(copied)
    again.index("right")
    again.journals["right"].append([journal.Change("j9", vectors[0], {}, maker)])  # over what was left half
    assert {"j0", "j1", "j9"} <= set(sensorium.open(copied).places("right"))


@pytest.mark.slow
def test_a_clean_end_compacts_and_loses_nothing(copied, serve):
    server = serve(copied)
    for i in range(5):
        body = {"side": "right", "id": "same", "text": f"purple elephant {i}", "replace": True}
        assert httpx.post(server.url + "/items", json=body, timeout=20).status_code == 201
    assert find(server, "purple elephant 4") == "same"
    size = (copied / "live" / "right.journal").stat().st_size
    log = server.stop()
    assert server.process.returncode == -signal.SIGTERM and "Traceback" not in log
    assert (copied / "live" / "right.journal").stat().st_size < size / 3, "one word on one id is left"
    count = io.read_json(copied / "index" / "right" / "index.json")["count"]
    assert count == len(sensorium.open(copied).index("right"))
    assert sensorium.open(copied).search(text="purple elephant 4", side="right", to="right", k=1)[0]["id"] == "same"


@pytest.mark.slow
@pytest.mark.thorough
def test_live_items_move_into_a_retrained_run(copied, serve):
    server = serve(copied)
    body = {"side": "right", "id": "mine", "text": "purple elephant"}
    assert httpx.post(server.url + "/items", json=body, timeout=20).status_code == 201
    before = httpx.post(server.url + "/encode", json={"text": ["purple elephant"]}).json()["vectors"][0]
    made = sensorium.run("glyphs", [*KEYS, "objective=cca"], out=copied, quiet=True)
    until(lambda: httpx.get(server.url + "/system", timeout=60).json()["runs"][0]["epoch"] >= 1)
    after = httpx.post(server.url + "/encode", json={"text": ["purple elephant"]}).json()["vectors"][0]
    assert not np.allclose(before, after), "another head"
    assert find(server, "purple elephant") == "mine"
    stored = made.index("right").vectors(np.array([made.places("right")["mine"]]))[0]
    np.testing.assert_allclose(stored, after, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
@pytest.mark.thorough
def test_a_folder_exchanged_under_load_fails_no_request(copied, serve, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(copied, other)
    server, stop, failures, answers = serve(copied), threading.Event(), [], []

    def ask() -> None:
        with httpx.Client(base_url=server.url, timeout=20) as client:
            while not stop.is_set():
                answer = client.post("/search", json={"text": "arrow", "k": 3})
                if answer.status_code != 200:
                    failures.append(answer.text)
                answers.append([hit["id"] for hit in answer.json().get("hits", ())])

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(4):
        time.sleep(0.4)
        fresh = tmp_path / "fresh"
        shutil.copytree(other, fresh)
        io.exchange(fresh, copied)
    until(lambda: httpx.get(server.url + "/system", timeout=60).json()["runs"][0]["epoch"] >= 1)
    time.sleep(1.0)
    stop.set()
    for thread in threads:
        thread.join(30)
    assert failures == [] and len(answers) > 20 and all(answer == answers[0] for answer in answers)

    bad = tmp_path / "bad"
    shutil.copytree(other, bad)
    (bad / "right.safetensors").write_bytes(b"junk")
    io.exchange(bad, copied)
    until(lambda: "right.safetensors" in (shown(server)["detail"] or ""))
    assert httpx.post(server.url + "/search", json={"text": "arrow", "k": 3}).status_code == 200
    shutil.copytree(other, fresh)
    io.exchange(fresh, copied)
    until(lambda: shown(server)["detail"] is None)
    assert shown(server)["state"] == "ready"


def shown(server) -> dict:
    return httpx.get(server.url + "/runs", timeout=60).json()["runs"][0]


@pytest.mark.slow
def test_requests_under_way_are_answered_before_the_end(copied, serve):
    server = serve(copied)
    body = json.dumps({"text": [f"word {j}" for j in range(200)]}).encode()
    head = f"POST /encode HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    begun = []
    for _ in range(6):
        begun.append(socket.create_connection(("127.0.0.1", server.port), 20))
        begun[-1].sendall(head.encode() + b"\r\n\r\n" + body[:100])
    while httpx.get(server.url + "/system").json()["under_way"] < 7:
        time.sleep(0.01)
    start = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    for one in begun:
        one.sendall(body[100:])
    answers = [one.makefile("rb").read() for one in begun]
    server.process.wait(30)
    assert time.monotonic() - start < 12 and "Traceback" not in server.log()
    assert [answer[:12] for answer in answers] == [b"HTTP/1.1 200"] * 6
    assert all(len(json.loads(answer.partition(b"\r\n\r\n")[2])["vectors"]) == 200 for answer in answers)
    with pytest.raises(httpx.TransportError):
        httpx.get(server.url + "/healthz")


@pytest.mark.slow
@pytest.mark.thorough
def test_a_request_that_never_ends_does_not_hold_the_server(copied, serve):
    server = serve(copied, SENSORIUM_DRAIN_SECONDS="1")
    with socket.create_connection(("127.0.0.1", server.port), 20) as one:
        one.sendall(b"POST /search HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nhalf")
        start = time.monotonic()
        server.stop()
        assert time.monotonic() - start < 10


def test_two_writers_of_one_run_see_each_other(copied):
    from served import client_of

    with client_of([copied]) as one, client_of([copied]) as two:
        assert one.post("/items", json={"side": "right", "id": "a", "text": "first"}).status_code == 201
        assert two.post("/items", json={"side": "right", "id": "b", "text": "second"}).status_code == 201
        assert two.get("/items/a").status_code == 200
        assert two.post("/items", json={"side": "right", "id": "a", "text": "third"}).status_code == 409
        assert one.post("/items", json={"side": "right", "id": "c", "text": "third"}).status_code == 201
        assert one.get("/items/b").status_code == 200

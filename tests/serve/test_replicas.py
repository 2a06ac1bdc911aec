"""Several workers of one server: they answer in turn, follow each other's changes, and are replaced without a gap."""

import contextlib
import os
import signal
import threading
import time
from collections import Counter

import httpx
import pytest
import small_run
from served import Server, until

from sensorium.errors import BadRecipe
from sensorium.serve import Settings
from sensorium.serve.engine.replica import Replica, labelled


def test_metrics_of_all_workers_are_one_text():
    text = '# HELP a_total of b\n# TYPE a_total counter\na_total{b="x y"} 1.0\n# TYPE c gauge\nc 2.5\n'
    assert labelled({1: text, 0: text}) == (
        '# HELP a_total of b\n# TYPE a_total counter\na_total{worker="0",b="x y"} 1.0\na_total{worker="1",b="x y"} 1.0\n'
        '# TYPE c gauge\nc{worker="0"} 2.5\nc{worker="1"} 2.5\n'
    )


def test_signs_of_life_lie_in_one_folder(tmp_path, monkeypatch):
    one, other = Replica(0, tmp_path), Replica(1, tmp_path)
    one.tell("# TYPE a gauge\na 1\n")
    assert list(one.alive()) == [0] and one.alive()[0] < 60
    assert other.metrics(lambda: "# TYPE a gauge\na 2\n") == '# TYPE a gauge\na{worker="0"} 1\na{worker="1"} 2\n'
    monkeypatch.setenv("SENSORIUM_WORKER_NUMBER", "3")
    monkeypatch.setenv("SENSORIUM_WORKER_FOLDER", str(tmp_path))
    assert Replica.here().number == 3


def test_labels_need_one_process():
    with pytest.raises(BadRecipe, match="--label keeps the state of a refit in one process; type: --label --workers 1"):
        Settings(workers=2, label=True).check()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return small_run.make(tmp_path_factory.mktemp("runs") / "small").folder


@pytest.fixture(scope="module")
def server(run):
    server = Server([run], SENSORIUM_WORKERS="2", SENSORIUM_RELOAD_SECONDS="0.2")
    until(lambda: "listening" in server.log())
    yield server
    with contextlib.suppress(AssertionError):
        server.kill() if server.process.poll() is None else None


def ask(server, path, **body):
    """A request by a connection of its own, which any worker may take."""
    return httpx.post(server.url + path, json=body, timeout=30) if body else httpx.get(server.url + path, timeout=30)


def workers(server):
    """Which workers there are, by number: process ids of those that run."""
    found = {}
    for process in os.popen("ps -eo pid,ppid,args").read().splitlines()[1:]:
        pid, parent, command = process.split(None, 2)
        if int(parent) == server.process.pid and "sensorium.serve.worker" in command:
            found[int(pid)] = command
    return found


@contextlib.contextmanager
def load(server, texts=("arrow", "letter")):
    """Requests by two clients without a pause meanwhile; what they got, and what failed."""
    got, failed, over = [], [], threading.Event()

    def client(text):
        while not over.is_set():
            try:
                with httpx.Client(timeout=60) as kept:
                    for _ in range(5):
                        answer = kept.post(server.url + "/search", json={"text": text, "k": 2})
                        got.append(answer.status_code)
                        if answer.headers.get("connection") == "close":
                            break
            except httpx.TransportError as error:
                failed.append(repr(error))

    threads = [threading.Thread(target=client, args=(text,)) for text in texts]
    for thread in threads:
        thread.start()
    try:
        yield got, failed
    finally:
        over.set()
        for thread in threads:
            thread.join()


@pytest.mark.slow
def test_both_answer_and_count(server):
    answered = Counter(ask(server, "/healthz").json()["worker"] for _ in range(40))
    assert set(answered) == {0, 1} and min(answered.values()) >= 4
    until(lambda: set(ask(server, "/healthz").json()["workers"]) == {"0", "1"})
    until(lambda: all(f'sensorium_run_ready{{worker="{n}",run="small"}} 1.0' in ask(server, "/metrics").text
                      for n in (0, 1)))  # fmt: skip


@pytest.mark.slow
def test_what_one_adds_all_find_at_once(server):
    for i in range(8):
        added = ask(server, "/items", side="right", id=f"new{i}", text=f"zebra crossing number {i}", columns={})
        assert added.status_code < 300, added.text
        for _ in range(4):
            hits = ask(server, "/search", text=f"zebra crossing number {i}", to="right", k=1).json()["hits"]
            assert hits[0]["id"] == f"new{i}"
        again = ask(server, "/items", side="right", id=f"new{i}", text="twice", columns={})
        assert again.status_code == 409, again.text


@pytest.mark.slow
def test_a_worker_that_is_killed_is_started_again(server):
    first = min(workers(server))
    os.kill(first, signal.SIGKILL)
    until(lambda: len(workers(server)) == 2 and first not in workers(server))
    assert all(ask(server, "/search", text="arrow", k=1).status_code == 200 for _ in range(6))
    assert '"event":"worker died"' in server.log()


@pytest.mark.slow
def test_workers_are_renewed_without_a_failed_request(server):
    before = set(workers(server))
    with load(server) as (got, failed):
        os.kill(server.process.pid, signal.SIGHUP)
        until(lambda: server.log().count('"event":"renewed"') == 2)
        time.sleep(0.5)
    assert not before & set(workers(server)) and len(workers(server)) == 2
    assert not failed and set(got) == {200} and len(got) > 20


@pytest.mark.slow
def test_a_new_version_of_the_run_is_taken_over_without_a_failed_request(server, run):
    opened = server.log().count('"event":"opened"')
    with load(server) as (got, failed):
        small_run.make(run, "objective=cca")
        until(lambda: server.log().count('"event":"opened"') == opened + 2)
        time.sleep(0.5)
    assert not failed and set(got) == {200}
    hits = ask(server, "/search", text="zebra crossing number 3", to="right", k=1).json()["hits"]
    assert hits[0]["id"] == "new3"  # added before


@pytest.mark.slow
@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGTERM], ids=lambda sign: sign.name)
def test_workers_end_with_the_supervisor(run, sign):
    server = Server([run], SENSORIUM_WORKERS="2")
    until(lambda: len(workers(server)) == 2)
    pids = [*workers(server)]
    os.kill(server.process.pid, sign)
    assert server.process.wait(60) == (0 if sign == signal.SIGTERM else -9)
    until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids))
    assert "Traceback" not in server.log() and "Fatal" not in server.log()

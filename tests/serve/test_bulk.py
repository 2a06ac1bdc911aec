"""Many items in one request: counts, errors by line, all or none, durable, bounded in memory, while searches run."""

import base64
import io
import json
import threading

import httpx
import numpy as np
import pytest
from PIL import Image
from served import client_of, problem, until

from sensorium.search.journal import Change
from sensorium.search.run import open as open_run

pytestmark = pytest.mark.xdist_group("serve")
LINES = {"content-type": "application/x-ndjson"}


def lines(*items) -> bytes:
    return b"".join(json.dumps(one).encode() + b"\n" for one in items)


def text(id: str, **more) -> dict:
    return {"side": "right", "id": id, "text": f"symbol of {id}", **more}


def sent(client, *items, **query) -> httpx.Response:
    return client.post("/items", content=lines(*items), headers=LINES, params=query)


def on_disk(folder, side="right") -> set[str]:
    return set(open_run(folder).index(side).table.ids.tolist())


def picture() -> str:
    file = io.BytesIO()
    Image.fromarray(np.eye(40, dtype=np.uint8) * 255).save(file, "png")
    return base64.b64encode(file.getvalue()).decode()


def test_items_of_all_kinds_are_added_in_one_stream_and_found(copied):
    before = len(on_disk(copied))
    with client_of([copied]) as client:
        width = open_run(copied).head("right").dim_in
        vectors = np.random.default_rng(0).standard_normal((300, width)).round(4)
        items = [{"side": "right", "id": f"v{i}", "vector": v.tolist()} for i, v in enumerate(vectors)]
        items += [text("t", columns={"name": "TEE"}), {"side": "left", "id": "p", "image": picture()}]
        answer = sent(client, *items)
        assert answer.status_code == 200
        lefts = len(on_disk(copied, "left"))
        assert answer.json() == {"added": 302, "replaced": 0, "failed": 0, "errors": [],
                                 "items": {"right": before + 301, "left": lefts}}  # fmt: skip
        for id, vector in (("v7", vectors[7]), ("v299", vectors[299])):
            asked = {"vector": vector.tolist(), "from": "right", "to": "right", "k": 1, "corrected": False}
            assert client.post("/search", json=asked).json()["hits"][0]["id"] == id
        assert client.get("/items/t").json()["columns"]["name"] == "TEE"
        assert base64.b64encode(client.get("/media/p").content).decode() == picture()
        assert on_disk(copied) >= {"v0", "v299", "t"} and "p" in on_disk(copied, "left")
        again = sent(client, *[{**one, "replace": True} for one in items])
        assert again.status_code == 200 and again.json()["replaced"] == 302
        assert again.json()["items"] == answer.json()["items"]


def test_a_line_that_is_wrong_leaves_out_its_own_item_only(copied):
    body = lines(text("a"), text("b", columns={"nope": 1})) + b"\n {broken\r\n\xef\xbb\xbf" + lines(
        text("a"), text("c", replace=True), {"side": "right", "id": "w", "vector": [1.0]}, text("d", run="other"),
        {"side": "left", "id": "x", "text": "a"}, {"side": "left", "id": "i", "image": "AAAA"}, text("e"))[:-1]  # fmt: skip
    with client_of([copied]) as client:
        answer = client.post("/items", content=body, headers=LINES)
        told = answer.json()
        assert answer.status_code == 207 and (told["added"], told["failed"]) == (3, 7)
        found = {one["line"]: (one["status"], one["id"]) for one in told["errors"]}
        assert found == {2: (422, "b"), 4: (422, None), 5: (409, "a"), 7: (422, "w"), 8: (404, "d"), 9: (400, "x"),
                         10: (422, "i")}  # fmt: skip
        assert any("no column 'nope'" in one["detail"] for one in told["errors"])
        assert not any(str(copied) in one["detail"] for one in told["errors"])
        assert {"a", "c", "e"} <= on_disk(copied) and not {"b", "w", "d"} & on_disk(copied)
        assert "none of the 1 items was added; line 1: " in problem(sent(client, text("a")), 422)
        assert sent(client).json() == {"added": 0, "replaced": 0, "failed": 0, "errors": [], "items": {}}


def test_an_atomic_stream_is_added_whole_or_not_at_all(copied):
    many = [text(f"m{i}") for i in range(600)]
    with client_of([copied]) as client:
        said = problem(sent(client, *many, text("m3"), atomic=True), 409)
        assert said.startswith("line 601 (id 'm3'): ") and said.endswith("none of the items was added")
        assert "line 601: " in problem(sent(client, *many, {"side": "up"}, atomic=True), 422)
        mixed = problem(sent(client, text("n"), {"side": "left", "id": "p", "image": picture()}, atomic=True), 400)
        assert "one side of one run" in mixed
        assert not any(id.startswith("m") for id in on_disk(copied))
        assert sent(client, *many, atomic=True).json()["added"] == 600
        assert {f"m{i}" for i in range(600)} <= on_disk(copied)
    with client_of([copied], max_bodies=4000, max_body=3000, live={"upload": 3000}) as client:
        said = problem(sent(client, *[text(f"n{i}") for i in range(10)], atomic=True), 413)
        assert said.startswith("more than 2000 bytes of vectors and media in one atomic request")


def test_a_server_has_what_another_process_added_a_moment_later(copied):
    with client_of([copied], reload_seconds=0.05) as client:
        other = open_run(copied)
        vector = np.ones(other.head("right").dim_in, np.float32)
        other.index("right")
        other.commit_many("right", [Change("theirs", vector, {}, other.encoder_digest("right"))])
        until(lambda: client.get("/items/theirs").status_code == 200)


def test_a_line_is_bounded_and_nothing_stays_counted(copied):
    with client_of([copied], max_body=2000, live={"upload": 2000}) as client:
        assert "more than 2000 bytes" in problem(sent(client, text("s", columns={"name": "x" * 3000})), 413)
        assert sent(client, *[text(f"s{i}") for i in range(300)]).json()["added"] == 300, "together they are larger"
        assert client.app.state.context.budget.used == 0


@pytest.mark.slow
def test_thousands_of_vectors_in_one_request_while_searches_run_and_a_kill_keeps_them(copied, serve):
    room = {"MAX_BODY": 1 << 20, "LIVE_UPLOAD": 1 << 20, "MAX_BODIES": 5 << 20}  # the stream is larger
    server = serve(copied, **{f"SENSORIUM_{name}": str(value) for name, value in room.items()})
    width = open_run(copied).head("right").dim_in
    vectors = np.random.default_rng(0).standard_normal((4_000, width)).astype(np.float32).round(3)

    def stream():
        for i, vector in enumerate(vectors):
            yield b'{"side":"right","id":"v%d","vector":%b}\n' % (i, json.dumps(vector.tolist()).encode())

    assert sum(map(len, stream())) > 5 << 20
    answers, ended = [], threading.Event()

    def search():
        with httpx.Client(base_url=server.url, timeout=60) as one:
            while not ended.is_set():
                answers.append(one.post("/search", json={"text": "heart", "from": "right", "k": 3}).status_code)

    searching = threading.Thread(target=search)
    searching.start()
    answer = httpx.post(server.url + "/items", content=stream(), headers=LINES, timeout=300)
    ended.set()
    searching.join()
    assert answer.status_code == 200 and answer.json()["added"] == 4_000
    assert len(answers) > 3 and set(answers) == {200}
    server.kill()
    assert len([id for id in on_disk(copied) if id.startswith("v")]) == 4_000

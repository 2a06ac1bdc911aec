"""``/faces``: faces as numbers over a real socket, what is answered, and what is refused while the socket lives on."""

import base64
import io
import json
import os
import re
import shutil
import struct

import httpx
import numpy as np
import pytest

pytest.importorskip("fastapi", reason="type: pip install 'sensorium[serve]'")

import made_face_run
from face_server import FaceServer
from made_face_run import Faces, numbers, picture
from made_faces import face, vector

from sensorium.modalities.face.layout import EMOTIONS


@pytest.fixture(scope="session")
def face_run(tmp_path_factory):
    """A run of made faces, opened."""
    return made_face_run.make(tmp_path_factory.mktemp("faces") / "faces")


@pytest.fixture(scope="module")
def server(face_run):
    one = FaceServer(face_run.folder)
    yield one
    one.stop()


def test_a_face_as_numbers_is_answered_whole(server, face_run):
    with Faces(server.port, k=3) as client:
        ready = client.ready["ready"]
        assert (ready["run"], ready["side"], ready["prompts"]) == ("faces", "left", 7)
        assert ready["emotions"] == list(EMOTIONS) and ready["points"] == 478
        x = vector("happy", 5, sure=8.0)
        told = client.frame(numbers(x[None], 7, 40))
    assert (told["frame"], told["sent"], told["dropped"], told["size"]) == (7, 40, 0, None)
    (one,) = told["faces"]
    points = x[:1434].reshape(478, 3)
    assert one["id"] == 1 and one["label"] == "happy"
    np.testing.assert_allclose(one["landmarks"], points[:, :2], atol=6e-4)
    np.testing.assert_allclose(one["emotions"], x[1434:], atol=1e-4)
    left, top, wide, high = one["box"]
    np.testing.assert_allclose([left, top], points[:, :2].min(0), atol=1e-4)
    np.testing.assert_allclose([left + wide, top + high], points[:, :2].max(0), atol=2e-4)
    hits = face_run.search(vector=x, side="left", k=3)  # the library's own search is the oracle
    assert [(hit["id"], hit["text"]) for hit in one["prompts"]] == [(hit["id"], hit["text"]) for hit in hits]
    np.testing.assert_allclose([hit["score"] for hit in one["prompts"]], [hit["score"] for hit in hits], atol=1e-3)
    assert one["prompts"][0]["text"] == "a person looking happy"


def test_landmarks_alone_get_their_emotions_here(server):
    """What a browser sends: 478 points, whose emotions the classifier of points tells."""
    from sensorium.modalities.face import emotions
    from sensorium.modalities.face.landmarks import Face

    points = np.stack([face(smile=1.0, mouth=0.5), face(scale=0.05, centre=(0.2, 0.2))])
    wanted = emotions.find("points").probabilities(None, [Face(one) for one in points])
    with Faces(server.port) as client:
        assert client.ready["ready"]["numbers"] == "points"
        told = client.frame(numbers(points[::-1]))["faces"]  # the largest comes first
        np.testing.assert_allclose([one["emotions"] for one in told], wanted, atol=1e-3)
        answer = httpx.post(f"http://127.0.0.1:{server.port}/faces", json={"landmarks": points.tolist(), "faces": 1})
        assert len(answer.json()["faces"]) == 1


def test_places_are_those_of_the_map(server, face_run):
    """Of items of the run: their place is the point that the map shows for them."""
    from sensorium.serve.engine import binary

    header, arrays = binary.unpack(httpx.get(f"http://127.0.0.1:{server.port}/runs/faces/map", timeout=60).content)
    assert header["sides"][0]["name"] == "left"
    import made_faces

    made = made_faces.perception(people=6, dim=32).vectors
    ids = face_run.index("left").table.ids.tolist()
    with Faces(server.port, smooth=False) as client:
        for at in (0, 17, 200):
            row = ids.index(f"frame{at:03d}")
            (one,) = client.frame(numbers(made[at][None], at, 40 * at))["faces"]
            np.testing.assert_allclose(one["place"], arrays["xy"][row], atol=2e-3)
        client.ask(place=False)
        assert client.frame(numbers(made[:1]))["faces"][0]["place"] is None


def test_ids_stay_and_the_newest_first_message_counts(server):
    left, right = face(centre=(0.25, 0.5), scale=0.1, person=1), face(centre=(0.75, 0.5), scale=0.1, person=2)
    pairs = [np.stack([_full(left), _full(right)]), np.stack([_full(right), _full(left)])]
    with Faces(server.port, k=1) as client:
        first = client.frame(numbers(pairs[0], 0, 0))["faces"]
        second = client.frame(numbers(pairs[1], 1, 40))["faces"]
        assert {one["id"]: one["box"][0] for one in first} == pytest.approx(
            {one["id"]: one["box"][0] for one in second}
        )
        assert client.ask(k=0, faces=1)["ready"]["run"] == "faces"
        (one,) = client.frame(numbers(pairs[1], 2, 80))["faces"]
        assert one["id"] in (1, 2) and one["prompts"] == []


def _full(points: np.ndarray) -> np.ndarray:
    return np.append(points.reshape(-1), np.eye(7)[4]).astype(np.float32)


def test_the_vectors_of_a_face_on_demand(server, face_run):
    x = vector("sad", 3)
    with Faces(server.port) as client:
        client.frame(numbers(x[None]))
        told = client.ask(vector=1)["vector"]
        assert (told["id"], told["label"]) == (1, "sad")
        np.testing.assert_allclose(told["perception"], x, atol=1e-6)
        np.testing.assert_allclose(told["projected"], face_run.left(x[None])[0], atol=1e-5)
        assert client.ask(vector=9)["problem"]["detail"] == "no face 9 in the last frame; there: 1"


NAN = vector("happy").copy()
NAN[5] = np.nan
FLAT = _full(np.full((478, 3), 0.5, np.float32))
NO_CHANCE = np.append(face().reshape(-1), np.full(7, 0.5)).astype(np.float32)
BAD = [
    (b"", 422, "a message of 0 bytes; expected a header of 9"),
    (b"\1\0\0\0\2", 422, "a message of 5 bytes"),
    (struct.pack("<IIB", 1, 0, 9) + b"x", 422, r"a frame of kind 9; expected one of 1 \(a picture file\), 2"),
    (struct.pack("<IIB", 1, 0, 1), 422, "a frame without content; expected a picture file"),
    (struct.pack("<IIB", 1, 0, 2), 422, "a frame without content; expected landmarks"),
    (struct.pack("<IIBB", 1, 0, 2, 1) + bytes(100), 422, "landmarks of 1 faces in 100 bytes; expected 5736: 478 x 3 fl"),
    (struct.pack("<IIBB", 1, 0, 3, 2) + bytes(5764), 422, "perception vectors of 2 faces in 5764 bytes; expected 11528"),
    (struct.pack("<IIBB", 1, 0, 2, 200) + bytes(200 * 5736), 413, "200 faces in one frame; at most 10"),
    (numbers(NAN[None], 1), 422, "1 of 1441 numbers are NaN or infinite"),
    (numbers(FLAT[None], 1), 422, "landmarks all lie on one line or in one place"),
    (numbers(640 * vector("happy")[None], 1), 422, "expected shares of the picture"),
    (numbers(NO_CHANCE[None], 1), 422, "emotion probabilities .* that add up to 3.5"),
    (struct.pack("<IIB", 1, 0, 1) + bytes(5 << 20), 413, "a frame of 5242889 bytes; at most 4194304"),
]  # fmt: skip


def test_bad_frames_are_problems_and_the_socket_lives_on(server):
    with Faces(server.port) as client:
        for data, status, detail in BAD:
            told = client.frame(data)
            assert set(told) == {"frame", "problem"} and told["problem"]["status"] == status, told
            assert re.search(detail, told["problem"]["detail"]), told
            assert told["frame"] == (int.from_bytes(data[:4], "little") if len(data) >= 4 else None)
        assert client.frame(numbers(vector("happy")[None], 5))["faces"][0]["label"] == "happy"
        assert client.frame(numbers(np.zeros((0, 1441)), 6))["faces"] == []


@pytest.mark.parametrize(
    ("text", "status", "detail"),
    [
        ("frame", 422, "this is no JSON: 'frame'; frames are binary messages"),
        ("[]", 422, "valid dictionary"),
        ('{"ran": "x"}', 422, "ran: Extra inputs"),
        ('{"run": "fases"}', 404, "no run 'fases'; did you mean 'faces'"),
        ('{"k": 1000}', 413, "k is 1000; at most 50"),
        ('{"faces": 1000}', 413, "faces is 1000; at most 10"),
        ('{"faces": 0}', 422, "greater than or equal to 1"),
        ('{"vector": "1"}', 422, "vector: Input should be a valid integer"),
        ('{"run": "' + "x" * 20_000 + '"}', 413, "a text message of 20011 characters"),
    ],
)
def test_bad_text_is_a_problem_and_the_socket_lives_on(server, text, status, detail):
    with Faces(server.port) as client:
        client.socket.send(text)
        told = client.read()
        assert told["problem"]["status"] == status and detail in told["problem"]["detail"], told
        assert client.frame(numbers(vector("happy")[None]))["faces"]


def test_frames_before_the_first_message_are_asked_for_it(server):
    from websockets.sync.client import connect

    with connect(f"ws://127.0.0.1:{server.port}/faces") as socket:
        socket.send(numbers(vector("happy")[None], 3))
        told = json.loads(socket.recv(10))
        assert told["frame"] == 3 and "say first what is wanted" in told["problem"]["detail"]
        socket.send("{}")
        assert json.loads(socket.recv(10))["ready"]["run"] == "faces"
    with connect(f"ws://127.0.0.1:{server.port}/faces?rum=1") as socket:
        assert "unknown parameter 'rum'" in json.loads(socket.recv(10))["problem"]["detail"]
        with pytest.raises(Exception, match="4400"):
            socket.recv(10)


def test_the_newest_frame_wins_and_none_pile_up(server):
    """Frames that come faster than answers: few are answered, the last one is, in order, and the rest are counted."""
    frames = [numbers(vector("happy", i)[None], i, 5 * i) for i in range(300)]
    with Faces(server.port) as client:
        for data in frames:
            client.socket.send(data)
        told = []
        while not told or told[-1]["frame"] < 299:
            told.append(client.read())
    order = [one["frame"] for one in told]
    assert order == sorted(order) and order[-1] == 299
    assert len(told) + sum(one["dropped"] for one in told) == 300


def test_one_picture_or_numbers_by_post(server):
    url, x = f"http://127.0.0.1:{server.port}/faces", vector("happy", 5, sure=8.0)
    told = httpx.post(url, json={"vectors": [x.tolist()], "k": 2}).json()
    assert told["faces"][0]["label"] == "happy" and len(told["faces"][0]["prompts"]) == 2
    assert httpx.post(url, json={"vectors": []}).json()["faces"] == []
    for body, status, detail in [
        ({}, 400, "give exactly one of image, landmarks, vectors; got none"),
        ({"vectors": [[1.0]]}, 422, "vectors: a face of 1 entries; expected 1441 numbers"),
        ({"landmarks": [[[0, 0, 0]]]}, 422, "landmarks: a face of 1 entries; expected 478 x 3 numbers"),
        ({"landmarks": [], "vectors": []}, 400, "got landmarks, vectors"),
        ({"vectors": [[1e39] * 1441]}, 422, "beyond float32"),
        ({"vectors": [[]] * 11}, 413, "11 faces; at most 10"),
        ({"image": "?"}, 422, "not base64"),
    ]:
        answer = httpx.post(url, json=body)
        assert answer.status_code == status and detail in answer.json()["detail"], answer.text
    assert httpx.post(url, content=b"x").status_code == 415
    wrong = httpx.post(url, files={"picture": b"x"})
    assert wrong.status_code == 422 and "expected query (JSON) and image" in wrong.json()["detail"]


def test_what_is_there_and_what_is_missing(server):
    told = httpx.get(f"http://127.0.0.1:{server.port}/faces").json()
    (run,) = told["runs"]
    assert (run["name"], run["encoder"], run["prompts"], told["why"], told["others"]) == ("faces", False, 7, None, {})
    assert run["pictures"] or "pip install" in run["why"]
    assert told["limits"]["bytes"] == 4 << 20


def test_it_is_counted(server):
    with Faces(server.port) as client:
        client.frame(numbers(vector("happy")[None]))
        client.frame(b"")
        told = httpx.get(f"http://127.0.0.1:{server.port}/metrics").text
        assert "sensorium_faces_open 1.0" in told
    assert 'sensorium_faces_frames_total{outcome="answered"}' in told
    assert 'sensorium_faces_frames_total{outcome="problem"}' in told and "sensorium_faces_frame_seconds_bucket" in told


def test_pictures_where_nothing_reads_them(server):
    ready = httpx.get(f"http://127.0.0.1:{server.port}/faces").json()["runs"][0]
    if ready["pictures"]:
        pytest.skip("mediapipe is installed, and pictures are read")
    from PIL import Image

    held = io.BytesIO()
    Image.new("RGB", (64, 48)).save(held, "JPEG")
    with Faces(server.port) as client:
        told = client.frame(picture(held.getvalue(), 4))
        assert told["problem"]["status"] == 501 and "pip install" in told["problem"]["detail"]
        assert client.frame(numbers(vector("happy")[None]))["faces"]
    answer = httpx.post(f"http://127.0.0.1:{server.port}/faces",
                        json={"image": base64.b64encode(held.getvalue()).decode()})  # fmt: skip
    assert answer.status_code == 501


def test_the_newest_run_is_chosen_and_another_can_be(tmp_path, face_run):
    from served import client_of

    older, newer = tmp_path / "older", tmp_path / "newer"
    shutil.copytree(face_run.folder, newer)
    shutil.copytree(face_run.folder, older)
    os.utime(older / "metrics.json", (1e9, 1e9))
    os.utime(newer / "metrics.json", (2e9, 2e9))
    with client_of([older, newer]) as client, client.websocket_connect("ws://127.0.0.1:8000/faces") as socket:
        socket.send_text("{}")
        assert socket.receive_json()["ready"]["run"] == "newer"
        socket.send_text('{"run": "older"}')
        assert socket.receive_json()["ready"]["run"] == "older"
        assert [one["name"] for one in client.get("/faces").json()["runs"]] == ["newer", "older"]


def test_without_a_run_of_faces_it_says_what_to_type(tmp_path):
    import small_run
    from served import client_of

    run = small_run.make(tmp_path / "small")
    with client_of([run.folder]) as client, client.websocket_connect("ws://127.0.0.1:8000/faces") as socket:
        socket.send_text("{}")
        told = socket.receive_json()["problem"]
        assert told["status"] == 409 and "sensorium run perception data.file=" in told["detail"]
        socket.send_text('{"run": "small"}')
        assert "takes no faces: its" in socket.receive_json()["problem"]["detail"]
        about = client.get("/faces").json()
        assert about["runs"] == [] and "sensorium run perception" in about["why"]
        assert "image" in about["others"]["small"]
        assert client.post("/faces", json={"vectors": [vector("sad").tolist()]}).status_code == 409

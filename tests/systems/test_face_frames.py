"""``WS /faces`` with pictures: what decodes, what does not, how fast clients share, and runs that change meanwhile."""

import contextlib
import io
import json
import shutil
import threading
import time

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="type: pip install 'sensorium[serve]'")
pytest.importorskip("PIL.Image", reason="type: pip install pillow")

import made_face_run
from face_server import Bright, FaceServer, Marks
from made_face_run import Faces, numbers, picture
from made_faces import vector
from PIL import Image

from sensorium.modalities.face import emotions, landmarks

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(120, 255, (48, 64, 3), dtype=np.uint8)


def encoded(kind: str, image=None, **more) -> bytes:
    held = io.BytesIO()
    (image or Image.fromarray(PIXELS)).save(held, kind, **more)
    return held.getvalue()


@pytest.fixture(scope="session")
def face_run(tmp_path_factory):
    """A run of made faces, opened."""
    return made_face_run.make(tmp_path_factory.mktemp("faces") / "faces")


@pytest.fixture
def source(monkeypatch):
    """Landmarks without mediapipe, and emotions by brightness."""
    one = Marks()
    monkeypatch.setattr(landmarks, "find", lambda *_, **__: one)
    monkeypatch.setattr(emotions, "find", lambda name: Bright())
    return one


@pytest.fixture
def server(face_run, source):
    one = FaceServer(face_run.folder)
    yield one
    one.stop()


def test_pictures_of_every_kind_are_read_upright_and_in_colour(server, source):
    turned = Image.fromarray(PIXELS)
    exif = turned.getexif()
    exif[0x0112] = 6
    two = [Image.fromarray(PIXELS), Image.fromarray(PIXELS // 2)]
    good = {
        "jpeg": (encoded("JPEG"), (64, 48)),
        "png": (encoded("PNG"), (64, 48)),
        "webp": (encoded("WEBP"), (64, 48)),
        "cmyk": (encoded("JPEG", Image.fromarray(PIXELS).convert("CMYK")), (64, 48)),
        "grey": (encoded("JPEG", Image.fromarray(PIXELS).convert("L")), (64, 48)),
        "16 bit": (encoded("PNG", Image.fromarray(PIXELS[..., 0].astype(np.uint16) * 256)), (64, 48)),
        "transparent": (encoded("PNG", Image.fromarray(PIXELS).convert("RGBA")), (64, 48)),
        "animated": (encoded("GIF", two[0], save_all=True, append_images=two[1:]), (64, 48)),
        "lying": (encoded("JPEG", turned, exif=exif), (48, 64)),
        "tiny": (encoded("PNG", Image.fromarray(PIXELS[:1, :1])), (1, 1)),
    }
    with Faces(server.port, k=1, smooth=False) as client:
        assert (client.ready["ready"]["source"], client.ready["ready"]["classifier"]) == ("marks", "bright")
        for number, (name, (content, size)) in enumerate(good.items()):
            told = client.frame(picture(content, number, 40 * number))
            assert told.get("size") == list(size), (name, told)
            assert told["faces"][0]["label"] == "happy", name
        assert client.frame(picture(encoded("PNG", Image.new("RGB", (64, 48))), 99))["faces"] == []
    assert source.shapes[-2:] == [(1, 1, 3), (48, 64, 3)]


def test_what_is_no_picture_is_a_problem_and_the_next_frame_is_answered(server):
    whole = encoded("JPEG")
    huge = encoded("PNG", Image.new("1", (10_000, 10_000)))
    bad = {
        b"x": "it is not a PNG, JPEG, GIF, WebP or BMP picture",
        bytes(4000): "it is not a PNG",
        whole[: len(whole) // 2]: "the face cannot be used",
        encoded("TIFF"): "it is not a PNG",
        huge: "10000 × 10000 pixels; at most 8,294,400",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>": "it is not a PNG",
    }
    with Faces(server.port) as client:
        for content, detail in bad.items():
            told = client.frame(picture(content, 3))
            assert told["frame"] == 3 and told["problem"]["status"] == 422, told
            assert detail in told["problem"]["detail"] and "/" + "tmp" not in told["problem"]["detail"], told
            assert client.frame(picture(whole, 4))["faces"]
        with contextlib.suppress(Exception):
            client.socket.send(bytes(30 << 20))  # more than any message may have
        with pytest.raises(Exception, match="1009|no close frame"):  # it may be closed before all was sent
            client.read()
    with Faces(server.port) as client:
        assert client.frame(picture(whole))["faces"]


def test_clients_share_alike_however_fast_one_sends(face_run, source):
    source.seconds = 0.02
    server = FaceServer(face_run.folder, client_share=1.0)
    content, counts = encoded("JPEG"), {"greedy": 0, "patient": 0}
    stop = time.monotonic() + 2.0

    def greedy() -> None:
        with Faces(server.port, k=0, place=False) as client:
            number = 0
            while time.monotonic() < stop:
                for _ in range(20):
                    client.socket.send(picture(content, number, number))
                    number += 1
                counts["greedy"] += "faces" in client.read()

    def patient() -> None:
        with Faces(server.port, k=0, place=False) as client:
            number = 0
            while time.monotonic() < stop:
                number += 1
                counts["patient"] += "faces" in client.frame(picture(content, number, 40 * number))

    threads = [threading.Thread(target=one) for one in (greedy, patient, greedy)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    server.stop()
    assert counts["patient"] > 0.2 * counts["greedy"] > 0, counts


def test_a_run_that_is_fitted_anew_is_used_and_one_that_goes_is_still_answered(face_run, tmp_path, monkeypatch):
    folder, newer = tmp_path / "runs" / "faces", tmp_path / "newer"
    shutil.copytree(face_run.folder, folder)
    shutil.copytree(face_run.folder, newer)
    server = FaceServer(folder, reload_seconds=0.05)
    frame = numbers(vector("happy", sure=8.0)[None])
    with Faces(server.port) as client:
        assert client.frame(frame)["faces"]
        folder.rename(tmp_path / "old")
        newer.rename(folder)
        end = time.monotonic() + 30
        while "ready" not in (told := client.frame(frame)):
            assert told["faces"][0]["id"] == 1 and time.monotonic() < end
            time.sleep(0.05)
        assert client.read()["faces"][0]["id"] == 1  # the frame that was asked with; the face is the same
        shutil.rmtree(folder)
        time.sleep(0.3)
        assert client.frame(frame)["faces"][0]["prompts"]
    server.stop()


def test_a_run_that_is_replaced_by_one_without_faces_is_a_problem(face_run, tmp_path):
    import small_run

    folder = tmp_path / "runs" / "faces"
    shutil.copytree(face_run.folder, folder)
    other = small_run.make(tmp_path / "other" / "faces").folder
    server = FaceServer(folder, reload_seconds=0.05)
    frame = numbers(vector("happy")[None], 8)
    with Faces(server.port) as client:
        folder.rename(tmp_path / "old")
        other.rename(folder)
        end = time.monotonic() + 30
        while "problem" not in (told := client.frame(frame)):
            assert time.monotonic() < end
            time.sleep(0.05)
        assert told["frame"] == 8 and told["problem"]["status"] == 409 and "takes no faces" in told["problem"]["detail"]
        assert client.frame(frame)["problem"]
    server.stop()


def test_who_says_nothing_is_let_go_and_places_are_limited(face_run, monkeypatch):
    from websockets.sync.client import connect

    monkeypatch.setenv("SENSORIUM_FACES_IDLE", "0.5")
    monkeypatch.setenv("SENSORIUM_FACES_STREAMS", "2")
    server = FaceServer(face_run.folder)
    with Faces(server.port) as quiet:
        assert quiet.read()["problem"]["detail"] == "no message for 0.5 s; open the stream again"
        with pytest.raises(Exception, match="4408"):
            quiet.read()
    with Faces(server.port) as one:
        with connect(f"ws://127.0.0.1:{server.port}/faces") as second:  # half of the places are one address's
            assert json.loads(second.recv(20))["problem"]["status"] == 429
            with pytest.raises(Exception, match="4429"):
                second.recv(20)
        assert one.frame(numbers(vector("happy")[None]))["faces"]
    server.stop()


def test_nothing_of_a_frame_is_stored_or_logged(face_run, source, tmp_path, monkeypatch, capfd):
    folder = tmp_path / "faces"
    shutil.copytree(face_run.folder, folder)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    server = FaceServer(folder)
    with Faces(server.port, place=False) as client:
        client.frame(picture(encoded("JPEG"), 1))
        client.frame(picture(b"no picture", 2))
    server.stop()
    after = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if ".maps" not in str(path)}
    assert {*after} <= {*before}
    assert "no picture" not in capfd.readouterr().err

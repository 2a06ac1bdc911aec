"""A run whose left encoder is `face`: searched by a dropped face, as numbers anywhere, as a picture with MediaPipe."""

import base64
import io

import numpy as np
import pytest
from made_faces import perception
from served import client_of, problem

import sensorium
from sensorium.modalities.face.sources import _mediapipe

pytestmark = pytest.mark.xdist_group("serve")
KEYS = {"objective": "ridge", "evaluate": {"resamples": 50, "plots": False, "leaks": "off", "baselines": []}}


def npy(numbers):
    out = io.BytesIO()
    np.save(out, numbers)
    return base64.b64encode(out.getvalue()).decode()


def png(pixels):
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return base64.b64encode(out.getvalue()).decode()


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    """A run of faces as numbers, in files of their own, and the vectors."""
    root, made, paths = tmp_path_factory.mktemp("faces"), perception(40, 4), []
    for i, one in enumerate(made.vectors):
        paths.append(root / f"face{i:02d}.npy")
        np.save(paths[-1], one)
    run = sensorium.fit(paths, made.prompts, left={"encoder": "face"}, right={"encoder": "hashing"}, group=made.persons,
                        out=root / "run", **KEYS)  # fmt: skip
    return run, made


def test_faces_as_numbers_are_searched_by_numbers(faces):
    run, made = faces
    assert 'landmarks = "numbers"' in (run.folder / "recipe.toml").read_text()
    id = str(run.index("left").table.ids[0])
    expected = run.search(id=id, side="left", k=3)
    at = int(id.rsplit("face", 1)[1][:2]) if "face" in id else int(id)
    found = run.search(face=made.vectors[at], k=3)
    assert [hit["id"] for hit in found] == [hit["id"] for hit in expected]
    with client_of([run.folder]) as client:
        answer = client.post("/search", json={"face": npy(made.vectors[at]), "k": 3}).json()
        assert [hit["id"] for hit in answer["hits"]] == [hit["id"] for hit in expected]
        np.testing.assert_allclose(
            [hit["score"] for hit in answer["hits"]], [hit["score"] for hit in expected], atol=1e-5
        )
        form = {"face": ("face.npy", base64.b64decode(npy(made.vectors[at])))}
        form_answer = client.post("/search", data={"query": '{"k": 3}'}, files=form).json()
        assert form_answer["hits"] == answer["hits"]


def test_a_bad_face_is_a_problem_and_the_server_lives_on(faces):
    run, made = faces
    broken = made.vectors[0].copy()
    broken[5] = np.nan
    with client_of([run.folder]) as client:
        for value, said in (
            (npy(broken), "1 of a face's 1441 numbers are NaN or infinite"),
            (npy(made.vectors[0][:99]), "a face of numbers of shape (99,)"),
            (npy(made.vectors[0] * 500), "expected shares of the picture"),
            (npy(made.vectors[0][:1434]), "without the 7 emotion probabilities"),
            (
                png(np.zeros((40, 40, 3), np.uint8)),
                "landmarks=numbers takes faces as numbers (478, 3) and reads no pictures",
            ),
            (base64.b64encode(b"no picture").decode(), "it is not a PNG, JPEG, GIF, WebP or BMP picture"),
        ):
            answer = client.post("/search", json={"face": value, "k": 3})
            assert said in problem(answer, 422)
        assert client.post("/search", json={"face": npy(made.vectors[0]), "k": 3}).status_code == 200


def test_faces_in_pictures_are_searched_by_a_dropped_picture(tmp_path):
    if _mediapipe.version() is None:
        pytest.skip("mediapipe is not installed; type: python tests/packaging/encoders.py face")
    if not _mediapipe.has_solutions():
        pytest.skip("this mediapipe brings no model; type: python tests/packaging/encoders.py face")
    from PIL import Image

    astronaut = pytest.importorskip("skimage.data", reason="scikit-image is not installed").astronaut()
    paths, words = [], []
    for i in range(12):
        left, word = 10 * i, ("happy", "smiling", "astronaut")[i % 3]
        paths.append(tmp_path / f"face{i:02d}.png")
        Image.fromarray(astronaut[: 300 + 10 * i, left : left + 350]).save(paths[-1])
        words.append(f"{word} {i}")
    run = sensorium.fit(paths, words, left={"encoder": {"name": "face", "emotions": "points"}},
                        right={"encoder": "hashing"}, out=tmp_path / "run", **KEYS)  # fmt: skip
    assert 'landmarks = "legacy"' in (run.folder / "recipe.toml").read_text()
    with client_of([run.folder]) as client:
        id = str(run.index("left").table.ids[4])
        item = client.get("/items/" + id.replace("/", "%2F"), params={"side": "left"}).json()
        assert item["kind"] == "image" and client.get(item["media"]).headers["content-type"] == "image/png"
        by_id = client.post("/search", json={"id": id, "from": "left", "k": 3}).json()["hits"]
        dropped = base64.b64encode(client.get(item["media"]).content).decode()
        by_face = client.post("/search", json={"face": dropped, "k": 3}).json()["hits"]
        assert [hit["id"] for hit in by_face] == [hit["id"] for hit in by_id]
        answer = client.post("/search", json={"face": png(np.full((90, 90, 3), 80, np.uint8)), "k": 3})
        assert "no face was found in a picture of 90 × 90 pixels" in problem(answer, 422)
        assert client.post("/search", json={"face": dropped, "k": 3}).status_code == 200

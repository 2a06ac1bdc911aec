"""Faces of a stream of pictures: followed from picture to picture, by a graph of each stream's own."""

import threading

import made_faces
import numpy as np
import pytest

from sensorium.errors import BadData, SensoriumError
from sensorium.modalities.face import landmarks
from sensorium.modalities.face.landmarks import Face
from sensorium.modalities.face.sources._following import Following
from sensorium.modalities.face.sources.numbers import Numbers


def moving(n: int):
    """A real face that moves to the right, with noise, (480, 640, 3) each."""
    data = pytest.importorskip("skimage.data")
    face, rng = data.astronaut()[:280, 120:400], np.random.default_rng(0)
    for i in range(n):
        paper = np.full((480, 640, 3), 100, np.int16)
        paper[100:380:1, 60 + 8 * i : 340 + 8 * i] = face
        yield (paper + rng.normal(0, 3, paper.shape)).clip(0, 255).astype(np.uint8)


def test_a_followed_face_is_where_a_single_picture_has_it():
    try:
        source = landmarks.find()
    except SensoriumError as error:
        pytest.skip(str(error))
    stream = source.following(3)
    for i, rgb in enumerate(moving(10)):
        (followed,) = stream.faces(rgb, 3)
        if i > 2:  # it settles on the face in the first pictures
            (alone,) = source.faces(rgb, 1)
            assert np.abs(followed.landmarks - alone.landmarks)[:, :2].max() < 0.02
    assert stream.faces(np.full((480, 640, 3), 100, np.uint8), 3) == []
    assert stream.fingerprint() != source.fingerprint()
    stream.close()
    assert len(stream.faces(rgb, 1)) == 1  # a closed one begins anew
    stream.close()


class Graph:
    """A graph that fails at black pictures, and when two pictures come at once."""

    made = 0

    def __init__(self) -> None:
        Graph.made += 1
        self.closed, self.busy = False, threading.Lock()

    def close(self) -> None:
        assert not self.busy.locked()
        self.closed = True

    def read(self, rgb: np.ndarray) -> list[Face]:
        with self.busy:
            if not rgb.any():
                raise RuntimeError("CalculatorGraph::Run() failed\nat a place")
            return [Face(np.full((478, 3), 0.5, np.float32))]


def test_a_graph_that_fails_is_made_anew():
    before, one = Graph.made, Following(Numbers(), Graph, Graph.read)
    black, grey = np.zeros((2, 2, 3), np.uint8), np.ones((2, 2, 3), np.uint8)
    assert len(one.faces(grey)) == 1
    with pytest.raises(BadData, match=r"MediaPipe failed at a picture \(CalculatorGraph::Run\(\) failed\)"):
        one.faces(black)
    assert len(one.faces(grey)) == 1 and Graph.made == before + 2


def test_a_face_found_twice_is_the_one_that_was_there_before():
    mesh = made_faces.face()
    scaled = (mesh - mesh.mean(0)) * np.array([1.05, 1.3, 1.0], np.float32) + mesh.mean(0)
    other = mesh + np.array([0.6, 0.0, 0.0], np.float32)
    pictures = iter([[mesh], [scaled, mesh, other], [other, scaled]])
    stream = Following(Numbers(), lambda: None, lambda graph, rgb: [Face(one) for one in next(pictures)])
    rgb = np.ones((2, 2, 3), np.uint8)
    assert [one.landmarks is mesh for one in stream.faces(rgb, 3)] == [True]
    second = stream.faces(rgb, 3)
    assert len(second) == 2 and {id(one.landmarks) for one in second} == {id(mesh), id(other)}
    assert len(stream.faces(rgb, 3)) == 2  # what covers the face of the picture before is that face


def test_a_source_that_follows_nothing_is_its_own():
    source = Numbers()
    assert source.following(3) is source
    source.close()

"""The thorough search finds small, lying and tightly cut faces, and gives their places in the whole picture."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_faces import face

from sensorium.modalities.face import canonical, pose, thorough
from sensorium.modalities.face.landmarks import Face, LandmarkSource
from sensorium.modalities.face.layout import LEFT_EYE_OUTER, RIGHT_EYE_OUTER


class Marks(LandmarkSource):
    """Finds a face by a red mark at the right eye and a blue one at the left, as a detector with its limits would.

    The eyes must be upright within 45° and ``smallest`` of the view apart; each pair of marks of one shade is a face.
    """

    name = "marks"

    def __init__(self, smallest: float = 0.06) -> None:
        self.smallest = smallest

    def fingerprint(self):
        return {"landmarks": "marks"}

    def faces(self, rgb, most=1):
        found, (height, width) = [], rgb.shape[:2]
        for shade in range(250, 200, -10) if rgb.any() else ():
            ends = []
            for channel in (0, 2):
                other = 2 - channel
                at = np.argwhere((abs(rgb[..., channel].astype(int) - shade) < 4) & (rgb[..., other] < 20))
                ends.append(at.mean(0)[::-1] + 0.5 if len(at) else None)
            if any(end is None for end in ends):
                continue
            (ax, ay), (bx, by) = ends
            length, angle = np.hypot(bx - ax, by - ay), np.arctan2(by - ay, bx - ax)
            if length < self.smallest * max(width, height) or abs(angle) > np.pi / 4:
                continue
            turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
            points = canonical.shape() @ turn.T * length + [(ax + bx) / 2, (ay + by) / 2, 0]
            found.append(Face((points / [width, height, width]).astype(np.float32)))
        return sorted(found, key=lambda one: -one.area)[:most]


def picture(size, *eyes):
    """Black pixels with a face for each pair of eyes, and the landmarks that a perfect source finds there."""
    height, width = size
    rgb, expected = np.zeros((height, width, 3), np.uint8), []
    for i, ((ax, ay), (bx, by)) in enumerate(eyes):
        for (x, y), channel in (((ax, ay), 0), ((bx, by), 2)):
            rgb[y - 1 : y + 2, x - 1 : x + 2, channel] = 250 - 10 * i
        a, b = np.array([ax + 0.5, ay + 0.5]), np.array([bx + 0.5, by + 0.5])
        length, (x, y) = np.hypot(*(b - a)), b - a
        turn = np.array([[x, -y, 0], [y, x, 0], [0, 0, length]]) / length
        points = canonical.shape() @ turn.T * length + [*(a + b) / 2, 0]
        expected.append(points / [width, height, width])
    return rgb, expected


def search(smallest=0.06):
    return thorough.Thorough(Marks(smallest), Marks(smallest))


@pytest.mark.parametrize(
    ("size", "eyes"),
    [
        ((200, 300), ((100, 90), (160, 95))),  # plain
        ((300, 200), ((90, 160), (95, 100))),  # lying: a quarter turned one way
        ((200, 300), ((100, 90), (105, 150))),  # and the other
        ((200, 300), ((160, 95), (100, 90))),  # upside down
        ((800, 1000), ((700, 600), (730, 602))),  # small
        ((803, 1001), ((40, 50), (60, 52))),  # smaller, in a corner
    ],
    ids=["plain", "lying left", "lying right", "upside down", "small", "smaller"],
)
def test_a_face_is_found_where_it_is(size, eyes):
    rgb, (expected,) = picture(size, eyes)
    (found,) = search().faces(rgb)
    assert np.allclose(found.landmarks, expected, atol=2e-4)


@given(
    st.integers(0, 3),
    st.integers(120, 180),
    st.integers(-30, 30),
    st.tuples(st.integers(300, 500), st.integers(300, 500)),
)
@settings(deadline=None, max_examples=25)
def test_turning_the_picture_turns_the_landmarks(turns, length, slope, size):
    rgb, (expected,) = picture(size, ((60, 120), (60 + length, 120 + slope)))
    (found,) = search().faces(np.ascontiguousarray(np.rot90(rgb, turns)))
    x, y, z = found.landmarks.T
    for _ in range(turns):
        x, y = 1 - y, x
    wide = size[1] if turns % 2 == 0 else size[0]
    assert np.allclose(np.stack([x, y, z * wide / size[1]], 1), expected, atol=1e-3)


def test_several_faces_are_found_once_each_the_largest_first():
    eyes = [
        ((100 + 300 * i, 200 + 100 * j), (100 + 300 * i + 40 - 5 * j, 201 + 100 * j)) for i in range(3) for j in (0,)
    ]
    eyes += [((150, 600), (180, 600)), ((700, 620), (790, 620))]
    rgb, expected = picture((800, 1000), *eyes)
    found = search(0.05).faces(rgb, 10)
    assert len(found) == 5 and [one.area for one in found] == sorted((one.area for one in found), reverse=True)
    for one in found:
        assert min(float(np.abs(one.landmarks - other).max()) for other in expected) < 1e-3
    assert len(search(0.05).faces(rgb, 2)) == 2
    (largest,) = search(0.05).faces(rgb)
    assert np.allclose(largest.landmarks, found[0].landmarks, atol=1e-3)


def test_no_face_is_an_empty_list():
    for size in ((1, 1), (40, 30), (700, 500)):
        assert search().faces(np.zeros((*size, 3), np.uint8)) == []
    assert search().fingerprint() == {"landmarks": "marks", "search": 1}


def test_huge_pictures_are_looked_at_smaller():
    rgb = np.zeros((300, 9000, 3), np.uint8)
    assert thorough.shrunk(rgb).shape == (75, 2250, 3) and thorough.shrunk(rgb[:, :2560]) is not rgb
    assert thorough.shrunk(rgb[:, :100]).shape == (300, 100, 3)


@given(
    st.floats(-40, 40), st.floats(-25, 25), st.floats(-60, 60), st.floats(0, 1), st.floats(0.05, 0.4), st.integers(0, 9)
)
@settings(deadline=None, max_examples=30)
def test_the_pose_of_a_face_is_found(yaw, pitch, roll, mouth, scale, person):
    found = pose.fit(face(yaw, pitch, roll, mouth, scale=scale, aspect=1.5, person=person), 1.5)
    assert found.scale == pytest.approx(scale, rel=0.2) and found.misfit < 0.09
    exact = face(yaw, pitch, roll, scale=scale, aspect=1.5)
    assert pose.fit(exact, 1.5).misfit < 1e-4 and pose.fit(exact, 1.5).scale == pytest.approx(scale, rel=1e-3)
    assert np.allclose(found.rotation @ found.rotation.T, np.eye(3), atol=1e-6)
    assert pose.roll(face(roll=roll, aspect=1.5), 1.5) == pytest.approx(roll, abs=1e-3)


def test_points_at_random_fit_no_face():
    assert pose.fit(np.random.default_rng(0).random((478, 3))).misfit > 0.2
    eyes = face(roll=90)[[RIGHT_EYE_OUTER, LEFT_EYE_OUTER]]
    assert abs(eyes[0, 0] - eyes[1, 0]) < 1e-3

"""Values of live faces over time: labels that hold, landmarks that rest and follow, memory that ends."""

import itertools

import numpy as np
import pytest
from made_faces import face
from moving_faces import scene

from sensorium.modalities.face.landmarks import Face
from sensorium.modalities.face.layout import EMOTIONS
from sensorium.systems.perception.reader import Found
from sensorium.systems.perception.watch import Watch

RATE = 25


def found(points: np.ndarray, chances: np.ndarray) -> Found:
    return Found([Face(points.astype(np.float32))], chances[None].astype(np.float32))


def noisy(rng, likely: dict[str, float], spread: float) -> np.ndarray:
    """Probabilities about some values, with noise on their logarithms."""
    base = np.array([likely.get(name, 0.02) for name in EMOTIONS])
    odds = base * np.exp(rng.normal(0, spread, 7))
    return odds / odds.sum()


def labels(chances, smooth=True) -> list[str]:
    watch, points = Watch(smooth), face()
    return [watch.push(found(points, one), i / RATE)[0].label for i, one in enumerate(chances)]


def changes(told: list[str]) -> int:
    return sum(a != b for a, b in itertools.pairwise(told))


@pytest.mark.parametrize("seed", range(5))
def test_a_held_face_keeps_its_label_for_ten_seconds(seed):
    """Two emotions that are almost equally likely, with noise from frame to frame: the raw label flickers."""
    rng = np.random.default_rng(seed)
    chances = [noisy(rng, {"neutral": 0.42, "sad": 0.38}, 0.6) for _ in range(10 * RATE)]
    assert changes(labels(chances, smooth=False)) > 50
    assert changes(labels(chances)) <= 1


def test_a_real_change_is_told_within_a_second_and_a_half():
    rng = np.random.default_rng(0)
    chances = [noisy(rng, {"neutral": 0.7}, 0.3) for _ in range(3 * RATE)]
    chances += [noisy(rng, {"happy": 0.8}, 0.3) for _ in range(3 * RATE)]
    told = labels(chances)
    assert told[2 * RATE] == "neutral" and changes(told) == 1
    assert told.index("happy") - 3 * RATE < 1.5 * RATE


def test_landmarks_rest_and_follow():
    rng, still, moving = np.random.default_rng(0), Watch(), Watch()
    noise, rest, lag = 0.002 * 0.3, [], []
    for i in range(6 * RATE):
        jitter = rng.normal(0, noise, (478, 3))
        rest.append(still.push(found(face() + jitter, np.eye(7)[3]), i / RATE)[0].landmarks)
        truth = face(centre=(0.2 + 0.4 * i / (6 * RATE), 0.5))
        seen = moving.push(found(truth + jitter, np.eye(7)[3]), i / RATE)[0].landmarks
        lag.append((truth - seen)[:, 0].mean())
    assert np.array(rest[RATE:]).std(0)[:, :2].mean() < 0.6 * noise
    assert abs(np.mean(lag[RATE:])) < 0.01 * 0.6  # of a face that is 0.6 wide, at a tenth of its width a second


def test_probabilities_stay_probabilities():
    rng, watch = np.random.default_rng(0), Watch()
    for i in range(50):
        (one,) = watch.push(found(face(), rng.dirichlet(np.full(7, 0.3))), i / RATE)
        assert one.probabilities.min() >= 0 and one.probabilities.sum() == pytest.approx(1, abs=1e-5)
        assert one.vector.shape == (1441,) and np.isfinite(one.vector).all()


def test_what_was_away_does_not_drag_its_old_place():
    watch = Watch()
    for i in range(10):
        watch.push(found(face(centre=(0.3, 0.5)), np.eye(7)[3]), i / RATE)
    back = face(centre=(0.6, 0.5))
    (one,) = watch.push(found(back, np.eye(7)[3]), 1.4)
    np.testing.assert_allclose(one.landmarks, back, atol=1e-6)
    assert one.id == 1


def test_ids_and_values_belong_together_through_a_crossing():
    """Each of three people keeps its own emotion while they pass each other."""
    watch, feels = Watch(), {0: "happy", 1: "sad", 2: "angry"}
    ids = {}
    for t, seen in scene(0):
        chances = np.array([0.94 * np.eye(7)[EMOTIONS.index(feels[p])] + 0.06 / 7 for p, _ in seen]).reshape(-1, 7)
        told = watch.push(Found([Face(points.astype(np.float32)) for _, points in seen], chances), t)
        for (person, _), one in zip(seen, told, strict=True):
            assert ids.setdefault(person, one.id) == one.id and one.label == feels[person]


def test_what_is_forgotten_takes_no_memory():
    watch = Watch()
    for i in range(60):
        watch.push(found(face(centre=(0.2 + 0.6 * (i % 2), 0.5), scale=0.05), np.eye(7)[0]), 10.0 * i)
    assert len(watch._held) == 1

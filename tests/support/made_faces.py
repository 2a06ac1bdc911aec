"""Made faces: landmarks of a canonical shape with a person, a pose and an expression, and files of perception vectors."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from sensorium.modalities.face import canonical
from sensorium.modalities.face.layout import (
    EMOTIONS,
    INNER_LIPS,
    LEFT_BROW,
    LOWER_LIP,
    MOUTH_LEFT,
    MOUTH_RIGHT,
    OUTER_LIPS,
    POINTS,
    RIGHT_BROW,
    UPPER_LIP,
)

#: mouth, smile, brow of each emotion, in the document's order.
EXPRESSIONS = ((0.2, -0.6, -1.0), (0.3, -0.9, -0.5), (0.7, -0.3, 0.9), (0.5, 1.0, 0.2), (0.0, 0.0, 0.0),
               (0.0, -1.0, 0.3), (1.0, 0.0, 1.0))  # fmt: skip


def face(
    yaw: float = 0.0,
    pitch: float = 0.0,
    roll: float = 0.0,
    mouth: float = 0.0,
    smile: float = 0.0,
    brow: float = 0.0,
    scale: float = 0.2,
    centre: tuple[float, float] = (0.5, 0.45),
    aspect: float = 1.0,
    person: int | None = None,
) -> np.ndarray:
    """Landmarks (478, 3) float32 as a source gives them.

    yaw, pitch, roll: degrees; positive turns the nose to the right, down, the head clockwise. mouth: 0 closed to 1 wide
    open; smile: −1 to 1; brow: −1 lowered to 1 raised. scale: distance of the outer eye corners as a share of the
    picture's width. centre: of the eyes, in shares. aspect: width by height of the picture. person: a seed of its shape.
    """
    points = canonical.shape().astype(np.float64)
    if person is not None:
        points = points * _person(person, points)
    points = _expression(points, mouth, smile, brow)
    points = points @ _rotation(yaw, pitch, roll).T * scale
    points += [centre[0], centre[1] / aspect, 0]
    points[:, 1] *= aspect
    return points.astype(np.float32)


def vector(label: str, seed: int = 0, person: int | None = None, sure: float = 3.0, **pose: float) -> np.ndarray:
    """A perception vector (1441,) float32 of an emotion: its expression with some noise, then the probabilities."""
    rng = np.random.default_rng(seed)
    at = EMOTIONS.index(label)
    mouth, smile, brow = np.array(EXPRESSIONS[at]) + rng.normal(0, 0.15, 3)
    landmarks = face(mouth=mouth, smile=smile, brow=brow, person=person, **pose)
    landmarks = landmarks + rng.normal(0, 5e-4, landmarks.shape)
    odds = rng.normal(0, 1, 7)
    odds[at] += sure
    odds = np.exp(odds)
    return np.append(landmarks.reshape(-1), odds / odds.sum()).astype(np.float32)


class Made(NamedTuple):
    """What a made file holds, by row: vectors (n, 1441), targets (n, d), and each row's label, prompt and person."""

    vectors: np.ndarray
    targets: np.ndarray
    labels: list[str]
    prompts: list[str]
    persons: list[str]


def perception(n: int = 210, people: int = 6, seed: int = 0, dim: int = 768) -> Made:
    """n frames of people, each a sequence of shots of one emotion in which the head moves slowly."""
    rng = np.random.default_rng(seed)
    directions = rng.normal(size=(len(EMOTIONS), dim)) * 0.4 + rng.normal(size=dim)  # text vectors share a mean
    vectors, labels, persons = [], [], []
    for i in range(n):
        person = i * people // n
        label = EMOTIONS[(i // 5) % 7]  # five frames a shot
        turn = {"yaw": 10 * np.sin(i / 9), "pitch": 5 * np.cos(i / 7), "roll": 4 * np.sin(i / 5)}
        place = (0.5 + 0.1 * np.sin(i / 11 + person), 0.45 + 0.05 * np.cos(i / 13))
        vectors.append(vector(label, seed * n + i, person, scale=0.15 + 0.02 * person, centre=place, **turn))
        labels.append(label)
        persons.append(f"person{person:02d}")
    targets = directions[[EMOTIONS.index(label) for label in labels]].astype(np.float32)
    return Made(np.stack(vectors), targets, labels, [f"a person looking {one}" for one in labels], persons)


def perception_npz(
    path: Path, n: int = 210, people: int = 6, seed: int = 0, dim: int = 768, named: bool = False
) -> Made:
    """Write :func:`perception` as the document's training_data.npz. named: with prompts, labels and groups too."""
    made = perception(n, people, seed, dim)
    more = {"prompts": np.array(made.prompts), "labels": np.array(made.labels), "groups": np.array(made.persons)}
    np.savez(path, perception_embeddings=made.vectors, clip_embeddings=made.targets, **(more if named else {}))
    return made


def _person(seed: int, points: np.ndarray) -> np.ndarray:
    """Factors (478, 3) of a person's shape: width and height of the face, and of its lower half."""
    rng = np.random.default_rng([seed, 478])
    wide, high, deep, jaw = rng.normal(1, 0.06, 4)
    lower = np.clip(points[:, 1:2], 0, 1.2)
    return np.concatenate([wide + (jaw - 1) * lower, high + (jaw - 1) * lower * 0.5, np.full_like(lower, deep)], axis=1)


def _expression(points: np.ndarray, mouth: float, smile: float, brow: float) -> np.ndarray:
    points = points.copy()
    middle = points[[UPPER_LIP, LOWER_LIP], 1].mean()
    below = np.clip((points[:, 1] - middle) / 0.3, 0, 1) * (np.abs(points[:, 0]) < 0.55)
    points[:, 1] += 0.25 * mouth * below
    lips = list({*OUTER_LIPS, *INNER_LIPS})
    corner = np.abs(points[lips, 0]) / abs(points[MOUTH_RIGHT, 0] - points[MOUTH_LEFT, 0]) * 2
    points[lips, 1] -= 0.08 * smile * corner**2
    points[lips, 0] *= 1 + 0.1 * smile
    brows = [*LEFT_BROW, *RIGHT_BROW]
    points[brows, 1] -= 0.08 * brow
    return points


def _rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    a, b, c = np.deg2rad([-yaw, pitch, roll])
    turn_y = [[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]]
    turn_x = [[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]]
    turn_z = [[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]]
    return np.array(turn_z) @ turn_x @ turn_y


assert len(canonical.shape()) == POINTS

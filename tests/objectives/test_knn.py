"""Votes of near items: as direct sums, their neighbours chosen on validation, saved, without torch, refused."""

import numpy as np
import pytest

from sensorium import fitting, heads, parts
from sensorium.errors import BadRecipe
from sensorium.pairs import Pairs
from sensorium.stream._lite_vectors import VECTOR_HEADS
from sensorium.types import Embeddings


def table(n=330, c=3, seed=3):
    random = np.random.default_rng(seed)
    label = np.arange(n) % c
    angle = 2 * np.pi * random.random(n)
    ring = (1.0 + label)[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)  # classes that no line parts
    x = (ring + 0.1 * random.standard_normal((n, 2))).astype(np.float32) * [1, 50] + [3, -200]
    left = Embeddings(np.arange(n).astype(str), x.astype(np.float32), {"name": "x"}, {})
    right = Embeddings(np.array(["a", "b", "c"]), np.eye(c, dtype=np.float32), {"name": "onehot"}, {})
    split = np.array(["train"] * 210 + ["validation"] * 60 + ["test"] * 60)
    return left, right, Pairs.of(np.arange(n), label, split=split, group=np.arange(n))


def fitted(**keys):
    left, right, pairs = table()
    both = [parts.make("heads", "posterior") for _ in range(2)]
    return fitting.solve(left, right, pairs, *both, parts.make("objectives", {"name": "knn", **keys}))


def test_shares_are_sums_over_the_training_items() -> None:
    left, right, pairs = table()
    train = pairs.where("train")
    solution = parts.make("objectives", {"name": "knn", "neighbours": 5}).solve_items(left, right, pairs)
    x = np.asarray(left.vectors, np.float64)
    points = x[train.left]
    z, y = ((a - points.mean(0)) / points.std(0) for a in (x, points))
    distance = np.square(y[:, None] - y).sum(2)
    h2 = np.mean([np.sort(np.delete(row, i))[4] for i, row in enumerate(distance)])
    weight = np.exp(-np.square(z[:, None] - y).sum(2) / (2 * h2))
    expected = weight @ np.eye(3)[train.right] / weight.sum(1, keepdims=True)
    np.testing.assert_allclose(solution.left.shares(x), expected, atol=1e-8)
    assert solution.notes["left"] == {"neighbours": 5}


def test_classes_that_no_line_parts_and_their_head_saved_and_without_torch(tmp_path) -> None:
    left, right, pairs = table()
    found = fitted()
    notes = found.notes["left"]
    assert notes["chosen_by"] == "validation" and notes["neighbours"] == max(notes["tried"], key=notes["tried"].get)
    test = pairs.where("test")
    x = left.vectors[test.left]
    scores = heads.apply(found.left_head, x) @ heads.apply(found.right_head, right.vectors).T
    assert (scores.argmax(1) == test.right).mean() > 0.95 and found.left_head.logits() is None
    heads.save(found.left_head, tmp_path / "left", "posterior", {"name": "toy"})
    again, _ = heads.restore(tmp_path / "left")
    np.testing.assert_array_equal(heads.apply(again, x), heads.apply(found.left_head, x))
    weights = {key: value.numpy() for key, value in again.state_dict().items()}
    prepared = (x - weights["preprocess.mean"]) * weights["preprocess.scale"]
    lite = VECTOR_HEADS["posterior"](prepared, weights, again.arguments)
    np.testing.assert_allclose(lite, heads.apply(again, x), atol=2e-5)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"neighbours": 0}, r"objective.neighbours=\[0\]; expected one or more whole numbers from 1 to 1,000"),
        ({"neighbours": [3, 1001]}, r"neighbours=\[3, 1001\]"),
        ({"neighbours": []}, r"neighbours=\[\]"),
    ],
)
def test_misuse(keys, message) -> None:
    with pytest.raises(BadRecipe, match=message):
        parts.make("objectives", {"name": "knn", **keys})


def test_points_that_a_head_cannot_have() -> None:
    with pytest.raises(BadRecipe, match="points=0; expected 1 to 65,536"):
        parts.make("heads", {"name": "posterior", "points": 0})
    objective = parts.make("objectives", "knn")
    with pytest.raises(BadRecipe, match="objective 'knn' reads the items' classes; type: data.relevant=COLUMN"):
        objective.solve(None)

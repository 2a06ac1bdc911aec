"""UA, WA and macro-F1: scikit-learn's numbers, intervals that resample whole groups, any labels."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, f1_score

from sensorium import evaluate
from sensorium.evaluate import classification, statistics
from sensorium.pairs import Pairs


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 6), st.integers(1, 9))
def test_rows_are_the_fields_numbers(seed: int, c: int, groups: int) -> None:
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(c), rng.integers(0, c, 40)])
    predicted = np.where(rng.random(len(labels)) < 0.5, labels, rng.integers(0, c, len(labels)))
    group = rng.integers(0, groups, len(labels))
    rows = {r["measure"]: r for r in classification.measured(labels, predicted, group, {}, {"n": 1}, 50, seed % 1000)}
    assert rows["UA"]["value"] == pytest.approx(balanced_accuracy_score(labels, predicted))
    assert rows["macro-F1"]["value"] == pytest.approx(f1_score(labels, predicted, average="macro"))
    assert rows["WA"]["value"] == pytest.approx(np.mean(labels == predicted)) and rows["WA"]["n"] == 1
    low, high = statistics.interval((labels == predicted).astype(float), group, "mean", 50, seed % 1000)
    assert (rows["WA"]["low"], rows["WA"]["high"]) == pytest.approx((low, high))  # the same resamples, as a mean


def test_a_class_that_the_test_split_lacks_can_still_be_said() -> None:
    """A wrong answer counts as one, though the class it names has no test item."""
    zr = np.eye(3, dtype=np.float32)
    zl = zr[[0, 1, 2, 0, 1, 2, 2]]  # the last two test items, of classes 0 and 1, are taken for class 2
    label = np.array([0, 1, 2, 0, 1, 0, 1])
    pairs = Pairs.of(np.arange(7), label, group=np.arange(7), split=["train"] * 3 + ["test"] * 4)
    flattered = evaluate.per_query(zl, zr, pairs, "test", ["left->right"])["left->right"]
    assert len(flattered.relevance.candidates) == 2
    judged = evaluate.per_query(zl, zr, pairs, "test", ["left->right"], among=classification.known(pairs))[
        "left->right"
    ]
    assert judged.relevance.candidates.tolist() == [0, 1, 2] and judged.ranks.tolist() == [1, 1, 3, 3]
    true, said = classification.predictions(judged, zl, zr)
    assert true.tolist() == [0, 1, 0, 1] and said.tolist() == [0, 1, 2, 2]
    rows = {r["measure"]: r["value"] for r in classification.results(judged, true, said, resamples=20)}
    assert rows["UA"] == rows["WA"] == 0.5
    told = classification.table(true, said, ["a", "b", "c"])
    assert told["recall"] == [0.5, 0.5, None] and np.sum(told["confusion"]) == 4
    assert (
        classification.known(
            Pairs.of(np.arange(40), np.arange(40), group=np.arange(40), split=["train"] * 39 + ["test"])
        )
        is None
    )


def test_intervals_by_resampling_one_by_one() -> None:
    rng = np.random.default_rng(0)
    labels, group = rng.integers(0, 4, 60), rng.integers(0, 5, 60)
    predicted = np.where(rng.random(60) < 0.6, labels, rng.integers(0, 4, 60))
    drawn = []
    for weight in np.concatenate(list(statistics.weights(5, 200, 3))):
        each = np.repeat(np.arange(60), weight[group].astype(int))
        with warnings.catch_warnings():  # a resample without some class
            warnings.simplefilter("ignore", UserWarning)
            drawn.append([balanced_accuracy_score(labels[each], predicted[each]), np.mean((labels == predicted)[each])])
    wanted = np.quantile(drawn, [0.025, 0.975], axis=0).T
    np.testing.assert_allclose(classification.intervals(labels, predicted, group, 200, 3)[:2], wanted)

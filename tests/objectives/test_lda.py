"""Discriminant analysis of both sides: against scikit-learn, classes by relation and by column, ordinal targets."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from sensorium import heads, parts
from sensorium.errors import BadData, BadRecipe
from sensorium.fitting import closed_form
from sensorium.numerics import affect
from sensorium.pairs import Pairs
from sensorium.pairs.classes import Classes
from sensorium.types import Embeddings, as_ids

WORDS = np.array(["angry", "calm", "happy", "sad"])


def tables(n=120, dims=(5, 300), seed=0, words=WORDS, spread=1.5):
    """Vectors of both sides about the middles of their emotions, the right ones wider than there are rows."""
    random = np.random.default_rng(seed)
    emotion = words[np.arange(n) % len(words)]
    code = np.unique(emotion, return_inverse=True)[1]
    made = []
    for d in dims:
        x = random.normal(size=(len(words), d))[code] + spread * random.normal(size=(n, d))
        x = (x * random.uniform(0.1, 5, d) + random.normal(size=d)).astype(np.float32)
        made.append(Embeddings(as_ids(np.arange(n)), x, {"name": "toy"}, {"emotion": emotion}))
    rows = np.arange(n)
    split = np.array(["train"] * 4 + ["validation"] * 4 + ["test"] * 4)[rows % 12]
    return *made, Pairs.of(rows, rows, group=rows % 3, split=split), code


def objective(**keys):
    return parts.make("objectives", {"name": "lda", **keys})


@pytest.mark.parametrize("shrinkage", [0.05, 0.5, 1.0])
def test_logits_are_those_of_scikit_learn(shrinkage):
    left, right, pairs, code = tables()
    solution = objective(shrinkage=shrinkage, temperature=1.0).solve_items(left, right, pairs)
    train = pairs.left[pairs.split == "train"]
    for table, affine in ((left, solution.left), (right, solution.right)):
        x = table.vectors.astype(np.float64)
        x = (x - x[train].mean(0)) / x[train].std(0)
        other = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage, priors=[0.25] * 4)
        expected = other.fit(x[train], code[train]).predict_proba(x)
        logits = affine(table.vectors.astype(np.float64))
        powers = np.exp(logits - logits.max(1, keepdims=True))
        np.testing.assert_allclose(powers / powers.sum(1, keepdims=True), expected, atol=1e-6)


def fitted_scores(left, right, pairs, **keys):
    both = [parts.make("heads", "posterior") for _ in range(2)]
    fitted = closed_form.solve(left, right, pairs, *both, objective(**keys))
    zl, zr = heads.apply(fitted.left_head, left.vectors), heads.apply(fitted.right_head, right.vectors)
    return zl @ zr.T, fitted.notes


def test_clips_of_the_class_of_the_text_come_first_and_validation_chooses():
    left, right, pairs, code = tables(spread=0.5)
    scores, notes = fitted_scores(left, right, pairs)
    test = pairs.left[pairs.split == "test"]
    first = test[scores[test][:, test].argmax(1)]
    assert np.mean(code[first] == code[test]) > 0.9  # chance: 0.25
    assert notes["classes"] == 4 and notes["right"]["chosen_by"] == "validation"
    assert set(notes["right"]["tried"]) == {0.5, 0.3, 0.7, 0.1, 0.9}


def test_classes_of_the_relation_are_those_of_the_column():
    left, right, pairs, code = tables()
    by_column = fitted_scores(left, right, pairs)[0]
    bare = [replace(table, meta={}) for table in (left, right)]
    by_relation = fitted_scores(*bare, replace(pairs, classes=Classes(code, code)))[0]
    np.testing.assert_allclose(by_relation, by_column, atol=1e-6)


def test_words_for_the_same_emotion_are_one_class():
    left, right, pairs, _ = tables()
    words = np.array(["anger", "relaxed", "joy", "sadness"])
    other = replace(left, meta={"emotion": words[np.searchsorted(WORDS, left.meta["emotion"])]})
    np.testing.assert_allclose(fitted_scores(other, right, pairs)[0], fitted_scores(left, right, pairs)[0], atol=1e-6)


def test_ordinal_targets_make_near_emotions_the_better_mistakes():
    words = np.array(sorted(affect.EMOTIONS))
    left, right, pairs, _ = tables(480, (6, 12), words=words, spread=3.0)
    test = pairs.left[pairs.split == "test"]
    distance = affect.distances(left.meta["emotion"][test], right.meta["emotion"][test])
    mean = {}
    for targets in ("label", "vad"):
        scores, notes = fitted_scores(left, right, pairs, targets=targets, spread=0.5, shrinkage=0.1)
        found = np.argsort(-scores[test][:, test], 1)[:, :10]
        wrong = np.take_along_axis(distance, found, 1)
        mean[targets] = wrong[wrong > 0].mean()
    assert notes["targets"] == "vad" and mean["vad"] < mean["label"]


def test_without_classes_it_says_what_to_type():
    left, right, pairs, _ = tables()
    bare = replace(right, meta={"mood": right.meta["emotion"]})
    with pytest.raises(
        BadRecipe, match="the right items have no column 'emotion'.*data.relevant=COLUMN or .*row by row"
    ):
        objective().check(left, bare, pairs)
    one = replace(right, meta={"emotion": np.full(len(right), "calm")})
    with pytest.raises(
        BadData, match="needs two classes that training items of both sides have; there are 1; for pairs"
    ):
        objective().check(left, one, pairs)


@pytest.mark.parametrize(("keys", "message"), [
    ({"shrinkage": 0.0}, r"objective.shrinkage=\[0.0\]; expected one or more numbers above 0, up to 1"),
    ({"shrinkage": []}, r"objective.shrinkage=\[\]"),
    ({"temperature": 0}, "objective.temperature=0; expected a number from 0.01 to 100"),
    ({"targets": "soft"}, "objective.targets='soft'; expected label or vad"),
    ({"spread": 99}, "objective.spread=99; expected a number from 0.05 to 10"),
])  # fmt: skip
def test_values_that_cannot_be_meant(keys, message):
    with pytest.raises(BadRecipe, match=message):
        objective(**keys)


def test_moments_hold_no_classes():
    with pytest.raises(BadRecipe, match="objective 'lda' reads the items' classes; type: data.relevant=COLUMN"):
        objective().solve(None)

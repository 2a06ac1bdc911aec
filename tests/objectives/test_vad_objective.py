"""The closed form of valence, arousal and dominance: against scikit-learn, in both shapes, and what it refuses."""

import numpy as np
import pytest

from sensorium import parts
from sensorium.errors import BadData, BadRecipe
from sensorium.fitting import closed_form
from sensorium.numerics import affect, gaussian_features
from sensorium.objectives.vad import _RidgePath
from sensorium.pairs import Pairs
from sensorium.types import Embeddings

SPLITS = np.array(["train"] * 160 + ["validation"] * 40 + ["test"] * 40)


def voices(n=240, d=12, noise=0.3, seed=0):
    """A table of vectors in which an emotion's ratings lie, and its emotions."""
    random = np.random.default_rng(seed)
    words = np.array(affect.EMOTIONS)[np.arange(n) % 8]
    x = affect.vads(words) @ np.random.default_rng(99 + d).standard_normal((3, d))
    x = x + noise * random.standard_normal((n, d)) + 3
    return Embeddings(np.arange(n).astype(np.str_), x.astype(np.float32), {"name": "toy"}, {"emotion": words}), words


def pairs_of(n=240):
    row = np.arange(n)
    return Pairs.of(row, row, split=SPLITS[:n])


@pytest.mark.parametrize("shape", [(60, 9), (20, 45)])
def test_the_map_is_scikit_learns(shape):
    from sklearn.linear_model import Ridge

    random = np.random.default_rng(1)
    x, y = random.standard_normal(shape) * random.uniform(0.1, 50, shape[1]) + 5, random.standard_normal((shape[0], 3))
    x[:, 4] = 7.0  # a constant column says nothing
    standardised = (x - x.mean(0)) / np.where(x.std(0) > 1e-9, x.std(0), 1)
    path = _RidgePath(x, y)
    for strength in (10.0, 0.1, 1e-3):
        alpha = strength * shape[0] * np.square(standardised).mean()
        right = Ridge(alpha=alpha).fit(standardised, y)
        np.testing.assert_allclose(path.affine(strength)(x), right.predict(standardised), atol=1e-7)
        inverse = np.linalg.inv(standardised.T @ standardised + alpha * np.eye(shape[1]))
        freedom = 1 + np.trace(standardised @ inverse @ standardised.T)
        residual = np.square(y - right.predict(standardised)).mean(0).sum()
        if freedom < shape[0]:
            assert path.gcv(strength) == pytest.approx(residual / (1 - freedom / shape[0]) ** 2, rel=1e-6)


def test_both_sides_are_fitted_to_the_ratings_of_their_own_items():
    left, words = voices(seed=1)
    right, _ = voices(d=30, seed=2)
    heads = [parts.make("heads", "vad") for _ in range(2)]
    fitted = closed_form.solve(left, right, pairs_of(), *heads, parts.make("objectives", "vad"))
    from sensorium import heads as applied

    for side, table in (("left", left), ("right", right)):
        head = {"left": fitted.left_head, "right": fitted.right_head}[side]
        points = gaussian_features.points_of(applied.apply(head, table.vectors)[200:])
        assert np.abs(points - affect.vads(words[200:])).mean() < 0.15
        assert fitted.notes[side]["chosen_by"] == "validation"
    assert not fitted.names  # the heads stay what the recipe says


def test_the_strength_is_that_of_the_smallest_error_on_validation_items():
    table, words = voices(noise=2.0)
    rows = {"train": np.arange(160), "validation": np.arange(160, 200)}
    objective = parts.make("objectives", {"name": "vad", "strengths": [300.0, 3.0, 1e-5]})
    truth = {name: affect.vads(words[some]) for name, some in rows.items()}
    _, notes = objective._side(table, rows, truth)
    errors = {}
    for strength in objective.strengths:
        affine = parts.make("objectives", {"name": "vad", "strengths": strength})._side(table, rows, truth)[0]
        errors[strength] = np.square(affine(table.vectors[160:200].astype(float)) - affect.vads(words[160:200])).mean()
    assert notes["strength"] == min(errors, key=errors.get)
    assert notes["tried"] == pytest.approx(errors)


def test_a_side_of_three_numbers_is_ratings_and_stays_as_it_is():
    left, words = voices()
    ratings = Embeddings(left.ids, np.clip(affect.vads(words) + 0.01, -1, 1), {"name": "ratings"})
    solution = parts.make("objectives", "vad").solve_items(left, ratings, pairs_of())
    assert solution.right is None and solution.left.weight.shape == (12, 8)


def test_items_without_ratings_are_given_those_of_what_they_are_related_to():
    left, words = voices()
    bare = Embeddings(left.ids, left.vectors, left.fingerprint, {"transcript": words})
    clips = Embeddings(left.ids, np.clip(affect.vads(words) + 0.01, -1, 1), {"name": "ratings"})
    row = np.arange(240)
    twice = Pairs.of(np.repeat(row, 2), np.stack([row, np.roll(row, 8)], 1).ravel(), split=np.repeat(SPLITS, 2))
    objective = parts.make("objectives", "vad")
    objective.check(bare, clips, twice)
    found = objective.ratings(bare, row[:50], "left", clips, twice)
    np.testing.assert_allclose(found, (clips.vectors[:50] + clips.vectors[np.roll(row, 8)[:50]]) / 2, atol=1e-6)
    assert objective.solve_items(bare, clips, twice).left.weight.shape == (12, 3)


def test_columns_of_ratings_go_before_words_and_scales_give_the_same():
    left, words = voices()
    y = affect.vads(words)
    maps = []
    for scale, values in (("-1..1", y), ("0..1", (y + 1) / 2), ("1..7", y * 3 + 4)):
        meta = dict(zip(affect.DIMENSIONS, values.T, strict=True))
        table = Embeddings(left.ids, left.vectors, left.fingerprint, meta)
        objective = parts.make("objectives", {"name": "vad", "scale": scale})
        maps.append(objective.solve_items(table, table, pairs_of()).left)
    by_words = parts.make("objectives", {"name": "vad", "by": "ratings"}).solve_items(left, left, pairs_of()).left
    for one in maps:
        np.testing.assert_allclose(one.weight, by_words.weight, atol=1e-5)
    wrong = parts.make("objectives", {"name": "vad", "scale": "0..1"})
    table = Embeddings(left.ids, left.vectors, {}, dict(zip(affect.DIMENSIONS, (y * 3 + 4).T, strict=True)))
    with pytest.raises(BadData, match=r"the left items' ratings: .* outside 0\.\.1 in valence, .* scale=1\.\.7"):
        wrong.check(table, left, pairs_of())


@pytest.mark.parametrize(
    ("meta", "error", "message"),
    [({"mood": ["sad"] * 240}, BadRecipe, "the left items have no column 'emotion', and none of valence"),
     ({"emotion": ["sad"] * 239 + ["whispered"]}, BadData, "1 of 240 items have an emotion without ratings")],
)  # fmt: skip
def test_items_without_ratings_are_refused_before_anything_is_embedded(meta, error, message):
    left, _ = voices()
    table = Embeddings(left.ids, left.vectors, {}, {name: np.array(column) for name, column in meta.items()})
    with pytest.raises(error, match=message):
        parts.make("objectives", "vad").check(table, left, pairs_of())


@pytest.mark.parametrize(
    ("keys", "message"),
    [({"strengths": 0.0}, "expected one or more numbers above 0"), ({"strengths": [1e7]}, "up to 1e"),
     ({"strengths": []}, "expected one or more"), ({"scale": "0..10"}, "objective.scale='0..10'")],
)  # fmt: skip
def test_keys_that_cannot_be_are_refused(keys, message):
    with pytest.raises(BadRecipe, match=message):
        parts.make("objectives", {"name": "vad", **keys})


def test_moments_alone_are_refused():
    with pytest.raises(BadRecipe, match="objective 'vad' reads the items' ratings"):
        parts.make("objectives", "vad").solve(None)


def test_expected_ratings_come_from_scikit_learns_probabilities():
    from sklearn.linear_model import LogisticRegression

    from sensorium.objectives._softmax import SoftmaxPath

    table, words = voices(d=9, noise=1.0)
    x, codes = table.vectors.astype(np.float64), np.array([affect.EMOTIONS.index(word) for word in words])
    standardised = (x - x.mean(0)) / x.std(0)
    for strength in (1.0, 0.03):
        known = LogisticRegression(C=1 / (strength * len(x)), max_iter=2000, tol=1e-10).fit(standardised, codes)
        logits = SoftmaxPath(x, codes, 8).affine(strength)(x)
        share = np.exp(logits - logits.max(1, keepdims=True))
        np.testing.assert_allclose(share / share.sum(1, keepdims=True), known.predict_proba(standardised), atol=1e-4)


def test_logits_of_emotions_are_written_into_the_head_and_saved(tmp_path):
    from sensorium import heads as applied
    from sensorium.stream import lite

    left, words = voices(seed=1)
    head, other = parts.make("heads", "vad"), parts.make("heads", "vad")
    fitted = closed_form.solve(left, left, pairs_of(), head, other, parts.make("objectives", "vad"))
    assert fitted.notes["left"]["by"] == "emotions" and fitted.left_head.arguments == {"emotions": True}
    applied.save(fitted.left_head, tmp_path / "left", "vad", {})
    z = applied.apply(applied.restore(tmp_path / "left")[0], left.vectors)
    np.testing.assert_allclose(lite.Head(tmp_path / "left")(left.vectors), z, atol=1e-5)
    assert np.abs(gaussian_features.points_of(z)[200:] - affect.vads(words[200:])).mean() < 0.15
    by_ratings = parts.make("objectives", {"name": "vad", "by": "ratings"})
    assert by_ratings.solve_items(left, left, pairs_of()).left.weight.shape == (12, 3)
    with pytest.raises(BadRecipe, match="objective.by='words'; expected emotions or ratings"):
        parts.make("objectives", {"name": "vad", "by": "words"})


def test_without_validation_items_every_fifth_is_held_out():
    left, _ = voices()
    row = np.arange(240)
    notes = parts.make("objectives", "vad").solve_items(left, left, Pairs.of(row, row)).notes
    assert notes["left"]["chosen_by"] == "every fifth training item" and len(notes["left"]["tried"]) == 9

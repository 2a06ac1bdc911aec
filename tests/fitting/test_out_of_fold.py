"""Pairs scored by closed forms that have not seen them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium import parts
from sensorium.errors import BadData
from sensorium.fitting import out_of_fold, out_of_fold_classes
from sensorium.numerics import unit
from sensorium.numerics.discriminants import Discriminants
from sensorium.numerics.moments import Moments
from sensorium.pairs import Pairs
from sensorium.types import Embeddings


def table(x: np.ndarray, offsets: np.ndarray | None = None) -> Embeddings:
    n = len(x) if offsets is None else len(offsets) - 1
    return Embeddings(np.arange(n).astype(str), x, {}, {}, offsets)


def two(n: int = 300, seed: int = 0) -> tuple[Embeddings, Embeddings]:
    random = np.random.default_rng(seed)
    z = random.standard_normal((n, 4))
    sides = (z @ random.standard_normal((4, d)) + 0.3 * random.standard_normal((n, d)) for d in (9, 7))
    return tuple(table(one.astype(np.float32)) for one in sides)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 40))
def test_groups_stay_in_one_fold_and_folds_are_about_equal(seed, groups):
    random = np.random.default_rng(seed)
    rows = np.arange(200)
    pairs = Pairs.of(rows, rows, group=random.integers(0, groups, 200))
    fold, _ = out_of_fold.folds(pairs, random)
    largest = np.bincount(pairs.group).max()
    if largest <= 120:
        assert all(len(set(fold[pairs.group == g])) == 1 for g in np.unique(pairs.group))
    assert np.ptp(np.bincount(fold)) <= max(largest, 1)


def test_a_pair_is_scored_by_the_other_folds_alone():
    left, right = two()
    rows = np.arange(300)
    scored = out_of_fold.score(left, right, Pairs.of(rows, rows))
    form = {"name": "cca", "dim": 7, "strengths": scored.notes["strength"], "powers": scored.notes["power"]}
    for k in range(out_of_fold.FOLDS):
        seen, here = scored.fold != k, scored.fold == k
        made = parts.make("objectives", form).solve(Moments(9, 7).update(left.vectors[seen], right.vectors[seen]))
        zl, zr = unit(made.left(left.vectors[here])), unit(made.right(right.vectors[here]))
        np.testing.assert_allclose(scored.similarity[here], (zl * zr).sum(1), atol=1e-3)
    assert len(scored.shuffled) >= out_of_fold._NULL and scored.similarity.mean() > 0.8 > 0.1 > abs(
        scored.shuffled.mean()
    )


def test_shuffled_pairs_are_never_related():
    a, b = np.repeat(np.arange(60), 3), np.concatenate([[i, (i + 1) % 60, (i + 2) % 60] for i in range(60)])
    related = set(zip(a.tolist(), b.tolist(), strict=True))
    for tied in (False, True):
        c, d = out_of_fold.shuffled_places(a, b, tied, np.random.default_rng(0))
        assert len(c) > 100 and not {*zip(c.tolist(), d.tolist(), strict=True)} & related
        assert not tied or not ({*zip(d.tolist(), c.tolist(), strict=True)} & related or (c == d).any())


def test_frames_count_by_their_mean():
    left, right = two(120)
    rows = np.arange(120)
    offsets = 2 * np.arange(121)
    frames = np.repeat(left.vectors, 2, 0) + np.tile([[1.0], [-1.0]], (120, 1)).astype(np.float32)
    one, other = (out_of_fold.score(x, right, Pairs.of(rows, rows)) for x in (left, table(frames, offsets)))
    np.testing.assert_allclose(one.similarity, other.similarity, atol=1e-4)


def test_wide_vectors_are_narrowed_without_losing_the_relation():
    left, right = two(200)
    random = np.random.default_rng(1)
    wide = table((left.vectors @ random.standard_normal((9, 1500)) / 40).astype(np.float32))
    rows = np.arange(200)
    scored = out_of_fold.score(wide, right, Pairs.of(rows, rows))
    assert scored.sides[0].dim < 1500 and scored.similarity.mean() > 0.8


def labelled(n: int = 300) -> tuple[Embeddings, np.ndarray]:
    random = np.random.default_rng(0)
    code = random.integers(0, 5, n)
    x = 3 * random.standard_normal((5, 12))[code] + random.standard_normal((n, 12))
    return table(x.astype(np.float32)), code


def test_one_table_is_scored_by_one_map():
    items, code = labelled()
    chains = [np.stack([rows[:-1], rows[1:]]) for k in range(5) if len(rows := np.flatnonzero(code == k)) > 1]
    a, b = np.concatenate(chains, 1)
    tied = out_of_fold.score(items, items, Pairs.of(a, b, group=np.arange(len(a)), same_table=True))
    assert np.median(tied.similarity) > np.quantile(tied.shuffled, 0.75)
    for left, right in tied.maps:
        np.testing.assert_array_equal(left.weight, right.weight)


def test_wrong_classes_fit_worse_and_the_right_one_is_named():
    items, code = labelled()
    given_, wrong = code.copy(), np.arange(10)
    given_[wrong] = (code[wrong] + 1) % 5
    given_[-3:] = -1
    scored = out_of_fold_classes.score(items, given_, np.arange(300))
    assert scored.rows.tolist() == list(range(297)) and scored.logits.shape == (297, 5)
    assert scored.similarity[wrong].max() < np.quantile(scored.similarity[10:], 0.05)
    rank, best = scored.rank(wrong)
    assert (rank > 1).all() and (best == code[wrong]).all()
    assert len(scored.shuffled) >= out_of_fold_classes._NULL


def test_logits_are_those_of_a_fit_of_the_other_folds():
    items, code = labelled()
    scored = out_of_fold_classes.score(items, code, np.arange(300) // 3)
    fold, _ = out_of_fold.folds(
        Pairs.of(np.arange(300), np.arange(300), group=np.arange(300) // 3), np.random.default_rng(0)
    )
    seen = fold != 2
    made = Discriminants(items.vectors[seen].astype(np.float64), np.eye(5)[code[seen]])
    expected = made.affine(scored.notes["shrinkage"], 1.0)(items.vectors[~seen].astype(np.float64))
    np.testing.assert_allclose(scored.logits[~seen], expected, rtol=1e-4, atol=1e-3)


def test_another_class_is_drawn_by_the_shares():
    code, share = np.repeat([0, 1, 2], 9000), np.array([0.5, 0.3, 0.2])
    other = out_of_fold_classes._others(code, share, np.random.default_rng(0))
    assert (other != code).all()
    np.testing.assert_allclose(np.bincount(other[:9000], minlength=3) / 9000, [0, 0.6, 0.4], atol=0.02)


def test_a_class_of_one_group_is_refused():
    items, code = labelled()
    with pytest.raises(BadData, match="1 of 5 classes are in one group alone, so no fit without it knows them; add"):
        out_of_fold_classes.score(items, code, np.where(code == 2, 1000, np.arange(300)))


def test_what_is_all_connected_cannot_be_held_out():
    left, right = two(60)
    a, b = (m.ravel() for m in np.meshgrid(np.arange(60), np.arange(60)))
    with pytest.raises(BadData, match="each item is paired with all of the other side"):
        out_of_fold.score(left, right, Pairs.of(a, b))


def test_agreement_is_the_mean_cosine_with_the_other_partners():
    left, _ = two(120)
    right = table(np.random.default_rng(3).standard_normal((40, 7)).astype(np.float32) + left.vectors[:40, :7])
    b = np.random.default_rng(4).integers(0, 40, 120)
    scored = out_of_fold.score(left, right, Pairs.of(np.arange(120), b, group=b))
    assert np.isnan(scored.agreement[:, 1]).all()  # each left item has one partner
    for pair in range(0, 120, 7):
        to = scored.maps[scored.fold[pair]][0]
        z = unit(left.vectors @ to.weight.astype(np.float32) + to.bias.astype(np.float32))
        others = np.flatnonzero((b == b[pair]) & (np.arange(120) != pair))
        expected = (z[others] @ z[pair]).mean() if len(others) else np.nan
        np.testing.assert_allclose(scored.agreement[pair, 0], expected, atol=1e-4)


def test_a_wrong_partner_among_several_is_found_by_their_agreement():
    """Ten items of each of 60 names; what the items look like says little of the name."""
    random = np.random.default_rng(0)
    kind = 2 * random.standard_normal((60, 9))
    b = np.repeat(np.arange(60), 10)
    left = table((kind[b] + random.standard_normal((600, 9))).astype(np.float32))
    right = table((0.3 * kind[:, :7] + random.standard_normal((60, 7))).astype(np.float32))
    given_, wrong = b.copy(), np.arange(0, 600, 20)
    given_[wrong] = b[np.roll(wrong, 1)]
    scored = out_of_fold.score(left, right, Pairs.of(np.arange(600), given_, group=given_))
    agree = scored.agreement[:, 0]
    worst = np.argsort(agree)[: len(wrong)]
    assert np.isin(worst, wrong).mean() >= 0.75 > np.isin(np.argsort(scored.similarity)[: len(wrong)], wrong).mean()
    assert abs(np.nanmean(scored.shuffled_agreement[:, 0])) < 0.1


def test_copies_of_a_pair_do_not_speak_for_it():
    """Pairs of equal vectors are scored as one, whatever their rows; what is said does not depend on how many there are."""
    left, right = two()
    n = len(left)
    wrong = np.arange(8)
    partner = np.concatenate([np.roll(wrong, 1), np.arange(8, n)])
    plain = out_of_fold.score(left, right, Pairs.of(np.arange(n), partner))
    copies = np.repeat(wrong, 5)  # five more rows of each wrong item, with its partner
    more = table(np.concatenate([left.vectors, left.vectors[copies]]))
    pairs = Pairs.of(
        np.concatenate([np.arange(n), n + np.arange(len(copies))]), np.concatenate([partner, partner[copies]])
    )
    scored = out_of_fold.score(more, right, pairs)
    assert np.array_equal(scored.similarity[:n], plain.similarity) and np.array_equal(scored.fold[:n], plain.fold)
    assert np.array_equal(scored.similarity[n:], plain.similarity[copies])
    assert np.isnan(scored.agreement).all() and len(scored.pairs) == len(pairs)
    assert np.argsort(plain.similarity)[:4].max() < 8

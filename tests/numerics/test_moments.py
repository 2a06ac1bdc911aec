"""Moments against NumPy, and the invariance that makes them worth having: chunking does not matter."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.errors import BadData
from sensorium.numerics.moments import InputStats, Moments


def paired(n: int, seed: int = 0, offset: float = 50.0) -> tuple[np.ndarray, np.ndarray]:
    """Correlated rows (n, 6) and (n, 4) far from the origin, where naive sums of squares lose digits."""
    rng = np.random.default_rng(seed)
    z = rng.standard_normal((n, 5))
    return z @ rng.standard_normal((5, 6)) + offset, z @ rng.standard_normal((5, 4)) - offset


def assert_equal(a: Moments, b: Moments, tolerance: float = 1e-12) -> None:
    assert a.n == pytest.approx(b.n)
    for name in ("mean_x", "mean_y", "cov_xx", "cov_yy", "cov_xy", "var_x", "var_y"):
        mine, other = getattr(a, name), getattr(b, name)
        np.testing.assert_allclose(mine, other, rtol=0, atol=tolerance * max(1.0, np.abs(other).max()), err_msg=name)


def test_equal_numpy() -> None:
    x, y = paired(5000)
    moments = Moments(6, 4).update(x, y)
    full = np.cov(np.hstack([x, y]).T, bias=True)
    np.testing.assert_allclose(moments.mean_x, x.mean(0), rtol=1e-13)
    np.testing.assert_allclose(moments.cov_xx, full[:6, :6], rtol=0, atol=1e-11)
    np.testing.assert_allclose(moments.cov_yy, full[6:, 6:], rtol=0, atol=1e-11)
    np.testing.assert_allclose(moments.cov_xy, full[:6, 6:], rtol=0, atol=1e-11)
    np.testing.assert_allclose(moments.var_y, y.var(0), rtol=1e-12)
    assert np.array_equal(moments.cov_xx, moments.cov_xx.T)


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 300), st.lists(st.integers(0, 300), max_size=8), st.integers(0, 99))
def test_any_chunking_equals_whole(n: int, cuts: list[int], seed: int) -> None:
    x, y = paired(n, seed)
    chunked = Moments(6, 4)
    edges = sorted({0, n, *(c for c in cuts if c < n)})
    for a, b in pairwise(edges):
        chunked.update(x[a:b], y[a:b])
    assert_equal(chunked, Moments(6, 4).update(x, y))


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 99), st.integers(0, 99))
def test_merge_equals_whole(cut: int, seed: int) -> None:
    x, y = paired(100, seed)
    merged = Moments(6, 4).update(x[:cut], y[:cut]).merge(Moments(6, 4).update(x[cut:], y[cut:]))
    assert_equal(merged, Moments(6, 4).update(x, y))
    assert_equal(Moments(6, 4).merge(merged).merge(Moments(6, 4)), merged)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=900), st.sampled_from("xy"), st.integers(0, 5))
def test_repeated_rows_are_multiplied_once(counts: list[int], side: str, seed: int) -> None:
    owner = np.repeat(np.arange(len(counts)), counts)
    x, y = paired(len(owner), seed)
    once = {"x": x, "y": y}[side][: len(counts)]
    x, y = (once[owner], y) if side == "x" else (x, once[owner])
    expected = Moments(6, 4).update(x[:7], y[:7]).update(x, y)
    found = Moments(6, 4).update(x[:7], y[:7]).update_repeated(once, owner, y if side == "x" else x, side)
    assert_equal(found, expected)


def test_repeated_rows_in_float32_and_bad_ones() -> None:
    x, y = paired(5000, offset=0.0)
    owner = np.arange(5000) // 5
    found = Moments(6, 4, products="float32").update_repeated(x[:1000], owner, y)
    assert_equal(found, Moments(6, 4).update(x[:1000][owner], y), 1e-5)
    y[3, 1] = np.nan
    with pytest.raises(BadData, match="y holds NaN"):
        Moments(6, 4).update_repeated(x[:1000], owner, y)
    with pytest.raises(BadData, match="y holds NaN"):
        Moments(6, 4).update_repeated(y[:1000], owner, x, "y")


def test_weight_is_repetition() -> None:
    x, y = paired(50)
    counts = np.random.default_rng(1).integers(0, 4, 50)
    counts[:9] = 0
    weighted = Moments(6, 4).update(x[:9], y[:9], counts[:9]).update(x, y, counts)
    assert_equal(weighted, Moments(6, 4).update(np.repeat(x, counts, 0), np.repeat(y, counts, 0)), 1e-11)


def test_far_from_the_origin_keeps_its_digits() -> None:
    x, y = paired(3000, offset=0.0)
    far = Moments(6, 4)
    for rows in np.array_split(np.arange(3000), 7):
        far.update(x[rows] + 1e6, y[rows])
    np.testing.assert_allclose(far.cov_xx, Moments(6, 4).update(x, y).cov_xx, rtol=0, atol=1e-8)


def test_only_what_is_kept() -> None:
    x, y = paired(100)
    few, all_ = Moments(6, 4, keep=("xy",)).update(x, y), Moments(6, 4).update(x, y)
    assert np.array_equal(few.cov_xy, all_.cov_xy)
    with pytest.raises(BadData, match="cannot merge .* which has"):
        all_.merge(few)
    with pytest.raises(BadData, match="cannot merge .* which has"):
        few.merge(all_)


def test_float32_products() -> None:
    x, y = paired(9000)
    exact, narrow = Moments(6, 4).update(x, y), Moments(6, 4, products="float32")
    for rows in np.array_split(np.arange(9000), 5):
        narrow.update(x[rows], y[rows])
    assert_equal(narrow, exact, 1e-5)
    merged = Moments(6, 4, products="float32").update(x[:4000], y[:4000])
    assert_equal(merged.merge(Moments(6, 4, products="float32").update(x[4000:], y[4000:])), exact, 1e-5)
    assert merged.cov_xx.dtype == np.float64


def test_input_stats(tmp_path) -> None:
    x = paired(900)[0].astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    rows = np.random.default_rng(0).permutation(900)[:500]
    stats = InputStats.of(np.load(tmp_path / "x.npy", mmap_mode="r"), rows, block=64)
    assert stats.n == 500
    np.testing.assert_allclose(stats.mean, x[rows].astype(np.float64).mean(0), rtol=1e-12)
    np.testing.assert_allclose(stats.covariance, np.cov(x[rows].astype(np.float64).T, bias=True), rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("x", "y", "weights", "message"),
    [
        (np.ones((3, 5)), np.ones((3, 4)), None, r"x has shape \(3, 5\), expected \(n, 6\)"),
        (np.ones(6), np.ones(4), None, r"x has shape \(6,\), expected \(n, 6\)"),
        (np.ones((3, 6)), np.ones((2, 4)), None, "3 rows of x for 2 rows of y"),
        (np.full((3, 6), np.nan), np.ones((3, 4)), None, "x holds NaN or infinity"),
        (np.ones((3, 6)), np.full((3, 4), np.inf), None, "y holds NaN or infinity"),
        (np.ones((3, 6)), np.ones((3, 4)), [1, -1, 1], "weights of 3 rows"),
    ],
)
def test_bad_rows_leave_it_as_it_was(x: np.ndarray, y: np.ndarray, weights: list | None, message: str) -> None:
    moments = Moments(6, 4).update(*paired(20))
    before = moments.cov_xx, moments.cov_xy, moments.n
    with pytest.raises(BadData, match=message):
        moments.update(x, y, weights)
    assert np.array_equal(moments.cov_xx, before[0]) and np.array_equal(moments.cov_xy, before[1])
    assert moments.n == before[2]


def test_no_rows() -> None:
    with pytest.raises(BadData, match="moments of no rows"):
        _ = Moments(2, 2).update(np.empty((0, 2)), np.empty((0, 2))).cov_xx
    with pytest.raises(BadData, match="the widths differ"):
        Moments(2, 2).merge(Moments(2, 3))


@pytest.mark.parametrize("keep", [("xy",), ("xx", "xy"), ("yy",), ("xx", "yy", "xy")])
def test_merged_moments_of_some_covariances_equal_one_pass(keep: tuple[str, ...]) -> None:
    """The variances of a side whose covariance is not accumulated are added up as well."""
    x, y = paired(200)
    merged = Moments(6, 4, keep).update(x[:70], y[:70]).merge(Moments(6, 4, keep).update(x[70:], y[70:]))
    np.testing.assert_allclose(merged.var_x, x.var(0), rtol=1e-12)
    np.testing.assert_allclose(merged.var_y, y.var(0), rtol=1e-12)
    whole = Moments(6, 4, keep).update(x, y)
    read = {"xx": lambda m: m.cov_xx, "yy": lambda m: m.cov_yy, "xy": lambda m: m.cov_xy}
    for name in keep:
        np.testing.assert_allclose(read[name](merged), read[name](whole), atol=1e-10)

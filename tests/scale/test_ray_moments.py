"""Moments by map-reduce: in any division and order those of one pass, here and on Ray."""

import pickle
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium import parts, store
from sensorium.fitting import closed_form, partial_moments
from sensorium.pairs import Pairs
from sensorium.scale.moments import map_reduce
from sensorium.types import Embeddings


def tables(n=3000, dims=(24, 16), dtype=np.float32):
    random = np.random.default_rng(0)
    left = random.normal(size=(n, dims[0])).astype(dtype) + 3
    right = (left @ random.normal(size=dims)).astype(dtype) + random.normal(size=(n, dims[1])).astype(dtype)
    ids = np.array([f"i{k}" for k in range(n)])
    rows = np.repeat(np.arange(n), 3)
    return Embeddings(ids, left, {}), Embeddings(ids, right, {}), Pairs.of(rows, random.integers(0, n, 3 * n))


def a_pass(left, right, pairs):
    """The pass that a closed form makes over these."""
    seen = []
    with partial_moments.by(lambda work: seen.append(work) or work.moments()):
        closed_form.moments_between(left, right, pairs, None, None, ("xx", "yy", "xy"))
    return seen[0]


def close(a, b):
    for name in ("cov_xx", "cov_yy", "cov_xy", "mean_x", "mean_y"):
        x, y = getattr(a, name), getattr(b, name)
        assert np.abs(x - y).max() <= 1e-10 * np.abs(y).max(), name
    assert a.n == b.n


@settings(deadline=None)
@given(st.lists(st.integers(1, 8999), max_size=6), st.randoms(use_true_random=False))
def test_any_division_in_any_order(cuts, chance):
    work = a_pass(*tables(dtype=np.float64))
    ends = sorted({0, len(work), *cuts})
    some = [work.moments(a, b) for a, b in pairwise(ends)]
    chance.shuffle(some)
    total = work.moments(0, 0)
    for one in some:
        total.merge(one)
    close(total, work.moments())


@settings(deadline=None)
@given(st.randoms(use_true_random=False))
def test_parts_with_products_in_float32_add_up_in_any_order(chance):
    work = replace(a_pass(*tables()), products="float32")
    some = [work.moments(at, min(at + 1000, len(work))) for at in range(0, len(work), 1000)]
    totals = []
    for _ in range(2):
        totals.append(work.moments(0, 0))
        for one in some:
            totals[-1].merge(one)
        chance.shuffle(some)
    close(*totals)


@pytest.mark.parametrize("same_table", [False, True])
def test_on_ray(ray, tmp_path, same_table):
    left, right, pairs = tables(dtype=np.float64)
    store.append(tmp_path / "left", left.ids, left.vectors, {"name": "made"})
    opened = store.open(tmp_path / "left")
    if same_table:
        right, pairs = opened, Pairs.of(pairs.left[pairs.left < pairs.right], pairs.right[pairs.left < pairs.right],
                                        same_table=True)  # fmt: skip
    work = a_pass(opened, right, pairs)
    close(map_reduce(ray, work, pairs=1000), work.moments())


def test_a_solution_from_parts_is_that_of_one_pass():
    left, right, pairs = tables()
    objective = parts.make("objectives", "ridge")
    head = parts.find("heads", "identity")
    one = closed_form.closed_form(left, right, pairs, head(), head(), objective)[0]

    def in_parts(work):
        total = work.moments(0, 0)
        for at in reversed(range(0, len(work), 777)):
            total.merge(work.moments(at, min(at + 777, len(work))))
        return total

    with partial_moments.by(in_parts):
        other = closed_form.closed_form(left, right, pairs, head(), head(), objective)[0]
    a, b = ((found.left or found.right).weight for found in (one, other))
    assert np.abs(a - b).max() <= 1e-6 * np.abs(a).max()


def test_rows_of_a_store_travel_as_paths(tmp_path):
    ids = np.array([f"i{k}" for k in range(5000)])
    vectors = np.random.default_rng(0).normal(size=(5000, 64)).astype(np.float32)
    for at in range(0, 5000, 2500):
        store.append(tmp_path / "s", ids[at : at + 2500], vectors[at : at + 2500], {"name": "made"})
    opened = store.open(tmp_path / "s")
    for rows in (opened.vectors, store.rows.select(opened.vectors, np.arange(4000, 100, -3)),
                 store.rows.by_files(np.load(next((tmp_path / "s").glob("*.vectors.npy")), mmap_mode="r")[100:1100])):  # fmt: skip
        sent = pickle.dumps(rows)
        assert len(sent) < 20_000 and np.array_equal(pickle.loads(sent)[:], rows[:])

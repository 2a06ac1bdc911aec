"""Minibatches: rows as they are in the table, epochs that are permutations, steps that go on where they stopped."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.fitting import batches as module
from sensorium.fitting.batches import Sampler, Side, batches, step_size
from sensorium.fitting.options import TrainOptions
from sensorium.pairs import Pairs
from sensorium.pairs.positives import BatchPositives
from sensorium.types import Embeddings

CPU = torch.device("cpu")
ROWS = st.lists(st.integers(0, 19), min_size=1, max_size=12)


def table(offsets=None):
    n = 20 if offsets is None else int(offsets[-1])
    vectors = np.random.default_rng(0).standard_normal((n, 3)).astype(np.float32)
    return Embeddings(np.arange(20).astype(str), vectors, {}, offsets=offsets)


@pytest.mark.parametrize("budget", [0, 20 * 3 * 4 - 1, 20 * 3 * 4, 1 << 20])
@given(rows=ROWS)
@settings(deadline=None, max_examples=40)
def test_a_side_gives_the_rows_of_its_table(budget, rows):
    data = table()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_READ", 7)
        side = Side(data, np.arange(20), CPU, budget, change=lambda x: 2 * x)
    assert (side.table is not None) is (budget >= 20 * 3 * 4)
    np.testing.assert_array_equal(side.take(np.array(rows)), 2 * data.vectors[rows])
    half = Side(data, np.array(rows), CPU, budget, torch.float16)
    assert half.take(np.array(rows)).dtype == torch.float16
    np.testing.assert_array_equal(half.take(np.array(rows)), data.vectors[rows].astype(np.float16))


@pytest.mark.parametrize("rows", [[4, 5, 6], [4, 6, 7], [4, 5, 7], [0, 19], [3], [5, 4, 3], [2, 2, 2], [1, 3, 2]])
def test_rows_that_are_read_each_time_are_those_that_were_asked_for(rows):
    data = table()
    side = Side(data, np.arange(20), CPU, 0)
    np.testing.assert_array_equal(side.take(np.array(rows)), data.vectors[rows])


@pytest.mark.parametrize("budget", [0, 1 << 20])
@given(rows=ROWS, seed=st.integers(0, 99))
@settings(deadline=None, max_examples=40)
def test_a_side_of_sequences_gives_padded_frames_or_what_is_frozen_of_them(budget, rows, seed):
    length = np.random.default_rng(seed).integers(1, 6, 20)
    data = table(np.append(0, np.cumsum(length)))
    frames = [data.vectors[data.offsets[i] : data.offsets[i + 1]] for i in range(20)]
    x, lengths = Side(data, np.arange(20), CPU, budget).take(np.array(rows))
    assert lengths.tolist() == length[rows].tolist() and x.shape == (len(rows), length[rows].max(), 3)
    for one, i in zip(x.numpy(), rows, strict=True):
        np.testing.assert_array_equal(one[: length[i]], frames[i])
        assert not one[length[i] :].any()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_FRAMES", 8)
        pooled = Side(data, np.arange(20), CPU, budget, frozen=lambda x, n: x.sum(1) / n[:, None])
    assert (pooled.table is not None) is (budget > 0)
    means = np.stack([frames[i].mean(0) for i in rows])
    np.testing.assert_allclose(pooled.take(np.array(rows)), means, rtol=1e-5, atol=1e-6)


@given(st.integers(2, 300), st.one_of(st.none(), st.integers(2, 400)), st.integers(1, 9))
def test_a_step_takes_as_many_pairs_as_are_asked_for_or_there(n, batch, accumulate):
    used, each, note = step_size(n, TrainOptions(batch=batch, accumulate=accumulate))
    assert used >= 2 and each >= 1 and used * each <= n
    enough = n >= (batch or 2) * accumulate
    assert (note == "") is enough
    if enough:
        assert each == accumulate and used == (batch or max(2, n // (8 * accumulate)))
    else:
        assert each <= accumulate and (batch is None or used <= batch)


@pytest.mark.parametrize(
    ("n", "batch", "accumulate", "note"),
    [
        (5, 8, 1, "5 training pairs are fewer than train.batch=8: train.batch=5 is used"),
        (9, 8, 3, "9 training pairs are fewer than train.batch=8 times train.accumulate=3: train.batch=3 train.accumulate=3 is used"),
        (3, None, 2, "3 training pairs are fewer than train.batch=2 times train.accumulate=2: train.batch=2 train.accumulate=1 is used"),
    ],
)  # fmt: skip
def test_what_is_used_of_too_large_a_step_is_said(n, batch, accumulate, note):
    assert step_size(n, TrainOptions(batch=batch, accumulate=accumulate))[2] == note


@pytest.mark.parametrize(("n", "batch"), [(8 * 1024, 1024), (8 * 1024 - 1, 1023), (10**6, 1024)])
def test_a_batch_that_is_not_asked_for_is_an_eighth_of_the_pairs_up_to_1024(n, batch):
    assert step_size(n, TrainOptions()) == (batch, 1, "")


@pytest.mark.parametrize("accumulate", [1, 3])
def test_an_epoch_is_a_permutation_of_its_own(accumulate):
    pairs = Pairs.of(np.arange(50), np.arange(50))
    sampler = Sampler(pairs, TrainOptions(batch=8, accumulate=accumulate), seed=5)
    first, second = sampler.epoch(0), sampler.epoch(1)
    assert first.shape == (50 // (8 * accumulate), accumulate, 8) and sampler.steps == len(first)
    for drawn in (first, second):
        assert len(np.unique(drawn)) == drawn.size and drawn.min() >= 0 and drawn.max() < 50
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(Sampler(pairs, TrainOptions(batch=8, accumulate=accumulate), 5).epoch(1), second)
    assert not np.array_equal(Sampler(pairs, TrainOptions(batch=8, accumulate=accumulate), 6).epoch(0), first)


@pytest.mark.parametrize("side", ["left", "right"])
@given(seed=st.integers(0, 50), epoch=st.integers(0, 3))
@settings(deadline=None, max_examples=20)
def test_pairs_of_one_item_come_together_in_an_order_of_their_own(side, seed, epoch):
    item = np.random.default_rng(seed).integers(0, 12, 60)
    other = np.arange(60)
    pairs = Pairs.of(*((item, other) if side == "left" else (other, item)))
    options = TrainOptions(batch=15, together=side)
    order = Sampler(pairs, options, seed).epoch(epoch).ravel()
    assert sorted(order.tolist()) == list(range(60))
    key = (pairs.left if side == "left" else pairs.right)[order]
    assert 1 + np.count_nonzero(np.diff(key)) == len(np.unique(item))  # each item once, with all its pairs
    again = Sampler(pairs, options, seed).epoch(epoch).ravel()
    assert order.tolist() == again.tolist()
    if len(np.unique(item)) > 4:
        assert order.tolist() != Sampler(pairs, options, seed).epoch(epoch + 1).ravel().tolist()


@pytest.mark.parametrize("balance", ["class", "group"])
def test_a_balanced_epoch_draws_equally_often_and_each_pair_as_often_as_it_can(balance):
    kind = np.repeat([0, 1, 2], [60, 25, 5])
    pairs = Pairs.of(np.arange(90), kind, group=kind)
    drawn = Sampler(pairs, TrainOptions(batch=90, balance=balance), seed=1).epoch(0).ravel()
    assert np.bincount(kind[drawn]).tolist() == [30, 30, 30]
    times = np.bincount(drawn, minlength=90)
    assert times[kind == 0].max() == 1
    assert set(times[kind == 1].tolist()) == {1, 2} and set(times[kind == 2].tolist()) == {6}
    assert not np.array_equal(kind[drawn], np.sort(kind[drawn])), "in random order"


@pytest.mark.parametrize("budget", [0, 1 << 20])
@pytest.mark.parametrize(("start", "total"), [(0, 7), (2, 7), (3, 6), (5, 5), (6, 13)])
def test_steps_go_on_where_they_stopped(budget, start, total):
    left, right = table(), table()
    pairs = Pairs.of(np.arange(20), (np.arange(20) * 7) % 20)
    sampler = Sampler(pairs, TrainOptions(batch=3, accumulate=2), seed=2)
    sides = tuple(Side(one, np.arange(20), CPU, budget) for one in (left, right))
    found = list(batches(sampler, sides, BatchPositives(pairs), start, total))
    expected = np.concatenate([sampler.epoch(epoch) for epoch in range(5)])[start:total]
    assert sampler.steps == 3 and len(found) == len(expected) == total - start
    for step, chosen in zip(found, expected, strict=True):
        assert len(step) == 2
        for batch, at in zip(step, chosen, strict=True):
            np.testing.assert_array_equal(batch.left, left.vectors[pairs.left[at]])
            np.testing.assert_array_equal(batch.right, right.vectors[pairs.right[at]])
            np.testing.assert_array_equal(batch.positives.rows, (pairs.left[at], pairs.right[at]))

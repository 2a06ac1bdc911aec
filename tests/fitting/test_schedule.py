"""Learning rates, the plateau and early stopping by hand."""

import math

import pytest

from sensorium.fitting.options import TrainOptions
from sensorium.fitting.schedule import EarlyStopping, learning_rate


def factors(values: list[float], options: TrainOptions) -> list[float]:
    state, found = EarlyStopping(), []
    for epoch, value in enumerate(values, 1):
        state.update(value, epoch, options)
        found.append(state.factor)
    return found


@pytest.mark.parametrize(
    ("patience", "after"), [(0, 3), (1, 1), (2, 1), (3, 1), (5, 1), (6, 2), (8, 2), (9, 3), (12, 4)]
)
def test_the_rate_is_halved_after_a_third_of_the_patience_and_again(patience, after):
    options = TrainOptions(schedule="plateau", patience=patience)
    found = factors([1.0] + [0.5] * 12, options)
    assert found == [1.0] + [0.5 ** (stale // after) for stale in range(1, 13)]
    assert factors([1.0] + [0.5] * 12, TrainOptions(schedule="cosine", patience=patience)) == [1.0] * 13


def test_a_better_value_begins_the_count_anew_and_the_rate_stays_lowered():
    options = TrainOptions(schedule="plateau", patience=6)
    assert factors([1, 0, 0, 2, 0, 0, 0], options) == [1, 1, 0.5, 0.5, 0.5, 0.25, 0.25]


@pytest.mark.parametrize(("monitor", "values", "best"), [("MRR", [0.5, 0.7, 0.7, 0.6], (0.7, 2, 2)),
                                                         ("median_rank", [5, 3, 3, 4], (3, 2, 2)),
                                                         ("precision@10", [0.2, 0.3, 0.3, 0.1], (0.3, 2, 2))])  # fmt: skip
def test_the_best_value_its_epoch_and_the_validations_since(monitor, values, best):
    options, state = TrainOptions(monitor=monitor, patience=2), EarlyStopping()
    answers = [(state.update(value, epoch, options), state.exhausted(options)) for epoch, value in enumerate(values, 1)]
    assert answers == [(True, False), (True, False), (False, False), (False, True)]
    assert (state.best, state.epoch, state.stale) == best
    assert state.asdict() == {"best": best[0], "epoch": best[1], "stale": best[2], "factor": 1.0}
    assert not state.exhausted(TrainOptions(patience=0))


@pytest.mark.parametrize(("warmup", "steps"), [(0.1, 10), (5, 5), (0, 0), (200, 100), (0.105, 11)])
@pytest.mark.parametrize("schedule", ["cosine", "constant", "plateau"])
def test_a_linear_rise_then_the_schedule(warmup, steps, schedule):
    schedule = "".join([*schedule])  # another object than the constant, as one of a recipe is
    options = TrainOptions(lr=2.0, warmup=warmup, schedule=schedule)
    rates = [learning_rate(step, 100, options, 0.5) for step in range(100)]
    assert rates[:steps] == pytest.approx([(step + 1) / (steps + 1) for step in range(steps)])
    begun = 100 * warmup if warmup < 1 else warmup
    for step in range(steps, 100):
        half = 0.5 * (1 + math.cos(math.pi * (step - begun) / (100 - begun))) if schedule == "cosine" else 1.0
        assert rates[step] == pytest.approx(half)


def test_a_fit_of_warmup_alone_ends_at_the_whole_rate():
    assert learning_rate(5, 5, TrainOptions(lr=3.0, warmup=5, schedule="cosine")) == 3.0

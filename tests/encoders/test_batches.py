"""Batches: every row once, smaller after too little memory, grown only where that is faster; reading in the background."""

import threading
import time

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sensorium.encoders import _batches
from sensorium.encoders._batches import BatchSize
from sensorium.errors import BadData

CPU = torch.device("cpu")


def computed(n: int, size: BatchSize, forward: object, read: object = list) -> dict[int, float]:
    found = {}
    for rows, values in _batches.compute(_batches.fixed(n, size), read, forward, size, CPU):
        found |= dict(zip(rows, values, strict=True))
    return found


def limited(most: int, error: Exception) -> tuple[object, list[int]]:
    """What a network does whose device holds ``most`` items; and the sizes it was asked for."""
    asked: list[int] = []

    def forward(inputs: list[int]) -> np.ndarray:
        asked.append(len(inputs))
        if len(inputs) > most:
            raise error
        return np.array(inputs) * 2.0

    return forward, asked


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError(),
                                   RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
                                   RuntimeError("MPS backend out of memory")], ids=["cuda", "python", "cpu", "mps"])  # fmt: skip
def test_out_of_memory_means_smaller_batches_and_the_same_vectors(error: Exception) -> None:
    size = BatchSize(CPU, 32, 256)
    forward, asked = limited(5, error)
    assert computed(100, size, forward) == {i: 2.0 * i for i in range(100)}
    assert size.now <= 5 and asked.count(32) <= 1 + _batches.AHEAD  # those that were read already
    assert max(asked[asked.index(min(asked)) :]) <= 32 and asked[-3:] == [size.now] * 2 + [asked[-1]]


def test_an_item_that_does_not_fit_alone_is_a_typed_error() -> None:
    forward, _ = limited(0, torch.OutOfMemoryError())
    with pytest.raises(
        BadData, match="one item alone does not fit into the memory of the device cpu; type: device=cpu"
    ):
        computed(3, BatchSize(CPU, 2, 2), forward)


def test_other_errors_pass() -> None:
    forward, _ = limited(1, RuntimeError("shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        computed(3, BatchSize(CPU, 2, 2), forward)


def test_reading_runs_ahead_and_hands_on_its_errors() -> None:
    names = []

    def read(rows: range) -> list[int]:
        names.append(threading.current_thread().name)
        if 40 in rows:
            raise BadData("picture 40 is bad")
        return list(rows)

    got = []
    size = BatchSize(CPU, 4, 4)
    with pytest.raises(BadData, match="picture 40 is bad"):
        for rows, _ in _batches.compute(_batches.fixed(60, size), read, np.array, size, CPU):
            got += rows
    assert got == list(range(40)) and all(name.startswith("sensorium-batch") for name in names)
    assert _batches.side_by_side(lambda x: x * x, range(9)) == [x * x for x in range(9)]


def test_the_size_grows_only_as_long_as_batches_get_faster() -> None:
    for flat_from, expected in ((64, 64), (8, 8), (4096, 512)):
        size = BatchSize(CPU, 8, 512)
        for _ in range(40):
            size.took(size.now, 1.0 * size.now / min(size.now, flat_from))
        assert size.now == expected
    small = BatchSize(CPU, 8, 512)
    for _ in range(40):
        small.took(2, 1e-9)  # of the end of a data set
    assert small.now == 8


def test_the_size_stays_within_the_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_batches.devices, "free_memory", lambda device: 2000)
    assert BatchSize(CPU, 32, 256, footprint=100).now == 10
    assert BatchSize(CPU, 32, 256, footprint=10**6).now == 1
    assert BatchSize(CPU, 32, 256, footprint=1).now == 32


@given(st.lists(st.integers(1, 60), min_size=1, max_size=200), st.integers(1, 500))
def test_texts_of_like_length_make_batches_of_every_row_once(lengths: list[int], most: int) -> None:
    size = BatchSize(CPU, most, most)
    groups = list(_batches.alike(np.array(lengths), size))
    assert sorted(row for group in groups for row in group) == list(range(len(lengths)))
    for group in groups:
        longest = max(lengths[row] for row in group)
        assert lengths[group[0]] == longest and (len(group) == 1 or len(group) * longest <= most)
        padded = sum(longest - lengths[row] for row in group)
        assert padded == 0 or len(group) * longest <= 256 + 60  # shorter ones join small groups alone


def test_a_slow_reader_and_a_slow_network_work_at_the_same_time() -> None:
    size = BatchSize(CPU, 1, 1)

    def slow(value: object) -> object:
        time.sleep(0.02)
        return value

    begun = time.perf_counter()
    assert len(computed(12, size, lambda x: slow(np.array(x)), lambda rows: slow(list(rows)))) == 12
    assert time.perf_counter() - begun < 12 * 0.04 * 0.9

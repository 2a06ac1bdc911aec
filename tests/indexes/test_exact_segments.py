"""The exact index over int8 codes: rows added and removed in several goes, for any number of queries."""

import numpy as np
import pytest

from sensorium.indexes import exact
from sensorium.scores import cpu_features, int8


@pytest.mark.parametrize("segment", [None, 64, 100])
@pytest.mark.parametrize("packed", [True, False])
def test_the_hits_are_those_of_sorting(monkeypatch, segment, packed):
    torch = pytest.importorskip("torch")
    machine = cpu_features.Machine(torch, True, packed and cpu_features.measure().packed)
    monkeypatch.setattr(cpu_features, "measure", lambda: machine)
    monkeypatch.setattr(exact, "_WORTH_CODES", 0)
    if segment is not None:
        monkeypatch.setattr(int8, "SEGMENT", segment)
    random = np.random.default_rng(0)
    x = random.standard_normal((700, 24)).astype(np.float32)
    index, there = exact.Exact(), np.zeros(0, int)
    for added, removed in ((range(300), ()), (range(300, 310), (4, 305)), (range(310, 700), range(20, 60))):
        index.add([f"i{n}" for n in added], x[list(added)])
        if removed:
            index.remove([f"i{n}" for n in removed])
        there = np.setdiff1d(np.append(there, added), list(removed))
        for b in (1, 3, int8.FEW, int8.FEW + 1, 40):
            queries = random.standard_normal((b, 24)).astype(np.float32)
            hits = index.search(queries, 7)
            score = queries.astype(float) @ x[there].astype(float).T
            best = np.argsort(-score, axis=1, kind="stable")[:, :7]
            assert index.table.ids[hits.rows].tolist() == [[f"i{n}" for n in there[row]] for row in best]
            np.testing.assert_allclose(hits.scores, np.take_along_axis(score, best, 1), rtol=1e-5)


@pytest.mark.parametrize("k", [1, 5])
def test_without_room_for_codes_the_hits_are_the_same(monkeypatch, k):
    pytest.importorskip("torch")
    monkeypatch.setattr(exact, "_WORTH_CODES", 0)
    random = np.random.default_rng(1)
    x = random.integers(-2, 3, (500, 16)).astype(np.float32)  # many equal scores
    queries = random.integers(-2, 3, (3, 16)).astype(np.float32)
    found = []
    for room in (64 << 20, 0):
        monkeypatch.setattr(exact, "_CODES", room)
        monkeypatch.setattr(exact, "_SHARE", 0)
        index = exact.Exact()
        index.add([f"i{n}" for n in range(500)], x)
        found.append(index.search(queries, k))
        assert bool(index._segments) == bool(room and cpu_features.measure().int8)
    np.testing.assert_array_equal(found[0].rows, found[1].rows)
    np.testing.assert_array_equal(found[0].scores, found[1].scores)


def test_read_only_vectors_are_taken_without_a_copy():
    x = np.random.default_rng(2).standard_normal((10, 4)).astype(np.float32)
    still = x.view()
    still.flags.writeable = False
    copied, taken = exact.Exact(), exact.Exact()
    copied.add(range(10), x)
    taken.add(range(10), still)
    assert not np.shares_memory(copied.vectors(), x) and np.shares_memory(taken.vectors(), x)
    before = x.copy()
    taken.add(["more"], -x[:1])
    taken.remove(["3"])
    assert taken.search(x[:1], 1).rows.tolist() == copied.search(x[:1], 1).rows.tolist()
    assert not np.shares_memory(taken.vectors(), x)
    np.testing.assert_array_equal(x, before)

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

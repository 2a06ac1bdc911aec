"""Raw vectors of a run's items: from its data set, from the store beside it, and of live changes."""

import shutil

import numpy as np
import pytest
import small_looks
import small_run

from sensorium.errors import Mismatch
from sensorium.search.raw import RawVectors
from sensorium.search.run import open as open_run


def test_of_items_that_came_as_vectors(tmp_path):
    run, x = small_looks.make(tmp_path / "runs" / "looks"), np.asarray(small_looks.data().left.values)
    raw = RawVectors(run, "left")
    assert raw.available
    run.add(np.ones((1, small_looks.DIM), np.float32), ids=["n"], metadata={"category": ["Bags"], "price": [1]})
    np.testing.assert_array_equal(raw.of(np.array(["0007", "n", "unknown"])), [x[7], np.ones(12), np.zeros(12)])


def test_of_a_store_and_without_it(tmp_path):
    run = small_run.make(tmp_path / "runs" / "small")
    ids = run.index("left").table.ids[:5]
    raw = RawVectors(run, "left")
    assert raw.available
    np.testing.assert_allclose(run.project("left", raw.of(ids)), run.index("left").vectors(np.arange(5)), atol=1e-5)
    shutil.copytree(run.folder, tmp_path / "alone")
    alone = RawVectors(open_run(tmp_path / "alone"), "left")
    assert not alone.available
    with pytest.raises(Mismatch, match="copy the folder embeddings there too"):
        alone.of(ids)

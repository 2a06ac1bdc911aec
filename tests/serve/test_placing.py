"""Places of new vectors on a map: exact on a linear one, near to their neighbours on any other."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("fastapi", reason="type: pip install 'sensorium[serve]'")

from sensorium.serve.engine import placing
from sensorium.serve.engine.projection import Space, _body, _pca
from sensorium.table import Table


def space(left: np.ndarray, right: np.ndarray) -> Space:
    tables = {
        side: Table(np.array([f"{side}{i}" for i in range(len(x))]), {})
        for side, x in (("left", left), ("right", right))
    }
    return Space(tables, {"left": left.astype(np.float32), "right": right.astype(np.float32)})


@settings(max_examples=15, deadline=None)
@given(st.integers(3, 60), st.integers(3, 60), st.integers(2, 80), st.integers(0, 100))
def test_pca_places_every_item_where_the_map_has_it(n, m, d, seed):
    rng = np.random.default_rng(seed)
    both = space(rng.normal(size=(n, d)), 2 + rng.normal(size=(m, d)))
    body = _pca(both)
    place = placing._placer(body, both, "left")
    _, arrays = placing.binary.unpack(body)
    found = np.concatenate([place(both.vectors["left"]), place(both.vectors["right"])])
    np.testing.assert_allclose(found, arrays["xy"], atol=2e-3)
    a, b = both.vectors["left"][0], both.vectors["right"][0]  # and between two items, between their places
    np.testing.assert_allclose(place((a + b)[None] / 2)[0], (found[0] + found[n]) / 2, atol=2e-3)


def test_other_maps_place_by_neighbours_of_the_same_side():
    rng = np.random.default_rng(0)
    centres = np.eye(3, 16) * 5
    left = np.concatenate([centre + 0.1 * rng.normal(size=(40, 16)) for centre in centres])
    right = rng.normal(size=(20, 16))
    corners = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    xy = np.concatenate([np.repeat(corners, 40, 0), np.full((20, 2), 9.0)])
    both = space(left, right)
    rows = [np.arange(120, dtype=np.uint32), np.arange(20, dtype=np.uint32)]
    body = _body(both, "umap", xy, rows, 0.0, {})
    _, arrays = placing.binary.unpack(body)
    place = placing._placer(body, both, "left")
    found = place((centres + 0.05).astype(np.float32))
    np.testing.assert_allclose(found, arrays["xy"][[0, 40, 80]], atol=0.02)
    few = space(left[:100], right)  # items that went since are no neighbours
    assert np.isfinite(placing._placer(body, few, "left")(centres.astype(np.float32))).all()

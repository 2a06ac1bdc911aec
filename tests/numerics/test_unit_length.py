"""Unit length, against the definition in float64."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sensorium.numerics import unit


@given(arrays(np.float32, st.tuples(st.integers(0, 5), st.integers(1, 6)),
              elements=st.floats(-(2.0**100), 2.0**100, width=32)))  # fmt: skip
def test_every_row_but_a_zero_one_has_length_1_and_its_direction(x):
    z = unit(x)
    exact = x.astype(np.float64)
    length = np.linalg.norm(exact, axis=1, keepdims=True)
    np.testing.assert_allclose(z, np.divide(exact, length, out=np.zeros_like(exact), where=length > 0), atol=1e-6)
    assert z.dtype == np.float32 and np.isfinite(z).all()


@pytest.mark.parametrize(("given_type", "found"), [(np.float64, np.float64), (np.float32, np.float32),
                                                   (np.float16, np.float32), (np.int64, np.float32)])  # fmt: skip
def test_types_and_shapes(given_type, found):
    assert unit(np.array([3, 4], given_type)).dtype == found
    np.testing.assert_allclose(unit(np.array([3, 4], given_type)), [0.6, 0.8], rtol=1e-7)
    assert unit(np.ones((2, 3, 4))).shape == (2, 3, 4)
    np.testing.assert_allclose(np.linalg.norm(unit(np.full((2, 3, 4), 1e-30, np.float32)), axis=-1), 1, rtol=1e-6)

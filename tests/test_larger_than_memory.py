"""Blocks of wide vectors are bounded in bytes, so that a run over a large store needs little memory."""

import numpy as np

from sensorium.numerics import unit
from sensorium.types import rows_within


def test_blocks_of_wide_rows_are_bounded_in_bytes():
    assert rows_within(768, 8192) == 8192
    assert rows_within(65_536, 8192) * 65_536 * 4 <= 32 << 20
    assert rows_within(1 << 24, 8192) == 64  # a block has some rows, however wide


def test_unit_length_is_computed_in_float64_without_a_copy_of_that_type():
    x = np.random.default_rng(0).normal(size=(50, 7)).astype(np.float32) * np.float32(1e-30)
    wide = x.astype(np.float64)
    expected = (wide / np.linalg.norm(wide, axis=1, keepdims=True)).astype(np.float32)
    np.testing.assert_allclose(unit(x), expected, rtol=1e-6)
    assert unit(x).dtype == np.float32 and not unit(np.zeros((2, 3))).any()

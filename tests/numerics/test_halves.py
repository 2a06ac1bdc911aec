"""float16 read by integer arithmetic: the bits of NumPy's own conversion, for every finite number there is."""

import numpy as np

from sensorium.numerics.halves import as_float32


def test_every_finite_half():
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    halves = halves[np.isfinite(halves)]
    expected = halves.astype(np.float32)
    np.testing.assert_array_equal(as_float32(halves).view(np.int32), expected.view(np.int32))
    np.testing.assert_array_equal(as_float32(halves.reshape(2, -1)[:, ::3]), expected.reshape(2, -1)[:, ::3])

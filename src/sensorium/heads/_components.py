"""Leading eigenvectors of a covariance, for heads of principal components."""

from __future__ import annotations

import numpy as np

_MORE, _ROUNDS = 10, 7  # directions beyond those asked for, and multiplications by the covariance


def leading(covariance: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k largest eigenvalues of a covariance (d, d), and some more, ascending, and their vectors (d, ·)."""
    d = len(covariance)
    basis = np.random.default_rng(0).standard_normal((d, min(d, k + _MORE)))
    for _ in range(_ROUNDS):
        basis = np.linalg.qr(covariance @ basis)[0]
    values, inner = np.linalg.eigh(basis.T @ covariance @ basis)
    return values, basis @ inner

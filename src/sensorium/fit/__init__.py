"""Fitting both heads: solved in one pass where the objective can be, else trained by the one loop.

Start reading at :mod:`sensorium.fit.loop`. Nothing here loads torch before it is needed.
"""

from __future__ import annotations

from typing import Any

from sensorium.fit.fitted import Fitted
from sensorium.fit.options import TrainOptions

__all__ = ["Fitted", "TrainOptions", "solve", "train"]


def solve(*args: Any, **kwargs: Any) -> Fitted:
    """Settle both heads by a closed form: see :func:`sensorium.fit.closed.solve`."""
    from sensorium.fit.closed import solve as run

    return run(*args, **kwargs)


def train(*args: Any, **kwargs: Any) -> Fitted:
    """Train both heads by minibatches: see :func:`sensorium.fit.loop.train`."""
    from sensorium.fit.loop import train as run

    return run(*args, **kwargs)

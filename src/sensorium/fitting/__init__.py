"""Fitting both heads: solved in one pass where the objective can be, else trained by the one loop.

Start reading at :mod:`sensorium.fitting.loop`. Nothing here loads torch before it is needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sensorium.fitting.fitted import Fitted
from sensorium.fitting.options import TrainOptions

__all__ = ["Fitted", "TrainOptions", "solve", "train"]


def solve(*args: Any, **kwargs: Any) -> Fitted:
    """Fit both heads by a closed form: see :func:`sensorium.fitting.closed_form.solve`."""
    from sensorium.fitting.closed_form import solve as run

    return run(*args, **kwargs)


def train(*args: Any, names: Mapping[str, str] | None = None, **kwargs: Any) -> Fitted:
    """Train both heads by minibatches, see :func:`sensorium.fitting.loop.train`; or several pairs of heads.

    names: of the heads' parts, by side, which an ensemble (``options.members`` above 1) needs: see
    :func:`sensorium.fitting.members.train`.
    """
    if args[6].members > 1:
        from sensorium.fitting import members

        return members.train(*args, names=names or {}, **kwargs)
    from sensorium.fitting.loop import train as run

    return run(*args, **kwargs)

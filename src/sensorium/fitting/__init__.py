"""Fitting both heads: solved in one pass where the objective can be, else trained by the one loop.

Start reading at :mod:`sensorium.fitting.loop`. Nothing here loads torch before it is needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sensorium.fitting.fitted import Fitted
from sensorium.fitting.options import TrainOptions

__all__ = ["Fitted", "TrainOptions", "solve", "through_encoder", "train"]


def solve(*args: Any, **kwargs: Any) -> Fitted:
    """Fit both heads by a closed form: see :func:`sensorium.fitting.closed_form.solve`."""
    from sensorium.fitting.closed_form import solve as run

    return run(*args, **kwargs)


def through_encoder(plan: Any, data: Any, parts: Any) -> Any:
    """What a fit with ``data.cached=false`` needs beside the vectors, a ``Finetune``; None for any other fit.

    plan: the recipe. parts: its parts, built. Raises BadRecipe for what needs vectors that stay the same.
    """
    options = plan.finetune_options()
    if options is None:
        return None
    from sensorium.fitting.finetune import Finetune

    sides = ("left", "right")
    found = Finetune.of((data.left, data.right), [parts.encoders[side] for side in sides], options)
    heads = [parts.heads["left"], None if data.right is None else parts.heads["right"]]
    found.check(parts.objective, heads, plan.train_options())
    return found


def train(*args: Any, names: Mapping[str, str] | None = None, **kwargs: Any) -> Fitted:
    """Train both heads by minibatches, see :func:`sensorium.fitting.sets.fit`; or several pairs of heads.

    names: of the heads' parts, by side, which an ensemble (``options.members`` above 1) and a mixture need: see
    :func:`sensorium.fitting.members.train` and :func:`sensorium.fitting.mixture.fit`.
    """
    if args[5].mixture and args[5].adaptive:
        from sensorium.fitting import auto

        return auto.fit(*args, names=names or {}, **kwargs)
    if args[5].mixture:
        from sensorium.fitting import mixture

        return mixture.fit(*args, names=names or {}, **kwargs)
    args[6].check_ensemble()
    if args[6].members > 1:
        from sensorium.fitting import members

        return members.train(*args, names=names or {}, **kwargs)
    from sensorium.fitting.sets import fit as run

    return run(*args, **kwargs)

"""Closed forms solved on the same data as a fit, to be evaluated beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sensorium import heads, parts
from sensorium.errors import SensoriumError
from sensorium.fitting import closed_form
from sensorium.pairs import Pairs
from sensorium.types import Embeddings, Rows

#: Folder, in a run's, of the ensemble that its heads were distilled from; also its name among the baselines.
ENSEMBLE = "ensemble"


def baselines(
    names: Sequence[str],
    left: Embeddings,
    right: Embeddings,
    pairs: Pairs,
    classes: np.ndarray | None = None,
    frozen: bool = False,
) -> Iterator[tuple[str, tuple[Rows, Rows] | SensoriumError]]:
    """Solve each closed-form objective; yields its name and head outputs, or why it does not apply.

    Outputs (n, d) and (m, d) are of the whole tables, with zeros in rows that no evaluation on the test split
    reads. classes: right rows (c,) that are candidates in every split. One at a time, so that the outputs of one
    can be freed before the next. frozen: both sides have vectors of one space, so that what the encoders alone give,
    without a fit, is the first baseline.
    """
    objectives = {name: parts.make("objectives", name, "evaluate.baselines") for name in names}
    identity = parts.find("heads", "identity")
    needs = tuple({need for objective in objectives.values() for need in objective.needs})
    left_rows, right_rows = evaluated_rows(pairs, classes)
    moments = None
    if frozen and left.offsets is None and right.offsets is None and left.dim == right.dim:
        as_is = identity()
        as_is.build(left.dim)
        zl = some_rows(as_is, left, left_rows)
        yield "frozen", (zl, zl if pairs.same_table else some_rows(as_is, right, right_rows))
    for name, objective in objectives.items():
        try:
            if moments is None:  # one pass over the pairs serves all of them
                moments = closed_form.moments_between(left, right, pairs, identity(), identity(), needs)
            fitted = closed_form.solve(left, right, pairs, identity(), identity(), objective, moments)
        except SensoriumError as error:
            yield name, error
            continue
        zl = some_rows(fitted.left_head, left, left_rows)
        yield name, (zl, zl if pairs.same_table else some_rows(fitted.right_head, right, right_rows))


def distilled_from(folder: Path, left: Embeddings, right: Embeddings, pairs: Pairs) -> Iterator[tuple[str, Any]]:
    """Outputs of the ensemble that a run's heads were distilled from, as :func:`baselines` yields them; or nothing."""
    stem = folder / ENSEMBLE
    if not (stem / "left.json").is_file():
        return
    zl = heads.project(heads.restore(stem / "left")[0], left)
    yield ENSEMBLE, (zl, zl if pairs.same_table else heads.project(heads.restore(stem / "right")[0], right))


def evaluated_rows(pairs: Pairs, classes: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Left and right rows that an evaluation on the test split reads."""
    test = pairs.where("test")
    if pairs.same_table:
        sets, asked = pairs.sets, pairs.questions
        named = [] if sets is None else [sets.where("test").items.values]
        if asked is not None:
            asked = asked.where("test")
            named += [asked.context.values, asked.answers.ravel()]
        both = np.concatenate([test.left, test.right, *named])
        return both, both
    return test.left, test.right if classes is None else np.concatenate([test.right, classes])


def some_rows(module: Any, table: Embeddings, rows: np.ndarray) -> np.ndarray:
    """A table through a head where ``rows`` need it, (n, d) float32, and zeros elsewhere."""
    rows = np.unique(rows)
    z = np.zeros((len(table), module.dim), np.float32)
    z[rows] = heads.apply(module, table.vectors, rows)
    return z

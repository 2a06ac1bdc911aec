"""``sensorium.fit``: values in memory to a run, through the pipeline's own steps."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sensorium import pipeline
from sensorium.datasets import memory
from sensorium.errors import BadRecipe
from sensorium.fitting.environment import threads
from sensorium.memory import sections
from sensorium.types import Data, Items
from sensorium.values import Read, Relation, items_of, read, relate
from sensorium.values.items import CLASSES

if TYPE_CHECKING:
    from sensorium.search.run import Run

_SMALL = 4096  # rows


def fit(
    X: Any,
    Y: Any = None,
    *,
    pairs: Any = None,
    relevant: Any = None,
    ids: Any = None,
    metadata: Any = None,
    group: Any = None,
    split: Any = None,
    test: Any = 0.1,
    validation: Any = 0.1,
    split_seed: int = 0,
    objective: str | Mapping[str, Any] | None = None,
    left: Mapping[str, Any] | None = None,
    right: Mapping[str, Any] | None = None,
    train: Mapping[str, Any] | None = None,
    index: str | Mapping[str, Any] | None = None,
    evaluate: Mapping[str, Any] | None = None,
    seed: int = 0,
    overrides: Sequence[str] = (),
    out: str | Path | None = None,
    quiet: bool = True,
    on_epoch: Callable[[dict[str, Any]], None] | None = None,
    **keys: Any,
) -> Run:
    """Fit two heads on values in memory and open the run: ``run = sensorium.fit(X, Y)``.

    X, Y: the items of both sides, n and m rows: vectors (n, d) of NumPy, torch, SciPy or Arrow; lists of texts, paths,
    pictures or arrays; a pandas, polars or Arrow column; or a table with a column of ids. Y may be class labels,
    whole numbers (n,), for a classification. Without Y both sides are X, under one head. Sides that are no vectors
    name their encoder: ``left={"encoder": "hog"}``.

    pairs: which rows go together: row i with row i by default (by id, where both sides have ids); index arrays
    (i, j); a 0/1 matrix (n, m), dense or sparse; or a table of ids, with the columns left and right.
    relevant: class labels, one for each row: rows of equal labels are related; (of X, of Y) where they differ.
    ids: of both sides, of (X, Y), or the name of a column. metadata: columns of items, {"left": …, "right": …}.
    group: one value for each row of X; a group never stands in two splits. split: train, validation or test, of each
    row of X. test, validation: what is held out: a share of the groups, their number, or rows of X. split_seed: of the
    shares.

    objective, left, right, train, index, evaluate, seed and ``keys``: a recipe's own keys, such as
    ``objective="ridge"``, ``left={"head": "linear"}``, ``train={"epochs": 5}``, ``**{"train.lr": 1e-3}``; overrides:
    the same as texts, such as "train.lr=1e-3". The default is ``objective="cca"``, a closed form, solved in one pass;
    ``objective="infonce"`` trains MLP heads as the recipe arrays does; class labels are fitted by cross-entropy.
    Figures are drawn on demand: ``evaluate={"plots": True}``.

    out: the run's folder; without it a temporary one, removed when the run is no longer used (``run.save(path)``
    keeps it). on_epoch: called with each training event.

    Raises BadData or BadRecipe, naming the argument, for what cannot be used; see :func:`sensorium.run` for others.
    """
    given = {"objective": objective, "left": left, "right": right, "train": train, "index": index, "evaluate": evaluate}
    plan = sections.resolved(sections.recipe(given, keys, seed), overrides)
    sides = {"left": read(X, "X", ids if isinstance(ids, str) else None)}
    if Y is not None:
        sides["right"] = read(Y, "Y", ids if isinstance(ids, str) else None)
    classes = _are_classes(sides.get("right"), plan.part_name("right.encoder"))
    values = sections.recipe(given, keys, seed, _names(sides["right"]) if classes else None)
    plan = sections.resolved(values, overrides)
    given_ids, given_metadata = _each("ids", ids), _each("metadata", metadata)
    made = {
        side: items_of(
            one,
            sections.takes(plan, side),
            side=side,
            ids=None if classes and side == "right" else given_ids[side],
            metadata=given_metadata[side],
            classes=classes and side == "right",
        )
        for side, one in sides.items()
    }
    relation = Relation(pairs, relevant, group, split, test, validation, split_seed)
    data = _data(made, relation, joined=not classes and _have_ids(sides, given_ids), classes=classes)
    shares = {"test": test, "validation": validation}
    shares = {name: value for name, value in shares.items() if isinstance(value, (int, float))}
    values["data"] = {"name": "memory", "digest": memory.digest(data), "split_seed": split_seed, **shares}
    with threads(1 if _is_small(data) else 0):
        return _run(values, overrides, data, out, quiet, on_epoch)


def _run(values: dict[str, Any], overrides: Sequence[str], data: Data, out: Any, quiet: bool, on_epoch: Any) -> Run:
    """The run in ``out``, or in a folder that is removed with it."""
    options: dict[str, Any] = {"quiet": quiet, "on_epoch": on_epoch, "data": data}
    if out is not None:
        values["name"] = Path(out).name or values["name"]
        return pipeline.run(values, overrides, out=out, **options)
    folder = Path(tempfile.mkdtemp(prefix="sensorium-"))
    try:
        run = pipeline.run(values, overrides, out=folder / "run", **options)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    weakref.finalize(run, shutil.rmtree, folder, ignore_errors=True)
    return run


def _data(made: Mapping[str, tuple[Items, np.ndarray]], relation: Relation, *, joined: bool, classes: bool) -> Data:
    left, left_rows = made["left"]
    right, right_rows = made.get("right", (None, None))
    pairs = relate(relation, left, left_rows, right, right_rows, joined=joined, classes=classes)
    notes = {"left": "X", "right": "Y" if right is not None else "X", "rows": len(left_rows)}
    return Data(left, right, pairs, notes)


def _is_small(data: Data) -> bool:
    """Whether one thread is enough: several cost more in waiting for each other than they save."""
    sides = [one for one in (data.left, data.right) if one is not None]
    return all(len(one) <= _SMALL and one.kind in ("vector", "text") for one in sides)


def _are_classes(right: Read | None, encoder: str | None) -> bool:
    """Whether Y holds class labels: whole numbers, or texts that the encoder of class names takes."""
    return right is not None and ((right.form == "labels" and encoder is None) or encoder == CLASSES)


def _names(right: Read) -> list[str]:
    if right.form not in ("labels", "texts"):
        raise BadRecipe(f"right.encoder is {CLASSES}, but Y holds {right.form}; expected class labels, one a row")
    names = np.unique(np.array([str(one) for one in np.asarray(right.values).tolist()], np.str_)).tolist()
    if len(names) < 2:
        raise BadRecipe(f"Y holds the one class {names[0]!r}; expected 2 classes or more")
    return names


def _have_ids(sides: Mapping[str, Read], given: Mapping[str, Any]) -> bool:
    """Whether both sides have ids of their own, by which their rows are joined. One list for both numbers the rows."""
    both = given["left"] is not None and given["left"] is given["right"]
    return (
        len(sides) == 2
        and not both
        and all(given[side] is not None or (one.ids is not None) for side, one in sides.items())
    )


def _each(name: str, given: Any) -> dict[str, Any]:
    """An argument for both sides: one of each as (X's, Y's) or by side, or one for both (ids)."""
    if given is None or (isinstance(given, str) and name == "ids"):
        return {"left": None, "right": None}
    if isinstance(given, Mapping) and (name == "metadata" or set(given) <= {"left", "right"}):
        unknown = [key for key in given if key not in ("left", "right")]
        if unknown:
            raise BadRecipe(f"{name} has the key {unknown[0]!r}; expected the sides: {name}={{'left': …, 'right': …}}")
        return {"left": given.get("left"), "right": given.get("right")}
    if isinstance(given, tuple) and len(given) == 2:
        return {"left": given[0], "right": given[1]}
    if name == "metadata":
        raise BadRecipe(f"{name} is {type(given).__name__}; expected the sides: metadata={{'left': {{'year': […]}}}}")
    return {"left": given, "right": given}

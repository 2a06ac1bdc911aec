"""Live changes of an opened run: made durable in its journal, then applied to the index, one by one or many at once."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sensorium.errors import BadData, Mismatch, SensoriumError
from sensorium.scores.similarity import LONGEST, lengths
from sensorium.search import journal
from sensorium.search.journal import Change
from sensorium.table import Table
from sensorium.types import Embeddings, as_ids

if TYPE_CHECKING:
    from sensorium.search.run import Run


def commit(run: Run, side: str, changes: Sequence[Change]) -> None:
    """Make changes durable and apply them: all, or none where one cannot be applied or the process is killed.

    They lie on the disk (fsync) when this returns. The last change of an id holds. In the thread of the side's
    index. Raises BadData for an item that no index takes, Mismatch for a vector of another encoder, ReadOnly for
    a run that may not be written, and DiskFull; nothing is changed then.
    """
    index, live = run.index(side), run.journals[side]
    last = latest(changes)
    if not last:
        return
    apply(run, side, live.read())  # those of other processes
    added = [change for change in last if change.vector is not None]
    if added:
        _check(run, side, added)
        ids, vectors, columns = _prepared(run, side, added, index.table)
        trial = index.table.take(np.zeros(0, np.int64)) if len(index.table) else index.table
        trial.append(as_ids(ids), columns)
        unusable = np.flatnonzero(~(lengths(vectors) < LONGEST) | ~vectors.any(axis=1))
        if len(unusable):
            raise BadData(f"item '{ids[unusable[0]]}': its head makes no usable vector of it")
    apply(run, side, [*live.append(last), *last])


def latest(changes: Sequence[Change]) -> list[Change]:
    """The last change of each id, in the order of these."""
    found: dict[str, Change] = {}
    for change in changes:
        found.pop(change.id, None)
        found[change.id] = change
    return list(found.values())


def apply(run: Run, side: str, changes: Sequence[Change]) -> int:
    """Bring changes into a side's index; returns how many could not be: of another encoder, or unusable."""
    last = latest(changes)
    if not last:
        return 0
    index = run.index(side)
    before = index.table
    gone = before.rows.rows(change.id for change in last)
    gone = gone[gone >= 0]
    index.remove(before.ids[gone].tolist())
    added = [c for c in last if c.vector is not None and run.head_for(side, c.encoder) is not None]
    if added:
        try:
            index.add(*_prepared(run, side, added, before))
        except SensoriumError:  # one of them; the others are not lost for it
            added = [c for c in added if _add_alone(run, side, c, before)]
    keep = np.ones(len(before), bool)
    keep[gone] = False
    run.shift_changed(side, keep)
    return sum(c.vector is not None for c in last) - len(added)


def _check(run: Run, side: str, added: Sequence[Change]) -> None:
    """Raise Mismatch or BadData, naming the item, for vectors that a side's head does not take."""
    name = run.names[side]
    for change in added:
        if run.head_for(side, change.encoder) is None:
            raise Mismatch(
                f"item '{change.id}': its vector is of encoder {change.encoder or 'unknown'}, the {name} head takes "
                f"those of {run.encoder_digest(side)}; encode it with the run's own encoder"
            )
    _check_shapes(run, side, added)
    for change in added:
        vector = change.vector
        if vector is not None and not (np.isfinite(vector).all() and vector.any()):
            raise BadData(f"item '{change.id}': its vector holds NaN, infinity or only zeros; correct or drop it")


def _check_shapes(run: Run, side: str, added: Sequence[Change]) -> None:
    """Raise BadData, naming the item, for vectors that the head for their encoder does not take."""
    name = run.names[side]
    for change in added:
        head = run.head_for(side, change.encoder)
        taken = {1: f"({head.dim_in},)"} if head.takes_vectors else {}
        if head.takes_sequences:
            taken[2] = f"frames (t, {head.dim_in})"
        shape = () if change.vector is None else change.vector.shape
        if len(shape) not in taken or shape[-1] != head.dim_in or not shape[0]:
            raise BadData(
                f"item '{change.id}': its vector has shape {shape}; the {name} head takes {' or '.join(taken.values())}"
            )


def _prepared(run: Run, side: str, added: Sequence[Change], like: Table) -> tuple[list[str], np.ndarray, Any]:
    """Ids, indexed vectors and columns of added items, of the types that a table has."""
    return [c.id for c in added], _projected(run, side, added), journal.columns(added, like.columns, len(like))


def _projected(run: Run, side: str, added: Sequence[Change]) -> np.ndarray:
    """The items' vectors, or frames, each through the head for its encoder, in batches: (n, d)."""
    _check_shapes(run, side, added)
    z = np.empty((len(added), run.head(side).dim), np.float32)
    for digest in dict.fromkeys(change.encoder for change in added):
        rows = [i for i, change in enumerate(added) if change.encoder == digest]
        z[rows] = _of_encoder(run, side, [added[i] for i in rows], run.head_for(side, digest))
    return z


def _of_encoder(run: Run, side: str, added: Sequence[Change], head: Any) -> np.ndarray:
    """:func:`_projected` of items whose vectors are of one encoder."""
    from sensorium import heads

    single = [i for i, c in enumerate(added) if c.vector is not None and c.vector.ndim == 1]
    frames = [i for i, c in enumerate(added) if c.vector is not None and c.vector.ndim == 2]
    z = np.empty((len(added), head.dim), np.float32)
    if single:
        vectors, centers = np.stack([added[i].vector for i in single]), run.centers[side]
        if centers is not None:
            vectors = centers.moved(vectors, [added[i].columns.get(centers.by) for i in single])
        heads.check_finite(vectors, None, "query vector")
        z[single] = heads.apply(head, vectors)
    if frames:
        offsets = np.cumsum([0, *(len(added[i].vector) for i in frames)])
        table = Embeddings(
            as_ids([added[i].id for i in frames]), np.concatenate([added[i].vector for i in frames]), {},
            offsets=offsets,
        )  # fmt: skip
        z[frames] = heads.project(head, table)
    return z


def _add_alone(run: Run, side: str, change: Change, like: Table) -> bool:
    try:
        run.index(side).add(*_prepared(run, side, [change], like))
    except SensoriumError as error:
        warnings.warn(f"{run.folder}: live item '{change.id}' is left out: {error}", stacklevel=4)
        return False
    return True

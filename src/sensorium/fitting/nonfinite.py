"""Finds the items behind a non-finite loss or gradient, for the error message."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from sensorium.errors import BadData
from sensorium.fitting.batches import Batch
from sensorium.fitting.state import State
from sensorium.types import Embeddings

if TYPE_CHECKING:
    from sensorium.fitting.world import World

_LISTED = 5


def not_finite(
    step: list[Batch],
    outputs: Any,
    loss: float,
    norm: float,
    state: State,
    left: Embeddings,
    right: Embeddings,
    world: World | None = None,
) -> BadData:
    """The error of a step whose loss or gradient is not finite. outputs: what turns a batch into (zl, zr).

    world: of several processes, all of which come here.
    """
    causes = []
    for side, table, which in (("left", left, 0), ("right", right, 1)):
        rows = np.concatenate([batch.positives.rows[which][batch.part] for batch in step])
        bad = np.concatenate([_bad_rows(batch[which], outputs.outputs(batch)[which]) for batch in step])
        if bad.any():
            ids = np.unique(table.ids[rows[bad]])
            more = f" and {len(ids) - _LISTED} more" if len(ids) > _LISTED else ""
            causes.append(f"{side} ids {', '.join(map(repr, ids[:_LISTED].tolist()))}{more} give NaN or infinity")
    if world is not None:
        causes = list(filter(None, world.all_texts("; ".join(causes))))
    if not causes:
        ids = [table.ids[step[0].positives.rows[which][:_LISTED]].tolist() for which, table in ((0, left), (1, right))]
        causes.append(f"all {sum(len(b.positives) for b in step)} outputs are finite; the batch begins with left ids "
                    f"{', '.join(map(repr, ids[0]))} and right ids {', '.join(map(repr, ids[1]))}")  # fmt: skip
    saved = "" if state.folder is None else f"; the last good checkpoint is intact in {state.folder / 'checkpoint'}"
    what = f"the loss became {loss}" if not np.isfinite(loss) else f"the norm of the gradient became {norm}"
    return BadData(
        f"{what} at step {state.step + 1}: {'; '.join(causes)}{saved}. Correct these vectors, or lower train.lr"
    )


def _bad_rows(x: Any, z: torch.Tensor) -> np.ndarray:
    """Rows (b,) whose input or output is not finite."""
    x = x[0] if isinstance(x, tuple) else x
    good = torch.isfinite(z.float()).all(1)
    if isinstance(x, torch.Tensor):  # not raw items
        good = good & torch.isfinite(x.float().flatten(1)).all(1)
    return ~good.cpu().numpy()

"""What a head takes for rows of a table, read by objectives that look beyond a batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from sensorium.types import RawRows, Rows


def head_input(table: Rows | RawRows, rows: np.ndarray) -> Any:
    """A float32 tensor (k, d) of vectors; of a table of raw items what its heads take. Both have ``device``, ``to``."""
    found = table[rows]
    return found if isinstance(table, RawRows) else torch.from_numpy(np.asarray(found, np.float32))

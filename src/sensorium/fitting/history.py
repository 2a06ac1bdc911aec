"""Training history: JSON lines always, TensorBoard on request."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sensorium import io
from sensorium.errors import require

_WRITE_SECONDS = 0.5  # at most two writes a second, however short the epochs


class History:
    """The events of a fit; the list is shared with the training state, which appends to it.

    history.jsonl holds the hyper-parameters, then one event a line.

    The file is rewritten whole, so that it never ends in half a line and a resumed fit drops
    what the interrupted one had written beyond its last point.
    """

    def __init__(
        self, folder: Path | None, header: Mapping[str, Any], events: list[dict[str, Any]], tensorboard: bool = False
    ) -> None:
        self.path = None if folder is None else folder / "history.jsonl"
        self.header, self.events = header, events
        self._written = 0.0
        self._board = None
        if tensorboard and folder is not None:
            self._board = require("tensorboardX", "train").SummaryWriter(str(folder / "tensorboard"))

    def add(self, event: Mapping[str, Any]) -> None:
        """Record an event; it is on disk within half a second, or with the next :meth:`flush`."""
        if self._board is not None:
            for name, value in event.items():
                if isinstance(value, (int, float)) and name not in ("step", "epoch"):
                    self._board.add_scalar(name, value, event["step"])
        if time.monotonic() - self._written > _WRITE_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write all events."""
        if self.path is not None:
            lines = [json.dumps(line, default=io.plain) for line in (self.header, *self.events)]
            io.write(self.path, "\n".join(lines) + "\n")
        self._written = time.monotonic()

    def close(self) -> None:
        """Write all events and close TensorBoard's file."""
        self.flush()
        if self._board is not None:
            self._board.close()

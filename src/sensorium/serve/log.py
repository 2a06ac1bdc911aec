"""Log lines: one JSON object a line on the error stream, those of other libraries included."""

from __future__ import annotations

import logging
import sys
import threading
import time
import traceback
from typing import Any

import orjson

from sensorium.serve.engine.replica import Replica
from sensorium.serve.settings import Settings

_LEVELS = {"debug": 0, "info": 1, "warning": 2, "off": 3}


class Log:
    """Lines of JSON on the error stream. They never hold tokens or bodies."""

    def __init__(self, settings: Settings) -> None:
        self.least = _LEVELS[settings.log]
        here = Replica.here()
        self.common = {} if here is None else {"worker": here.number}

    def line(self, level: str, event: str, **fields: Any) -> None:
        """Write one line, if its level is logged."""
        if _LEVELS[level] >= self.least:
            self.write(level, event, **fields)

    def write(self, level: str, event: str, **fields: Any) -> None:
        """Write one line whatever its level."""
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()) + f".{int(time.time() * 1000) % 1000:03d}Z"
        line = {"time": stamp, "level": level, "event": event, **self.common, **fields}
        try:
            text = orjson.dumps(line, default=str)
        except TypeError:  # a lone surrogate, or a key that is no text
            text = orjson.dumps({key: ascii(value) for key, value in line.items()})
        sys.stderr.write(text.decode() + "\n")

    def failure(self, error: BaseException) -> None:
        """Write a bug's traceback as one line."""
        text = "".join(traceback.format_exception(error))
        self.line("warning", "failure", error=type(error).__name__, traceback=text)


class _Handler(logging.Handler):
    """Writes the records of Python's logging as lines of a Log."""

    def __init__(self, log: Log) -> None:
        super().__init__(logging.WARNING)
        self.log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        fields = {"logger": record.name, "message": record.getMessage()}
        if record.exc_info and record.exc_info[1] is not None:
            fields["traceback"] = "".join(traceback.format_exception(record.exc_info[1]))
        self.log.line("warning", "log", **fields)


def capture(log: Log) -> None:
    """Write everything that this process logs, warns of or fails with as JSON, whichever library says it."""
    root = logging.getLogger()
    for handler in [*root.handlers]:
        root.removeHandler(handler)
    root.addHandler(_Handler(log))
    logging.captureWarnings(True)
    threading.excepthook = lambda report: log.failure(report.exc_value or RuntimeError(report.exc_type.__name__))
    sys.unraisablehook = lambda report: log.failure(report.exc_value or RuntimeError(str(report.err_msg)))

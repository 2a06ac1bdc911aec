"""The errors a caller can fix: what was wrong, what was expected, what to type.

The command line prints any of these on one line and exits with status 2; every other
exception is a bug of ours and keeps its traceback.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable
from types import ModuleType

_LISTED = 40  # known names at most in a message


class SensoriumError(Exception):
    """Base of everything a caller can fix."""


class BadRecipe(SensoriumError):
    """A recipe, override or argument is invalid."""


class BadData(SensoriumError):
    """Input data is unusable: NaN, wrong width, duplicate or unmatched ids, an empty split."""


class Mismatch(SensoriumError):
    """Two things that must belong together do not; the message names both sides."""


class Corrupt(SensoriumError):
    """A file is not what its checksum or header promises."""


class Untrusted(SensoriumError):
    """A run names code outside of sensorium that the user has not allowed; the message shows file and SHA-256."""


class Busy(SensoriumError):
    """Another process holds the folder."""


class PeerLost(SensoriumError):
    """Another process of the same fit ended, or does not answer any more. said: whether one that is alive says why."""

    def __init__(self, message: str, said: bool = False) -> None:
        super().__init__(message)
        self.said = said


class DiskFull(SensoriumError):
    """A write did not fit; what was there before is untouched."""


class ReadOnly(SensoriumError):
    """A file or folder may not be written."""


class Unreachable(SensoriumError):
    """A service of the user's own, such as an object store or a cluster, gave no answer; nothing was lost."""


class HubError(SensoriumError):
    """The Hub of models and data sets refused, or gave no answer; nothing here was changed or lost."""


class DatabaseError(SensoriumError):
    """A database refused, or gave no answer; what it had acknowledged is not lost."""


class MissingExtra(SensoriumError):
    """An optional dependency is not installed, or (with a reason) cannot be imported."""

    def __init__(self, module: str, extra: str, reason: str = "") -> None:
        found = f"cannot be imported ({reason})" if reason else "is not installed"
        super().__init__(f"'{module}' {found}; type: pip install 'sensorium[{extra}]'")
        self.module, self.extra = module, extra


def require(module: str, extra: str) -> ModuleType:
    """Import an optional dependency, such as ``require("PIL.Image", "image")``.

    Raises MissingExtra, with the command that installs it, when it is absent or cannot be imported.
    """
    try:
        importlib.import_module(module.partition(".")[0])  # a submodule may be loaded although its package is blocked
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != module.partition(".")[0]:
            raise MissingExtra(module, extra, str(error)) from error
        raise MissingExtra(module.partition(".")[0], extra) from None
    except (ImportError, OSError) as error:  # installed, but broken or without a system library
        raise MissingExtra(module, extra, str(error)) from error


def nearest(word: str, known: Iterable[str]) -> str:
    """The end of an unknown-name message: the nearest known name, or all of them.

    >>> nearest("ridgee", ["ridge", "cca"])
    "did you mean 'ridge'?"
    >>> nearest("xyz", ["ridge", "cca"])
    'known: cca, ridge'
    """
    known = sorted(set(known))
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    more = f" and {len(known) - _LISTED} more" if len(known) > _LISTED else ""
    return f"did you mean '{close[0]}'?" if close else f"known: {', '.join(known[:_LISTED])}{more}"

"""The errors a caller can mend: what was wrong, what was expected, what to type.

The command line prints any of these on one line and exits with status 2; every other
exception is a bug of ours and keeps its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_TOLD = 40  # names at most, of those that are known


class SensoriumError(Exception):
    """Base of everything a caller can mend."""


class BadRecipe(SensoriumError):
    """A recipe, override or argument says something that cannot be meant."""


class BadData(SensoriumError):
    """Input data is unusable: NaN, wrong width, duplicate or unmatched ids, an empty split."""


class Mismatch(SensoriumError):
    """Two things that must belong together do not; the message names both sides."""


class Corrupt(SensoriumError):
    """A file is not what its checksum or header promises."""


class Busy(SensoriumError):
    """Another process holds the folder."""


class DiskFull(SensoriumError):
    """A write did not fit; what was there before is untouched."""


class MissingExtra(SensoriumError):
    """An optional dependency is not installed."""

    def __init__(self, module: str, extra: str) -> None:
        super().__init__(f"'{module}' is not installed; type: pip install 'sensorium[{extra}]'")
        self.module, self.extra = module, extra


def nearest(word: str, known: Iterable[str]) -> str:
    """The end of an unknown-name message: the nearest known name, or all of them.

    >>> nearest("ridgee", ["ridge", "cca"])
    "did you mean 'ridge'?"
    >>> nearest("xyz", ["ridge", "cca"])
    'known: cca, ridge'
    """
    known = sorted(set(known))
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    more = f" and {len(known) - _TOLD} more" if len(known) > _TOLD else ""
    return f"did you mean '{close[0]}'?" if close else f"known: {', '.join(known[:_TOLD])}{more}"

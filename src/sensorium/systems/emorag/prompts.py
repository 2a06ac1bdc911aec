"""Prompts of a whole script: encoded in one pass, picked in batches, in Python or line by line as they come."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from sensorium import progress
from sensorium.search import script as scripts
from sensorium.search.lines import BATCH, Encoded
from sensorium.systems.emorag.picker import Picker, Wanted, check_lines
from sensorium.types import blocks

if TYPE_CHECKING:
    from sensorium.search.run import Run


class Prompts(list[dict[str, Any]]):
    """A record for each line of a script: see :meth:`sensorium.systems.emorag.picker.Picker.record`.

    counts: how many clips each gate removes, see ``Gates.counts``. cast: role → speaker, where speakers were chosen.
    """

    def __init__(self, records: Any = (), counts: Any = None, cast: Any = None) -> None:
        super().__init__(records)
        self.counts, self.cast = dict(counts or {}), dict(cast or {})


def prompts(run: Run, lines: Any, engine: str = "any", *, k: int = 1, progress: bool = False, **wanted: Any) -> Prompts:
    """The k best clips for each line among those that an engine takes.

    lines: texts, a path, or vectors, see :func:`sensorium.search.script.of`. engine: gpt-sovits, f5, cosyvoice,
    indextts, any, or "" for no gates. wanted: further fields of :class:`sensorium.systems.emorag.picker.Wanted`, such
    as ``speaker="07"``, ``keep_speaker=True``, ``gates=["duration=2..12"]`` or ``where={"language": "en"}``.

    >>> found = prompts(sensorium.open("runs/voices"), ["Get out!"], "f5", k=3)     # doctest: +SKIP
    >>> found[0]["hits"][0]["path"]                                                 # doctest: +SKIP

    Raises BadRecipe for an unknown engine, gate, column or speaker, BadData for clips that lack a gate's numbers and
    for a script of empty lines.
    """
    session = Session(run, scripts.of(lines), Wanted(engine, k, **wanted))
    records = [record for batch in session.batches(show=progress) for record in batch]
    return Prompts(records, session.picker.counts(), session.picker.cast)


class Session:
    """A script and its picker. Encodes the script's texts once; see :meth:`batches`."""

    def __init__(self, run: Run, script: scripts.Script, wanted: Wanted) -> None:
        self.script = script
        self.lines = check_lines(script)
        self.encoded = Encoded(run, script, wanted.side)
        self.picker = Picker(run, self.encoded.side, script, wanted)

    def batches(self, start: int = 0, show: bool = False) -> Iterator[list[dict[str, Any]]]:
        """The records of all lines from ``start`` on, a batch at a time, empty lines included. show: a progress bar."""
        n = len(self.script)
        empty = self.script.empty
        if self.picker.wanted.keep_speaker:
            z = np.concatenate([self.encoded.vectors(self.lines[part]) for part in blocks(len(self.lines), BATCH)])
            self.picker.choose_speakers(z, self.lines)
        with progress.bar("lines", n, show) as done:
            done(start)
            for part in blocks(n - start, BATCH):
                every = range(start + part.start, start + part.stop)
                asking = [line for line in every if not empty[line]]
                found = self.picker.pick(self.encoded.vectors(asking), asking) if asking else []
                by_line = dict(zip(asking, found, strict=True))
                yield [by_line[line] if line in by_line else self.picker.record(line) for line in every]
                done(len(every))

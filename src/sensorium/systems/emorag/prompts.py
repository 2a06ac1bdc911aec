"""Prompts of a whole script in Python: encoded in one pass, picked in batches, saved as an engine reads them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sensorium.search import script as scripts
from sensorium.search.lines import Encoded, batches
from sensorium.systems.emorag.picker import Picker, Wanted

if TYPE_CHECKING:
    from sensorium.search.run import Run


class Prompts(list[dict[str, Any]]):
    """A record for each line of a script: see :meth:`sensorium.systems.emorag.picker.Picker.record`.

    picker: what they were picked by. counts: how many clips each gate removes, see ``Gates.counts``. cast: role →
    speaker, where speakers were chosen.
    """

    def __init__(self, records: Iterable[dict[str, Any]], picker: Picker) -> None:
        super().__init__(records)
        self.picker, self.counts, self.cast = picker, picker.counts(), picker.cast

    def save(self, out: str | Path, format: str, audio: str | Path | None = None) -> list[Path]:
        """Write them in a format of :mod:`sensorium.systems.emorag.exports`; returns the files.

        audio: a folder for copies of the clips, at the engine's rate and, with ``level``, at the usual level.
        """
        from sensorium.systems.emorag import exports

        return exports.save(format, self, self.picker, Path(out), None if audio is None else Path(audio))


def prompts(run: Run, lines: Any, engine: str = "any", *, k: int = 1, progress: bool = False, **wanted: Any) -> Prompts:
    """The k best clips for each line among those that an engine takes.

    lines: texts, a path, or vectors, see :func:`sensorium.search.script.of`. engine: gpt-sovits, f5, cosyvoice,
    indextts, any, or "" for no gates. wanted: further fields of :class:`sensorium.systems.emorag.picker.Wanted`, such
    as ``speaker="07"``, ``keep_speaker=True``, ``gates=["duration=2..12"]`` or ``where={"language": "en"}``.

    >>> found = prompts(sensorium.open("runs/voices"), ["Get out!"], "f5", k=3)     # doctest: +SKIP
    >>> found[0]["hits"][0]["path"], found.save("voices.toml", "f5")                # doctest: +SKIP

    Raises BadRecipe for an unknown engine, gate, column or speaker, BadData for clips that lack a gate's numbers and
    for a script of empty lines.
    """
    script, asked = scripts.of(lines), Wanted(engine, k, **wanted)
    encoded = Encoded(run, script, asked.side)
    picker = Picker(run, encoded.side, script, asked)
    records = [record for batch in batches(encoded, picker, show=progress) for record in batch]
    return Prompts(records, picker)

"""Captions that cannot be used: empty ones, repeated ones, files named twice, clips in two splits or groups."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sensorium.datasets import _captions_table
from sensorium.datasets._captions_table import Listing
from sensorium.errors import BadData
from sensorium.modalities import walk


@dataclass(eq=False)
class Usable:
    """Which captions of a table can be used. clip (m,): the clip of every caption; kept: positions among the m.

    bad: "stop" raises BadData for the others, "skip" leaves them out with notes.
    """

    listing: Listing
    clip: np.ndarray
    kept: np.ndarray
    bad: str
    notes: dict[str, Any] = field(default_factory=dict)

    def without(self, faulty: np.ndarray, what: str, remedy: str) -> None:
        """Leave out the captions at these positions. what: of the message, with ``{rows}`` for their rows.

        Raises BadData unless they may be left out and others remain.
        """
        if not len(faulty):
            return
        rows = np.unique(self.listing.row[faulty])
        said = f"{self.listing.source.where}: {what.format(rows=self.listing.source.rows(rows))}"
        left = np.setdiff1d(self.kept, faulty)
        if self.bad != "skip" or not len(left):
            raise BadData(f"{said}; {remedy}" + (", or leave them out with data.bad=skip" if len(left) else ""))
        self.kept = left
        self.notes["captions_left_out"] = self.notes.get("captions_left_out", 0) + len(faulty)
        self.notes["captions_left_out_such_as"] = [*self.notes.get("captions_left_out_such_as", []), said]

    def called(self, at: int) -> str:
        """The file of a caption in messages."""
        titles = self.listing.paths if self.listing.titles is None else self.listing.titles
        return walk.text(str(titles[self.listing.row[at]]))


def check(usable: Usable) -> None:
    """Leave out or refuse every caption that cannot be used: see :class:`Usable`."""
    for one in (_empty, _named_twice, _twice, _in_several):
        one(usable)


def _empty(usable: Usable) -> None:
    texts = usable.listing.texts
    gone = np.array([at for at in usable.kept.tolist() if texts[at] is None or not texts[at].strip()], np.int64)
    usable.without(gone, f"{len(gone)} of {len(usable.kept)} captions are empty ({{rows}})", "fill them in")


def _named_twice(usable: Usable) -> None:
    """Rows of several captions of which an earlier one has the same file."""
    if not usable.listing.wide:
        return
    seen: dict[int, int] = {}
    rows = usable.listing.row
    again = [at for at in usable.kept.tolist() if seen.setdefault(int(usable.clip[at]), int(rows[at])) != rows[at]]
    if again:
        first = seen[int(usable.clip[again[0]])]
        what = (f"{len({int(rows[at]) for at in again})} rows name a file that an earlier row names, such as "
                f"'{usable.called(again[0])}' of {usable.listing.source.rows([first])} again in {{rows}}")  # fmt: skip
        usable.without(np.array(again), what, "every file has one row: correct the names, or join the rows")


def _twice(usable: Usable) -> None:
    """Captions that stand twice for one clip."""
    seen: set[tuple[Any, ...]] = set()
    again, source = [], usable.listing.source
    times = [source.columns.texts(name) for name in ("begin", "end") if name in source.columns]
    for at in usable.kept.tolist():
        row = usable.listing.row[at]  # one caption may describe several moments of its recording
        key = int(usable.clip[at]), usable.listing.texts[at].strip(), *(column[row] for column in times)
        if key in seen:
            again.append(at)
        seen.add(key)
    if again:
        text = usable.listing.texts[again[0]].strip()[:60]
        file = usable.called(again[0])
        what = f"{len(again)} captions stand twice for one file, such as {text!r} for '{file}' ({{rows}})"
        usable.without(np.array(again), what, "drop the repetitions")


def _in_several(usable: Usable) -> None:
    """Clips without a split where others have one, or whose rows are in several splits or groups."""
    for key in ("split", "group"):
        words = _captions_table.words(usable.listing, key)
        if words is None:
            continue
        of_row = usable.listing.row
        lost = np.array([at for at in usable.kept.tolist() if words[of_row[at]] is None], np.int64)
        if key == "split" and len(lost) == len(usable.kept):
            continue
        name = usable.listing.names[key]
        if key == "split":
            what = f"the split '{name}' of {len(np.unique(of_row[lost]))} rows is missing ({{rows}})"
            usable.without(lost, what, 'fill it in, or ignore the column: data.split=""')
        known: dict[int, set[Any]] = {}
        for at in usable.kept.tolist():
            known.setdefault(int(usable.clip[at]), set()).add(words[of_row[at]])
        several = np.array([at for at in usable.kept.tolist() if len(known[int(usable.clip[at])]) > 1], np.int64)
        if len(several):
            both = " and ".join(sorted(map(repr, known[int(usable.clip[several[0]])]))[:2])
            what = (f"{len({int(usable.clip[at]) for at in several})} files are in several {key}s, such as "
                    f"'{usable.called(several[0])}' in {both} ({{rows}})")  # fmt: skip
            usable.without(several, what, f"a file is in one {key}: correct the column '{name}'")


def left_out(usable: Usable, faults: Mapping[int, str], what: str, remedy: str) -> None:
    """Leave out the captions of rows with a fault. faults: row of the table → what is wrong, in words."""
    at = np.array([i for i in usable.kept.tolist() if int(usable.listing.row[i]) in faults], np.int64)
    if len(at):
        first = int(usable.listing.row[at[0]])
        rows = len(np.unique(usable.listing.row[at]))
        usable.without(at, f"{what.format(n=rows)}, such as {faults[first]} ({{rows}})", remedy)

"""Mirror of stores that are being embedded: each N new items are sent by a thread of its own, so embedding never waits.

A push that is due while another goes on is one with the next; no more than ALLOWED begin in an hour, as the Hub takes
some 128 commits of a repository. An error of the network costs nothing: the next push sends what is missing.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from sensorium.errors import BadRecipe, HubError, SensoriumError
from sensorium.progress import say
from sensorium.store import hub, hub_errors, manifest, mirror, watching
from sensorium.store.hub import Place

ALLOWED, AT_ONCE = 100, 20  # pushes an hour, and how many of them may follow each other without a pause


class Mirror(watching.Watcher):
    """Sends the stores that it is notified of to one data set, each in a folder of its name."""

    def __init__(self, name: str, every: int, private: bool, again: str, progress: bool) -> None:
        self.place, self.every, self.again = Place(hub.name(name), "dataset"), every, again
        self._private, self._progress = private, progress
        self._new: dict[Path, int] = {}  # by store, items committed since its last push
        self._guard, self._due, self._ends = threading.Lock(), threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._work, name="hub-mirror", daemon=True)
        self._allowed, self._counted = float(AT_ONCE), time.monotonic()
        self._made = self._failed = False
        self.files = self.bytes = 0

    def begins(self, folder: Path) -> None:
        """A store that shall be mirrored."""
        with self._guard:
            self._new.setdefault(Path(folder), 0)

    def committed(self, folder: Path, items: int) -> None:
        """Count; at ``every`` new items a push is due."""
        with self._guard:
            self._new[Path(folder)] = self._new.get(Path(folder), 0) + items
            full = self._new[Path(folder)] >= self.every
        if full:
            self._due.set()

    def start(self) -> None:
        """Log in and make the data set. Raises HubError and BadRecipe: before anything is embedded in vain.

        Where the network fails at this moment, the embedding begins all the same.
        """
        try:
            self._make()
        except hub_errors.Unreachable as error:
            self._note(error)
        self._thread.start()

    def finish(self) -> None:
        """Send what is missing, after the push that goes on. Raises HubError where it cannot be sent."""
        self.stop()
        for folder in self._new:
            self._push(folder)
        if self._progress:
            say("push", f"{self.files:,} files, {self.bytes / 1e6:,.1f} MB in all → {self.place.url}")

    def stop(self) -> None:
        """Begin no further push, and wait for the one that goes on."""
        self._ends.set()
        self._due.set()
        self._thread.join()

    def _work(self) -> None:
        while self._due.wait() and self._may_begin():
            self._due.clear()
            with self._guard:
                full = [folder for folder, items in self._new.items() if items >= self.every]
                self._new.update(dict.fromkeys(full, 0))
            for folder in full:
                try:
                    self._push(folder)
                except SensoriumError as error:
                    self._note(error)

    def _push(self, folder: Path) -> None:
        if not manifest.exists(folder):
            return
        under = folder.resolve().name
        self._make()
        done = mirror.send(folder, self.place, under=under, licence="", merge=False, progress=False, again=self.again)
        self.files, self.bytes = self.files + done["files"], self.bytes + done["bytes"]
        if self._progress and done["files"]:
            say("push", f"{done['items']:,} items of {under} are at {self.place}")

    def _make(self) -> None:
        if not self._made:
            hub.create(self.place, self._private, self.again)
            self._made = True

    def _note(self, error: SensoriumError) -> None:
        if self._progress and not self._failed:
            say("push", f"{error}; embedding goes on, and the next push tries again")
        self._failed = True

    def _may_begin(self) -> bool:
        """Wait until a push is allowed; False when the embedding has ended."""
        while not self._ends.is_set():
            now = time.monotonic()
            self._allowed = min(float(AT_ONCE), self._allowed + (now - self._counted) * ALLOWED / 3600)
            self._counted = now
            if self._allowed >= 1:
                self._allowed -= 1
                return True
            self._ends.wait(max(1.0, (1 - self._allowed) * 3600 / ALLOWED))
        return False


@contextlib.contextmanager
def mirrored(
    name: str, *, every: int = 1000, private: bool = False, again: str = "", progress: bool = True
) -> Iterator[Mirror]:
    """Mirror every store that is embedded within the block to the data set ``USER/NAME``, each N new items.

    Embedding never waits for the network and does not stop at its errors; what is missing is sent at the end of the
    block. again: the command that goes on. Raises HubError and BadRecipe before the block where there is no login or
    no right, and HubError after it where not everything could be sent: all vectors are in the stores then.

    >>> with mirrored("me/vectors", every=1000):                  # doctest: +SKIP
    ...     store.embed(items, encoder, "vectors")
    """
    if every < 1:
        raise BadRecipe(f"--push-every {every}; expected a number of items, such as 1000")
    sender = Mirror(name, every, private, again or "the same call", progress)
    sender.start()
    try:
        with watching.by(sender):
            yield sender
    except BaseException:
        sender._ends.set()  # what was sent stays; nothing waits for the rest
        sender._due.set()
        raise
    try:
        sender.finish()
    except HubError as error:
        raise HubError(f"everything is embedded, but not everything is on the Hub: {error}") from None

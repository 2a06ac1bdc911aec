"""Results of a script as JSON lines: written batch by batch, resumed after an interruption, whole in the end."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from sensorium import io
from sensorium.errors import BadData, Busy
from sensorium.table import json_value

ENDING = ".part"
FORMAT = 1
#: Line ends of Unicode, at which readers such as ``str.splitlines`` would cut a JSON string.
_ENDS = {code: f"\\u{code:04x}" for code in (0x85, 0x2028, 0x2029)}


def json_line(record: Any) -> str:
    """A record as one line of valid JSON: NaN and infinity are null."""
    text = json.dumps(json_value(record), ensure_ascii=False, allow_nan=False)
    return text.translate(_ENDS) if not text.isascii() and any(end in text for end in map(chr, _ENDS)) else text


class LineFile:
    """Records on their way into a file, one for each line of a script.

    Until :meth:`finish` they lie in OUT.part, durable after each :meth:`append`; what a kill left there is taken over
    where it is of the same ``task``. ``done`` counts its records. Use it as a context, which frees the file.

    Raises BadData where OUT.part is of another task, Busy while another process writes it, DiskFull and ReadOnly.
    """

    def __init__(self, out: Path, task: Mapping[str, Any]) -> None:
        self.out = Path(out)
        self.path = self.out.with_name(self.out.name + ENDING)
        head = json_line({"format": FORMAT, **task}).encode() + b"\n"
        with io.typed_errors(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = open(self.path, "a+b")  # noqa: SIM115  closed by __exit__
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise Busy(
                f"{self.path} is being written by another process; wait for it, or choose another --out"
            ) from None
        try:
            self.done = self._take_over(head)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> LineFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def append(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Add records; they are durable when this returns, or, where an error is raised, none of them is there."""
        text = "".join(f"{json_line(record)}\n" for record in records).encode()
        before = self._file.seek(0, os.SEEK_END)
        with io.typed_errors(self.path):
            try:
                self._file.write(text)
                self._file.flush()
                os.fsync(self._file.fileno())
            except BaseException:
                with contextlib.suppress(OSError):
                    os.ftruncate(self._file.fileno(), before)
                raise
        self.done += text.count(b"\n")

    def records(self, last: int | None = None) -> list[dict[str, Any]]:
        """The records so far, or the last few of them."""
        lines = list(self._lines())[1:]
        return [json.loads(line) for line in (lines if last is None else lines[max(0, len(lines) - last) :])]

    def finish(self) -> None:
        """Put the records into OUT, whole or not at all, and delete OUT.part."""
        lines = self._lines()
        next(lines)
        io.write(self.out, lines)
        self.discard()

    def discard(self) -> None:
        """Delete OUT.part, where the records have been written in another form."""
        self.path.unlink(missing_ok=True)

    def _lines(self) -> Iterator[bytes]:
        with open(self.path, "rb") as file:
            yield from file

    def _take_over(self, head: bytes) -> int:
        """Begin the file, or find what is whole of an earlier one: the number of its records."""
        self._file.seek(0)
        content = self._file.read()
        whole = content[: content.rfind(b"\n") + 1]
        lines = whole.split(b"\n")[:-1]
        if lines and lines[0] + b"\n" != head:
            raise BadData(
                f"{self.path} was begun with another script, run or options; delete it, or choose another --out"
            )
        with io.typed_errors(self.path):
            if len(whole) < len(content) or not lines:
                os.ftruncate(self._file.fileno(), len(whole))
            if not lines:
                self._file.write(head)
                self._file.flush()
                os.fsync(self._file.fileno())
        return max(0, len(lines) - 1)

"""The journal of labels of a run: a file of JSON lines beside the run, each of them on the disk before it is answered.

It lies in ``labels/RUN.jsonl`` of the folder around, as the embeddings do, so that a run that is made anew keeps its
labels. An append that a kill cut short was never acknowledged; it is left out, and cut off by the next one.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from sensorium import io
from sensorium.errors import Corrupt

FORMAT = 1
FOLDER = "labels"


@dataclass(frozen=True)
class Asked:
    """A query that hits were labelled for. side: whose input it is, left or right.

    One of: id, of an item; text; or neither, where a file or a drawing was the input. vector: of all but items, as
    the side's encoder gave it, in base64 of float32, so that a refit needs no encoder.
    """

    side: str
    id: str | None = None
    text: str | None = None
    vector: str | None = None

    @property
    def key(self) -> str:
        """Equal for equal queries; the group of their labels."""
        if self.id is not None:
            return f"{self.side}:id:{self.id}"
        if self.text is not None:
            return f"{self.side}:text:{self.text}"
        return f"{self.side}:vector:{hashlib.sha256((self.vector or '').encode()).hexdigest()[:16]}"

    @property
    def raw(self) -> np.ndarray | None:
        """The encoder's vector (d_in,); None of an item."""
        return None if self.vector is None else np.frombuffer(base64.b64decode(self.vector), "<f4")


def packed(vector: np.ndarray) -> str:
    """A vector as :attr:`Asked.vector` holds it."""
    return base64.b64encode(np.ascontiguousarray(vector, "<f4").tobytes()).decode()


@dataclass(frozen=True)
class Label:
    """One thumb. label: 1 fits, 0 does not, None takes an earlier label of this annotator back. time: Unix seconds."""

    query: Asked
    to: str
    item: str
    label: int | None
    annotator: str = ""
    session: str = ""
    time: float = field(default=0.0)


class Journal:
    """The labels of one run. folder: of the run. Safe for several processes that write."""

    def __init__(self, folder: str | Path) -> None:
        folder = Path(folder).absolute()
        self.path = folder.parent / FOLDER / f"{folder.name}.jsonl"

    def read(self) -> list[Label]:
        """Every label, oldest first. Raises Corrupt, naming the line, for damage that no kill leaves."""
        if not self.path.is_file():
            return []
        with io.typed_errors(self.path):
            content = self.path.read_bytes()
        found = []
        for number, line in enumerate(content[: content.rfind(b"\n") + 1].splitlines(), 1):
            try:
                body = json.loads(line)
                if body.pop("format", FORMAT) == FORMAT:
                    found.append(Label(**{**body, "query": Asked(**body["query"])}))
                    continue
            except (ValueError, TypeError, KeyError, AttributeError):
                pass
            raise Corrupt(f"{self.path}: line {number} is no label; restore the file, or delete that line")
        return found

    def append(self, labels: Sequence[Label]) -> None:
        """Write labels; they are on the disk when this returns, or none is. Raises DiskFull and ReadOnly."""
        lines = [{"format": FORMAT, **asdict(one)} for one in labels]
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode(
            "utf-8", "backslashreplace"
        )
        with io.typed_errors(self.path), self._locked() as file:
            end = os.fstat(file).st_size
            whole = self._whole(file, end)
            if whole < end:
                os.ftruncate(file, whole)
            try:
                at = 0
                while at < len(text):
                    at += os.pwrite(file, text[at:], whole + at)
                os.fsync(file)
            except BaseException:
                os.ftruncate(file, whole)
                raise
            if not whole:
                io.sync_folder(self.path.parent)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[int]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield file
        finally:
            os.close(file)

    @staticmethod
    def _whole(file: int, end: int) -> int:
        """Where the last whole line ends."""
        while end:
            start = max(0, end - 65536)
            at = os.pread(file, end - start, start).rfind(b"\n")
            if at >= 0:
                return start + at + 1
            end = start
        return 0

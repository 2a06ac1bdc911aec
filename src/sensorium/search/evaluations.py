"""The log of a run's evaluations, evaluations.jsonl: one line each, only ever added to.

Every evaluation of the heads adds a line: of ``sensorium run``, ``evaluate`` and ``import``, and on another corpus. The
log stays when the run is evaluated or made anew, so that it says how often the test split was looked at.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sensorium import fingerprint as fingerprints
from sensorium import io
from sensorium.integrity import EVALUATIONS as FILE
from sensorium.recipe import Recipe
from sensorium.search import journal

FORMAT = 1
_ROW = ("direction", "measure", "value", "low", "high", "n_queries", "n_candidates", "n_groups", "method", "chance")


def entry(plan: Recipe, metrics: Mapping[str, Any], folder: Path, command: str, keys: Sequence[str]) -> dict[str, Any]:
    """The line of an evaluation of the heads that lie in ``folder``.

    command: "run", "evaluate" or "import". keys: ``key=value`` texts as they were typed.
    """
    results = {"test": metrics["results"], "validation": metrics.get("validation", ())}
    return {
        **_begin(command, keys),
        "recipe": metrics["recipe"],
        "evaluate": plan.values["evaluate"],
        "protocol": metrics.get("protocol", {}).get("name"),
        "splits": [name for name, rows in results.items() if rows],
        "rows": metrics.get("pairs", {}),
        "results": {name: _short(rows) for name, rows in results.items() if rows},
        "leaky": bool(metrics.get("leaks", {}).get("leaky")),
        "data": metrics.get("data"),
        "split": metrics.get("split"),
        **heads_of(folder),
    }


def corpus_entry(run: Path, keys: Sequence[str], rows: Sequence[Mapping[str, Any]], corpus: str) -> dict[str, Any]:
    """The line of an evaluation of a run on another corpus."""
    about = {"splits": [corpus], "results": {corpus: _short(rows)}}
    return {**_begin("evaluate", keys), "protocol": None, **about, **heads_of(run)}


def heads_of(folder: Path) -> dict[str, Any]:
    """Checksums of a run's heads, and digests of the fingerprints of the vectors they take, by side."""
    sides = [side for side in ("left", "right") if (folder / f"{side}.safetensors").is_file()]
    made = {side: io.read_object(folder / f"{side}.json", "make the run anew").get("encoder") for side in sides}
    return {
        "heads": {side: io.checksum(folder / f"{side}.safetensors") for side in sides},
        "stores": {side: fingerprints.digest(made[side]) for side in sides},
    }


def append(folder: Path, record: Mapping[str, Any]) -> None:
    """Add a line, durable when this returns. The caller is the only writer of the folder: see :func:`append_to_run`.

    A line that a kill cut short stays as it is, and the new one begins after it. Raises DiskFull and ReadOnly; the
    log is then as it was.
    """
    path = Path(folder) / FILE
    line = json.dumps(record, ensure_ascii=False, allow_nan=False, default=io.plain).encode() + b"\n"
    with io.typed_errors(path):
        there = path.exists()
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            size = os.fstat(handle).st_size
            torn = size > 0 and os.pread(handle, 1, size - 1) != b"\n"
            try:
                _write(handle, b"\n" + line if torn else line)
                os.fsync(handle)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.ftruncate(handle, size)
                raise
        finally:
            os.close(handle)
    if not there:
        io.sync_folder(path.parent)


def append_to_run(folder: Path, record: Mapping[str, Any]) -> None:
    """Add a line to a finished run, while no other process writes or replaces it."""
    with journal.locked(Path(folder)):
        append(folder, record)


def read(folder: Path) -> list[dict[str, Any]]:
    """The evaluations of a run, oldest first; none of a run made before there was a log.

    Lines that are not whole are left out.
    """
    return [record for record in _records(Path(folder) / FILE) if record is not None]


def summary(folder: Path) -> str:
    """How often the test split was evaluated, in words; "" for a run without a log."""
    times = [record.get("time", "") for record in read(folder) if "test" in record.get("splits", ())]
    if not times:
        return ""
    often = "once" if len(times) == 1 else f"{len(times)} times"
    return f"test split evaluated {often}, last {max(map(str, times))[:16].replace('T', ' ')} UTC ({FILE})"


@contextlib.contextmanager
def carried(old: Path, new: Path) -> Iterator[None]:
    """Put the log of the run that is replaced before that of the new one. Under the old run's lock."""
    before = (old / FILE).read_bytes() if (old / FILE).is_file() else b""
    if before:
        own = (new / FILE).read_bytes() if (new / FILE).is_file() else b""
        io.write(new / FILE, [before, b"" if before.endswith(b"\n") else b"\n", own])
    yield


def _records(path: Path) -> Iterable[dict[str, Any] | None]:
    if not path.is_file():
        return
    for line in path.read_bytes().split(b"\n"):
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        yield record if isinstance(record, dict) else None


def _begin(command: str, keys: Sequence[str]) -> dict[str, Any]:
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds").removesuffix("+00:00") + "Z"
    return {"format": FORMAT, "time": now, "command": command, "keys": list(keys)}


def _short(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [{key: row[key] for key in _ROW if key in row} for row in rows]


def _write(handle: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(handle, view) :]

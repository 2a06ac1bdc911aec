"""Kill a writer at random moments and check what it leaves behind.

A writer is a function that does its work and acknowledges each step that must survive by calling
``acknowledge(text)``. It runs in a forked child, which costs milliseconds, and is killed with
SIGKILL after a random time. Then ``check(acknowledged)`` runs in the parent and raises when
something acknowledged is lost, something is unreadable or something is there twice.
"""

from __future__ import annotations

import gc
import os
import random
import select
import signal
import time
import traceback
from collections.abc import Callable
from typing import NamedTuple

ACKNOWLEDGED, FAILED = b"a", b"f"


class Killed(NamedTuple):
    """How many children were killed at work, and how many had finished before the kill."""

    killed: int
    finished: int


def kill_at_random(
    writer: Callable[[int, Callable[[str], None]], None],
    check: Callable[[list[str]], None],
    kills: int,
    seed: int,
) -> Killed:
    """Run ``writer(attempt, acknowledge)`` until ``kills`` of its runs have been killed at work.

    check(acknowledged) sees everything acknowledged by all runs so far, in order. The moments are
    drawn uniformly over the time that an undisturbed run takes, which is measured first and
    followed as it changes. A writer that raises fails the test with its traceback.
    """
    moments = random.Random(seed)
    gc.collect()
    gc.freeze()  # a collection in the child would touch, and so copy, all of the parent's pages
    try:
        return _kill(writer, check, kills, moments)
    finally:
        gc.unfreeze()


def _kill(
    writer: Callable[[int, Callable[[str], None]], None],
    check: Callable[[list[str]], None],
    kills: int,
    moments: random.Random,
) -> Killed:
    acknowledged: list[str] = []
    longest = _run(writer, 0, None, acknowledged)[1]
    check(acknowledged)
    killed = finished = 0
    attempt = 1
    while killed < kills:
        assert finished < 20 * kills + 100, f"only {killed} of {attempt} runs could be killed at work"
        was_killed, seconds = _run(writer, attempt, moments.uniform(0, longest), acknowledged)
        check(acknowledged)
        attempt += 1
        killed += was_killed
        finished += not was_killed
        if not was_killed:
            longest = 0.5 * longest + 0.5 * seconds  # a run that had less to do: aim earlier
        else:
            longest *= 1.003
    return Killed(killed, finished)


def _run(
    writer: Callable[[int, Callable[[str], None]], None], attempt: int, seconds: float | None, acknowledged: list[str]
) -> tuple[bool, float]:
    """One child. Returns whether it was killed before it ended, and how long it ran."""
    read, write = os.pipe()
    start = time.monotonic()
    child = os.fork()
    if child == 0:
        _work(writer, attempt, read, write)
    os.close(write)
    received = b""
    deadline = None if seconds is None else start + seconds
    was_killed = False
    while True:
        wait = None if deadline is None else max(0.0, deadline - time.monotonic())
        ready, _, _ = select.select([read], [], [], wait)
        if not ready:
            os.kill(child, signal.SIGKILL)
            deadline, was_killed = None, True
            continue
        chunk = os.read(read, 1 << 16)
        if not chunk:
            break
        received += chunk
    os.close(read)
    _, status = os.waitpid(child, 0)
    # The last line may be cut by the kill: then it was not acknowledged.
    lines = received.split(b"\n")[:-1]
    failures = [line[1:].decode("unicode_escape") for line in lines if line[:1] == FAILED]
    assert not failures, f"the writer failed by itself:\n{failures[0]}"
    acknowledged.extend(line[1:].decode("utf-8") for line in lines if line[:1] == ACKNOWLEDGED)
    return was_killed and os.WIFSIGNALED(status), time.monotonic() - start


def _work(writer: Callable[[int, Callable[[str], None]], None], attempt: int, read: int, write: int) -> None:
    """The child's life: it never returns, so that nothing of the parent's test run happens twice."""
    try:
        os.close(read)
        writer(attempt, lambda text: os.write(write, ACKNOWLEDGED + text.encode("utf-8") + b"\n") and None)
    except BaseException:
        os.write(write, FAILED + traceback.format_exc().encode("unicode_escape") + b"\n")
    finally:
        os._exit(0)

"""Writers that begin a store at the same moment, round after round: which acknowledged appends are lost?"""

import os
import shutil
import tempfile
import traceback
from pathlib import Path

import numpy as np

from sensorium import store

MADE_BY = {"name": "toy"}


def lost_appends(rounds: int, writers: int) -> list[str]:
    """Rounds in which something is missing or unreadable after ``writers`` processes appended an item each, twice."""
    memory = Path("/dev/shm")
    place = Path(tempfile.mkdtemp(dir=memory if os.access(memory, os.W_OK) else None))
    lost = []
    try:
        for number in range(rounds):
            folder = place / str(number)
            statuses = _together(folder, writers, place / "errors")
            expected = sorted(f"{w}.{step}" for w in range(writers) for step in range(2))
            problems = store.verify(folder)
            found = [] if problems else sorted(store.open(folder).ids.tolist())
            if any(statuses) or problems or found != expected:
                missing = sorted(set(expected) - set(found))
                errors = (place / "errors").read_text() if (place / "errors").exists() else "no error"
                lost.append(f"round {number}: statuses {statuses}, {problems[:1]}, missing {missing}, {errors}")
            shutil.rmtree(folder)
    finally:
        shutil.rmtree(place)
    return lost


def _together(folder: Path, writers: int, errors: Path) -> list[int]:
    """Exit statuses of forked writers that wait for one signal and then append; ``errors`` gets their tracebacks."""
    read, write = os.pipe()
    children = []
    for writer in range(writers):
        child = os.fork()
        if child == 0:
            status = 1
            try:
                os.close(write)
                os.read(read, 1)  # returns for all of them when the parent closes its end
                for step in range(2):
                    row = np.full((1, 4), writer + 1, np.float32)
                    store.append(folder, [f"{writer}.{step}"], row, MADE_BY)
                status = 0
            except BaseException:
                errors.write_text(traceback.format_exc())
            finally:
                os._exit(status)
        children.append(child)
    os.close(read)
    os.close(write)
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]

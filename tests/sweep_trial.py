"""A trial that workers can import: a bowl with its top at x = 3 and y = "good", with epochs."""

import os
import signal
import sys
from pathlib import Path

from sensorium.errors import BadData
from sensorium.space import Choice, Range

SPACE = {"x": Range(-10.0, 10.0), "y": Choice(("good", "bad"))}


def bowl(overrides, folder, report):
    values = dict(text.split("=", 1) for text in overrides)
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "began", "a") as file:
        file.write(f"{os.getpid()}\n")
    if values.get("y") == "impossible":
        raise BadData("y is impossible")
    if values.get("y") == "bug":
        raise ZeroDivisionError("a bug of ours")
    top = -((float(values["x"]) - 3.0) ** 2) - (0.0 if values.get("y", "good") == "good" else 5.0)
    for epoch in range(3):
        report(epoch, top - (2 - epoch))
        fuse = folder.parent.parent / "kill_after"
        if fuse.is_file():  # counts reports down, over all processes of the sweep
            left = int(Path(fuse).read_text()) - 1
            fuse.write_text(str(left))
            if left == 0:
                fuse.unlink()
                os.kill(os.getpid(), signal.SIGKILL)
    return top


if __name__ == "__main__":
    import sweep_trial  # so that workers find the trial under its importable name

    from sensorium.sweep import search

    folder, trials, workers = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    search(sweep_trial.bowl, SPACE, folder, {}, trials=trials, pruner="none", workers=workers)

"""What a worker of ``sensorium serve --workers N`` knows of the others: signs of life and metrics, in one folder."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path

NUMBER, FOLDER = "SENSORIUM_WORKER_NUMBER", "SENSORIUM_WORKER_FOLDER"  # environment of a worker
READY = ".ready"  # of a file named by process, which is there once the worker takes connections
GRACE = 1.0  # seconds in which a worker that is to end still answers on the connections that it has
_METRICS = ".prom"
_OLD = 30.0  # seconds after which a file of metrics is of a worker that is gone


class Replica:
    """This worker among the others. number: from 0 on."""

    def __init__(self, number: int, folder: Path) -> None:
        self.number, self.folder = number, folder
        self.leaving = False  #: whether it ends soon, and asks clients to connect anew

    @classmethod
    def here(cls) -> Replica | None:
        """Of the environment; None where the server is one process."""
        number, folder = os.environ.get(NUMBER), os.environ.get(FOLDER)
        return cls(int(number), Path(folder)) if number and folder else None

    def is_ready(self) -> None:
        """Say that this worker takes connections."""
        self._write(READY, "")

    def tell(self, metrics: str) -> None:
        """Leave this worker's metrics where the others find them, as a sign of life too."""
        self._write(_METRICS, f"{self.number}\n{metrics}")

    def alive(self) -> dict[int, float]:
        """Of each worker, seconds since its last sign of life."""
        found: dict[int, float] = {}
        for path in self.folder.glob(f"*{_METRICS}"):
            with contextlib.suppress(OSError, ValueError):
                with open(path, encoding="utf-8") as file:
                    number = int(file.readline())
                age = max(0.0, time.time() - path.stat().st_mtime)
                found[number] = round(min(age, found.get(number, age)), 2)
        return dict(sorted(found.items()))

    def metrics(self, own: Callable[[], str]) -> str:
        """The metrics of all workers in Prometheus' text format, each sample with the label ``worker``."""
        texts = {self.number: own()}
        for path in self.folder.glob(f"*{_METRICS}"):
            with contextlib.suppress(OSError, ValueError):
                number, _, text = path.read_text("utf-8").partition("\n")
                if int(number) != self.number and time.time() - path.stat().st_mtime < _OLD:
                    texts[int(number)] = text
        return labelled(texts)

    def _write(self, kind: str, text: str) -> None:
        path = self.folder / f"{os.getpid()}{kind}"
        aside = path.with_suffix(".new")
        with contextlib.suppress(OSError):  # the folder goes with the supervisor
            aside.write_text(text, "utf-8")
            os.replace(aside, path)


def labelled(texts: dict[int, str]) -> str:
    """Texts of metrics by worker as one: each family once, its samples labelled.

    >>> print(labelled({0: "# TYPE a counter\\na 1.0\\n", 1: '# TYPE a counter\\na{b="c"} 2.0\\n'}), end="")
    # TYPE a counter
    a{worker="0"} 1.0
    a{worker="1",b="c"} 2.0
    """
    heads: dict[str, list[str]] = {}
    samples: dict[str, list[str]] = {}
    for number, text in sorted(texts.items()):
        family = ""
        for line in text.splitlines():
            if line.startswith("#"):
                family = line.split(" ", 3)[2]
                known = heads.setdefault(family, [])
                if line not in known:
                    known.append(line)
            elif line:
                name, brace, rest = line.partition("{")
                if not brace or " " in name:
                    name, _, value = line.partition(" ")
                    line = f'{name}{{worker="{number}"}} {value}'
                else:
                    line = f'{name}{{worker="{number}",{rest}'
                samples.setdefault(family, []).append(line)
    lines = [line for family, head in heads.items() for line in (*head, *samples.get(family, []))]
    return "\n".join(lines) + "\n"

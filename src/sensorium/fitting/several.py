"""Several fits of one run, one after the other: each in a folder of its own to go on from, all in one history."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sensorium import heads, io
from sensorium.fitting import checkpoint
from sensorium.fitting.budget import Budget
from sensorium.fitting.finetune import Finetune
from sensorium.fitting.fitted import Fitted
from sensorium.fitting.history import History
from sensorium.fitting.options import TrainOptions
from sensorium.fitting.sets import fit
from sensorium.fitting.state import same_fit
from sensorium.pairs import Pairs
from sensorium.progress import say
from sensorium.types import Embeddings

DONE = "done.json"  # of a member's folder, written last
_REMEDY = "delete the folder to start anew"


@dataclass(frozen=True)
class Fits:
    """What the fits of one run share. names: of the heads' parts, by side. of: how many fits there will be."""

    left: Embeddings
    right: Embeddings
    pairs: Pairs
    folder: Path | None
    log: Log
    of: int
    progress: bool = False
    finetune: Finetune | None = None

    def one(self, k: int, both: tuple[Any, Any], names: Mapping[str, str], objective: Any, options: TrainOptions,
            seed: int, called: str = "", budget: Budget | None = None) -> Fitted:  # fmt: skip
        """Fit k, counted from 0: it is fitted, gone on with, or read where it is done. both: unbuilt heads of its own.

        names: of the heads' parts, by side. called: what it is where it is no member. budget: of its time. Raises what
        the loop does.
        """
        where = None if self.folder is None else member_folder(self.folder, k, called)
        expected = {"objective": type(objective).__name__, "seed": seed, "pairs": len(self.pairs), **options.asdict(),
                    **({} if self.finetune is None else {"finetune": self.finetune.asdict()})}  # fmt: skip
        done = where and _read(where, expected, self.pairs.same_table)
        if self.progress:
            say("fit", f"{called or f'member {k + 1} of {self.of}'}{' is done already' if done else ''}")
        if not done:
            earlier = where and checkpoint.load(where / "checkpoint")
            self.log.begin(called or k + 1, earlier[1]["events"] if earlier else [])
            done = fit(self.left, self.right, self.pairs, *both, objective, options, where, seed,
                       progress=self.progress, on_epoch=self.log.add, finetune=self.finetune,
                       budget=budget)  # fmt: skip
            if self.folder:
                _write(where, done, names, expected, self.folder)
        self.log.end(called or k + 1, done.history)
        return done


def member_folder(folder: Path, k: int, called: str = "") -> Path:
    """Where member k, counted from 0, is fitted: within ``checkpoint``, which goes when the run is whole."""
    return folder / "checkpoint" / "-".join(filter(None, ("member", f"{k + 1:02d}", called)))


def _write(where: Path, done: Fitted, names: Mapping[str, str], fit: Mapping[str, Any], folder: Path) -> None:
    """Keep a finished member, then drop its checkpoint; weights kept by epoch go to the run's own ``checkpoints``."""
    for side, head in (("left", done.left_head), ("right", done.right_head)):
        if side == "left" or head is not done.left_head:
            heads.save(head, where / side, names[side], {})
    for path in sorted((where / "checkpoints").glob("*")):
        kept = folder / "checkpoints" / f"{where.name}-{path.name}"
        kept.parent.mkdir(exist_ok=True)
        path.replace(kept)
    io.write_json(where / DONE, {"fit": dict(fit), "history": done.history, "notes": dict(done.notes)})
    io.remove_folder(where / "checkpoint")


def _read(where: Path, expected: Mapping[str, Any], tied: bool) -> Fitted | None:
    """A finished member, None where it is not finished. Raises Mismatch for one of another fit, Corrupt if damaged."""
    if not (where / DONE).is_file():
        return None
    record = io.read_object(where / DONE, _REMEDY, fit=dict, history=list, notes=dict)
    same_fit(record["fit"], expected, where)
    left = heads.restore(where / "left")[0]
    return Fitted(left, left if tied else heads.restore(where / "right")[0], record["history"], record["notes"])


class Log:
    """The events of all members in one history: each says its member, epochs and steps count on."""

    def __init__(
        self, folder: Path | None, options: TrainOptions, seed: int, on_epoch: Callable[[Any], None] | None, board: bool
    ) -> None:
        header = {**options.asdict(), "seed": seed, "epochs": options.epochs * options.members}
        self.events: list[dict[str, Any]] = []
        self.history = History(folder, header, self.events, board)
        self.on_epoch, self.member, self.done = on_epoch, None, 0

    def begin(self, member: int | str, earlier: list[dict[str, Any]]) -> None:
        """A member, counted from 1, begins, or goes on after these events of its own."""
        self.member, self.done = member, len(self.events)
        last = self.events[-1] if self.events else {"epoch": 0, "step": 0}
        self.epochs, self.steps = last["epoch"], last["step"]
        self.events += map(self._shifted, earlier)

    def add(self, event: Mapping[str, Any]) -> None:
        """An event of the member that is being fitted."""
        self.events.append(self._shifted(event))
        self.history.add(self.events[-1])
        if self.on_epoch is not None:
            self.on_epoch(self.events[-1])

    def end(self, member: int | str, events: list[dict[str, Any]]) -> None:
        """A member is done, with these events of its own."""
        if self.member != member:
            self.begin(member, [])
        del self.events[self.done :]
        self.events += map(self._shifted, events)

    def close(self, result: Mapping[str, Any]) -> None:
        """Write all of it, with the ensemble's own values as the last event, which has no loss."""
        last = {key: self.events[-1][key] for key in ("epoch", "step")}
        self.history.events = [*self.events, {"member": "all", **last, **result}]
        self.history.flush()

    def _shifted(self, event: Mapping[str, Any]) -> dict[str, Any]:
        return {"member": self.member, **event, "epoch": event["epoch"] + self.epochs,
                "step": event["step"] + self.steps}  # fmt: skip

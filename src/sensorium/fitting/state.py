"""Training state: all that a resumed fit needs to continue bit for bit."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from sensorium.errors import Busy, Mismatch, PeerLost
from sensorium.fitting import checkpoint
from sensorium.fitting.precision import LossScale
from sensorium.fitting.schedule import EarlyStopping
from sensorium.fitting.weights import Weights

if TYPE_CHECKING:
    from sensorium.fitting.world import World

FORMAT = 1  # of checkpoint/
_PLAIN = ("step", "loss", "seconds", "since", "stopped", "events")  # saved unchanged


@dataclass
class State:
    """Everything that changes during a fit except the modules.

    step: steps done. Since the epoch began: loss, the sum of the losses; seconds, spent training;
    since, steps. best: values at the best validation. stopped: by early stopping. scale: of the loss, in float16.
    """

    weights: Weights
    modules: Sequence[nn.Module]
    folder: Path | None
    header: Mapping[str, Any]
    step: int = 0
    loss: float = 0.0
    seconds: float = 0.0
    since: int = 0
    stopped: bool = False
    watch: EarlyStopping = field(default_factory=EarlyStopping)
    events: list[dict[str, Any]] = field(default_factory=list)
    best: dict[str, Tensor] = field(default_factory=dict)
    scale: LossScale = field(default_factory=LossScale)
    whole: bool = True  #: whether the step's epoch is closed with all of its event, so that it may be saved

    def add(self, loss: float, seconds: float) -> None:
        """Count one more step."""
        self.step, self.loss, self.seconds = self.step + 1, self.loss + loss, self.seconds + seconds
        self.since += 1

    def end_epoch(self, epoch_steps: int, pairs_a_step: int, rate: float) -> dict[str, Any]:
        """The event of an epoch, counted from 1; it is already in the events, and the caller may add to it."""
        event = {
            "epoch": -(-self.step // epoch_steps),
            "step": self.step,
            "loss": self.loss / self.since,
            "lr": rate,
            "pairs_per_second": round(self.since * pairs_a_step / max(self.seconds, 1e-9), 1),
            "seconds": round(self.seconds, 4),
        }
        self.loss, self.seconds, self.since = 0.0, 0.0, 0
        self.events.append(event)
        return event

    def values(self) -> dict[str, Tensor]:
        """Weights and buffers as they are now, by name; the tensors themselves."""
        found = {"weights": self.weights.flat}
        for i, module in enumerate(self.modules):
            if not self._tied(i):
                found |= {f"buffer.{i}.{name}": buffer for name, buffer in module.named_buffers()}
        return found

    def _tied(self, i: int) -> bool:
        """Whether module i is an earlier one again: one head for both sides, saved once."""
        return any(self.modules[i] is earlier for earlier in self.modules[:i])

    def named_values(self) -> dict[str, Tensor]:
        """Parameters and buffers by side, as the heads' own files name them."""
        found = {}
        for i, (side, module) in enumerate(zip(("left", "right", "objective"), self.modules, strict=True)):
            if not self._tied(i):
                found |= {f"{side}.{name}": tensor for name, tensor in module.state_dict().items()}
        return found

    def keep_best(self) -> None:
        """Store the current values as the best."""
        self.best = {name: tensor.clone() for name, tensor in self.values().items()}

    def load_values(self, values: Mapping[str, Tensor]) -> None:
        """Copy these values into the modules."""
        for name, tensor in self.values().items():
            tensor.copy_(values[name])

    def save(self) -> None:
        """Write a checkpoint for :meth:`resume`; the previous one stays until the new one is complete."""
        if self.folder is None:
            return
        tensors = self.values() | self.weights.tensors() | {f"best.{name}": t for name, t in self.best.items()}
        record = {name: getattr(self, name) for name in _PLAIN}
        record |= {"format": FORMAT, "fit": dict(self.header), "watch": self.watch.asdict(),
                   "scale": asdict(self.scale), "updates": int(self.weights.steps)}  # fmt: skip
        checkpoint.save(self.folder / "checkpoint", tensors, record)

    def resume(self, point: tuple[Mapping[str, Tensor], Mapping[str, Any]]) -> None:
        """Restore what :meth:`save` wrote. Raises Mismatch for the checkpoint of another fit, naming the difference."""
        tensors, record = point
        same_fit(record["fit"], self.header, self.folder / "checkpoint")
        self.load_values(tensors)
        self.weights.restore(tensors, record.get("updates", record["step"]))
        self.best = {name.removeprefix("best."): t for name, t in tensors.items() if name.startswith("best.")}
        self.watch = EarlyStopping(**record["watch"])
        self.scale = LossScale(**record.get("scale", {}))  # fits of before have none
        for name in _PLAIN:
            setattr(self, name, record[name])

    def share(self, world: World) -> None:
        """Take over the state of the first of several processes. Raises Mismatch where theirs is another fit."""
        world.same(self.header)
        mine = {name: getattr(self, name) for name in _PLAIN}
        state = world.tell(lambda: {**mine, "watch": self.watch.asdict(), "scale": asdict(self.scale),
                                   "updates": int(self.weights.steps), "best": sorted(self.best)})  # fmt: skip
        if world.rank:
            self.watch, self.scale = EarlyStopping(**state["watch"]), LossScale(**state["scale"])
            values = self.values()
            self.best = {name: torch.empty_like(values[name]) for name in state["best"]}
            for name in _PLAIN:
                setattr(self, name, state[name])
        self.weights.steps.fill_(state["updates"])
        tensors = self.values() | self.weights.tensors()
        world.from_first([*(tensors[name] for name in sorted(tensors)), *(self.best[name] for name in state["best"])])

    def rescued(self, lost: PeerLost, world: World, folder: Path | None) -> PeerLost:
        """The error of a fit that ends as another process is gone; the checkpoint is written where it can be."""
        said = "no checkpoint was written yet: the same command begins anew"
        if folder is not None and self.whole:
            with contextlib.suppress(Busy):
                lock = world.writes(folder)
                if lock is not None:
                    with lock:
                        self.folder = folder
                        self.save()
        if folder is not None and (folder / "checkpoint" / "state.json").is_file():
            said = "the checkpoint is saved: the same command goes on from there"
        return PeerLost(f"{lost} at step {self.step:,} of {self.header['steps']:,}; {said}", lost.said)


def same_fit(saved: Mapping[str, Any], expected: Mapping[str, Any], where: Path) -> None:
    """Raise Mismatch, naming the first difference, unless what was saved in ``where`` is of the expected fit."""
    for key in sorted(saved.keys() | expected.keys()):
        if saved.get(key) != expected.get(key):
            raise Mismatch(
                f"{where} is of a fit with {key}={saved.get(key)}, this one has {expected.get(key)}; "
                "delete the folder to start anew, or choose another"
            )

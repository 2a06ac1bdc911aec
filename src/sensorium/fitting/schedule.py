"""Learning-rate schedule, plateau and early stopping: pure functions of plain numbers."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

from sensorium.fitting.options import TrainOptions


def learning_rate(step: int, total: int, options: TrainOptions, factor: float = 1.0) -> float:
    """Learning rate of step 0 … total - 1: a linear rise, then the schedule. factor: the plateau's."""
    warmup = options.warmup * total if options.warmup < 1 else min(options.warmup, total)
    if step < warmup:
        return options.lr * factor * (step + 1) / (math.ceil(warmup) + 1)
    if options.schedule != "cosine":
        return options.lr * factor
    done = (step - warmup) / max(1.0, total - warmup)
    return options.lr * factor * 0.5 * (1.0 + math.cos(math.pi * done))


@dataclass
class EarlyStopping:
    """Tracks the monitored measure: the best value, and how long it has not improved.

    best: best value, of epoch ``epoch``; stale: validations since; factor: of the learning rate.
    """

    best: float | None = None
    epoch: int = 0
    stale: int = 0
    factor: float = 1.0

    def update(self, value: float, epoch: int, options: TrainOptions) -> bool:
        """Record a validation; returns whether it is the best so far. A lower median rank is better."""
        better = self.best is None or (value < self.best if options.monitor == "median_rank" else value > self.best)
        if better:
            self.best, self.epoch, self.stale = value, epoch, 0
            return True
        self.stale += 1
        lower_after = max(1, options.patience // 3) if options.patience else 3
        if options.schedule == "plateau" and self.stale % lower_after == 0:
            self.factor *= 0.5
        return False

    def exhausted(self, options: TrainOptions) -> bool:
        """Whether patience has run out."""
        return bool(options.patience) and self.stale >= options.patience

    def asdict(self) -> dict[str, float | int | None]:
        """As plain numbers."""
        return asdict(self)

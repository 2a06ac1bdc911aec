"""Class probabilities to labelled segments: exponential smoothing with hysteresis, for any source of probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

_CLOSE = 1e-6  # seconds; slack of comparisons of times


@dataclass(frozen=True)
class TrackerOptions:
    """Smoothing and hysteresis of a :class:`SegmentTracker`; all times in seconds of input.

    half_life: of the exponential smoothing, over active steps alone. margin: lead in smoothed probability
    that another label needs over the present one. hold: how long it must lead. least: shortest segment
    before a change of label. active_share: share of a step's frames that must be active (voice, of sound)
    for the step to count. pause: inactivity after which activity has ended.
    """

    half_life: float = 0.4
    margin: float = 0.05
    hold: float = 0.3
    least: float = 0.5
    active_share: float = 0.3
    pause: float = 0.6


class Segment(NamedTuple):
    """A stretch of one label. confidence: mean smoothed probability of the label over its active steps."""

    start: float
    end: float
    label: str
    confidence: float


class Change(NamedTuple):
    """Something that began or ended at second ``t``.

    kind: "start" and "end" of activity, or "label" where the present label changed from ``previous`` (None:
    there was none) to ``label``.
    """

    kind: str
    t: float
    previous: str | None = None
    label: str | None = None


@dataclass
class SegmentTracker:
    """Labelled segments of one stream: :meth:`push` each step's probabilities in turn, then :meth:`end`.

    Attributes: smoothed (c,) probabilities; label, the present one, None while inactive; active, whether
    there is activity now; ever_active, whether there was any so far; segments, all that have ended so far
    (the newest ``most``).

    Activity begins at the first active step, and ends where the last active step ended, once ``pause`` seconds
    have passed without another. The label at its beginning is the one of the largest smoothed probability.
    Another label takes over, from the moment it began to lead, once it led by ``margin`` for ``hold`` seconds
    and the present one has lasted ``least`` seconds. Inactive steps change nothing but time.
    """

    labels: Sequence[str]
    options: TrackerOptions = field(default_factory=TrackerOptions)
    most: int = 10_000

    def __post_init__(self) -> None:
        self.smoothed: list[float] = [1.0 / len(self.labels)] * len(self.labels)
        self.segments: list[Segment] = []
        self.active, self.ever_active = False, False
        self._weight = 0.0  # of all steps smoothed so far; near 1 after some half-lives
        self._time = 0.0
        self._last_active = 0.0  # where the last active step ended
        self._present: int | None = None
        self._since = 0.0
        self._sum, self._steps = 0.0, 0
        self._rival: int | None = None
        self._led = 0.0  # where the rival began to lead

    @property
    def label(self) -> str | None:
        """The present label; None while inactive."""
        return None if self._present is None else self.labels[self._present]

    def push(
        self, begin: float, end: float, probabilities: Sequence[float], active_share: float = 1.0
    ) -> list[Segment | Change]:
        """One step; returns what began or ended with it, in order of time.

        begin, end: seconds, each step beginning no earlier than the one before. active_share: share of the
        step's frames that is active.
        """
        options, changes = self.options, []
        step = max(0.0, begin - self._time) or end - begin
        self._time = begin
        if active_share >= options.active_share:
            self._last_active = end
            self._smooth(probabilities, step)
            if not self.active:
                self.active = self.ever_active = True
                changes.append(Change("start", begin))
                changes.append(self._take_over(self._leader(), begin))
            else:
                changes += self._contest(begin, end)
            self._sum += self.smoothed[self._present or 0]
            self._steps += 1
        elif self.active and end - self._last_active >= options.pause - _CLOSE:
            changes += self.end()
        return changes

    def end(self) -> list[Segment | Change]:
        """The input is over: what was still going on ends where the last active step ended."""
        if not self.active:
            return []
        segments = self._close(self._last_active)
        self._present, self._rival, self.active = None, None, False
        return [*segments, Change("end", self._last_active)]

    def _smooth(self, probabilities: Sequence[float], seconds: float) -> None:
        """An exponential mean without a bias to its initial value, as in Adam."""
        keep = 0.5 ** (seconds / self.options.half_life)
        before, self._weight = self._weight * keep, self._weight * keep + (1.0 - keep)
        a, b = before / self._weight, (1.0 - keep) / self._weight
        self.smoothed = [a * old + b * new for old, new in zip(self.smoothed, probabilities, strict=True)]

    def _leader(self) -> int:
        return max(range(len(self.smoothed)), key=self.smoothed.__getitem__)

    def _contest(self, begin: float, end: float) -> list[Segment | Change]:
        """Whether another label takes the present one's place."""
        options, leader, present = self.options, self._leader(), self._present or 0
        if leader == present or self.smoothed[leader] - self.smoothed[present] < options.margin:
            self._rival = None
            return []
        if leader != self._rival:
            self._rival, self._led = leader, begin
        if end - self._led < options.hold or self._led - self._since < options.least:
            # A rival that leads before the present label has lasted waits: its time counts from then on.
            self._led = max(self._led, min(begin, self._since + options.least))
            return []
        return [*self._close(self._led), self._take_over(leader, self._led)]

    def _take_over(self, label: int, at: float) -> Change:
        previous = self.label
        self._present, self._since, self._rival, self._sum, self._steps = label, at, None, 0.0, 0
        return Change("label", at, previous, self.labels[label])

    def _close(self, at: float) -> list[Segment]:
        if self._present is None or at <= self._since:
            return []
        segment = Segment(self._since, at, self.labels[self._present], self._sum / max(1, self._steps))
        self.segments = [*self.segments, segment][-self.most :]
        return [segment]

"""The time that a fit may take (``train.seconds``): what is left of it, and whether it was stopped before."""

from __future__ import annotations

import math
import time


class Budget:
    """Seconds of a fit, counted from now on. Ctrl-C and the end of the time both end the fit with its best so far.

    seconds: in all; 0 for as many as it takes. within: a budget that this one is a part of.
    """

    def __init__(self, seconds: float = 0.0, within: Budget | None = None) -> None:
        self.started, self.within, self.stopped = time.monotonic(), within, False
        ends = self.started + seconds if seconds > 0 else math.inf
        self.ends = ends if within is None else min(ends, within.ends)

    @classmethod
    def of(cls, seconds: float) -> Budget | None:
        """A budget of so many seconds; None without a limit."""
        return cls(seconds) if seconds > 0 else None

    def part(self, share: float) -> Budget:
        """A part of what is left, for one of several fits."""
        left = self.left()
        return Budget(max(share * left, 1e-9) if left < math.inf else 0.0, self)

    def left(self) -> float:
        """Seconds left, from 0 on; infinite without a limit."""
        return 0.0 if self.over(now := time.monotonic()) else self.ends - now

    def spent(self) -> float:
        """Share of the time that has passed, from 0 to 1; 0 without a limit."""
        whole = self.ends - self.started
        return 0.0 if whole == math.inf else min(1.0, (time.monotonic() - self.started) / max(whole, 1e-9))

    def over(self, now: float | None = None) -> bool:
        """Whether the time is over, or the fit was stopped."""
        stopped = self.stopped or (self.within is not None and self.within.over(now))
        return stopped or (time.monotonic() if now is None else now) >= self.ends

    def interrupted(self) -> bool:
        """Whether it was stopped before its end."""
        return self.stopped or (self.within is not None and self.within.interrupted())

    def stop(self) -> None:
        """End the fit, as Ctrl-C does, and with it what this is a part of."""
        self.stopped = True
        if self.within is not None:
            self.within.stop()

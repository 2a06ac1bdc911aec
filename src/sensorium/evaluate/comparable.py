"""Whether two runs can be compared query by query, and in plain words why not: without computing the comparison."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import xxhash

from sensorium.errors import SensoriumError
from sensorium.evaluate import compare


@dataclass(frozen=True)
class Direction:
    """What one direction of a split was evaluated on, as numbers and hashes; ranks among other items differ."""

    queries: int
    candidates: int
    asked: str
    among: str
    related: str


@dataclass(frozen=True)
class Evaluated:
    """What a run was evaluated on: its directions, and what its protocol asked by (direction, measure).

    fault: why it cannot be compared with any run; empty where it can.
    """

    directions: dict[str, Direction] = field(default_factory=dict)
    asked: dict[tuple[str, str], str] = field(default_factory=dict)
    fault: str = ""

    @classmethod
    def of(cls, folder: Path, split: str = "test") -> Evaluated:
        """Read from ``per_query.npz`` of a run folder."""
        if not (Path(folder) / compare.FILE).is_file():
            return cls(fault="This run keeps no answers of single queries. Evaluate it again.")
        try:
            ranks, values = compare.read(Path(folder) / compare.FILE)
        except (SensoriumError, OSError):
            return cls(fault="Its answers of single queries cannot be read. Evaluate it again.")
        directions = {direction: _direction(one) for (of, direction), one in ranks.items() if of == split}
        asked = {(d, measure): _digest([*one.about.tolist(), *one.group.tolist()])
                 for (of, d, measure), one in values.items() if of == split}  # fmt: skip
        if not directions:
            return cls(fault=f"This run has no results on the {split} split.")
        return cls(directions, asked)


def why_not(a: Evaluated, b: Evaluated) -> str | None:
    """Why b cannot be compared with a; None where :func:`sensorium.evaluate.compare.compare_runs` takes them."""
    if b.fault or a.fault:
        return b.fault or a.fault
    both = [direction for direction in a.directions if direction in b.directions]
    if not both:
        return "It was evaluated in the other direction only."
    for direction in both:
        one, other = a.directions[direction], b.directions[direction]
        if one.asked != other.asked:
            return f"Other test queries ({other.queries:,} against {one.queries:,}): the data or the split differ."
        if (one.candidates, one.among) != (other.candidates, other.among):
            return f"Other candidates ({other.candidates:,} against {one.candidates:,} items) for the same queries."
        if one.related != other.related:
            return "Other items count as right for the same queries."
    if any(a.asked[key] != b.asked[key] for key in a.asked.keys() & b.asked.keys()):
        return "The questions of the evaluation protocol differ."
    return None


def _direction(ranks: compare.Ranks) -> Direction:
    order = np.argsort(ranks.query)
    counts = np.diff(ranks.offsets)[order].astype(np.int64)
    among = (str(part) for part in ranks.candidates)
    size, names = (next(among), next(among))
    return Direction(len(order), int(size), _digest(ranks.query[order].tolist()), names,
                     xxhash.xxh3_64_hexdigest(counts.tobytes()))  # fmt: skip


def _digest(names: list[object]) -> str:
    return xxhash.xxh3_64_hexdigest("\n".join(map(str, names)).encode())

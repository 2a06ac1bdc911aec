"""python -m tests.faults [--long]: interruptions at each disk call, damage to each file, writers that race, servers.

Prints a table. The tests beside this file run some hundred of these; ``--long`` runs thousands.
"""

from __future__ import annotations

import argparse
import gc
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1] / "support"), str(Path(__file__).parents[2] / "src")]

import scenarios  # noqa: E402
from writers_race import lost_appends  # noqa: E402


def interruptions(every: int, passes: int) -> list[str]:
    """Every scenario, every fault; returns what went wrong."""
    wrong: list[str] = []
    print(f"{'interrupted':28}{'fault':12}{'tried':>8}{'lost':>8}{'tracebacks':>12}")
    totals: dict[str, list[int]] = {}
    for scenario in scenarios.SCENARIOS:
        for fault in scenarios.disk.FAULTS:
            tally = scenarios.interrupt(scenario, fault, every, 0, passes if fault == "kill" else 1)
            row = [tally.tried, len(tally.lost), len(tally.tracebacks)]
            print(f"{scenario.name:28}{fault:12}{row[0]:8}{row[1]:8}{row[2]:12}", flush=True)
            totals[fault] = [a + b for a, b in zip(totals.get(fault, [0, 0, 0]), row, strict=True)]
            wrong += [*tally.lost, *tally.tracebacks]
    for fault, row in totals.items():
        print(f"{'all':28}{fault:12}{row[0]:8}{row[1]:8}{row[2]:12}")
    return wrong


def damages(long: bool, seed: int) -> list[str]:
    """Mutations of every target, by kind of file; returns what went wrong."""
    import mutations
    import torch

    torch.set_num_threads(1)
    table = mutations.Table()
    with tempfile.TemporaryDirectory(dir=scenarios.memory()) as place:
        for target in mutations.targets(Path(place)):
            mutations.mutate(target, mutations.LONG[target.name] // (1 if long else 20), seed, table)
    print(f"\n{'damaged file':40}{'tried':>8}{'same answer':>13}{'refused':>9}")
    for kind in sorted(table.tried):
        print(f"{kind:40}{table.tried[kind]:8}{table.same[kind]:13}{table.refused[kind]:9}")
    figures = [sum(one.values()) for one in (table.tried, table.same, table.refused)]
    print(f"{'all':40}{figures[0]:8}{figures[1]:13}{figures[2]:9}")
    print(
        f"silent {len(table.silent)}, errors that do not name the file {len(table.unnamed)}, tracebacks {len(table.tracebacks)}"
    )
    return [*table.silent, *table.unnamed, *table.tracebacks]


def servers(kills: int, seed: int) -> list[str]:
    """kill -9 of one of two servers on one run, again and again; returns what went wrong."""
    import small_run
    from two_servers import lost_writes

    with tempfile.TemporaryDirectory(dir=scenarios.memory()) as place:
        run = small_run.make(Path(place) / "run", "evaluate.plots=false")
        wrong = lost_writes(run.folder, kills, seed)
    print(f"\n2 servers of one run under writes: {kills} times kill -9, {len(wrong)} wrong")
    return wrong


def show(wrong: Iterable[str]) -> None:
    for line in wrong:
        print("  WRONG", line[:2000])


def main() -> int:
    """Returns 1 when anything was lost, silent or ended in a traceback."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m tests.faults")
    parser.add_argument("--long", action="store_true", help="all disk calls, thousands of mutations, 1,000 rounds")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=["interruptions", "mutations", "race", "servers"], help="one part")
    chosen = parser.parse_args()
    gc.collect()
    gc.freeze()  # a collection in a forked child would touch, and so copy, all of this process's pages
    started, wrong = time.monotonic(), []
    if chosen.only in (None, "interruptions"):
        wrong += interruptions(1 if chosen.long else 7, 6 if chosen.long else 1)
    if chosen.only in (None, "mutations"):
        wrong += damages(chosen.long, chosen.seed)
    if chosen.only in (None, "race"):
        rounds = 1000 if chosen.long else 24
        lost = lost_appends(rounds, writers=6)
        print(f"\n6 writers that begin a store together: {rounds} rounds, lost appends in {len(lost)}")
        wrong += lost
    if chosen.only in (None, "servers"):
        wrong += servers(50 if chosen.long else 3, chosen.seed)
    show(wrong)
    print(f"\n{len(wrong)} wrong, {time.monotonic() - started:.0f} s")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())

"""Seed ensembles (``train.members=K``): K fits with seeds of their own, served as one head."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from sensorium.contracts import Head
from sensorium.fitting.beside import Beside, Job, at_a_time
from sensorium.fitting.budget import Budget
from sensorium.fitting.distilled import Taught
from sensorium.fitting.environment import choose_device, threads
from sensorium.fitting.finetune import Finetune
from sensorium.fitting.fitted import Fitted
from sensorium.fitting.options import TrainOptions
from sensorium.fitting.set_validation import monitor
from sensorium.fitting.several import Fits, Log
from sensorium.heads.ensemble import Ensemble
from sensorium.pairs import Pairs
from sensorium.types import SIDES, Embeddings

DISTILLED = "distilled"  # what the events and the folder of the head that learns from the ensemble say


def seeds(seed: int, members: int) -> list[int]:
    """The members' seeds: the run's own first, then others derived from it; the first K of more members are the same.

    >>> seeds(7, 1), seeds(7, 2) == seeds(7, 3)[:2]
    ([7], True)
    """
    drawn = [int(np.random.SeedSequence([seed, k]).generate_state(1, np.uint64)[0] >> 1) for k in range(1, members)]
    return [seed, *drawn]


def train(
    left: Embeddings,
    right: Embeddings,
    pairs: Pairs,
    left_head: nn.Module,
    right_head: nn.Module | None,
    objective: nn.Module,
    options: TrainOptions,
    folder: Path | None = None,
    seed: int = 0,
    *,
    names: Mapping[str, str],
    progress: bool = False,
    on_epoch: Callable[[dict[str, Any]], None] | None = None,
    tensorboard: bool = False,
    finetune: Finetune | None = None,
) -> Fitted:
    """Fit ``options.members`` pairs of heads as :func:`sensorium.fitting.loop.train` does, and join them.

    Each gets its share of what is left of ``options.seconds``; where Ctrl-C ends the time, those that are done are
    joined.

    The heads given are unbuilt; every member gets copies. names: of the heads' parts, by side. folder: gets
    history.jsonl of all members, in which epochs and steps count on, and ``checkpoint/member-01`` … to go on from: a
    member that is done is read from there, so that an interrupted fit ends with the same bits as one that ran through.
    on_epoch: called with every event, which says its ``member``. finetune: as the loop takes it, of a frozen encoder.

    Raises what the loop does.
    """
    log = Log(folder, options, seed, on_epoch, tensorboard)
    one = replace(options, members=1, distill=False, seconds=0.0)
    time, fits_in_all = Budget.of(options.seconds), options.members + options.distill
    every = seeds(seed, options.members + 1)
    fits = Fits(left, right, pairs, folder, log, options.members, progress, finetune)
    fitted: list[Fitted] = []

    def job(k: int, options: TrainOptions, learned: Any, called: str, count: int = 1) -> Job:
        part = None if time is None else time.part(count / (fits_in_all - k))
        return Job(k, copy.deepcopy((left_head, right_head)), names, learned, options, every[k], called, part,
                   (left, right))  # fmt: skip

    student = None
    several = 1 if finetune is not None else at_a_time(left, right, pairs, one, options.members)
    try:
        with Beside(several) as beside:
            while len(fitted) < options.members and not (fitted and time is not None and time.over()):
                count = min(1 + len(beside), options.members - len(fitted))
                jobs = [job(len(fitted) + k, one, copy.deepcopy(objective), "", count) for k in range(count)]
                made = beside.fit(fits, jobs) if count > 1 else [jobs[0].on(fits)]
                fitted += itertools.takewhile(lambda one: one is not None, made)
        joined = join(fitted, names)
        if options.distill and (time is None or not time.over()):
            both = joined.left_head, joined.right_head
            student = job(len(fitted), replace(one, mixup=0.0), Taught(copy.deepcopy(objective), both), DISTILLED)
            student = student.on(fits)
    finally:
        log.history.close()
    own = measured(joined, left, right, pairs, options)
    notes = _notes(fitted, every[: len(fitted)], own.get("validation"))
    if student is not None:
        notes |= {"distilled": True, "ensemble_validation": notes["validation"],
                  "validation": student.notes["validation"], "best_epoch": None}  # fmt: skip
    log.close({**own, **{key: notes[key] for key in ("members", "member_validation", "members_mean")}})
    if student is None:
        return Fitted(joined.left_head, joined.right_head, log.events, notes, joined.names)
    sides = {"left": joined.left_head, "right": joined.right_head}
    ensemble = {side: (head, joined.names.get(side, names.get(side, ""))) for side, head in sides.items()}
    return Fitted(student.left_head, student.right_head, log.events, notes, ensemble=ensemble)


def _notes(fitted: list[Fitted], drawn: list[int], validation: float | None) -> dict[str, Any]:
    """What the report says of an ensemble: each member's validation measure, their mean and its own."""
    each = [done.notes["validation"] for done in fitted]
    return {
        **{key: sum(done.notes[key] for done in fitted) for key in ("steps", "epochs")},
        "members": len(fitted),
        "member_seeds": drawn,
        "member_validation": each,
        "member_best_epoch": [done.notes["best_epoch"] for done in fitted],
        "members_mean": None if None in each else float(np.mean(each)),
        "validation": validation,
        **{key: fitted[0].notes[key] for key in ("monitor", "precision", "precision_reason", "by", "parameters")},
        "stopped_early": any(done.notes["stopped_early"] for done in fitted),
    }


def join(fitted: list[Fitted], names: Mapping[str, str]) -> Fitted:
    """The members' heads as one pair of heads, whose scores are the means of theirs.

    Where one side's head is not trained it is the same for all members: it stays, and the other side gives the mean.
    """
    left, right = ([of.left_head for of in fitted], [of.right_head for of in fitted])
    if left[0] is right[0]:
        both = Ensemble.of(names["left"], left)
        return Fitted(both, both, names={"left": "ensemble"})
    if _equal(right):
        return Fitted(Ensemble.of(names["left"], left, "mean"), right[0], names={"left": "ensemble"})
    if _equal(left):
        return Fitted(left[0], Ensemble.of(names["right"], right, "mean"), names={"right": "ensemble"})
    sides = (Ensemble.of(names[side], of) for side, of in zip(SIDES, (left, right), strict=True))
    return Fitted(*sides, names=dict.fromkeys(SIDES, "ensemble"))


def measured(
    fitted: Fitted, left: Embeddings, right: Embeddings, pairs: Pairs, options: TrainOptions
) -> dict[str, float]:
    """Every measure of two heads on the validation split, "validation" the monitored one; none without its pairs."""
    with threads(options.threads):
        device = torch.device("cpu") if options.device == "cpu" else choose_device(options.device)
        both = [head.to(device).eval() for head in (fitted.left_head, fitted.right_head)]
        validation = monitor(left, right, *both, pairs, options, device)
        found = validation.measure() if validation else {}
    for head in both:
        head.to("cpu")
    return found


def _equal(of: list[Head]) -> bool:
    """Whether heads that are not trained are the same: they have the same buffers."""
    first = of[0].state_dict()
    return not of[0].trainable and all(
        torch.equal(tensor, first[name]) for head in of[1:] for name, tensor in head.state_dict().items()
    )

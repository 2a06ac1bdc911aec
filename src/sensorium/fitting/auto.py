"""Fits of ``objective=auto``: what is sure first, then what promises most, within the time; the best of it as one head.

Start reading at :func:`fit`.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from sensorium import parts
from sensorium.contracts import Member
from sensorium.errors import BadData, SensoriumError
from sensorium.fitting import closed_form, members, mixing, mixture
from sensorium.fitting.budget import Budget
from sensorium.fitting.finetune import Finetune
from sensorium.fitting.fitted import Fitted
from sensorium.fitting.mixture import Done
from sensorium.fitting.options import TrainOptions
from sensorium.fitting.several import Fits, Log
from sensorium.numerics.moments import Moments
from sensorium.objectives._class_codes import class_table
from sensorium.pairs import Pairs
from sensorium.progress import say
from sensorium.types import SIDES, Embeddings, blocks

SOME = 4000  # training pairs, by which the inputs' powers are chosen
FRAMES = 3  # seeds, of heads of sequences
FEW = 30  # validation groups, below which a mixture must be better than the closed form with 95% confidence
_EARLY = 0.35  # share of the time after which further closed forms wait for the trained heads
_SHARE = 0.4  # of the time left, for a fit that is followed by others
_WORTH = 0.7  # of an earlier fit's time that must be left to begin another


def fit(
    left: Embeddings,
    right: Embeddings,
    pairs: Pairs,
    left_head: Any,
    right_head: Any,
    objective: Any,
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
    """Try the objective's members in their order while there is time, and join what validation finds best.

    Arguments as of :func:`sensorium.fitting.members.train`. Ctrl-C, or the end of the time (``options.seconds``, or
    else the objective's own), ends the fit with the best so far, once there is any; trained members that were done are
    read from ``folder`` by the next call. A member that does not apply to the data is left out, and the notes say why.
    Sequences of frames, which no closed form takes, get a seed ensemble of the recipe's own heads.

    Raises BadData, with what each member said, where none applies.
    """
    mixture.check(objective, options, finetune)
    if left.offsets is not None or right.offsets is not None:
        seeds, seconds = min(FRAMES, max(1, objective.most)), options.seconds or objective.seconds
        kept = replace(judged(options, left, right, pairs), members=seeds, seconds=seconds)
        return members.train(left, right, pairs, left_head, right_head, of_frames(left, right, pairs, right_head), kept,
                             folder, seed, names=names, progress=progress, on_epoch=on_epoch,
                             tensorboard=tensorboard)  # fmt: skip
    check_varied(left, right, pairs)
    classes = class_table(left, right, pairs) is not None
    own = replace(judged(options, left, right, pairs), seconds=0.0)
    budget = Budget(options.seconds or objective.seconds)
    tried = Tried(left, right, pairs, (left_head, right_head), own, budget, seed, names, progress)
    tried.log = Log(folder, options, seed, on_epoch, tensorboard)
    some = thinned(pairs, SOME)
    tried.powers = mixture.choose_powers(left, right, some, left_head, right_head, objective, judge())
    tried.tables = mixture.powered(left, right, tried.powers)
    tried.fits = Fits(*tried.tables, pairs, folder, tried.log, objective.most, progress)
    tried.board = mixing.Board.of(*tried.tables, pairs, own, objective.corrected and not classes)
    chosen = objective.chosen(left, right, pairs)
    closed = [member for member in chosen if member.objective.closed_form]
    trained = [member for member in chosen if not member.objective.closed_form]
    few = items(left, right, pairs) < objective.least and bool(closed)
    if few:  # more features than pairs cost time and choose nothing
        closed = [member for member in closed if not lifts(member)] or closed
    try:
        later = tried.solve_all(closed, 1.0 if few else _EARLY)
        if not few and (trained := tried.fitting(trained)):
            tried.train(trained, objective.most)
        tried.solve_all(later, 1.0)
    except KeyboardInterrupt:
        if not tried.done:
            raise
        tried.budget.stop()
    finally:
        tried.log.history.close()
    if not tried.done:
        said = "; ".join(f"{name}: {why}" for name, why in tried.left_out.items())
        raise BadData(f"objective=auto: no member applies to these data; {said}")
    return tried.joined(few, options)


def of_frames(left: Embeddings, right: Embeddings, pairs: Pairs, right_head: Any) -> Any:
    """What heads of sequences are trained by: the classes of a class table, else InfoNCE."""
    classes = class_table(left, right, pairs) is not None and not right_head.normalize
    return parts.make("objectives", "cross_entropy" if classes else "infonce")


def judge() -> Any:
    """The closed form by which the inputs' powers are chosen."""
    return parts.make("objectives", {"name": "cca", "strengths": [0.03, 0.3, 3.0], "powers": 1.0})


def lifts(member: Member) -> bool:
    """Whether its head has fixed features of the input, such as random ones."""
    return member.head is not None and parts.make("heads", member.head).lift_dim is not None


def check_varied(left: Embeddings, right: Embeddings, pairs: Pairs) -> None:
    """Raise BadData where all training vectors of a side are one and the same."""
    related = closed_form.training_pairs(pairs).where(label=1)
    for side, table, rows in (("left", left, related.left), ("right", right, related.right)):
        rows = np.unique(rows)
        first = np.asarray(table.vectors[rows[:1]])
        if len(rows) > 1 and all(
            (np.asarray(table.vectors[rows[part]]) == first).all() for part in blocks(len(rows), 64)
        ):
            raise BadData(f"all {len(rows):,} {side} vectors of the training pairs are equal, so there is nothing to "
                          f"learn from; check how data.{side} was made")  # fmt: skip


def thinned(pairs: Pairs, most: int) -> Pairs:
    """The pairs with at most so many training ones, evenly spread."""
    train = np.flatnonzero(pairs.split == "train")
    if len(train) <= most:
        return pairs
    kept = train[np.linspace(0, len(train) - 1, most).round().astype(np.int64)]
    return pairs.take(np.sort(np.concatenate([kept, np.flatnonzero(pairs.split != "train")])))


def judged(options: TrainOptions, left: Embeddings, right: Embeddings, pairs: Pairs) -> TrainOptions:
    """With what members are judged by, where that is left open: the run's own measure.

    Where rows are related by class it is mAP, and of a class table the direction from items to classes.
    """
    if options.monitor == "MRR" and pairs.classes is not None:
        options = replace(options, monitor="mAP")
    if options.direction == "both" and class_table(left, right, pairs) is not None:
        options = replace(options, direction="left->right")
    return options


def items(left: Embeddings, right: Embeddings, pairs: Pairs) -> int:
    """Training items that say something: of the side that has fewer, or where one side is classes, of the other."""
    related = closed_form.training_pairs(pairs).where(label=1)
    each = [len(np.unique(rows)) for rows in (related.left, related.right)]
    return max(each) if pairs.classes is not None or class_table(left, right, pairs) is not None else min(each)


def count(pairs: Pairs) -> int:
    """Related training pairs."""
    return len(closed_form.training_pairs(pairs).where(label=1))


class Tried:
    """The members that were fitted so far, what validation says of each, and the time."""

    log: Log
    fits: Fits
    board: mixing.Board
    powers: dict[str, float]
    tables: tuple[Embeddings, Embeddings]

    def __init__(self, left: Embeddings, right: Embeddings, pairs: Pairs, both: tuple[Any, Any], options: TrainOptions,
                 budget: Budget, seed: int, names: Mapping[str, str], progress: bool) -> None:  # fmt: skip
        self.pairs, self.both, self.options, self.budget = pairs, both, options, budget
        self.names, self.progress, self.seeds = names, progress, members.seeds(seed, 100)
        self.done: list[Done] = []
        self.left_out: dict[str, str] = {}
        self.seconds: list[float] = []
        self.moments: Moments | None = None

    def solve_all(self, closed: Sequence[Member], share: float) -> list[Member]:
        """Solve closed forms while less than this share of the time is spent, one at least; returns what is left."""
        for k, member in enumerate(closed):
            if self.done and (self.budget.over() or self.budget.spent() > share):
                return list(closed[k:])
            self.solve(member)
        return []

    def solve(self, member: Member) -> None:
        """Add a closed form; one that does not apply is noted."""
        both, called = mixture.member_heads(member, *self.both, self.pairs.same_table, self.names)
        left, before = called_of(member), time.monotonic()
        try:
            shared = None
            if member.head is None and not member.objective.reads_items:
                self.moments = shared = self.moments or self._moments(both)
            fitted = closed_form.solve(*self.tables, self.pairs, *both, member.objective, shared)
        except (SensoriumError, np.linalg.LinAlgError) as error:
            self.left_out[left] = str(error)
            return
        self._add(Done(replace(member, name=left), fitted, {**called, **fitted.names}), before)

    def _moments(self, both: tuple[Any, Any]) -> Moments:
        """Moments of the training pairs, from which the closed forms of the recipe's own heads are solved."""
        return closed_form.moments_between(*self.tables, self.pairs, *copy.deepcopy(both), ("xx", "yy", "xy"))

    def fitting(self, trained: Sequence[Member]) -> list[Member]:
        """The trained members that can work on these data; the others are noted."""
        from sensorium.fitting.feasible import check_fit

        found = []
        for member in trained:
            both = mixture.member_heads(member, *self.both, self.pairs.same_table, self.names)[0]
            options = own_options(member, self.options, count(self.pairs))
            try:
                check_fit(*self.tables, self.pairs, *copy.deepcopy(both), member.objective, options)
                found.append(member)
            except SensoriumError as error:
                self.left_out[called_of(member)] = str(error)
        return found

    def train(self, trained: Sequence[Member], most: int) -> None:
        """Fit each once, then the best again with other seeds, and the next best in turn, while there is time."""
        took: dict[int, float] = {}
        of: dict[int, list[int]] = {k: [] for k in range(len(trained))}
        for turn in range(most):
            if turn < len(trained):
                k = turn
            else:  # the best twice as often as the next
                order = sorted((k for k in of if of[k]), key=lambda k: -self._best(of[k]))[:2]
                if not order:
                    return
                k = order[(turn - len(trained)) % 3 // 2 % len(order)]
            left, began = self.budget.left(), time.monotonic()
            if self.budget.over() or (took.get(k, 0.0) * _WORTH > left):
                return
            budget = self.budget.part(_SHARE if turn < len(trained) - 1 else 1.0)
            options = own_options(trained[k], self.options, count(self.pairs))
            member, number = trained[k], len(of[k])
            both, called = mixture.member_heads(member, *self.both, self.pairs.same_table, self.names)
            name = called_of(member) + (f", seed {number + 1}" if number else "")
            fitted = self.fits.one(turn, copy.deepcopy(both), called, copy.deepcopy(member.objective), options,
                                   self.seeds[number], f"{member.name}-{k + 1}-{number + 1}", budget)  # fmt: skip
            took[k] = max(took.get(k, 0.0), time.monotonic() - began)
            of[k].append(len(self.done))
            self._add(Done(replace(member, name=name), fitted, {**called, **fitted.names}), began)

    def _best(self, of: Sequence[int]) -> float:
        values = [self.board.values[k] for k in of]
        return -np.inf if None in values else max(values) * self.board.sign

    def _add(self, done: Done, before: float) -> None:
        self.done.append(done)
        value = self.board.add(done.fitted)
        now = self.budget.left()
        self.seconds.append(time.monotonic() - before)
        if self.progress:
            known = [v for v in self.board.values if v is not None]
            best = max(known, key=lambda v: v * self.board.sign, default=None)
            said = "" if value is None else f": validation {self.options.monitor} {value:.4f}, best so far {best:.4f}"
            say("fit", f"{done.member.name}{said}" + (f", {now:.0f} s left" if now < float("inf") else ""))

    def joined(self, few: bool, options: TrainOptions) -> Fitted:
        """The chosen members as one head a side, and the notes."""
        solved = [k for k, one in enumerate(self.done) if one.member.objective.closed_form]
        mixed, beside = self.board.choose(solved, FEW)
        beside |= {"member": self.done[beside["member"]].member.name} if beside else {}
        history = self.log.events
        if history:
            self.log.close({"validation": mixed.validation, self.options.monitor: mixed.validation})
        heads = {side: mixture.joined(side, self.done, mixed.weights, self.powers[side]) for side in SIDES}
        if self.pairs.same_table:
            heads["right"] = heads["left"]
        notes = mixture.notes(self.done, mixed, self.powers, self.options, [])
        for row, seconds in zip(notes["mixture"], self.seconds, strict=True):
            row |= {"seconds": round(seconds, 2)}
        notes |= {"closed_form": beside, "left_out": self.left_out} | (
            {"few": items(*self.tables, self.pairs)} if few else {}
        )
        notes |= {"out_of_time": True} if self.budget.over() else {}
        notes |= {"said": summary(notes)}
        if self.progress:
            say("fit", notes["said"])
        return Fitted(heads["left"], heads["right"], history, notes, dict.fromkeys(SIDES, "mixture"))


def called_of(member: Member) -> str:
    """What the report calls a member: its objective and its head."""
    spec = member.head
    head = {} if spec is None else {"name": spec} if isinstance(spec, str) else dict(spec)
    more = [str(head[key]) for key in ("name", "hidden") if key in head]
    more += [f"{key} {value:g}" for key, value in (*head.items(), *member.options.items()) if key in ("width", "mixup")]
    return f"{member.name} ({', '.join(more)})" if more else member.name


def own_options(member: Member, options: TrainOptions, pairs: int) -> TrainOptions:
    """The member's keys of [train] where the recipe leaves the defaults, and epochs enough for small tables."""
    default = TrainOptions()
    plain = {field.name for field in fields(options) if vars(options)[field.name] == vars(default)[field.name]}
    keys = {key: value for key, value in member.options.items() if key in plain}
    batch = options.batch or int(np.clip(pairs // 8, 64, 512 if pairs < 50_000 else 1024))
    if "epochs" in keys and options.steps is None:
        keys["epochs"] = max(keys["epochs"], -(-300 * batch // max(pairs, 1)))
    return replace(options, **keys, batch=min(batch, max(2, pairs)))


def summary(notes: Mapping[str, Any]) -> str:
    """One sentence: what the fit chose, and how it stands beside the best closed form on validation."""
    kept = [row["member"] for row in notes["mixture"] if row["weight"] > 0]
    beside, measured = notes.get("closed_form") or {}, notes["monitor"]
    text = f"{kept[0]} alone" if len(kept) == 1 else f"a mixture of {len(kept)} of {len(notes['mixture'])} members"
    if "few" in notes:
        text += f", as {notes['few']:,} training items are few: trained heads were not tried"
    if beside.get("kept"):
        text += ": the mixture was not better with 95% confidence on so few validation groups"
    if "gain" in beside:
        text += (f"; {measured} on validation {notes['validation']:.4f}, {beside['gain']:+.4f} "
                 f"[{beside['low']:+.4f}, {beside['high']:+.4f}] beside {beside['member']}")  # fmt: skip
    return text

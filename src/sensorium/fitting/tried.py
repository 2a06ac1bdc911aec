"""The members of ``objective=auto`` as they are fitted, one after the other, within the time that there is."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sensorium import parts
from sensorium.contracts import Member
from sensorium.errors import SensoriumError
from sensorium.fitting import closed_form, members, mixing, mixture, reduced
from sensorium.fitting.beside import Beside, Job
from sensorium.fitting.budget import Budget
from sensorium.fitting.build import build, input_statistics
from sensorium.fitting.distilled import Taught
from sensorium.fitting.environment import choose_device, reseed
from sensorium.fitting.fitted import Fitted
from sensorium.fitting.mixture import Done
from sensorium.fitting.options import TrainOptions
from sensorium.fitting.several import Fits, Log
from sensorium.numerics.moments import InputStats, Moments
from sensorium.objectives._class_codes import class_table
from sensorium.pairs import Pairs
from sensorium.progress import say
from sensorium.types import SIDES, Embeddings

FEW = 30  # validation groups, below which a mixture must be better than the closed form with 95% confidence
_FIRST = 0.5  # share of the time left that the first trained fit may take
_ITERATES = 0.5  # share of the time left that a closed form found by iterations may take
_WORTH = 0.7  # of an earlier fit's time that must be left to begin another
_FAR = 1.25  # times the best closed form, from which a trained member is far better than any linear map
_LIFTED = 2.0  # times the longest closed form so far that must be left to begin one of random features


class Tried:
    """The members that were fitted so far, what validation says of each, and the time."""

    log: Log
    fits: Fits
    board: mixing.Board
    powers: dict[str, float]
    tables: tuple[Embeddings, Embeddings]

    def __init__(self, left: Embeddings, right: Embeddings, pairs: Pairs, both: tuple[Any, Any], options: TrainOptions,
                 budget: Budget, seed: int, names: Mapping[str, str], progress: bool) -> None:  # fmt: skip
        self.raw, self.pairs, self.both, self.options, self.budget = (left, right), pairs, both, options, budget
        self.names, self.progress, self.seeds = names, progress, members.seeds(seed, 101)
        self.done: list[Done] = []
        self.of: dict[int, list[int]] = {}  # places in ``done`` of the fits of a trained member
        self.left_out: dict[str, str] = {}
        self.beside = Beside(1)  # of trained fits
        self.short = False  # whether more would have been tried with more time
        self.seconds: list[float] = []
        self.moments: Moments | None = None
        self.known: dict[int, InputStats] = {}
        self.reduced: dict[tuple[int, float], reduced.Reduced | None] = {}

    def begin(self, folder: Path | None, log: Log, powers: dict[str, float], most: int, corrected: bool) -> None:
        """What the members are fitted to: tables with signed powers of the inputs, and the validation queries."""
        self.log, self.powers, self.tables = log, powers, mixture.powered(*self.raw, powers)
        self.fits = Fits(*self.tables, self.pairs, folder, log, most, self.progress)
        self.board = mixing.Board.of(*self.tables, self.pairs, self.options, corrected)

    def solve_all(self, closed: Sequence[Member]) -> list[Member]:
        """Solve closed forms while there is time, one at least; returns what is left."""
        for k, member in enumerate(closed):
            if self.done and self.budget.over():
                return list(closed[k:])
            if lifts(member) and (why := self._needless()):
                self.left_out[called_of(member)] = why
            else:
                self.solve(member)
        return []

    def _needless(self) -> str:
        """Why further random features are not worth their time; "" where they may be."""
        if self.done and max(self.seconds, default=0.0) * _LIFTED > self.budget.left():
            return "the time that is left is too short"
        solved = [k for k, one in enumerate(self.done) if one.member.objective.closed_form]
        values = {k: self.board.values[k] for k in solved}
        lifted = [k for k in solved if lifts(self.done[k].member)]
        if not lifted or None in values.values():
            return ""
        best = max(solved, key=lambda k: self.board.sign * values[k])
        return "" if best in lifted else f"random features were not better than {self.done[best].member.name}"

    def solve(self, member: Member) -> None:
        """Add a closed form; one that does not apply is noted."""
        both, called = mixture.member_heads(member, *self.both, self.pairs.same_table, self.names)
        name, before = called_of(member), time.monotonic()
        try:
            shared = None
            if member.head is None and not member.objective.reads_items:
                self.moments = shared = self.moments or self._moments(both)
            if self.budget.left() < np.inf:
                member.objective.seconds_left = self.budget.part(_ITERATES).left
            fitted = closed_form.solve(*self.tables, self.pairs, *both, member.objective, shared)
        except (SensoriumError, np.linalg.LinAlgError) as error:
            self.left_out[name] = str(error)
            return
        self._add(Done(replace(member, name=name), fitted, {**called, **fitted.names}), before)

    def _moments(self, both: tuple[Any, Any]) -> Moments:
        """Moments of the training pairs, from which the closed forms of the recipe's own heads are solved."""
        return closed_form.moments_between(*self.tables, self.pairs, *copy.deepcopy(both), ("xx", "yy", "xy"))

    def fitting(self, trained: Sequence[Member]) -> list[Member]:
        """The trained members that can work on these data, each once; the others are noted."""
        from sensorium.fitting.feasible import check_fit

        found: dict[str, Member] = {}
        for member in trained:
            name, options = called_of(member), own_options(member, self.options, count(self.pairs))
            try:
                both = mixture.member_heads(member, *self.both, self.pairs.same_table, self.names)[0]
                check_fit(*self.tables, self.pairs, *copy.deepcopy(both), member.objective, options)
            except SensoriumError as error:
                self.left_out[name] = str(error)
                continue
            if not any(head.trainable for head in both):
                self.left_out[name] = "the recipe's own heads are not trained"
                continue
            what = repr([member.name, vars(member.objective), options, *((type(h), h.arguments) for h in both)])
            if what in found:
                self.left_out[name] = f"the same as {called_of(found[what])}"
            found.setdefault(what, member)
        return list(found.values())

    def train(self, trained: Sequence[Member], most: int) -> None:
        """Fit each once, then the best again with other seeds, and the next best in turn, while there is time.

        Large fits are made several at a time, see :mod:`sensorium.fitting.beside`. A second member is tried where there
        is time for it, one more where there is time to repeat all and it, and of several at a time once the best two
        are repeated; else the best is repeated.
        """
        took, turn = 0.0, 0
        while turn < most:
            began = time.monotonic()
            if self.budget.over() or took * _WORTH > self.budget.left():
                self.short = True
                return
            asked = self._next(trained, min(1 + len(self.beside), most - turn), took / (1 + len(self.beside)))
            jobs, of = [], []
            for k, number in asked:
                job, components = self._job(trained[k], k, number, turn)
                jobs.append(job)
                of.append(components)
                turn += 1
            made = self.beside.fit(self.fits, jobs) if len(jobs) > 1 else [jobs[0].on(self.fits)]
            took = max(took, time.monotonic() - began)
            for fitted, job, components, (k, number) in zip(made, jobs, of, asked, strict=True):
                if fitted is not None:
                    fitted = _of_inputs(fitted, components, job.both[0] is job.both[1])
                    name = called_of(trained[k]) + (f", seed {number + 1}" if number else "")
                    self.of.setdefault(k, []).append(len(self.done))
                    done = Done(replace(trained[k], name=name), fitted, {**job.names, **fitted.names})
                    self._add(done, began)
                    began = time.monotonic()

    def _next(self, trained: Sequence[Member], count: int, took: float) -> list[tuple[int, int]]:
        """Which members the next fits are of, and how many of each there were before. took: seconds of one fit."""
        found: list[tuple[int, int]] = []
        numbers = {k: len(self.of.get(k, ())) for k in range(len(trained))}
        repeats = sum(map(len, self.of.values())) - len(self.of)
        for turn in range(count):
            kinds = sum(number > 0 for number in numbers.values())
            untried = [k for k, number in numbers.items() if not number and not self._hopeless(trained[k])]
            order = self._order(trained)[:2] if self.of else [k for k, number in numbers.items() if number]
            timely = (kinds + (kinds > 1)) * took <= self.budget.left() - len(found) * took
            if count > 1 and kinds > 1:  # the others of this turn would wait for a slow one
                timely = timely and turn == count - 1 and min(numbers[k] for k in order) > 1
            if untried and timely:
                k = untried[0]
            else:
                k = order[(repeats % 3 == 1) % len(order)]  # the first twice as often as the next
                repeats += 1
            found.append((k, numbers[k]))
            numbers[k] += 1
        return found

    def _hopeless(self, member: Member) -> bool:
        """Whether a member with another head is not worth its time, as a perceptron is far better than any linear map.

        The other heads have a linear path, strong dropout or few components: what they gain lies between the two.
        """
        if mixture.own_heads(member) and not (member.options.keys() & {"mixup", "structure"}):
            return False
        solved = [k for k, one in enumerate(self.done) if one.member.objective.closed_form]
        if not solved or not self.of or not self.board.asked or self.board.sign < 0 or self.budget.left() == np.inf:
            return False
        best = max(self._best(of) for of in self.of.values())
        return best > _FAR * self._best(solved)

    def _job(self, member: Member, k: int, number: int, turn: int) -> tuple[Job, dict[int, reduced.Reduced]]:
        """The next fit of a member, with weights made; by side the components that stand in place of wide inputs."""
        options = own_options(member, self.options, count(self.pairs))
        both, called = mixture.member_heads(member, *self.both, self.pairs.same_table, self.names)
        tables, made, of = self._components(both, member.variance)
        self._build(tables, made, self.seeds[number], options)
        name = f"{member.name}-{k + 1}-{number + 1}"
        return Job(turn, made, called, copy.deepcopy(member.objective), options, self.seeds[number], name,
                   self.budget.part(1.0 if turn else _FIRST), tables), of  # fmt: skip

    def _components(
        self, both: tuple[Any, Any], variance: float
    ) -> tuple[tuple[Embeddings, Embeddings], tuple[Any, Any], dict[int, reduced.Reduced]]:
        """Tables and heads of a fit, and by side the principal components that stand in place of wide inputs."""
        tables, made, of = list(self.tables), list(both), {}
        for k, (table, head) in enumerate(zip(self.tables, both, strict=True)):
            if k == 1 and both[0] is both[1]:
                tables[1], made[1] = tables[0], made[0]
            elif variance and reduced.applies(head, table):
                key = id(table), variance
                if key not in self.reduced:
                    self.reduced[key] = reduced.Reduced.of(table, self._statistics(table, k), variance)
                if (found := self.reduced[key]) is not None:
                    of[k], tables[k], made[k] = found, found.table, reduced.of_components(head)
        return (tables[0], tables[1]), (made[0], made[1]), of

    def _statistics(self, table: Embeddings, side: int) -> InputStats:
        """Statistics of the training inputs of a side, computed once."""
        if id(table) not in self.known:
            related = closed_form.training_pairs(self.pairs).where(label=1)
            rows = [related.left, related.right]
            made = None if self.pairs.same_table else self._of_moments(rows[side], side)
            self.known[id(table)] = made or input_statistics(
                table, np.concatenate(rows) if self.pairs.same_table else rows[side]
            )
        return self.known[id(table)]

    def _of_moments(self, rows: np.ndarray, side: int) -> InputStats | None:
        """Statistics of a side from the moments of the pairs, where these are of its inputs and count each alike."""
        own, counts = self.both[side], np.bincount(rows)
        counts = counts[counts > 0]
        if self.moments is None or not own.trainable or own.features is not None or (counts != counts[0]).any():
            return None
        mean, covariance = (
            (self.moments.mean_y, self.moments.cov_yy) if side else (self.moments.mean_x, self.moments.cov_xx)
        )
        return InputStats(len(counts), mean, covariance)

    def _build(
        self, tables: tuple[Embeddings, Embeddings], both: tuple[Any, Any], seed: int, options: TrainOptions
    ) -> None:
        """Make the weights that the loop would, from statistics of the inputs that are computed once a table."""

        def statistics(table: Embeddings, rows: np.ndarray) -> InputStats:
            sides = [k for k, one in enumerate(self.tables) if table is one]
            return self._statistics(table, sides[0]) if sides else input_statistics(table, rows)

        related = closed_form.training_pairs(self.pairs).where(label=1)
        with torch.random.fork_rng():
            reseed(seed, choose_device(options.device))
            build(*tables, related, *both, statistics)

    def distil(self, teacher: Fitted, options: TrainOptions, seed: int) -> Fitted:
        """One more pair of the recipe's own heads, trained on the related pairs and the mixture's scores."""
        fits = Fits(*self.raw, self.pairs, self.fits.folder, self.log, self.fits.of, self.progress)
        both = mixture.heads_of(Member("infonce", parts.make("objectives", "infonce")), *self.both,
                                self.pairs.same_table)  # fmt: skip
        learned = Taught(parts.make("objectives", "infonce"), (teacher.left_head, teacher.right_head))
        own = replace(options, mixup=0.0, distill=False, seconds=0.0)
        return fits.one(len(self.done), both, self.names, learned, own, seed, members.DISTILLED, self.budget)

    def best(self) -> int | None:
        """The member that is best alone on validation; None where it was not judged."""
        known = [k for k, value in enumerate(self.board.values) if value is not None]
        return max(known, key=lambda k: self.board.sign * self.board.values[k], default=None)

    def _order(self, trained: Sequence[Member]) -> list[int]:
        """The members tried, the best first; but before it one with input dropout that is not measurably worse.

        The mean of several fits gains more where each of them was fitted with more noise.
        """
        order = sorted(self.of, key=lambda k: -self._best(self.of[k]))
        noisy = next((k for k in order if _noisy(trained[k])), order[0])
        if noisy != order[0] and self.board.asked and self.board.sign > 0:
            every = np.eye(len(self.done))
            places = [max(self.of[k], key=lambda place: self.board.values[place]) for k in (order[0], noisy)]
            if self.board.measured().difference(*(every[place] for place in places))[1] <= 0:
                return [noisy, *(k for k in order if k != noisy)]
        return order

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


def _of_inputs(fitted: Fitted, of: Mapping[int, reduced.Reduced], tied: bool) -> Fitted:
    """The heads of the inputs, where a side's are of their principal components."""
    left, right = fitted.left_head, fitted.right_head
    left = of[0].written_back(left) if 0 in of else left
    right = left if tied else of[1].written_back(right) if 1 in of else right
    return replace(fitted, left_head=left, right_head=right)


def _noisy(member: Member) -> bool:
    """Whether it gives input dropout to the recipe's own heads."""
    heads = (member.head, member.right_head)
    return mixture.own_heads(member) and any(head and "input_dropout" in head for head in heads)


def lifts(member: Member) -> bool:
    """Whether its head has fixed features of the input, such as random ones."""
    return member.head is not None and parts.make("heads", member.head).lift_dim is not None


def count(pairs: Pairs) -> int:
    """Related training pairs."""
    return len(closed_form.training_pairs(pairs).where(label=1))


def items(left: Embeddings, right: Embeddings, pairs: Pairs) -> int:
    """Training items that say something: of the side that has fewer, or where one side is classes, of the other."""
    related = closed_form.training_pairs(pairs).where(label=1)
    each = [len(np.unique(rows)) for rows in (related.left, related.right)]
    return max(each) if pairs.classes is not None or class_table(left, right, pairs) is not None else min(each)


def called_of(member: Member) -> str:
    """What the report calls a member: its objective and its head."""
    spec = member.head
    head = {} if spec is None else {"name": spec} if isinstance(spec, str) else dict(spec)
    more = [str(head[key]) for key in ("name", "hidden") if key in head]
    shown = ("width", "mixup", "structure") + (("input_dropout", "dropout") if "name" not in head else ())
    sides = [("", head)] if member.right_head is None or "name" in head else [
        (f"{side} ", keys) for side, keys in zip(SIDES, (head, member.right_head), strict=True)]  # fmt: skip
    given = [(f"{side}{key}", value) for side, keys in sides for key, value in keys.items() if key in shown]
    more += [f"{key} {value:g}" for key, value in (*given, *member.options.items()) if key.split()[-1] in shown]
    more += [f"variance {member.variance:g}"] if member.variance else []
    own = not member.objective.closed_form and "name" not in head
    return f"{member.name} ({', '.join(['own heads'] * own + more)})" if more or own else member.name


def own_options(member: Member, options: TrainOptions, pairs: int) -> TrainOptions:
    """The member's keys of [train] where the recipe leaves the defaults, and epochs enough for small tables."""
    default = TrainOptions()
    plain = {field.name for field in fields(options) if vars(options)[field.name] == vars(default)[field.name]}
    keys = {key: value for key, value in member.options.items() if key in plain}
    batch = options.batch or int(np.clip(pairs // 8, 64, 512 if pairs < 50_000 else 1024))
    if "epochs" in keys and options.steps is None:
        keys["epochs"] = max(keys["epochs"], -(-300 * batch // max(pairs, 1)))
    return replace(options, **keys, batch=min(batch, max(2, pairs)))

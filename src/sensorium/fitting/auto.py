"""Fits of ``objective=auto``: what is sure first, then what promises most, within the time; the best of it as one head.

Start reading at :func:`fit`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from sensorium import parts
from sensorium.contracts import Member
from sensorium.errors import BadData
from sensorium.fitting import closed_form, members, mixture
from sensorium.fitting.beside import Beside, at_a_time
from sensorium.fitting.budget import Budget
from sensorium.fitting.finetune import Finetune
from sensorium.fitting.fitted import Fitted
from sensorium.fitting.options import TrainOptions
from sensorium.fitting.several import Log
from sensorium.fitting.tried import FEW, Tried, items, lifts
from sensorium.objectives._class_codes import class_table
from sensorium.pairs import Pairs
from sensorium.progress import say
from sensorium.types import SIDES, Embeddings, Rows, blocks

SOME = 20_000  # training pairs, by which the inputs' powers are chosen
COLUMNS = 384  # numbers of a vector, by which they are chosen
FRAMES = 3  # seeds, of heads of sequences
SHORT = 5.0  # seconds, below which the inputs stay as they are
MANY = 2000  # training items, from which trained heads come before random features
_JOINED = 0.06  # share of the time that is left for the choice of the weights
_LEARNED = 0.5  # of the best member's measure, below which one head has not learned enough to be taken
_DISTILLED = 0.3  # share of the time that the one head of train.distill gets


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
        learned = of_frames(left, right, pairs, right_head, objective)
        return members.train(left, right, pairs, left_head, right_head, learned, kept, folder, seed, names=names,
                             progress=progress, on_epoch=on_epoch, tensorboard=tensorboard)  # fmt: skip
    check_varied(left, right, pairs)
    classes = class_table(left, right, pairs) is not None
    own = replace(judged(options, left, right, pairs), seconds=0.0, distill=False)
    whole = Budget(options.seconds or objective.seconds)
    budget = whole.part(1 - _DISTILLED if options.distill else 1 - _JOINED)
    tried = Tried(left, right, pairs, (left_head, right_head), own, budget, seed, names, progress)
    log = Log(folder, options, seed, on_epoch, tensorboard)
    powers = dict.fromkeys(SIDES, objective.powers[0])
    if whole.left() > SHORT:
        some, sides = thinned(pairs, SOME), Columns.of_both(left, right)
        powers = mixture.choose_powers(*sides, some, *plain_heads(), objective, judge())
    tried.begin(folder, log, powers, objective.most, objective.corrected and not classes)
    chosen = objective.chosen(left, right, pairs)
    closed = [member for member in chosen if member.objective.closed_form]
    trained = [member for member in chosen if not member.objective.closed_form]
    few = items(left, right, pairs) < objective.least and bool(closed)
    if not tried.board.asked and closed:  # nothing tells members apart
        closed, trained = [plain(closed)], []
    several = 1 if few else at_a_time(left, right, pairs, own, min(len(trained) and objective.most, objective.most))
    tried.beside = Beside(several)  # they start while closed forms are solved
    first = [member for member in closed if not lifts(member)]
    later = [member for member in closed if lifts(member)] if first else closed
    try:
        tried.solve_all(first)
        if not few:  # more features than pairs cost time and choose nothing
            if items(left, right, pairs) < MANY:
                later = tried.solve_all(later)
            if trained := tried.fitting(trained):
                tried.train(trained, objective.most)
        if not few or not first:
            tried.solve_all(later)
        return finished(tried, few, options, whole, seed)
    except KeyboardInterrupt:
        if not tried.done:
            raise
        whole.stop()
        return finished(tried, few, options, whole, seed)
    finally:
        tried.beside.close()
        log.history.close()


def finished(tried: Tried, few: bool, options: TrainOptions, whole: Budget, seed: int) -> Fitted:
    """The chosen members as one head a side, or one that learned from them, and the notes."""
    if not tried.done:
        said = "; ".join(f"{name}: {why}" for name, why in tried.left_out.items())
        raise BadData(f"objective=auto: no member applies to these data; {said}")
    solved = [k for k, one in enumerate(tried.done) if one.member.objective.closed_form]
    mixed, beside = tried.board.choose(solved, FEW, list(tried.of.values()))
    beside |= {"member": tried.done[beside["member"]].member.name} if beside else {}
    heads = {side: mixture.joined(side, tried.done, mixed.weights, tried.powers[side]) for side in SIDES}
    if tried.pairs.same_table:
        heads["right"] = heads["left"]
    notes = mixture.notes(tried.done, mixed, tried.powers, tried.options, [])
    for row, seconds in zip(notes["mixture"], tried.seconds, strict=True):
        row |= {"seconds": round(seconds, 2)}
    notes |= {"closed_form": beside, "left_out": tried.left_out}
    notes |= {} if tried.board.asked else {"unjudged": True}
    notes |= {"few": items(*tried.tables, tried.pairs)} if few else {}
    notes |= {"out_of_time": True} if tried.budget.over() or tried.short else {}
    made = Fitted(heads["left"], heads["right"], tried.log.events, notes, dict.fromkeys(SIDES, "mixture"))
    if options.distill and np.count_nonzero(mixed.weights) > 1 and not whole.over():
        tried.budget = whole
        student = tried.distil(made, tried.options, seed)
        notes |= {"distilled": True, "ensemble_validation": notes["validation"],
                  "validation": student.notes["validation"], "best_epoch": student.notes["best_epoch"]}  # fmt: skip
        ensemble = {side: (head, "mixture") for side, head in heads.items()}
        made = Fitted(student.left_head, student.right_head, tried.log.events, notes, ensemble=ensemble)
        best, sign = tried.best(), tried.board.sign
        if best is not None and notes["validation"] * sign < sign * tried.board.values[best] * _LEARNED**sign:
            alone = np.eye(len(tried.done))[best].tolist()  # of a time too short to learn in, or a machine too busy
            both = [mixture.joined(side, tried.done, alone, tried.powers[side]) for side in SIDES]
            notes |= {"instead": tried.done[best].member.name, "learned_validation": notes["validation"],
                      "validation": tried.board.values[best]}  # fmt: skip
            made = Fitted(both[0], both[0] if tried.pairs.same_table else both[1], tried.log.events, notes,
                          dict.fromkeys(SIDES, "mixture"), ensemble=ensemble)  # fmt: skip
    if tried.log.events:
        tried.log.close({"validation": notes["validation"], options.monitor: notes["validation"]})
    notes |= {"said": summary(notes)}
    if tried.progress:
        say("fit", notes["said"])
    return made


def plain(closed: Sequence[Member]) -> Member:
    """The closed form that is taken where validation cannot choose one: logistic regression of classes, else CCA."""
    order = {"logistic": 0, "cca": 1}
    return min(closed, key=lambda member: order.get(member.name, 2))


def of_frames(left: Embeddings, right: Embeddings, pairs: Pairs, right_head: Any, objective: Any) -> Any:
    """What heads of sequences are trained by: the recipe's own objective, the classes of a class table, or InfoNCE."""
    if objective.own is not None:
        return objective.own
    classes = class_table(left, right, pairs) is not None and not right_head.normalize
    return parts.make("objectives", "cross_entropy" if classes else "infonce")


class Columns:
    """Rows (n, w) of some evenly spread columns of a table's rows (n, d), read when they are wanted."""

    def __init__(self, vectors: Rows) -> None:
        self.vectors, self.dtype, d = vectors, vectors.dtype, vectors.shape[1]
        self.which = np.linspace(0, d - 1, min(d, COLUMNS)).round().astype(np.int64)
        self.shape = (len(vectors), len(self.which))

    def __len__(self) -> int:
        return len(self.vectors)

    def __getitem__(self, rows: Any) -> np.ndarray:
        return np.asarray(self.vectors[rows])[..., self.which]

    @classmethod
    def of_both(cls, left: Embeddings, right: Embeddings) -> tuple[Embeddings, Embeddings]:
        """Both tables with some of their columns: one and the same where they are."""
        both = [replace(table, vectors=cls(table.vectors)) for table in (left, right)]
        return (both[0], both[0]) if left is right else (both[0], both[1])


def plain_heads() -> tuple[Any, Any]:
    """Heads that a closed form replaces."""
    return parts.make("heads", "linear"), parts.make("heads", "linear")


def judge() -> Any:
    """The closed form by which the inputs' powers are chosen."""
    return parts.make("objectives", {"name": "cca", "strengths": [0.03, 0.3, 3.0], "powers": 1.0})


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


def summary(notes: Mapping[str, Any]) -> str:
    """One sentence: what the fit chose, and how it stands beside the best closed form on validation."""
    kept = [row["member"] for row in notes["mixture"] if row["weight"] > 0]
    beside, measured = notes.get("closed_form") or {}, notes["monitor"]
    text = f"{kept[0]} alone" if len(kept) == 1 else f"a mixture of {len(kept)} of {len(notes['mixture'])} members"
    if "few" in notes:
        text += f", as {notes['few']:,} training items are few: trained heads were not tried"
    if notes.get("unjudged"):
        text += ", as in the validation split every candidate is right, so that nothing can be chosen by it"
    if beside.get("kept"):
        text += ": the mixture was not surely better on the validation groups"
    if "gain" in beside:
        value = notes.get("ensemble_validation", notes["validation"])
        text += (f"; {measured} on validation {value:.4f}, {beside['gain']:+.4f} "
                 f"[{beside['low']:+.4f}, {beside['high']:+.4f}] beside {beside['member']}")  # fmt: skip
    if "instead" in notes:
        text += (f"; the one head that learned from it has {notes['learned_validation']:.4f}, so "
                 f"{notes['instead']} alone is taken, with {notes['validation']:.4f}; give it more time")  # fmt: skip
    elif notes.get("distilled"):
        text += f"; one head learned from it, with {notes['validation']:.4f}"
    return text

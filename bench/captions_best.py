"""What each member and option of captions-best brings: hit@10 both ways, and paired differences with intervals.

    python -m bench.captions_best data.file=flickr8k-pairs-4000.npz [--split validation] [--seed 0]

Rows, each compared with the row that it names, query by query on the same split, 95% bootstrap intervals over clips:
closed forms as they are; CCA with the signed power of the inputs that validation chooses; one trained fit; all its
seeds; the mixture; and the mixture with the hubness correction that validation chooses. Everything is chosen on the
validation split; ask for the test split once.
"""

from __future__ import annotations

import argparse
import copy
import json
import time

import numpy as np

from sensorium import heads, parts, pipeline, recipe, scores
from sensorium.evaluate import hubness, statistics
from sensorium.evaluate.projected import Projected
from sensorium.fitting import closed_form, mixing, mixture
from sensorium.fitting import encoders as encoding
from sensorium.fitting.fitted import Fitted
from sensorium.fitting.members import join, seeds
from sensorium.fitting.sets import fit
from sensorium.heads.mixture import Mixture
from sensorium.scores import measures
from sensorium.types import SIDES

DIRECTIONS = ("right->left", "left->right")


def main() -> None:
    """Print one JSON line a row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("keys", nargs="+", help="overrides of the recipe, such as data.file=pairs.npz")
    parser.add_argument("--split", default="validation", choices=["validation", "test"])
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    keys = [*asked.keys, f"seed={asked.seed}"]
    plan = recipe.load("captions-best", keys)
    data = plan.part("data").load()
    plan, built, _ = encoding.settled(plan, data, plan.build(), keys)
    pairs = pipeline.split(plan, data.pairs)
    raw = pipeline.embed(plan, data, pipeline.Path("runs/embeddings"), False, built)
    both, options = (built.heads["left"], built.heads["right"]), plan.train_options()
    made = {name: closed_form.solve(*raw, pairs, *copy.deepcopy(both), parts.make("objectives", name))
            for name in ("ridge", "cca")}  # fmt: skip
    before = {name: (raw, one) for name, one in made.items()}
    powers = mixture.choose_powers(*raw, pairs, *both, built.objective)
    tables = mixture.powered(*raw, powers)
    members: list[Fitted] = []
    for member in built.objective.members:
        if member.objective.closed_form:
            members.append(closed_form.solve(*tables, pairs, *copy.deepcopy(both), member.objective))
            before[f"{member.name}, powers {powers['left']:g} and {powers['right']:g}"] = tables, members[-1]
            continue
        names = {side: plan.part_name(f"{side}.head") for side in SIDES}
        each = []
        for drawn in seeds(asked.seed, member.seeds):
            started = time.process_time()
            each.append(fit(*tables, pairs, *mixture.heads_of(member, *both, False), copy.deepcopy(member.objective),
                            options, None, drawn))  # fmt: skip
            print(json.dumps({"fit": member.name, "seed": drawn, "cpu_s": round(time.process_time() - started, 1)}))
        before[f"{member.name}, one seed"] = tables, each[0]
        members.append(join(each, names))
        before[f"{member.name}, {member.seeds} seeds"] = tables, members[-1]
    mixed = mixing.mix(members, *tables, pairs, options)
    every = [Mixture.of([type(getattr(of, f"{side}_head")).__name__.lower() for of in members],
                        [getattr(of, f"{side}_head") for of in members], mixed.weights) for side in SIDES]  # fmt: skip
    before["mixture"] = tables, Fitted(*every)
    found = {name: per_query(*of, pairs, asked.split) for name, of in before.items()}
    found["mixture, corrected"] = per_query(tables, Fitted(*every), pairs, asked.split, corrected=True)
    print(json.dumps({"split": asked.split, "weights": mixed.weights, "powers": powers}))
    compared = "ridge"
    for name, rows in found.items():
        line = {"row": name, "compared_with": compared}
        for direction in DIRECTIONS:
            relevance = pairs.relevance(direction, asked.split)
            difference = rows[direction] - found[compared][direction]
            low, high = statistics.interval(difference, relevance.group, resamples=1000, seed=0)
            line[direction] = [round(100 * v, 1) for v in (rows[direction].mean(), difference.mean(), low, high)]
        print(json.dumps(line))
        compared = name


def per_query(tables, fitted: Fitted, pairs, split: str, corrected: bool = False) -> dict[str, np.ndarray]:
    """hit@10 of every query, by direction."""
    z = [heads.apply(head, table.vectors) for head, table in zip((fitted.left_head, fitted.right_head), tables,
                                                                 strict=True)]  # fmt: skip
    projected, found = Projected(*tables, pairs, *z, fitted.left_head), {}
    for direction in DIRECTIONS:
        queries, candidates = projected.sides(direction)
        relevance = pairs.relevance(direction, split)
        chosen = hubness.choose(projected, direction).correction if corrected else None
        ranks = chosen.ranks if chosen else scores.ranks
        found[direction] = measures.parse("hit@10").per_query(ranks(queries, candidates, relevance), relevance.offsets)
    return found


if __name__ == "__main__":
    main()

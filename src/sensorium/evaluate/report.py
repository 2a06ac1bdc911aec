"""Judging a fit on held-out items: numbers with intervals, the closed forms beside them, a plain verdict."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sensorium import evaluate, parts
from sensorium.errors import SensoriumError
from sensorium.evaluate import breakdown, classification, compare, figures, modality_gap, posthoc
from sensorium.pairs import SPLITS, Pairs
from sensorium.recipe import Recipe
from sensorium.types import Data, Embeddings, Rows


def judge(
    plan: Recipe,
    data: Data,
    left: Embeddings,
    right: Embeddings | None,
    pairs: Pairs,
    zl: Rows,
    zr: Rows,
    folder: Path,
) -> dict[str, Any]:
    """What metrics.json says about the quality of two fitted heads.

    zl (n, d), zr (m, d): head outputs of the whole tables. Ranks of each query are kept in
    ``per_query.npz`` beside the metrics, so that two runs can be compared query by query.
    """
    keys = plan.values["evaluate"]
    leaks = posthoc.audit(plan, data, left, right, pairs)
    corrections, hubness = posthoc.correct(plan, pairs, zl, zr, folder)
    every = classification.known(pairs)
    judged = {
        split: evaluate.per_query(zl, zr, pairs, split, keys["directions"], corrections, every)
        for split in ("validation", "test")
    }
    rows = {
        split: evaluate.results(one, keys["measures"], plan.seed, keys["resamples"]) for split, one in judged.items()
    }
    names = class_names(data, judged["test"], pairs)
    if names is not None:
        forth = {split: one["left->right"] for split, one in judged.items()}
        said = {
            split: classification.predictions(one, zl, zr, corrections.get("left->right"))
            for split, one in forth.items()
        }
        for split, one in forth.items():
            rows[split] += classification.results(one, *said[split], plan.seed, keys["resamples"])
    # The closed forms beside it are not corrected for hubness, so the comparison is without.
    raw = judged["test"]
    if corrections:
        raw = evaluate.per_query(zl, zr, pairs, "test", keys["directions"], among=every)
    other = left if right is None else right
    told = {
        "results": rows["test"] if leaks is None else leaks.stamp(rows["test"]),
        "validation": rows["validation"],
        "uncorrected": evaluate.results(raw, keys["measures"], plan.seed, keys["resamples"]) if corrections else [],
        "pairs": count_pairs(pairs),
        "baselines": baselines(plan, left, other, pairs, raw),
        "leaks": {} if leaks is None else leaks.to_dict(),
        "hubness": hubness,
        "calibration": posthoc.calibrate(plan, pairs, zl, zr, corrections, folder),
    }
    told["verdict"] = verdict(plan, told["baselines"])
    ids = (left.ids, other.ids)
    told["failures"] = []
    for one in judged["test"].values():
        query_ids, candidate_ids = ids if one.direction == "left->right" else ids[::-1]
        told["failures"] += breakdown.failures(one, zl, zr, query_ids, candidate_ids)
    told["breakdown"] = worst_groups(judged["test"], pairs, plan)
    if names is not None:
        told["classes"] = classification.table(*said["test"], names)
        worst = classification.by_group(*said["test"], forth["test"].group, pairs.group_names)
        told["breakdown"] = {"direction": "left->right", "measure": "WA", "worst": worst}
    if left.offsets is None and (right is None or right.offsets is None):
        told["gap"] = modality_gap.before_and_after(left.vectors, other.vectors, zl, zr, pairs)
    compare.save(folder / compare.FILE, [one for both in judged.values() for one in both.values()], *ids)
    if keys["plots"]:
        figures.draw(folder, judged["test"], zl, zr, pairs, leaky=bool(leaks and leaks.leaky),
                      class_table=told.get("classes"), calibration=told["calibration"], seed=plan.seed)  # fmt: skip
    return told


def class_names(data: Data, judged: Mapping[str, evaluate.Judged], pairs: Pairs) -> list[str] | None:
    """What the judged candidates are called where the right side is a class table; None where it is not."""
    if "left->right" not in judged or not classification.is_class_table(pairs):
        return None
    of = data.right.values if data.right.kind == "text" else data.right.ids
    return [str(of[row]) for row in judged["left->right"].relevance.candidates.tolist()]


def worst_groups(judged: Mapping[str, evaluate.Judged], pairs: Pairs, plan: Recipe) -> dict[str, Any]:
    """The groups of the first direction with several queries each, worst first; empty where groups are single."""
    one = next(iter(judged.values()))
    if len(np.unique(one.group)) > len(one.group) / 2:
        return {}
    rows = breakdown.by_group(one, "hit@10", pairs.group_names, least=2, resamples=200, seed=plan.seed)
    return (
        {"direction": one.direction, "measure": "hit@10", "worst": rows[:10], **breakdown.spread(rows)} if rows else {}
    )


def count_pairs(pairs: Pairs) -> dict[str, dict[str, int]]:
    """Pairs, groups and items of each split."""
    counts = {}
    for split in SPLITS:
        part = pairs.where(split)
        counts[split] = {
            "pairs": len(part),
            "related": int((part.label == 1).sum()),
            "groups": len(np.unique(part.group)),
            "left": len(np.unique(part.left)),
            "right": len(np.unique(part.right)),
        }
    return counts


def baselines(
    plan: Recipe, left: Embeddings, right: Embeddings, pairs: Pairs, judged: Mapping[str, evaluate.Judged]
) -> dict[str, Any]:
    """The closed forms on the same split, each with its numbers and its paired difference to the fit.

    judged: the fit's own test split without correction, as the baselines have none either.
    ``advantage`` is mean reciprocal rank of the fit minus the baseline's, averaged over both
    directions, with a bootstrap interval over groups. A baseline that does not apply says why.
    """
    from sensorium.fitting import closed_form

    keys = plan.values["evaluate"]
    names = [name for name in keys["baselines"] if name != plan.part_name("objective")]
    objectives = {name: parts.make("objectives", name, "evaluate.baselines") for name in names}
    identity = parts.find("heads", "identity")
    needs = tuple({need for objective in objectives.values() for need in objective.needs})
    told: dict[str, Any] = {}
    moments = None
    for name, objective in objectives.items():
        try:
            if moments is None:  # one pass over the pairs serves them all
                moments = closed_form.moments_between(left, right, pairs, identity(), identity(), needs)
            fitted = closed_form.solve(left, right, pairs, identity(), identity(), objective, moments)
        except SensoriumError as error:
            told[name] = {"not_applicable": str(error)}
            continue
        test = pairs.where("test")
        left_rows, right_rows = (
            (np.concatenate([test.left, test.right]),) * 2 if pairs.same_table else (test.left, test.right)
        )
        every = classification.known(pairs)
        right_rows = right_rows if every is None else np.concatenate([right_rows, every])
        zl, zr = some_rows(fitted.left_head, left, left_rows), some_rows(fitted.right_head, right, right_rows)
        other = evaluate.per_query(zl, zr, pairs, "test", keys["directions"], among=every)
        told[name] = {
            "results": evaluate.results(other, keys["measures"], plan.seed, keys["resamples"]),
            "advantage": advantage(judged, other, plan.seed, keys["resamples"]),
        }
    return told


def some_rows(module: Any, table: Embeddings, rows: np.ndarray) -> np.ndarray:
    """A table through a head where ``rows`` need it, (n, d) float32, and zeros elsewhere."""
    from sensorium import heads

    rows = np.unique(rows)
    z = np.zeros((len(table), module.dim), np.float32)
    z[rows] = heads.apply(module, table.vectors, rows)
    return z


def advantage(
    ours: Mapping[str, evaluate.Judged], theirs: Mapping[str, evaluate.Judged], seed: int, resamples: int
) -> dict[str, float]:
    """Paired difference of mean reciprocal rank over the queries of both directions, and its p-value."""
    values = [np.concatenate([one[d].reciprocal for d in ours]) for one in (theirs, ours)]
    found = compare.paired(*values, np.concatenate([ours[d].group for d in ours]), "mean", resamples, seed)
    return {"MRR": found.difference, "low": found.low, "high": found.high, "p": found.p}


def verdict(plan: Recipe, told: Mapping[str, Any]) -> str:
    """One plain sentence: did the fit beat the best closed form on the test split?"""
    beside = {name: b["advantage"] for name, b in told.items() if "advantage" in b}
    if not beside:
        return "No closed form was run beside it."
    best = min(beside, key=lambda name: beside[name]["MRR"])
    by = beside[best]
    points = f"{100 * by['MRR']:+.1f} MRR points [{100 * by['low']:+.1f}, {100 * by['high']:+.1f}]"
    objective = plan.part_name("objective")
    if by["low"] > 0:
        return f"{objective} beats the best closed form beside it, {best}, by {points}."
    if by["high"] < 0:
        return f"{objective} did not help: {best} is better, {points}. Type: objective={best}"
    return f"{objective} did not help measurably: against {best} {points}, an interval that includes 0."

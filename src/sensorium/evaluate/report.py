"""Everything metrics.json says about the quality of a fit: start reading at :func:`report`.

Numbers with intervals, the closed forms beside them, leaks, hubness, calibration, figures, and a verdict in one
plain sentence.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sensorium import evaluate
from sensorium.errors import SensoriumError
from sensorium.evaluate import (
    breakdown,
    classification,
    compare,
    degenerate,
    figures,
    modality_gap,
    posthoc,
    protocols,
    statistics,
)
from sensorium.evaluate.options import EvaluateOptions
from sensorium.evaluate.projected import Projected
from sensorium.numerics import unit
from sensorium.pairs import SPLITS, Pairs
from sensorium.types import Data, Rows, side_names

#: Name, among the baselines, of the ensemble that the heads were distilled from: it is no closed form.
ENSEMBLE = "ensemble"
OF_LABELS = "mAP@10"  # decides where rows are related by a label: over all relevant ones
#: Name of the baseline of two encoders of one space: their vectors as they are, without a fit.
FROZEN = "frozen"
IDENTITY = "left.head=identity right.head=identity"
#: Closed forms by name: their head outputs, or why they do not apply. See :mod:`sensorium.fitting.baselines`.
Baselines = Iterable[tuple[str, tuple[Rows, Rows] | SensoriumError]]


@dataclass(frozen=True)
class Ranked:
    """Ranks of both held-out splits, by split and direction, and the classes where the right side is a class table.

    every: right rows (c,) of a class table, which are candidates in every split. names: their names.
    predicted: by split, true and predicted class of each left query. uncorrected: the test split without a hubness
    correction, which is ``splits["test"]`` where there is none.
    """

    splits: Mapping[str, Mapping[str, evaluate.Ranking]]
    uncorrected: Mapping[str, evaluate.Ranking]
    every: np.ndarray | None
    names: list[str] | None
    predicted: Mapping[str, tuple[np.ndarray, np.ndarray]]

    @property
    def test(self) -> Mapping[str, evaluate.Ranking]:
        """The test split, by direction."""
        return self.splits["test"]


def report(
    data: Data,
    projected: Projected,
    options: EvaluateOptions,
    folder: Path,
    *,
    objective: str,
    baselines: Baselines = (),
) -> dict[str, Any]:
    """What metrics.json says about the quality of two fitted heads.

    objective: name of what was fitted, for the verdict. Ranks of each query are stored in ``per_query.npz``
    beside the metrics, so that two runs can be compared query by query.
    """
    options = options if projected.pairs.classes is None else options.for_classes()
    leaks = posthoc.audit(data, projected, options)
    corrections, hubness = posthoc.correct(projected, options, folder)
    ranked = rank(data, projected, options, corrections)
    names = side_names(data.left, data.right)
    empty = degenerate.findings(projected, ranked.test, names)
    rows = {split: results(ranked, split, options) for split in ranked.splits}
    named = measured_by_protocol(data, projected, options, corrections, folder / "plots")
    metrics: dict[str, Any] = {
        "results": _mark(rows["test"] if leaks is None else leaks.stamp(rows["test"]), empty),
        "validation": rows.get("validation", []),
        "uncorrected": [],
        "pairs": count_pairs(projected.pairs),
        "baselines": compare_baselines(baselines, projected, ranked, options, named),
        "leaks": {} if leaks is None else leaks.to_dict(),
        "hubness": hubness,
        "calibration": posthoc.calibrate(projected, options, corrections, folder),
        "failures": failures(projected, ranked),
        **groups_and_classes(projected.pairs, ranked, options),
    }
    if corrections:
        metrics["uncorrected"] = evaluate.results(ranked.uncorrected, options.measures, options.seed, options.resamples)
    decides = named.decides or (OF_LABELS if projected.pairs.classes is not None else "")
    metrics["verdict"] = degenerate.statement(empty) or (
        verdict(objective, metrics["baselines"], decides) + few_groups(ranked.test, named)
    )
    if empty:
        metrics["degenerate"] = empty
    if options.protocol is not None:
        add_protocol(metrics, named, options.protocol)
    if projected.left.offsets is None and projected.right.offsets is None:
        vectors = projected.left.vectors, projected.right.vectors
        metrics["gap"] = modality_gap.before_and_after(*vectors, projected.zl, projected.zr, projected.pairs)
    both = [one for split in ranked.splits.values() for one in split.values()]
    compare.save(folder / compare.FILE, both, projected.left.ids, projected.right.ids, named.values)
    if options.plots:
        draw(folder, projected, ranked, metrics, options, names)
    return metrics


def rank(data: Data, projected: Projected, options: EvaluateOptions, corrections: Mapping[str, Any]) -> Ranked:
    """Ranks of the validation and test splits, and class predictions where the right side is a class table.

    A run that was imported may have no validation split.
    """
    p, every = projected, classification.known(projected.pairs)
    splits = {
        split: evaluate.per_query(p.zl, p.zr, p.pairs, split, options.directions, corrections, every)
        for split in ("validation", "test")
        if split == "test" or (p.pairs.where(split).label == 1).any()
    }
    # Baselines are not corrected for hubness, so they are compared with the fit's ranks without correction.
    uncorrected = splits["test"]
    if corrections:
        uncorrected = evaluate.per_query(p.zl, p.zr, p.pairs, "test", options.directions, among=every)
    names, predicted = class_names(data, splits["test"], p.pairs), {}
    if names is not None:
        predicted = {
            split: classification.predictions(one["left->right"], p.zl, p.zr, corrections.get("left->right"))
            for split, one in splits.items()
        }
    return Ranked(splits, uncorrected, every, names, predicted)


def results(ranked: Ranked, split: str, options: EvaluateOptions) -> list[dict[str, Any]]:
    """Result rows of one split: retrieval measures, and those of classification for a class table."""
    rows = evaluate.results(ranked.splits[split], options.measures, options.seed, options.resamples)
    if ranked.names is not None:
        one = ranked.splits[split]["left->right"]
        rows += classification.results(one, *ranked.predicted[split], options.seed, options.resamples)
    return rows


def compare_baselines(
    baselines: Baselines, projected: Projected, ranked: Ranked, options: EvaluateOptions, named: protocols.Report
) -> dict[str, Any]:
    """The closed forms on the test split, each with its numbers and its paired difference to the fit.

    ``advantage`` is mean reciprocal rank of the fit minus the baseline's, averaged over both directions, with a
    bootstrap interval over groups; ``protocol_advantage`` the same of the measure that decides in the recipe's
    protocol, or :data:`OF_LABELS` where rows are related by a label. A baseline that does not apply says why.
    """
    found: dict[str, Any] = {}
    for name, outputs in baselines:
        if isinstance(outputs, SensoriumError):
            found[name] = {"not_applicable": str(outputs)}
            continue
        other = evaluate.per_query(*outputs, projected.pairs, "test", options.directions, among=ranked.every)
        found[name] = {
            "results": evaluate.results(other, options.measures, options.seed, options.resamples),
            "advantage": advantage(ranked.uncorrected, other, options.seed, options.resamples),
        }
        if projected.pairs.classes is not None:  # the first of many relevants says little
            by = advantage(ranked.uncorrected, other, options.seed, options.resamples, OF_LABELS)
            found[name]["protocol_advantage"] = by
        composes = projected.head is not None and projected.head.takes_sets
        if name != FROZEN and not (name == ENSEMBLE and composes):  # what composes is not known by its outputs
            _by_protocol(found[name], named, outputs, options)
    one_table = projected.pairs.same_table and projected.left.offsets is None
    if options.baselines and named.beside is not None and one_table:
        frozen = unit(np.asarray(projected.left.vectors))
        _by_protocol(found.setdefault(FROZEN, {}), named, (frozen, frozen), options)
    return found


def _by_protocol(
    record: dict[str, Any], named: protocols.Report, outputs: tuple[Rows, Rows], options: EvaluateOptions
) -> None:
    """Add to a baseline's record what the recipe's protocol says of its outputs."""
    if named.beside is None:
        return
    rows, values = named.beside(*outputs)
    mine = {(row["direction"], row["measure"]) for row in rows}
    before = [row for row in record.get("results", ()) if (row["direction"], row["measure"]) not in mine]
    record["results"] = [*before, *rows]
    ours, theirs = ({one.measure: one for one in each} for each in (named.plain or named.values, values))
    if named.decides in ours and named.decides in theirs:
        one = ours[named.decides]
        by = compare.paired(theirs[named.decides].value, one.value, one.group, "mean", options.resamples, options.seed)
        record["protocol_advantage"] = {named.decides: by.difference, "low": by.low, "high": by.high, "p": by.p}


def measured_by_protocol(
    data: Data, projected: Projected, options: EvaluateOptions, corrections: Mapping[str, Any], plots: Path
) -> protocols.Report:
    """What the recipe's protocol measures on the test split; nothing where it names none."""
    if options.protocol is None:
        return protocols.Report([])
    protocol = protocols.find(options.protocol)
    protocol.check(data)
    return protocol.report(data, projected, options, corrections, plots)


def add_protocol(metrics: dict[str, Any], found: protocols.Report, name: str) -> None:
    """Add what the protocol of this name measured to the metrics.

    ``protocol`` holds all of it. Measures that the results lack are added to them, and baselines to the baselines,
    so that whatever shows these shows the protocol too.
    """
    leaky = {"leaky": True} if metrics["leaks"].get("leaky") else {}
    rows = [{**row, **statistics.few(row["n_groups"]), **leaky} for row in found.results]
    asked = {(row["direction"], row["measure"]) for row in rows}
    beside = {name: [row for row in record.get("results", ()) if (row["direction"], row["measure"]) in asked]
              for name, record in metrics["baselines"].items()} if found.beside else {}  # fmt: skip
    beside |= found.baselines
    metrics["protocol"] = {
        "name": name,
        "about": protocols.names()[name],
        "results": rows,
        "baselines": {name: each for name, each in beside.items() if each},
        "notes": found.notes,
        "figures": found.figures,
        **({"breakdown": found.breakdown} if found.breakdown else {}),
        **({"confusion": found.confusion} if found.confusion else {}),
    }
    there = {(row["direction"], row["measure"]) for row in metrics["results"]}
    own = {(row["direction"], row["measure"]): row for row in rows}
    metrics["results"] = [{**row, **_where_other(own.get((row["direction"], row["measure"])), row, name)}
                          for row in metrics["results"]]  # fmt: skip
    chances = {(row["direction"], row["measure"]): {"chance": row["chance"]} for row in rows if "chance" in row}
    metrics["results"] = [{**row, **chances.get((row["direction"], row["measure"]), {})} for row in metrics["results"]]
    metrics["results"] = [
        *metrics["results"],
        *({**row, "protocol": name} for row in rows if (row["direction"], row["measure"]) not in there),
    ]
    metrics["baselines"] |= {name: {"results": list(each)} for name, each in found.baselines.items()}


def _where_other(named: Mapping[str, Any] | None, row: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A protocol's row in place of one of the same measure with another value; nothing where they are equal."""
    return {} if named is None or named["value"] == row["value"] else {**named, "protocol": name}


def few_groups(ranked: Mapping[str, evaluate.Ranking], named: protocols.Report) -> str:
    """What the verdict adds where its interval rests on few groups; empty where there are enough."""
    decides = [row["n_groups"] for row in named.results if row["measure"] == named.decides]
    groups = min(decides or (len(np.unique(one.group)) for one in ranked.values()))
    if groups >= statistics.FEW:
        return ""
    return f" Measured on {groups} group{'s' * (groups > 1)} only: the interval is too narrow to be believed."


def groups_and_classes(pairs: Pairs, ranked: Ranked, options: EvaluateOptions) -> dict[str, Any]:
    """The worst groups of the test split; for a class table also recall of each class and its confusion counts."""
    if ranked.names is None:
        return {"breakdown": worst_groups(ranked.test, pairs, options)}
    predicted = ranked.predicted["test"]
    worst = classification.by_group(*predicted, ranked.test["left->right"].group, pairs.group_names)
    return {
        "breakdown": {"direction": "left->right", "measure": "WA", "worst": worst},
        "classes": classification.table(*predicted, ranked.names),
    }


def draw(
    folder: Path,
    projected: Projected,
    ranked: Ranked,
    metrics: Mapping[str, Any],
    options: EvaluateOptions,
    names: Mapping[str, str] | None = None,
) -> None:
    """The figures that the metrics support, into ``folder``/plots. names: of the sides."""
    p = projected
    figures.draw(folder, ranked.test, p.zl, p.zr, p.pairs, leaky=bool(metrics["leaks"].get("leaky")),
                 class_table=metrics.get("classes"), calibration=metrics["calibration"], seed=options.seed,
                 names=names)  # fmt: skip


def class_names(data: Data, ranked: Mapping[str, evaluate.Ranking], pairs: Pairs) -> list[str] | None:
    """Names of the candidates where the right side is a class table; None where it is not."""
    if "left->right" not in ranked or not classification.is_class_table(pairs):
        return None
    of = data.right.values if data.right.kind == "text" else data.right.ids
    return [str(of[row]) for row in ranked["left->right"].relevance.candidates.tolist()]


def failures(projected: Projected, ranked: Ranked) -> list[dict[str, Any]]:
    """The queries of the test split whose first relevant ranks lowest, by id."""
    found = []
    for direction, one in ranked.test.items():
        found += breakdown.failures(one, projected.zl, projected.zr, *projected.ids(direction))
    return found


def worst_groups(ranked: Mapping[str, evaluate.Ranking], pairs: Pairs, options: EvaluateOptions) -> dict[str, Any]:
    """The groups of the first direction with several queries each, worst first; empty where groups are single."""
    one = next(iter(ranked.values()))
    if len(np.unique(one.group)) > len(one.group) / 2:
        return {}
    rows = breakdown.by_group(one, "hit@10", pairs.group_names, least=2, resamples=200, seed=options.seed)
    return (
        {"direction": one.direction, "measure": "hit@10", "worst": rows[:10], **breakdown.spread(rows)} if rows else {}
    )


def count_pairs(pairs: Pairs) -> dict[str, dict[str, int]]:
    """Pairs, groups and items of each split."""
    counts = {}
    for split in SPLITS:
        part = pairs.where(split)
        related = part.label == 1 if pairs.classes is None else pairs.relevance("left->right", split).counts()
        counts[split] = {
            "pairs": len(part),
            "related": int(related.sum()),
            "groups": len(np.unique(part.group)),
            "left": len(np.unique(part.left)),
            "right": len(np.unique(part.right)),
        }
    return counts


def advantage(
    ours: Mapping[str, evaluate.Ranking],
    theirs: Mapping[str, evaluate.Ranking],
    seed: int,
    resamples: int,
    measure: str = "MRR",
) -> dict[str, float]:
    """Paired difference of a measure's mean over the queries of both directions, and its p-value."""
    values = [np.concatenate([one[d].values(measure) for d in ours]) for one in (theirs, ours)]
    found = compare.paired(*values, np.concatenate([ours[d].group for d in ours]), "mean", resamples, seed)
    return {measure: found.difference, "low": found.low, "high": found.high, "p": found.p}


def verdict(objective: str, baselines: Mapping[str, Any], decides: str = "") -> str:
    """One plain sentence: did the fit beat the best closed form, or the encoders alone, on the test split?

    decides: the measure by which that is said, where it is not mean reciprocal rank: that of the recipe's protocol, or
    :data:`OF_LABELS`.
    """
    key, measure = ("protocol_advantage", decides) if decides else ("advantage", "MRR")
    beside = {name: b[key] for name, b in baselines.items() if key in b and name != ENSEMBLE}
    if not beside:
        return "No closed form was run beside it."
    best = min(beside, key=lambda name: beside[name][measure])
    by = beside[best]
    points = f"{100 * by[measure]:+.1f} {measure} points [{100 * by['low']:+.1f}, {100 * by['high']:+.1f}]"
    frozen = best == FROZEN
    called = "the encoders alone, without a fit," if frozen else best
    if by["low"] > 0:
        best_of = called if frozen else f"the best closed form beside it, {best},"
        return f"{objective} beats {best_of} by {points}."
    if by["high"] < 0:
        if frozen:
            return f"{objective} did not help: {called} are better, {points}. Type: {IDENTITY}"
        return f"{objective} did not help: {best} is better, {points}. Type: objective={best}"
    return f"{objective} did not help measurably: against {called} {points}, an interval that includes 0."


def _mark(rows: list[dict[str, Any]], empty: Mapping[str, list[str]]) -> list[dict[str, Any]]:
    """Result rows with ``degenerate: true`` on those of a direction whose numbers say nothing."""
    return [row | {"degenerate": True} if row["direction"] in empty else row for row in rows]

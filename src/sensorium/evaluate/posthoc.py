"""What a searcher may believe: leaks, hubness corrections, probabilities, promises; settled on validation only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sensorium import io, scores
from sensorium.errors import SensoriumError
from sensorium.evaluate import (
    calibration,
    classification,
    conformal,
    duplicates,
    hubness,
    hubness_corrections,
    leaks,
    selective,
)
from sensorium.evaluate.hubness_corrections import Correction
from sensorium.pairs import Pairs, Relevance
from sensorium.recipe import Recipe
from sensorium.types import Data, Embeddings, Rows

FILE = "trust.json"
HITS = 10  # of each query, that calibration learns from
RISK = 0.1  # of a wrong first answer, that "no match" keeps to
COVERAGE = 0.9  # of the top sets


def audit(plan: Recipe, data: Data, left: Embeddings, right: Embeddings | None, pairs: Pairs) -> leaks.Leaks | None:
    """The leak audit of the test split, on vectors and content; None when the recipe says "off"."""
    policy = plan.values["evaluate"]["leaks"]
    leaks.check_policy(policy)
    if policy == "off":
        return None
    sides: dict[str, Any] = {}
    for side, items, table in (("left", data.left, left), ("right", data.right, right)):
        if items is not None and table is not None:
            # Frames of one item are not comparable row by row; their content still is.
            sides[side] = table.vectors if table.offsets is None else None
            sides[f"{side}_content"] = duplicates.content_hashes(items.values, items.kind)
            sides[f"{side}_ids"] = items.ids
    report = leaks.audit(pairs, **sides)
    if classification.is_class_table(pairs):  # that every split has the same classes is what makes them classes
        told = tuple(f for f in report.findings if (f.kind, f.side) != ("known_row", "right"))
        report = replace(report, findings=told)
    return report.enforce(policy)


def correct(
    plan: Recipe, pairs: Pairs, zl: Rows, zr: Rows, folder: Path
) -> tuple[dict[str, Correction], dict[str, Any]]:
    """The hubness correction of each direction that validation asks for, saved with the run; and what was tried."""
    keys = plan.values["evaluate"]
    chosen: dict[str, Correction] = {}
    told: dict[str, Any] = {}
    for direction in keys["directions"]:
        if keys["correction"] == "none":
            continue
        methods = {} if keys["correction"] == "auto" else {"methods": (keys["correction"],)}
        choice = hubness.choose(zl, zr, pairs, direction, seed=plan.seed, resamples=keys["resamples"], **methods)
        if choice.correction is not None:
            chosen[direction] = choice.correction
        told[direction] = {
            "tried": choice.tried,
            "chosen": choice.correction.method if choice.correction else "none",
            "before": hubness.report(zl, zr, pairs, direction),
            "after": hubness.report(zl, zr, pairs, direction, correction=choice.correction),
        }
    hubness_corrections.save(chosen, folder)
    return chosen, told


def calibrate(
    plan: Recipe, pairs: Pairs, zl: Rows, zr: Rows, chosen: Mapping[str, Correction], folder: Path
) -> dict[str, Any]:
    """Probabilities and promises for the hits of a search over the whole index.

    Fitted on validation queries, verified on test queries, both among every indexed item, as a
    search is. Written to ``trust.json``; a direction where it does not apply says why.
    """
    keys = plan.values["evaluate"]
    kept: dict[str, Any] = {}
    told: dict[str, Any] = {}
    if keys["calibrate"]:
        for direction in keys["directions"]:
            try:
                kept[direction], told[direction] = _calibrate(plan, pairs, zl, zr, direction, chosen.get(direction))
            except SensoriumError as error:
                told[direction] = {"not_applicable": str(error)}
    io.write_json(folder / FILE, kept)
    return told


def _calibrate(
    plan: Recipe, pairs: Pairs, zl: Rows, zr: Rows, direction: str, correction: Correction | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    fit_on, check_on = (Hits(pairs, zl, zr, direction, split, correction) for split in ("validation", "test"))
    each = np.repeat(fit_on.group, fit_on.scores.shape[1])
    probability = calibration.choose(fit_on.scores.ravel(), fit_on.right.ravel(), each, plan.seed)
    one = conformal.one_per_group(fit_on.group, plan.seed)
    no_match = selective.threshold(fit_on.scores[one, 0], fit_on.right[one, 0], RISK)
    top = conformal.top_set(-fit_on.first.astype(np.float64), fit_on.first, COVERAGE, fit_on.group, plan.seed)
    answered = no_match.accepts(check_on.scores[:, 0])
    some = conformal.one_per_group(check_on.group, plan.seed)
    kept = {
        "probability": calibration.to_dict(probability),
        "no_match": no_match.to_dict(),
        "top_set": {"coverage": top.coverage, "n": top.n, "k": top.k or None},
    }
    covered = check_on.first[some] <= top.k if top.k else np.ones(len(some), bool)
    told = {
        **kept,
        "test": calibration.summary(probability(check_on.scores).ravel(), check_on.right.ravel()),
        "test_answered": float(answered.mean()),
        "test_wrong_among_answered": float(1 - check_on.right[answered, 0].mean()) if answered.any() else None,
        "test_coverage": conformal.verify(covered, COVERAGE),
    }
    return kept, told


class Hits:
    """The first hits of a split's queries among all indexed items.

    scores, right (q, k): score of each hit and whether it is a relevant. first (q,): rank of the
    first relevant. group (q,).
    """

    def __init__(
        self, pairs: Pairs, zl: Rows, zr: Rows, direction: str, split: str, correction: Correction | None
    ) -> None:
        queries, candidates = (zl, zr) if direction == "left->right" else (zr, zl)
        relevance = among_all(pairs.relevance(direction, split), len(candidates))
        q = np.asarray(queries[relevance.queries], np.float32)
        k = min(HITS, len(candidates) - 1)
        find, rank = scores.topk, scores.ranks
        if correction is not None:
            shift = correction.shift(candidates)
            find, rank = partial(correction.topk, shift=shift), partial(correction.ranks, shift=shift)
        positions, self.scores = find(q, candidates, k, own=relevance.own)
        owner = np.repeat(np.arange(len(q)), relevance.counts())
        width = len(candidates) + 1
        self.right = np.isin(np.arange(len(q))[:, None] * width + positions, owner * width + relevance.relevant)
        ranks = rank(queries, candidates, relevance)
        self.first = np.minimum.reduceat(ranks, relevance.offsets[:-1])
        self.group = relevance.group


def among_all(relevance: Relevance, m: int) -> Relevance:
    """The same queries and relevants with every one of m rows as candidate."""
    own = np.where(relevance.own >= 0, relevance.candidates[relevance.own], -1)
    return replace(relevance, candidates=np.arange(m), relevant=relevance.candidates[relevance.relevant], own=own)

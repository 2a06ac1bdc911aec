"""What is chosen after the fit, on validation only: leak audit, hubness correction, calibrated probabilities."""

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
from sensorium.evaluate.hubness_methods import METHODS
from sensorium.evaluate.options import EvaluateOptions
from sensorium.evaluate.projected import Projected
from sensorium.numerics import freed_memory
from sensorium.pairs import Relevance
from sensorium.types import Data, side_names

FILE = "trust.json"
HITS = 10  # of each query, that calibration learns from
RISK = 0.1  # largest error rate among the first hits above the rejection threshold
COVERAGE = 0.9  # of the top sets


def audit(data: Data, projected: Projected, options: EvaluateOptions) -> leaks.Leaks | None:
    """The leak audit of the test split, on vectors and content; None when the option says "off"."""
    leaks.check_policy(options.leaks)
    if options.leaks == "off":
        return None
    pairs = projected.pairs
    sides: dict[str, Any] = {}
    for side, items, table in (("left", data.left, projected.left), ("right", data.right, projected.right)):
        if items is not None:
            # Frames of one item are not comparable row by row; their content still is.
            sides[side] = table.vectors if table.offsets is None else None
            sides[f"{side}_content"] = duplicates.content_hashes(items.values, items.kind)
            sides[f"{side}_ids"] = items.ids
    report = leaks.audit(pairs, **sides, names=side_names(data.left, data.right))
    freed_memory.after(data.left, data.right)
    if classification.is_class_table(pairs):  # that every split has the same classes is what makes them classes
        findings = tuple(f for f in report.findings if (f.kind, f.side) != ("known_row", "right"))
        report = replace(report, findings=findings)
    return report.enforce(options.leaks)


def correct(
    projected: Projected, options: EvaluateOptions, folder: Path
) -> tuple[dict[str, Correction], dict[str, Any]]:
    """The hubness correction of each direction that helps on validation, saved with the run; and what was tried."""
    chosen: dict[str, Correction] = {}
    tried: dict[str, Any] = {}
    here = {split for split in ("train", "validation") if (projected.pairs.where(split).label == 1).any()}
    unasked = options.correction == "none" or (options.correction == "auto" and len(here) < 2)  # of an imported run
    for direction in () if unasked else options.directions:
        methods = tuple(METHODS) if options.correction == "auto" else (options.correction,)
        choice = hubness.choose(projected, direction, methods, options.seed, options.resamples)
        if choice.correction is not None:
            chosen[direction] = choice.correction
        tried[direction] = {
            "tried": choice.tried,
            "chosen": choice.correction.method if choice.correction else "none",
            "before": hubness.report(projected, direction),
            "after": hubness.report(projected, direction, correction=choice.correction),
        }
    hubness_corrections.save(chosen, folder)
    return chosen, tried


def calibrate(
    projected: Projected, options: EvaluateOptions, corrections: Mapping[str, Correction], folder: Path
) -> dict[str, Any]:
    """Calibrated probabilities, rejection threshold and top sets for the hits of a search over the whole index.

    Fitted on validation queries, verified on test queries, both among every indexed item, as a search is.
    Written to ``trust.json``; a direction where it does not apply says why.
    """
    fitted: dict[str, Any] = {}
    verified: dict[str, Any] = {}
    for direction in options.directions if options.calibrate else ():
        try:
            correction = corrections.get(direction)
            fitted[direction], verified[direction] = _calibrate(projected, direction, correction, options.seed)
        except SensoriumError as error:
            verified[direction] = {"not_applicable": str(error)}
    io.write_json(folder / FILE, fitted)
    return verified


def _calibrate(
    projected: Projected, direction: str, correction: Correction | None, seed: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    fit_on, check_on = (Hits(projected, direction, split, correction) for split in ("validation", "test"))
    each = np.repeat(fit_on.group, fit_on.scores.shape[1])
    probability = calibration.choose(fit_on.scores.ravel(), fit_on.right.ravel(), each, seed)
    one = conformal.one_per_group(fit_on.group, seed)
    no_match = selective.threshold(fit_on.scores[one, 0], fit_on.right[one, 0], RISK)
    top = conformal.top_set(-fit_on.first.astype(np.float64), fit_on.first, COVERAGE, fit_on.group, seed)
    answered = no_match.accepts(check_on.scores[:, 0])
    some = conformal.one_per_group(check_on.group, seed)
    fitted = {
        "probability": calibration.to_dict(probability),
        "no_match": no_match.to_dict(),
        "top_set": {"coverage": top.coverage, "n": top.n, "k": top.k or None},
    }
    covered = check_on.first[some] <= top.k if top.k else np.ones(len(some), bool)
    verified = {
        **fitted,
        "test": calibration.summary(probability(check_on.scores).ravel(), check_on.right.ravel()),
        "test_answered": float(answered.mean()),
        "test_wrong_among_answered": float(1 - check_on.right[answered, 0].mean()) if answered.any() else None,
        "test_coverage": conformal.verify(covered, COVERAGE),
    }
    return fitted, verified


class Hits:
    """The first hits of a split's queries among all indexed items.

    scores, right (q, k): score of each hit and whether it is a relevant. first (q,): rank of the
    first relevant. group (q,).
    """

    def __init__(self, projected: Projected, direction: str, split: str, correction: Correction | None) -> None:
        queries, candidates = projected.sides(direction)
        relevance = among_all(projected.pairs.relevance(direction, split), len(candidates))
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

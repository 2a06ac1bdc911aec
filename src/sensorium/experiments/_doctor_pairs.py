"""Pairs that look mispaired and items that look mislabelled, with how sure that is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from sensorium.evaluate.mispairing import UNUSUAL, Mixture, mixture, of_evidence
from sensorium.fitting import out_of_fold, out_of_fold_classes
from sensorium.fitting.out_of_fold import Scored
from sensorium.fitting.out_of_fold_classes import ClassScores
from sensorium.objectives._class_codes import class_table
from sensorium.pairs import Pairs
from sensorium.types import SIDES, Data, Embeddings, blocks

LISTED = 0.05  # probability from which a pair is listed
MOST = 20_000  # findings of a kind that are listed
SURE = 0.5  # probability from which one is likely
PLANTED = 0.05  # share of the pairs that are shuffled on purpose, to see how many of them are found
_BLOCK = 256
Advance = Callable[[int], None]
Found = tuple[list[dict[str, Any]], list[dict[str, Any]]]  #: summaries, one of each check; findings


def work(left: Embeddings, right: Embeddings, pairs: Pairs) -> int:
    """How many pairs and items :func:`check` will score."""
    return int((pairs.label == 1).sum()) * (2 if pairs.classes is not None else 1)


def check(data: Data, left: Embeddings, right: Embeddings, pairs: Pairs, seed: int, advance: Advance) -> Found:
    """Summaries and findings: of pairs; of classes where the right side is a table of them or rows share a label.

    Raises BadData where the pairs are too few, or cannot be held out.
    """
    if pairs.classes is not None:
        return _labels(data, (left, right), pairs, seed, advance)
    known = class_table(left, right, pairs)
    if known is not None:
        return _of_class_table(left, right, known[0], pairs, seed, advance)
    scored = out_of_fold.score(left, right, pairs, seed=seed, advance=advance)
    found = of_evidence(*scored.evidence)
    listed = _listed(found)
    ranks = _ranks(scored, listed)
    of = scored.pairs
    findings = [
        {
            "kind": "pair", "left": str(left.ids[of.left[i]]), "right": str(right.ids[of.right[i]]),
            "probability": _rounded(found.probability[i]), "similarity": _rounded(scored.similarity[i]),
            **ranks[i], "split": str(of.split[i]),
            "instead": str(right.ids[ranks[i]["instead"]]),
        }
        for i in listed.tolist()
    ]  # fmt: skip
    return [_summary("pairs", scored, found, seed)], findings


def _of_class_table(
    left: Embeddings, right: Embeddings, code: np.ndarray, pairs: Pairs, seed: int, advance: Advance
) -> Found:
    """Left items against the class that they are paired with."""
    rows, split, group = _of_rows(pairs, "left", len(left))
    names = np.unique(code[rows])
    place = np.where(rows, np.searchsorted(names, code), -1)
    scored = out_of_fold_classes.score(left, place, group, seed=seed, advance=advance)
    found = mixture(scored.similarity, scored.shuffled, UNUSUAL["labels"])
    words = [str(right.ids[name]) for name in names.tolist()]
    findings = [
        {"kind": "label", "left": str(left.ids[row]), "right": words[code], **rest, "split": str(split[row]),
         "instead": words[best]}
        for row, code, best, rest in _listed_classes(scored, found)
    ]  # fmt: skip
    return [_summary("labels", scored, found, seed)], findings


def _labels(data: Data, tables: Sequence[Embeddings], pairs: Pairs, seed: int, advance: Advance) -> Found:
    """Items of each side against the label that relates them."""
    summaries, findings = [], []
    for side, table, known in zip(SIDES, tables, pairs.classes, strict=True):
        rows, split, group = _of_rows(pairs, side, len(table))
        names, code, count = np.unique(np.where(rows, known, -1), return_inverse=True, return_counts=True)
        large = (names >= 0) & (count > 1)  # a row without a label is a class of its own
        if large.sum() < 2:
            continue
        place = np.where(large, np.cumsum(large) - 1, -1)
        words = _words(data, table, known, names[large])
        scored = out_of_fold_classes.score(table, place[code], group, seed=seed, advance=advance)
        found = mixture(scored.similarity, scored.shuffled, UNUSUAL["labels"])
        summaries.append({**_summary("labels", scored, found, seed), "side": side})
        findings += [
            {"kind": "label", "side": side, side: str(table.ids[row]), "label": words[code], **rest,
             "split": str(split[row]), "instead": words[best]}
            for row, code, best, rest in _listed_classes(scored, found)
        ]  # fmt: skip
    return summaries, sorted(findings, key=lambda one: -one["probability"])[:MOST]


def _listed_classes(scored: ClassScores, found: Mixture) -> Iterator[tuple[int, int, int, dict[str, Any]]]:
    """Row, class, best other class and what else is said of each item that is listed."""
    listed = _listed(found)
    ranks, best = scored.rank(listed)
    for i, rank, instead in zip(listed.tolist(), ranks.tolist(), best.tolist(), strict=True):
        rest = {"probability": _rounded(found.probability[i]), "rank_of_right": rank, "rights": scored.logits.shape[1]}
        yield int(scored.rows[i]), int(scored.code[i]), instead, rest


def _of_rows(pairs: Pairs, side: str, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each row of a side: whether it is in a related pair, and the split and group of its first one; (n,) each."""
    rows, first = np.unique(getattr(pairs, side)[pairs.label == 1], return_index=True)
    at = np.flatnonzero(pairs.label == 1)[first]
    there, split, group = np.zeros(n, bool), np.full(n, "", "<U10"), np.zeros(n, np.int64)
    there[rows], split[rows], group[rows] = True, pairs.split[at], pairs.group[at]
    return there, split, group


def _words(data: Data, table: Embeddings, known: np.ndarray, names: np.ndarray) -> list[str]:
    """The label of each class code, as the data's column calls it; its number where no column does."""
    column = table.meta.get(str(data.notes.get("relevant", "")))
    if column is None:
        return [f"class {name}" for name in names.tolist()]
    first = dict(zip(known[::-1].tolist(), range(len(known) - 1, -1, -1), strict=True))
    return [str(column[first[name]]) for name in names.tolist()]


def _listed(found: Mixture) -> np.ndarray:
    """The pairs that are listed, likeliest first."""
    p = np.nan_to_num(found.probability)
    order = np.argsort(-p, kind="stable")[:MOST]
    return order[p[order] >= LISTED]


def _summary(check: str, scored: Scored | ClassScores, found: Mixture, seed: int) -> dict[str, Any]:
    p = found.probability
    known = not np.isnan(found.share)
    return {
        "check": check, "of": len(p), "apart": _rounded(found.apart),
        "expected": _rounded(float(p.sum()), 1) if known else None,
        "likely": int((p >= SURE).sum()) if known else 0,
        "self_check": _self_check(scored, found, seed) if known else None, **scored.notes,
    }  # fmt: skip


def _self_check(scored: Scored | ClassScores, before: Mixture, seed: int) -> dict[str, Any]:
    """How many of 5% of the pairs, shuffled on purpose, are called likely; and how many of those called are they.

    Pairs that were likely before are left out of the second: they may be mispaired in truth.
    """
    random = np.random.default_rng(seed + 1)
    classes = isinstance(scored, ClassScores)
    listed, shuffled = (scored.similarity[:, None], scored.shuffled[:, None]) if classes else scored.evidence
    n, listed = max(1, round(PLANTED * len(listed))), listed.copy()
    planted = np.zeros(len(listed), bool)
    planted[random.permutation(len(planted))[:n]] = True
    drawn = shuffled[random.integers(0, len(shuffled), n)]
    has = ~np.isnan(listed[planted]) & ~np.isnan(drawn)  # a pair has the evidence that it had
    listed[planted] = np.where(has, drawn, np.nan)
    called = of_evidence(listed, shuffled, UNUSUAL["labels" if classes else "pairs"]).probability >= SURE
    right, wrong = int((called & planted).sum()), int((called & ~planted & ~(before.probability >= SURE)).sum())
    return {"shuffled": n, "found": right, "recall": _rounded(right / n),
            "precision": _rounded(right / (right + wrong)) if right + wrong else None}  # fmt: skip


def _ranks(scored: Scored, chosen: np.ndarray) -> dict[int, dict[str, Any]]:
    """Of each chosen pair: the rank of either partner among those of its fold, and the right row that is first instead.

    Other related rows do not count. A tie counts against the pair.
    """
    found: dict[int, dict[str, Any]] = {int(i): {} for i in chosen}
    for fold in np.unique(scored.fold[chosen]).tolist():
        rows, others, zl, zr = scored.mapped(fold)
        here, own = chosen[scored.fold[chosen] == fold], scored.pairs.take(np.flatnonzero(scored.fold == fold))
        tied = scored.pairs.same_table
        for part in blocks(len(here), _BLOCK):
            some = here[part]
            for key, of, among, za, zb in (
                ("left", "left", "right", zl, zr), ("right", "right", "left", zr, zl),
            ):  # fmt: skip
                a, b = (rows, others) if key == "left" else (others, rows)
                asked = np.searchsorted(a, getattr(scored.pairs, of)[some])
                partner = np.searchsorted(b, getattr(scored.pairs, among)[some])
                score = za[asked] @ zb.T
                mine = score[np.arange(len(some)), partner].copy()
                out = _related(own, a[asked], b, of, among, tied)
                score[out] = -np.inf
                rank = 1 + (score >= mine[:, None]).sum(1)
                among_n = len(b) - out.sum(1) + 1
                for i, r, m, best in zip(
                    some.tolist(), rank.tolist(), among_n.tolist(), b[score.argmax(1)], strict=True
                ):
                    found[i] |= {f"rank_of_{among}": r, f"{among}s": int(m)}
                    if key == "left":
                        found[i]["instead"] = int(best)
    return found


def _related(pairs: Pairs, asked: np.ndarray, others: np.ndarray, of: str, among: str, tied: bool) -> np.ndarray:
    """Whether each other row (m,) is related to each asked one (q,), or is itself: (q, m)."""
    a, b = getattr(pairs, of), getattr(pairs, among)
    if tied:
        a, b = np.concatenate([a, b]), np.concatenate([b, a])
    out = np.zeros((len(asked), len(others)), bool)
    order = np.argsort(a, kind="stable")
    first, last = (np.searchsorted(a[order], asked, side) for side in ("left", "right"))
    for row, (start, stop) in enumerate(zip(first.tolist(), last.tolist(), strict=True)):
        out[row, np.searchsorted(others, b[order[start:stop]])] = True
    if tied:
        out[np.arange(len(asked)), np.searchsorted(others, asked)] = True
    return out


def _rounded(x: Any, digits: int = 4) -> float:
    return round(float(x), digits)

"""What honest evaluation says about closed forms on 4,000 pictures and 20,000 captions, step by step.

    python -m bench.honest_flickr [--data ../shared/data]

Prints the Markdown tables of docs/evaluation.md: retrieval with intervals, leak audit, every hubness
correction on test, calibration, "no match", top sets, and the modality gap.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from sensorium import evaluate, fitting, parts, scores
from sensorium import heads as head
from sensorium.evaluate import calibration, conformal, hubness, leaks, modality_gap, selective
from sensorium.evaluate.card import markdown
from sensorium.evaluate.hubness_corrections import Correction, Taken
from sensorium.evaluate.hubness_methods import METHODS
from sensorium.evaluate.projected import Projected
from sensorium.pairs import Pairs
from sensorium.scores import measures
from sensorium.types import Embeddings

SHOWN = ("hit@1", "hit@5", "hit@10")
RISK = 0.7  # of a wrong first answer: these heads find the right one first in a fifth of the cases
SOLVED = {"ridge, picture → text": ("ridge", False), "ridge, text → picture": ("ridge", True), "cca": ("cca", False)}
DIRECTIONS = {"left->right": "picture → captions", "right->left": "caption → picture"}


def load(data: Path) -> tuple[Embeddings, Embeddings, Pairs, np.ndarray]:
    with np.load(data / "flickr8k-pairs-4000.npz", allow_pickle=False) as file:
        image, text = file["image"].astype(np.float32), file["text"].astype(np.float32)
        split, captions = file["split"], file["captions"].ravel()
    n, c, d = text.shape
    text = text.reshape(n * c, d)
    empty = ~text.any(axis=1)
    picture = np.repeat(np.arange(n), c)
    keep = np.flatnonzero(~empty)
    print(f"{n:,} pictures, {n * c:,} captions, of which {empty.sum()} have a zero vector and are left out\n")
    pairs = Pairs.of(picture[keep], keep, group=picture[keep], split=split[picture[keep]])
    ids = [np.array([f"{kind}{i}" for i in range(count)]) for kind, count in (("picture", n), ("caption", n * c))]
    return Embeddings(ids[0], image, {}), Embeddings(ids[1], text, {}), pairs, captions


def closed(name: str, picture: Embeddings, caption: Embeddings, pairs: Pairs, swapped: bool):
    """Pictures and captions through the heads of a closed form; ``swapped`` solves from text to picture."""
    identity = parts.find("heads", "identity")
    sides = (caption, picture) if swapped else (picture, caption)
    if swapped:
        pairs = replace(pairs, left=pairs.right, right=pairs.left)
    fitted = fitting.solve(*sides, pairs, identity(), identity(), parts.make("objectives", name))
    z = head.apply(fitted.left_head, sides[0].vectors), head.apply(fitted.right_head, sides[1].vectors)
    return z[::-1] if swapped else z


def percent(value: float) -> str:
    return f"{100 * value:.1f}"


def hubness_rows(zl: np.ndarray, zr: np.ndarray, pairs: Pairs) -> list[dict[str, str]]:
    rows = []
    for direction, name in DIRECTIONS.items():
        queries, candidates = (zl, zr) if direction == "left->right" else (zr, zl)
        choice = hubness.choose(Projected.of(zl, zr, pairs), direction)
        best = {t["method"]: t for t in sorted(choice.tried[:-1], key=lambda t: t["MRR"])}
        bank = hubness.bank_of(queries, pairs, direction)
        relevance = pairs.relevance(direction, "test")
        for method in ("none", *METHODS):
            correction = None if method == "none" else Correction(method, best[method]["strength"], bank)
            rank = scores.ranks if correction is None else correction.ranks
            ranks = rank(queries, candidates, relevance)
            told = hubness.report(Projected.of(zl, zr, pairs), direction, correction=correction)
            chosen = choice.correction.method if choice.correction else "none"
            values = {m: percent(measures.parse(m).summary(ranks, relevance.offsets)) for m in SHOWN}
            rows.append({"direction": name, "correction": method + (" (chosen)" if method == chosen else ""),
                         "validation MRR": percent(best[method]["MRR"]),
                         **values,
                         "skewness of N₁₀": f"{told['skewness']:.2f}",
                         "never found": percent(told["never_found"])})  # fmt: skip
    return rows


def first_hits(zl: np.ndarray, zr: np.ndarray, pairs: Pairs, direction: str, split: str, correction: Correction | None):
    """Score of each query's first hit, whether it is right, rank of the first relevant, and group."""
    queries, candidates = (zl, zr) if direction == "left->right" else (zr, zl)
    relevance = pairs.relevance(direction, split)
    find, rank = (scores.topk, scores.ranks) if correction is None else (correction.topk, correction.ranks)
    top, score = find(queries[relevance.queries], Taken(candidates, relevance.candidates), 1)
    owner, width = np.repeat(np.arange(len(top)), relevance.counts()), len(relevance.candidates)
    right = np.isin(np.arange(len(top)) * width + top[:, 0], owner * width + relevance.relevant)
    first = measures.first(rank(queries, candidates, relevance), relevance.offsets)
    return score[:, 0].astype(np.float64), right, first, relevance.group


def trust_rows(name: str, zl: np.ndarray, zr: np.ndarray, pairs: Pairs) -> list[dict[str, str]]:
    rows = []
    for direction, arrow in DIRECTIONS.items():
        correction = hubness.choose(Projected.of(zl, zr, pairs), direction).correction
        score, right, first, group = first_hits(zl, zr, pairs, direction, "validation", correction)
        fitted = calibration.choose(score, right, group)
        one = conformal.one_per_group(group)
        rule = selective.threshold(score[one], right[one], RISK)
        sets = conformal.top_set(-first.astype(float), first, 0.9, group)
        score, right, first, group = first_hits(zl, zr, pairs, direction, "test", correction)
        raw = calibration.calibration_error(calibration.reliability(np.clip(score, 0, 1), right))
        told = calibration.summary(fitted(score), right)
        answered = rule.accepts(score)
        covered = conformal.verify(first[conformal.one_per_group(group)] <= sets.k, 0.9)
        wrong = percent(1 - right[answered].mean()) if answered.any() else ""
        interval = f"[{percent(covered['low'])}, {percent(covered['high'])}]"
        rows.append({"heads": f"{name} + {correction.method if correction else 'none'}", "direction": arrow,
                     "first hit right": percent(right.mean()), "ECE of the raw score": percent(raw),
                     "calibrated ECE": percent(told["ECE"]), "by": type(fitted).__name__,
                     "answered": percent(answered.mean()),
                     f"wrong among answered (≤ {100 * RISK:.0f} promised)": wrong,
                     "list for 90%": f"first {sets.k}",
                     "found": f"{percent(covered['found'])} {interval}"})  # fmt: skip
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[1] / "../shared/data")
    picture, caption, pairs, captions = load(parser.parse_args().data)
    report = leaks.audit(pairs, picture.vectors, caption.vectors, right_content=captions, right_ids=captions)
    print("Leaks:", "LEAKY" if report.leaky else "none;", "; ".join(f.text for f in report.findings), "\n")
    retrieval, gaps, heads = [], [], {}
    for name, (objective, swapped) in SOLVED.items():
        zl, zr = heads[name] = closed(objective, picture, caption, pairs, swapped)
        found = evaluate.evaluate(zl, zr, pairs, measures=SHOWN)
        for direction, arrow in DIRECTIONS.items():
            mine = {r["measure"]: f"{percent(r['value'])} [{percent(r['low'])}, {percent(r['high'])}]"
                    for r in found if r["direction"] == direction}  # fmt: skip
            retrieval.append({"method": name, "direction": arrow, **mine})
        told = modality_gap.gap(zl, zr, pairs)
        gaps.append({"heads": name, **{key: f"{told[key]:.3f}" for key in told if key != "n"}})
    print(markdown(retrieval), "\n")
    print(markdown(hubness_rows(*heads["ridge, picture → text"], pairs)), "\n")
    print(
        markdown([row for name in ("ridge, text → picture", "cca") for row in trust_rows(name, *heads[name], pairs)]),
        "\n",
    )
    print(markdown(gaps))


if __name__ == "__main__":
    main()

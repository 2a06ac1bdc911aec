"""Moments in long sounds, DCASE 2026 task 6: when in a recording is what a caption says, by IoU of the times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sensorium.errors import BadData
from sensorium.evaluate import plots, protocols, statistics
from sensorium.evaluate.named import Named, asked
from sensorium.evaluate.options import EvaluateOptions
from sensorium.evaluate.projected import Projected
from sensorium.numerics.intervals import iou
from sensorium.pairs import Pairs
from sensorium.types import Data, Items, Rows

THRESHOLDS = np.round(np.linspace(0.5, 0.95, 10), 2)
MOST = 10  # answers of a query that count, as in the challenge's evaluator
OVERLAP = 0.5  # an answer that overlaps a better one by more is left out
DECIDES = "R1@IoU0.5"
_DRAWS = 20  # random rankings behind the chance of mAP


@dataclass(frozen=True)
class Query:
    """A caption of a recording with the moments it describes (g, 2), and the rows and times (w, 2) of its windows.

    row: of the caption. text: its words. group: code of its group, the unit of the bootstrap.
    """

    row: int
    text: str
    moments: np.ndarray
    windows: np.ndarray
    spans: np.ndarray
    group: int


def check(data: Data) -> None:
    """Raise BadData unless one side has windows of recordings and the other captions with moments."""
    protocols.two_sides(data, "moments")
    windows, captions = _sides(data)
    if not np.isfinite(_times(captions)).all(axis=1).any():
        raise BadData("evaluate.protocol=moments needs captions with a begin and an end in seconds, but no caption has "
                      "both; fill the columns 'begin' and 'end' of the table")  # fmt: skip
    _times(windows)


def report(
    data: Data, projected: Projected, options: EvaluateOptions, corrections: Mapping[str, Any], plots_folder: Path
) -> protocols.Report:
    """Every test caption that has a moment is a query over the windows of its own recording.

    The windows are answers, best first; of two that overlap by more than an IoU of 0.5 the worse one is left out, and
    10 count. R1@IoUt: whether the first has an IoU of t or more with one of the caption's moments. mAP@IoUt: average
    precision with answers and moments matched one to one at that IoU (VOC 2011), mAP@IoU its mean over 0.5, 0.55 …
    0.95. corpus R1: the first window among those of all test recordings; it is right where it shows a moment of an
    equal caption. Equal captions of one recording are one query with several moments. Without hubness correction.
    Intervals resample recordings.
    """
    captions = _sides(data)[1]
    queries = queries_of(data, projected.pairs)
    if not queries:
        raise BadData("evaluate.protocol=moments: no caption of the test split has a moment; give the columns 'begin' "
                      "and 'end', or hold more recordings out: data.test=0.2")  # fmt: skip
    back = captions is data.left
    direction = "left->right" if back else "right->left"
    group = np.array([query.group for query in queries])
    key = asked(captions.ids, np.array([query.row for query in queries]))
    seen = sorted(len(query.windows) for query in queries)
    pool = np.unique(np.concatenate([query.windows for query in queries]))
    chances = chance(queries, pool, options.seed)

    def measured(zl: Rows, zr: Rows) -> tuple[list[dict[str, Any]], list[Named]]:
        texts, sounds = (zl, zr) if back else (zr, zl)
        found = per_query(queries, texts, sounds, pool)
        ends = statistics.intervals(list(found.values()), group, ["mean"] * len(found), options.resamples, options.seed)
        rows = [
            {
                "direction": direction, "measure": name, "value": float(values.mean()), "low": low, "high": high,
                "n_queries": len(queries), "n_groups": len(np.unique(group)), "split": "test", "seed": options.seed,
                "n_candidates": len(pool) if name.startswith("corpus") else int(np.median(seen)),
                "chance": chances[name],
            }
            for (name, values), (low, high) in zip(found.items(), ends, strict=True)
        ]  # fmt: skip
        return rows, [Named.of("test", direction, name, values, group, key) for name, values in found.items()]

    rows, values = measured(projected.zl, projected.zr)
    notes = {
        "queries": len(queries), "moments": sum(len(query.moments) for query in queries),
        "windows_of_a_recording": float(np.mean(seen)), "best_possible_R1@IoU0.5": reachable(queries, 0.5),
        "best_possible_R1@IoU0.7": reachable(queries, 0.7),
    }  # fmt: skip
    figures = {}
    if options.plots:
        bars = [{"name": r["measure"], "value": r["value"], "low": r["low"], "high": r["high"], "n": r["n_queries"]}
                for r in rows]  # fmt: skip
        plots.groups(bars, plots_folder / "moments.png", title="Moments of captions", overall=False)
        figures = {"moments.png": "Moments found by their captions, with 95% intervals."}
    return protocols.Report(rows, notes=notes, figures=figures, values=values, beside=measured, decides=DECIDES)


def queries_of(data: Data, pairs: Pairs, split: str = "test") -> list[Query]:
    """The captions of a split that have moments, in the order of their rows; equal ones of a recording are one.

    pairs: those of the data, with their splits complete.
    """
    windows, captions = _sides(data)
    back = captions is data.left
    related = pairs.where(split, 1)
    of_caption, of_window = (related.left, related.right) if back else (related.right, related.left)
    times, spans = _times(captions), _times(windows)
    names, recording = np.unique(np.asarray(windows.meta["recording"]).astype(np.str_), return_inverse=True)
    recording = recording.reshape(-1)
    there = np.ones(len(windows), bool) if windows.searchable is None else windows.searchable
    rows_of = [np.flatnonzero((recording == code) & there) for code in range(len(names))]
    texts = captions.values if captions.kind == "text" else captions.meta.get("caption", captions.ids)
    found: dict[tuple[int, str], tuple[int, int, list[np.ndarray]]] = {}
    _, first = np.unique(of_caption, return_index=True)
    for at in first.tolist():
        row, code = int(of_caption[at]), int(recording[of_window[at]])
        if np.isfinite(times[row]).all():
            one = found.setdefault((code, str(texts[row])), (row, int(related.group[at]), []))
            one[2].append(times[row])
    return [Query(row, text, np.stack(moments), rows_of[code], spans[rows_of[code]], group)
            for (code, text), (row, group, moments) in found.items()]  # fmt: skip


def per_query(queries: Sequence[Query], texts: Rows, sounds: Rows, pool: np.ndarray) -> dict[str, np.ndarray]:
    """Every measure of every query, (q,) each.

    texts, sounds: head outputs of captions and windows; pool: rows of the windows of all test recordings.
    """
    pooled, shows = np.asarray(sounds[pool], np.float32), shown(queries, pool)
    names = ("R1@IoU0.5", "R1@IoU0.7", "mAP@IoU0.5", "mAP@IoU0.75", "mAP@IoU", "corpus R1@IoU0.5", "corpus R1@IoU0.7")
    values = {name: np.zeros(len(queries)) for name in names}
    for at, query in enumerate(queries):
        score = pooled @ np.asarray(texts[query.row : query.row + 1], np.float32)[0]
        own = score[np.searchsorted(pool, query.windows)]
        overlap = iou(query.spans, query.moments)
        order = answers(query.spans, own, overlap.max(axis=1))
        best = overlap[order[0]].max()
        precision = average_precision(overlap[order])
        first = shows[query.text][score == score.max()].min()  # among equal scores the worst one counts
        values["R1@IoU0.5"][at], values["R1@IoU0.7"][at] = best >= 0.5, best >= 0.7
        values["mAP@IoU0.5"][at], values["mAP@IoU0.75"][at] = precision[0], precision[5]
        values["mAP@IoU"][at] = precision.mean()
        values["corpus R1@IoU0.5"][at], values["corpus R1@IoU0.7"][at] = first >= 0.5, first >= 0.7
    return values


def shown(queries: Sequence[Query], pool: np.ndarray) -> dict[str, np.ndarray]:
    """By caption, the highest IoU (p,) of each window with a moment of it; pool (p,): rows of windows, ascending."""
    found: dict[str, np.ndarray] = {}
    for query in queries:
        best = found.setdefault(query.text, np.zeros(len(pool)))
        best[np.searchsorted(pool, query.windows)] = iou(query.spans, query.moments).max(axis=1)
    return found


def answers(spans: np.ndarray, score: np.ndarray, overlap: np.ndarray, most: int = MOST) -> np.ndarray:
    """Windows (w, 2) as answers, best first: none overlaps a better one by an IoU of more than 0.5, at most ``most``.

    overlap (w,): with the moments; among equal scores the window of the least overlap is first, against us.
    """
    order = np.lexsort((overlap, -score))
    kept: list[int] = []
    for at in order.tolist():
        if not kept or iou(spans[kept], spans[at][None]).max() <= OVERLAP:
            kept.append(at)
        if len(kept) == most:
            break
    return np.array(kept, np.int64)


def average_precision(overlap: np.ndarray) -> np.ndarray:
    """Average precision (10,) at each IoU threshold, of answers in their order and g moments, by their IoU (k, g).

    An answer takes the free moment of the highest IoU that reaches the threshold, else it is wrong. The precision at
    each recall is the highest at that recall or above (Everingham et al. 2011).
    """
    k, g = overlap.shape
    found = np.zeros(len(THRESHOLDS))
    for t, threshold in enumerate(THRESHOLDS):
        free, right = np.ones(g, bool), np.zeros(k, bool)
        for at in range(k):
            best = np.where(free, overlap[at], -1.0)
            moment = int(best.argmax())
            if best[moment] >= threshold:
                right[at], free[moment] = True, False
        precision = np.cumsum(right) / np.arange(1, k + 1)
        highest = np.maximum.accumulate(precision[::-1])[::-1]
        found[t] = highest[right].sum() / g
    return found


def chance(queries: Sequence[Query], pool: np.ndarray, seed: int) -> dict[str, float]:
    """What windows in random order reach: exact for R1, the mean of 20 draws for mAP."""
    random, shows = np.random.default_rng(seed), shown(queries, pool)
    means: dict[str, list[float]] = {}
    for query in queries:
        overlap = iou(query.spans, query.moments)
        best = overlap.max(axis=1)
        draws = np.stack([
            average_precision(overlap[answers(query.spans, random.random(len(best)), best)]) for _ in range(_DRAWS)
        ])  # fmt: skip
        for threshold in (0.5, 0.7):
            means.setdefault(f"R1@IoU{threshold}", []).append(float((best >= threshold).mean()))
            means.setdefault(f"corpus R1@IoU{threshold}", []).append(float((shows[query.text] >= threshold).mean()))
        for name, place in (("mAP@IoU0.5", 0), ("mAP@IoU0.75", 5)):
            means.setdefault(name, []).append(float(draws[:, place].mean()))
        means.setdefault("mAP@IoU", []).append(float(draws.mean()))
    return {name: float(np.mean(values)) for name, values in means.items()}


def reachable(queries: Sequence[Query], threshold: float) -> float:
    """Share of the queries for which any window reaches the threshold: what the grid of windows allows at most."""
    return float(np.mean([iou(query.spans, query.moments).max() >= threshold for query in queries]))


def _sides(data: Data) -> tuple[Items, Items]:
    """Windows and captions. Raises BadData where neither side has windows."""
    for one, other in ((data.left, data.right), (data.right, data.left)):
        if {"recording", "begin", "end"} <= set(one.meta):
            return one, other
    raise BadData("evaluate.protocol=moments needs windows of recordings, with columns recording, begin and end; type: "
                  "data.window=10 data.hop=5")  # fmt: skip


def _times(items: Items) -> np.ndarray:
    """Begin and end (n, 2) in seconds, NaN where there is none."""
    if not {"begin", "end"} <= set(items.meta):
        return np.full((len(items), 2), np.nan)
    return np.stack([np.asarray(items.meta[name], np.float64) for name in ("begin", "end")], axis=1)

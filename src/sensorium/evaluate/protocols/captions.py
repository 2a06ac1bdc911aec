"""Sound and picture captions: Clotho/AudioCaps retrieval both ways, and DCASE 2025 task 6."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from sensorium.errors import BadData
from sensorium.evaluate import DIRECTIONS, Ranking, evaluate, per_query, plots, protocols, results
from sensorium.evaluate.options import EvaluateOptions
from sensorium.evaluate.projected import Projected
from sensorium.pairs import Pairs
from sensorium.types import Data, Rows

#: Text → clip has one relevant, clip → text usually five, so recall@k and hit@k differ only there.
MEASURES = ("hit@1", "hit@5", "hit@10", "recall@1", "recall@5", "recall@10", "mAP@10", "median_rank")
#: mAP@16 ranked the challenge; the others were reported beside it.
DCASE25 = ("mAP@16", "mAP@10", "hit@1", "hit@5", "hit@10", "recall@5", "recall@10")
#: The challenge's evaluator divides by all R relevants, our measure of that name by min(R, k).
_AS_PUBLISHED = {"mAP@16": "mAP_R@16", "mAP@10": "mAP_R@10"}


def retrieval(
    clips: Rows, captions: Rows, pairs: Pairs, split: str = "test", seed: int = 0, resamples: int = 1000
) -> list[dict[str, Any]]:
    """Clotho and AudioCaps: every caption is a query over the unique clips, and every clip over all captions.

    clips (n, d) and captions (m, d): head outputs; ``pairs`` joins clip rows (left) to caption
    rows (right). A query without a hit counts as 0 in mAP@10. Intervals resample clips.
    Raises BadData when a caption describes several clips (evaluate those with :func:`dcase25`).
    """
    rows, counts = clips_of(pairs, split)
    if (counts > 1).any():
        raise BadData(
            f"{np.count_nonzero(counts > 1)} captions of the {split} split describe several clips, such as row "
            f"{rows[counts > 1][0]}; this protocol has one clip a caption: use dcase25, or give each its own id"
        )
    return evaluate(clips, captions, pairs, split, MEASURES, seed, resamples)


def dcase25(
    clips: Rows, captions: Rows, pairs: Pairs, split: str = "test", seed: int = 0, resamples: int = 1000
) -> list[dict[str, Any]]:
    """DCASE 2025 task 6: text → clip with several relevant clips a caption, ranked by mAP@16.

    mAP@k is what the challenge's evaluator computes: Σ over the relevants with rank ≤ k of (their place among the
    relevants / rank), over the number R of all relevants. It is below our measure of that name where R > k.
    """
    return _published(per_query(clips, captions, pairs, split, ("right->left",)), seed, resamples)


def _published(ranked: Mapping[str, Ranking], seed: int, resamples: int) -> list[dict[str, Any]]:
    """Rows of the measures of DCASE 2025, under the names that the challenge gives them."""
    rows = results(dict(ranked), [_AS_PUBLISHED.get(name, name) for name in DCASE25], seed, resamples)
    return [{**row, "measure": name} for row, name in zip(rows, DCASE25 * len(ranked), strict=True)]


def clips_of(pairs: Pairs, split: str) -> tuple[np.ndarray, np.ndarray]:
    """The captions of a split, rows (c,), and how many different clips each describes, (c,)."""
    related = pairs.where(split, 1)
    edges = np.unique(np.stack([related.right, related.left], 1), axis=0)
    return np.unique(edges[:, 0], return_counts=True)


def check(data: Data) -> None:
    """Raise BadData unless the data have two sides, clips and captions."""
    protocols.two_sides(data, "captions")


def report(
    data: Data, projected: Projected, options: EvaluateOptions, corrections: Mapping[str, Any], plots_folder: Path
) -> protocols.Report:
    """As :func:`retrieval`; as :func:`dcase25` where a caption describes several clips.

    Captions are the side of kind "text", the right one where that is not evident. With a hubness correction, as
    every number of the run has it.
    """
    captions = protocols.text_side(data)
    back = captions == "left"
    as_clips_left = replace(projected.pairs, left=projected.pairs.right, right=projected.pairs.left)
    _, counts = clips_of(as_clips_left if back else projected.pairs, "test")
    several = int((counts > 1).sum())
    directions = (f"{captions}->{'right' if back else 'left'}",) if several else DIRECTIONS

    def rows_of(zl: Rows, zr: Rows, corrections: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        ranked = per_query(zl, zr, projected.pairs, "test", directions, corrections)
        if several:
            return _published(ranked, options.seed, options.resamples)
        return results(ranked, MEASURES, options.seed, options.resamples)

    rows = rows_of(projected.zl, projected.zr, corrections)
    notes = {"captions": captions, "measured": "DCASE 2025 task 6" if several else "Clotho and AudioCaps",
             "captions_of_several_clips": several}  # fmt: skip
    figures = {}
    if options.plots:
        bars = [{"name": f"{r['measure']} {r['direction']}", "value": r["value"], "low": r["low"], "high": r["high"],
                 "n": r["n_queries"]} for r in rows if "rank" not in r["measure"]]  # fmt: skip
        plots.groups(bars, plots_folder / "captions.png", title="Caption retrieval", overall=False)
        figures = {"captions.png": "Caption retrieval by the protocol's measures, with 95% intervals."}
    return protocols.Report(rows, notes=notes, figures=figures, beside=lambda zl, zr: (rows_of(zl, zr), ()))

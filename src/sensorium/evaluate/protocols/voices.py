"""Text → voice: how many of the first clips carry the emotion that the text asks for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sensorium import scores
from sensorium.errors import BadData
from sensorium.evaluate import breakdown, plots, protocols, statistics
from sensorium.evaluate.options import EvaluateOptions
from sensorium.evaluate.projected import Projected
from sensorium.pairs import Relevance
from sensorium.types import Data, Rows

COLUMN = "emotion"
K = 10


def emotion_retrieval(
    texts: Rows,
    clips: Rows,
    text_emotion: np.ndarray,
    clip_emotion: np.ndarray,
    k: int = 10,
    group: np.ndarray | None = None,
    seed: int = 0,
    resamples: int = 1000,
) -> list[dict[str, Any]]:
    """Precision@k and nDCG@k of voice retrieval by emotion, each beside its chance level.

    texts (q, d), clips (m, d): head outputs; a clip is right when its emotion is the text's.
    group (q,): unit of the bootstrap, by default each text. nDCG has binary gains and
    the log2(1 + rank) discount. Chance is the expectation under a random order of the clips.
    Clips that score alike are ranked pessimistically: those of another emotion come first.
    Raises BadData when a text's emotion is carried by no clip, or k exceeds the clips.
    """
    text_emotion, clip_emotion = np.asarray(text_emotion), np.asarray(clip_emotion)
    for what, rows, words in (("texts", texts, text_emotion), ("clips", clips, clip_emotion)):
        if len(rows) != len(words):
            raise BadData(f"{len(rows)} {what} and {len(words)} emotions; expected one each")
    if not 0 < k <= len(clips):
        raise BadData(f"k={k} among {len(clips)} clips; expected 1 to {len(clips)}")
    relevant = (text_emotion[:, None] == clip_emotion[None]).sum(axis=1)
    if (relevant == 0).any():
        raise BadData(f"no clip carries '{text_emotion[relevant == 0][0]}'; leave such texts out")
    right = _right(texts, clips, text_emotion, clip_emotion, k)
    discount = 1 / np.log2(2 + np.arange(k))
    ideal = np.cumsum(discount)[np.minimum(relevant, k) - 1]
    chance = relevant / len(clips)
    values = {f"precision@{k}": (right.mean(axis=1), chance),
              f"nDCG@{k}": (right @ discount / ideal, chance * discount.sum() / ideal)}  # fmt: skip
    group = np.arange(len(texts)) if group is None else group
    rows = []
    for name, (value, by_chance) in values.items():
        low, high = statistics.interval(value, group, "mean", resamples, seed)
        rows.append(
            {
                "direction": "text->voice",
                "measure": name,
                "value": float(value.mean()),
                "low": low,
                "high": high,
                "chance": float(by_chance.mean()),
                "n_queries": len(texts),
                "n_candidates": len(clips),
                "seed": seed,
            }
        )
    return rows


def _right(texts: Rows, clips: Rows, requested: np.ndarray, carried: np.ndarray, k: int) -> np.ndarray:
    """Whether the clip at each of the first k places carries the requested emotion, (q, k) bool."""
    right = np.zeros((len(texts), k + 1), bool)  # what stands beyond k falls into the last column
    for emotion in np.unique(requested):
        mine, theirs = np.flatnonzero(requested == emotion), np.flatnonzero(carried == emotion)
        offsets = np.arange(len(mine) + 1) * len(theirs)
        relevance = Relevance(mine, np.arange(len(clips)), offsets, np.tile(theirs, len(mine)), mine,
                              np.full(len(mine), -1))  # fmt: skip
        place = np.minimum(scores.ranks(texts, clips, relevance), k + 1) - 1
        right[np.repeat(mine, len(theirs)), place] = True
    return right[:, :k]


def check(data: Data) -> None:
    """Raise BadData unless the items of both sides have a column "emotion"."""
    protocols.two_sides(data, "voices")
    for side, items in (("left", data.left), ("right", data.right)):
        protocols.column(items, COLUMN, side, "voices")


def report(
    data: Data, projected: Projected, options: EvaluateOptions, corrections: Mapping[str, Any], plots_folder: Path
) -> protocols.Report:
    """As :func:`emotion_retrieval`: the test split's texts over its clips, without hubness correction.

    Texts are the side of kind "text", the right one where that is not evident. A text whose emotion no clip of
    the split carries is left out and counted.
    """
    texts = protocols.text_side(data)
    clips = "left" if texts == "right" else "right"
    direction = f"{texts}->{clips}"
    queries, candidates = projected.sides(direction)
    relevance = projected.pairs.relevance(direction, "test")
    asked, carried = (np.asarray(getattr(data, side).meta[COLUMN])[rows]
                      for side, rows in ((texts, relevance.queries), (clips, relevance.candidates)))  # fmt: skip
    answerable = np.isin(asked, carried)
    if not answerable.any():
        raise BadData(f"no clip of the test split carries an emotion of its texts, such as '{asked[0]}'")
    zq = np.asarray(queries[relevance.queries[answerable]], np.float32)
    zc = np.asarray(candidates[relevance.candidates], np.float32)
    asked, group = asked[answerable], relevance.group[answerable]
    k = min(K, len(zc))
    found = emotion_retrieval(zq, zc, asked, carried, k, group, options.seed, options.resamples)
    groups = {"n_groups": len(np.unique(group)), "split": "test"}
    rows = [{**row, "direction": direction, **groups} for row in found]
    notes = {"texts": texts, "k": k, "left_out": int((~answerable).sum()), "emotions": np.unique(asked).tolist()}
    figures = {}
    if options.plots:
        right = _right(zq, zc, asked, carried, k).mean(axis=1)
        bars = breakdown.by(right, asked, None, group, resamples=options.resamples, seed=options.seed)
        plots.groups(bars, plots_folder / "voices.png", title=f"precision@{k} by emotion")
        figures = {"voices.png": f"Share of the first {k} clips that carry the text's emotion, by emotion."}
    return protocols.Report(rows, notes=notes, figures=figures)

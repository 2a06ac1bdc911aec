"""Text → voice: how many of the first clips carry the emotion that the text asks for."""

from __future__ import annotations

from typing import Any

import numpy as np

from sensorium import scores
from sensorium.errors import BadData
from sensorium.evaluate import statistics
from sensorium.pairs import Relevance
from sensorium.types import Rows


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


def _right(texts: Rows, clips: Rows, wanted: np.ndarray, carried: np.ndarray, k: int) -> np.ndarray:
    """Whether the clip at each of the first k places carries the emotion wanted, (q, k) bool."""
    right = np.zeros((len(texts), k + 1), bool)  # what stands beyond k falls into the last column
    for emotion in np.unique(wanted):
        mine, theirs = np.flatnonzero(wanted == emotion), np.flatnonzero(carried == emotion)
        offsets = np.arange(len(mine) + 1) * len(theirs)
        relevance = Relevance(mine, np.arange(len(clips)), offsets, np.tile(theirs, len(mine)), mine,
                              np.full(len(mine), -1))  # fmt: skip
        place = np.minimum(scores.ranks(texts, clips, relevance), k + 1) - 1
        right[np.repeat(mine, len(theirs)), place] = True
    return right[:, :k]

"""Expressive speech retrieval: one clip of a style among 400 of other styles, by a description of the style.

The public protocol of Kang & Roy, "Expressive Speech Retrieval using Natural Language Descriptions of Speaking Style"
(ASRU 2025, arXiv:2508.11187): per style 1,000 trials, drawn with seed 42 as their code draws them, recall@1, 5, 10 and
20, mean over styles. The score of a clip is the mean of its scores with all descriptions of the style.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sensorium import scores
from sensorium.errors import BadData
from sensorium.evaluate import breakdown, named, plots, protocols, statistics
from sensorium.evaluate.options import EvaluateOptions
from sensorium.evaluate.projected import Projected
from sensorium.evaluate.protocols import _voice_data
from sensorium.evaluate.protocols._voice_data import Voices
from sensorium.types import Data, Rows

KS = (1, 5, 10, 20)
TRIALS, OTHERS, SEED = 1000, 400, 42
DECIDES = "R@1"


@dataclass(frozen=True)
class Trials:
    """What is asked: for each of s styles, ``positive`` (t,) and ``others`` (t, ≤ 400), positions of clips."""

    style: np.ndarray
    positive: list[np.ndarray]
    others: list[np.ndarray]


def trials(style: np.ndarray, count: int = TRIALS, others: int = OTHERS, seed: int = SEED) -> Trials:
    """Trials of every style of clips (m,), styles in the order in which they first come.

    One ``random.Random(seed)`` for all: a clip of the style by ``choice``, then ``sample`` of the clips of the other
    styles, these one style after the other. All other clips where there are fewer. Raises BadData for one style alone.
    """
    style = np.asarray(style)
    _, first = np.unique(style, return_index=True)
    names = style[np.sort(first)]
    if len(names) < 2:
        only = f"; all {len(style)} are '{names[0]}'" if len(names) else ""
        raise BadData(f"esr-401 needs clips of at least 2 styles{only}")
    rows = [np.flatnonzero(style == name).tolist() for name in names]
    draw = random.Random(seed)
    positive, drawn = [], []
    for mine in range(len(names)):
        pool = [row for other, part in enumerate(rows) if other != mine for row in part]
        each = [(draw.choice(rows[mine]), draw.sample(pool, min(others, len(pool)))) for _ in range(count)]
        positive.append(np.array([one for one, _ in each]))
        drawn.append(np.array([part for _, part in each]))
    return Trials(names, positive, drawn)


def ranks(texts: Rows, clips: Rows, text_style: np.ndarray, asked: Trials, one_text: bool = False) -> list[np.ndarray]:
    """Rank (t,) of the clip of each style's trials; a clip that scores as high as another one comes after it.

    texts (q, d), clips (m, d): head outputs. one_text: a text of the style is drawn for each trial (seed 42), in place
    of the mean over all texts of the style. Raises BadData for a style without a text.
    """
    texts, clips = np.asarray(texts, np.float32), np.asarray(clips, np.float32)
    draw, out = np.random.default_rng(SEED), []
    for style, positive, others in zip(asked.style, asked.positive, asked.others, strict=True):
        mine = np.flatnonzero(np.asarray(text_style) == style)
        if not len(mine):
            raise BadData(f"esr-401: no text describes the style '{style}'; leave its trials out")
        if one_text:
            asked_by = texts[mine[draw.integers(0, len(mine), len(positive))]]
            score = _scores(asked_by, clips, np.column_stack([positive, others]))
        else:
            mean = texts[mine].mean(axis=0, dtype=np.float64).astype(np.float32)
            score = scores.pair_scores(np.broadcast_to(mean, clips.shape), clips)[np.column_stack([positive, others])]
        out.append(1 + (score[:, 1:] >= score[:, :1]).sum(axis=1))
    return out


def check(data: Data) -> None:
    """Raise BadData unless the items of both sides have a column "emotion"."""
    _voice_data.check(data, "esr-401")


def report(
    data: Data, projected: Projected, options: EvaluateOptions, corrections: Mapping[str, Any], plots_folder: Path
) -> protocols.Report:
    """The test split: styles are the emotions of its clips, descriptions its texts of that emotion.

    Rows ``R@k``, and ``R@k/one_text``, where each trial is asked by one text of the style, as a user asks. Without
    hubness correction. Intervals draw the speakers of the clips that are sought. Styles without a text are left out.
    """
    voices = _voice_data.of(data, projected.pairs, "test")
    words = np.array(voices.library.words)
    style, text_style = words[voices.library.carried], words[voices.library.asked]
    asked = trials(style)
    known = [row for row, name in enumerate(asked.style) if name in text_style]
    asked = Trials(asked.style[known], [asked.positive[row] for row in known], [asked.others[row] for row in known])
    drawn = (voices.clips[one] for one in (*asked.positive, *asked.others))
    hashed = named.asked(projected.ids(voices.direction)[1], *drawn)

    def measured(zq: np.ndarray, zc: np.ndarray) -> tuple[list[dict[str, Any]], tuple[named.Named, ...]]:
        book = _Book(voices, asked, options, hashed)
        for one_text in (False, True):
            found = ranks(zq, zc, text_style, asked, one_text)
            for k in KS:
                book.add(f"R@{k}{'/one_text' * one_text}", [one <= k for one in found], k)
        return book.rows, tuple(book.values)

    def beside(zl: Rows, zr: Rows) -> tuple[list[dict[str, Any]], tuple[named.Named, ...]]:
        other = Projected(projected.left, projected.right, projected.pairs, zl, zr)
        return measured(*_voice_data.zs(other, voices))

    rows, values = measured(*_voice_data.zs(projected, voices))
    many = [1 + others.shape[1] for others in asked.others]
    first = next(one for one in values if one.measure == DECIDES)
    each = np.repeat(asked.style, [len(one) for one in asked.positive])
    bars = breakdown.by(first.value, each, None, first.group, resamples=options.resamples, seed=options.seed)
    sizes = dict(zip(asked.style.tolist(), many, strict=True))
    bars = [{**bar, "n_candidates": sizes[bar["name"]]} for bar in bars]
    figures = {}
    if options.plots:
        plots.groups(bars, plots_folder / "esr_401.png", title=f"{DECIDES} by style")
        figures = {"esr_401.png": f"{DECIDES} by style: the clip that is sought comes first among {max(many)}."}
    notes = {"texts": voices.side, "styles": asked.style.tolist(), "styles_without_text": len(set(style)) - len(known),
             "trials_a_style": TRIALS, "trials_seed": SEED, "candidates": sorted(set(many)), **voices.left_out,
             "speakers_from": voices.speakers}  # fmt: skip
    if min(many) <= OTHERS:
        notes["smaller_than_published"] = (
            f"{min(many)} candidates in place of {OTHERS + 1}; these numbers are not to be compared with published ones"
        )
    by = {"measure": DECIDES, "by": "style", "rows": bars}
    return protocols.Report(rows, {}, notes, figures, by, values, beside, DECIDES)


class _Book:
    """Rows and values, added one by one."""

    def __init__(self, voices: Voices, asked: Trials, options: EvaluateOptions, hashed: str) -> None:
        self.voices, self.asked, self.options, self.hashed = voices, asked, options, hashed
        self.speaker = [voices.library.speaker[one] for one in asked.positive]
        self.rows: list[dict[str, Any]] = []
        self.values: list[named.Named] = []

    def add(self, measure: str, hits: Sequence[np.ndarray], k: int) -> None:
        """A row of hits, (t,) bool of each style: their mean over styles."""
        group, options, direction = np.concatenate(self.speaker), self.options, self.voices.direction
        each = np.concatenate(hits).astype(np.float64)
        self.values.append(named.Named.of("test", direction, measure, each, group, self.hashed))
        many = [1 + others.shape[1] for others in self.asked.others]
        low, high = mean_over_styles(hits, self.speaker, options.resamples, options.seed)
        self.rows.append({
            "direction": direction, "measure": measure, "value": float(np.mean([one.mean() for one in hits])),
            "low": low, "high": high, "chance": float(np.mean([min(k, n) / n for n in many])), "n_queries": len(each),
            "n_candidates": max(many), "n_groups": len(np.unique(group)), "split": "test", "seed": options.seed,
        })  # fmt: skip


def mean_over_styles(
    hits: Sequence[np.ndarray], speaker: Sequence[np.ndarray], resamples: int, seed: int
) -> tuple[float, float]:
    """95% interval of the mean over styles: whole speakers (t,) are drawn; each style is averaged over its own trials.

    A style that the drawn speakers lack is left out of that resample. With one speaker alone the trials are drawn.
    """
    _, code = np.unique(np.concatenate(speaker), return_inverse=True)
    if code.max() == 0:
        code = np.arange(len(code))
    parts = np.split(code, np.cumsum([len(one) for one in speaker])[:-1])
    groups = int(code.max()) + 1
    right = np.stack([np.bincount(part, one, groups) for part, one in zip(parts, hits, strict=True)], axis=1)
    count = np.stack([np.bincount(part, minlength=groups) for part in parts], axis=1)
    drawn = []
    for weight in statistics.weights(groups, resamples, seed):
        with np.errstate(invalid="ignore"):
            drawn.append(np.nanmean((weight @ right) / (weight @ count), axis=1))
    return tuple(np.quantile(np.concatenate(drawn), (0.025, 0.975)).tolist())


def _scores(texts: np.ndarray, clips: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Scores (t, n) of text i (t, d) with the clips ``among`` (t, n)."""
    owner = np.repeat(np.arange(len(texts)), among.shape[1])
    return scores.similarity.scores_at(texts, clips, owner, among.ravel()).reshape(among.shape)

"""A library of clips as a ranking sees it: which clips come first for a text, and what other speakers would give.

The clips of a library are no sample of independent things: they come from a few speakers. An interval over speakers
draws whole speakers with replacement, so that the library itself changes, and the texts at the same time (the
pigeonhole bootstrap: Owen 2007, Annals of Applied Statistics 1). The order of the clips for a text stays as it is;
clips of a speaker who is not drawn leave it, and those of one who is drawn twice stand in it twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sensorium import scores
from sensorium.evaluate import statistics
from sensorium.types import Rows

DEPTH = 2048  # clips of an order: enough that ten are left where most speakers are not drawn
_NEAR = 24  # columns of an order that are looked at first


@dataclass(frozen=True)
class Library:
    """What is known of q texts and m clips.

    asked (q,), carried (m,): codes of emotions, into ``words``. gain (w, w): of a clip of one emotion (column) for a
    text of another (row), 1 for the same; None where emotions have no ratings. speaker (m,): code of each clip's
    speaker. unit (q,): code of what is drawn of the texts: speakers where ``tied``, with the codes of ``speaker``.
    """

    words: tuple[str, ...]
    asked: np.ndarray
    carried: np.ndarray
    gain: np.ndarray | None
    speaker: np.ndarray
    unit: np.ndarray
    tied: bool = False

    def gains(self, graded: bool) -> np.ndarray:
        """Gain (w, w) of a clip for a text: by valence, arousal and dominance, or 1 for the same emotion alone."""
        return self.gain if graded else np.eye(len(self.words))

    def part(self, texts: np.ndarray, clips: np.ndarray) -> Library:
        """Some texts and the clips of one speaker alone."""
        one = np.zeros(len(clips), np.int64)
        return Library(self.words, self.asked[texts], self.carried[clips], self.gain, one, self.unit[texts])


def order(
    texts: Rows, clips: Rows, library: Library, depth: int, correction: Any = None, shift: Any = None
) -> np.ndarray:
    """The first clips of each text, positions (q, ≤ depth), best first. Equal scores: the least gain comes first.

    texts (q, d), clips (m, d): head outputs. correction: of hubness, as searches apply it; shift: settled for these
    clips already.
    """
    texts, clips = np.asarray(texts, np.float32), np.asarray(clips, np.float32)
    depth = min(depth, len(clips))
    if correction is not None and shift is None:
        shift = correction.shift(clips)
    out = np.empty((len(texts), depth), np.int32)
    gain = library.gains(library.gain is not None)
    for word in np.unique(library.asked):
        mine = np.flatnonzero(library.asked == word)
        wrong_first = np.argsort(gain[word, library.carried], kind="stable")  # equal scores come in order of position
        candidates = clips[wrong_first]
        if correction is None:
            found, _ = scores.topk(texts[mine], candidates, depth)
        else:
            found, _ = correction.topk(texts[mine], candidates, depth, shift=taken(shift, wrong_first))
        out[mine] = wrong_first[found]
    return out


@dataclass(frozen=True)
class Measure:
    """A share of the first k places: precision, or a discounted gain over the best possible one."""

    name: str
    k: int

    @property
    def graded(self) -> bool:
        """Whether its gains are those of valence, arousal and dominance."""
        return "_vad" in self.name

    @property
    def is_precision(self) -> bool:
        """Whether places count alike."""
        return self.name.startswith("precision")

    def places(self) -> np.ndarray:
        """What the first c places are worth together, c = 0 … k, (k + 1,)."""
        each = np.ones(self.k) if self.is_precision else 1 / np.log2(2 + np.arange(self.k))
        return np.append(0.0, np.cumsum(each))


class Values:
    """Measures of each text for one order of the clips, again and again for libraries that are drawn."""

    def __init__(self, library: Library, found: np.ndarray, measures: Sequence[Measure]) -> None:
        """found (q, depth): of :func:`order`."""
        self.library, self.found, self.measures = library, found, measures
        self.most = max(one.k for one in measures)
        places = np.arange(self.most + 1)
        self.worth = np.stack([one.places()[np.minimum(places, one.k)] for one in measures])
        self.gains = np.stack([library.gains(one.graded) for one in measures])
        self.best_first = np.argsort(-self.gains, axis=2, kind="stable")
        self.near = self._of(np.arange(len(found)), _NEAR)

    def __call__(self, weight: np.ndarray | None = None) -> np.ndarray:
        """(measures, q) float64; NaN where the drawn library has no clip of the text's emotion.

        weight (g,): how often each speaker is drawn; once by default.
        """
        library = self.library
        if weight is None:
            weight = np.ones(int(library.speaker.max()) + 1, np.int32)
        drawn = np.bincount(library.carried, weight[library.speaker], len(library.words))
        out, enough = self._sum(*self.near, weight)
        columns, left = _NEAR, np.flatnonzero(~enough)
        while len(left) and columns < self.found.shape[1]:
            columns *= 4
            out[:, left], enough = self._sum(*self._of(left, columns), weight)
            left = left[~enough]
        out = out / self.best(drawn)[:, library.asked]
        return np.where(drawn[library.asked] > 0, out, np.nan)

    def best(self, drawn: np.ndarray) -> np.ndarray:
        """What the best order would reach for each emotion, (measures, w); drawn (w,): clips of each emotion."""
        last = np.minimum(np.cumsum(drawn[self.best_first], axis=2), self.most).astype(int)
        worth = np.take_along_axis(self.worth[:, None], last, axis=2)
        gains = np.take_along_axis(self.gains, self.best_first, axis=2)
        best = (gains * np.diff(worth, prepend=0.0, axis=2)).sum(axis=2)
        precise = np.array([one.is_precision for one in self.measures])
        best = np.where(precise[:, None], self.worth[:, -1:], best)
        return np.where(best > 0, best, np.nan)

    def chance(self) -> np.ndarray:
        """Expectation of the measures of each text under a random order of the clips, (measures, q)."""
        library = self.library
        drawn = np.bincount(library.carried, minlength=len(library.words)).astype(float)
        worth = self.worth[:, min(self.most, len(library.carried))]
        return (self.gains @ (drawn / drawn.sum()) * worth[:, None] / self.best(drawn))[:, library.asked]

    def _of(self, rows: np.ndarray, columns: int) -> tuple[np.ndarray, np.ndarray]:
        """Speaker (r, c) of the first clips of some texts, and their gains (measures, r, c)."""
        part = self.found[rows, :columns]
        return self.library.speaker[part], self.gains[:, self.library.asked[rows, None], self.library.carried[part]]

    def _sum(self, speaker: np.ndarray, gains: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Gains of the places that the first clips take, (measures, r), and whether they take all places, (r,)."""
        each = weight[speaker]
        last = np.minimum(np.cumsum(each, axis=1), self.most)
        share = self.worth[:, last]
        share[:, :, 1:] -= share[:, :, :-1].copy()
        return np.einsum("mrc,mrc->mr", gains, share), last[:, -1] >= self.most


def draws(library: Library, resamples: int, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Resamples: how often each speaker is drawn (g,), and how often each text (q,).

    With one speaker alone the library stays as it is, and with one unit of texts these are drawn one by one.
    """
    speakers, units = int(library.speaker.max()) + 1, library.unit
    if library.tied and speakers > 1:
        for block in statistics.weights(speakers, resamples, seed):
            for weight in block.astype(np.int32):
                yield weight, weight[units]
        return
    if units.max() == 0:
        units = np.arange(len(units))
    of_texts = statistics.weights(int(units.max()) + 1, resamples, seed)
    of_speakers = statistics.weights(speakers, resamples, seed + 1)
    for texts, weights in zip(_each(of_texts), _each(of_speakers), strict=True):
        yield (weights if speakers > 1 else np.ones(1, np.int32)), texts[units]


def interval(estimate: float, drawn: Sequence[float], low: float = 0.0, high: float = 1.0) -> tuple[float, float]:
    """95% interval of a value in [low, high] from its resamples, moved by their bias.

    A drawn library holds about two thirds of the speakers, so its best clip is worse than that of the whole one: the
    mean of the resamples lies below the estimate, and the interval is moved up by the difference.
    """
    known = np.asarray(drawn, float)
    known = known[np.isfinite(known)]
    if not len(known):
        return estimate, estimate
    ends = np.quantile(known, (0.025, 0.975)) + (estimate - known.mean())
    return tuple(np.clip(ends, low, high).tolist())


def means(
    library: Library, found: np.ndarray, measures: Sequence[Measure], resamples: int, seed: int
) -> tuple[Values, list[tuple[float, float]]]:
    """The measures, and the interval over speakers and texts of the mean of each."""
    values = Values(library, found, measures)
    drawn = [_mean(values(weight), texts) for weight, texts in draws(library, resamples, seed)]
    mean = values().mean(axis=1).tolist()
    return values, [interval(*both) for both in zip(mean, np.array(drawn).T, strict=True)]


def resampled(library: Library, found: np.ndarray, of: Callable[[np.ndarray, np.ndarray], float], resamples: int,
              seed: int) -> list[float]:  # fmt: skip
    """``of`` each resample, given texts (repeated as drawn) and the clip that comes first for each of them."""
    rows, out = np.arange(len(found)), []
    for weight, texts in draws(library, resamples, seed):
        there = weight[library.speaker[found]] > 0
        kept = np.where(there.any(axis=1), texts, 0)
        again = np.repeat(rows, kept)
        if len(again):
            out.append(of(again, found[again, there.argmax(axis=1)[again]]))
    return out


def _mean(value: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Mean over the texts that are known, (measures,); the same texts are known of every measure."""
    known = np.isfinite(value[0]) & (weight > 0)
    if not known.any():
        return np.full(len(value), np.nan)
    return value[:, known] @ weight[known] / weight[known].sum()


def taken(shift: Any, rows: np.ndarray) -> Any:
    """A correction of hubness for the same clips in another order."""
    return replace(shift, bias=shift.bias[rows], hubs=None if shift.hubs is None else shift.hubs[rows])


def _each(blocks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    for block in blocks:
        yield from block.astype(np.int32)

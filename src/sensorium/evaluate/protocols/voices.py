"""Text → voice: how many of the first clips carry the emotion that the text asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sensorium import scores
from sensorium.errors import BadData
from sensorium.evaluate import breakdown, concordance, named, plots, protocols, statistics
from sensorium.evaluate.options import EvaluateOptions
from sensorium.evaluate.projected import Projected
from sensorium.evaluate.protocols import _clip_library, _voice_data, emotions
from sensorium.evaluate.protocols._clip_library import Library, Measure
from sensorium.evaluate.protocols._voice_data import Voices
from sensorium.numerics import affect, gaussian_features
from sensorium.types import Data, Rows

DIRECTION = "text->voice"
KS = (1, 5, 10)
DECIDES = "precision@10"  # the measure that the verdict of a run is about
ONE_SPEAKER = ("precision@1", "nDCG@10")  # measured within the clips of each speaker too


def emotion_retrieval(
    texts: Rows,
    clips: Rows,
    text_emotion: np.ndarray,
    clip_emotion: np.ndarray,
    k: int | Sequence[int] = 10,
    group: np.ndarray | None = None,
    seed: int = 0,
    resamples: int = 1000,
    speaker: np.ndarray | None = None,
) -> list[dict[str, Any]]:
    """Precision@k, nDCG@k and nDCG_vad@k of voice retrieval by emotion, each beside its chance level.

    texts (q, d), clips (m, d): head outputs; a clip is right when its emotion is the text's. k: one or several; nDCG
    is of the largest. nDCG has binary gains and the log2(1 + rank) discount; nDCG_vad has as gain the similarity of
    the emotions in valence, arousal and dominance, and is measured where all emotions have ratings.
    group (q,): unit of the bootstrap of texts, by default each text. speaker (m,): of the clips, drawn at the same
    time; without it the library is fixed. Chance is the expectation under a random order of the clips. Clips that
    score alike are ranked pessimistically: those of the most distant emotion come first.
    Raises BadData when a text's emotion is carried by no clip, or k exceeds the clips.
    """
    asked, carried = np.asarray(text_emotion), np.asarray(clip_emotion)
    for what, rows, words in (("texts", texts, asked), ("clips", clips, carried)):
        if len(rows) != len(words):
            raise BadData(f"{len(rows)} {what} and {len(words)} emotions; expected one each")
    ks = (k,) if isinstance(k, int) else tuple(k)
    if not 0 < min(ks) <= max(ks) <= len(clips):
        raise BadData(f"k={max(ks)} among {len(clips)} clips; expected 1 to {len(clips)}")
    if not np.isin(asked, carried).all():
        raise BadData(f"no clip carries '{asked[~np.isin(asked, carried)][0]}'; leave such texts out")
    words, codes = np.unique(np.concatenate([asked, carried]), return_inverse=True)
    unit = np.arange(len(asked)) if group is None else np.unique(group, return_inverse=True)[1].reshape(-1)
    of = np.zeros(len(carried), int) if speaker is None else np.unique(speaker, return_inverse=True)[1].reshape(-1)
    asked, carried = np.split(codes, [len(asked)])
    library = Library(tuple(words.tolist()), asked, carried, _voice_data.gains(words), of, unit)
    measures = _measures(library, ks)
    found = _clip_library.order(texts, clips, library, _clip_library.DEPTH)
    values, ends = _clip_library.means(library, found, measures, resamples, seed)
    return [_row(DIRECTION, one.name, *row, library, seed, speaker is not None)
            for one, *row in zip(measures, values(), ends, values.chance(), strict=True)]  # fmt: skip


def check(data: Data) -> None:
    """Raise BadData unless the items of both sides have a column "emotion"."""
    _voice_data.check(data, "voices")


def report(
    data: Data, projected: Projected, options: EvaluateOptions, corrections: Mapping[str, Any], plots_folder: Path
) -> protocols.Report:
    """The test split's texts over its clips, as searches rank them: see docs/evaluation.md, "Voices".

    Texts are the side of kind "text", else the one whose name says so, else the right one. A text whose emotion no
    clip of the split carries is left out and counted.
    """
    voices = _voice_data.of(data, projected.pairs, "test")
    library, direction = voices.library, voices.direction
    queries, candidates = _voice_data.zs(projected, voices)
    correction = corrections.get(direction)
    measured = _Measured(data, projected, voices, options)
    rows, values, found = measured.of(queries, candidates, correction)
    plain = values if correction is None else measured.of(queries, candidates)[1]

    def beside(zl: Rows, zr: Rows) -> tuple[list[dict[str, Any]], tuple[named.Named, ...]]:
        other = Projected(projected.left, projected.right, projected.pairs, zl, zr)
        return measured.of(*_voice_data.zs(other, voices))[:2]

    names, precision = list(library.words), next(one for one in values if one.measure == _decides(values))
    bars = breakdown.by(precision.value, library.asked, np.array(names), voices.group, resamples=options.resamples,
                        seed=options.seed)  # fmt: skip
    sizes = dict(zip(names, np.bincount(library.carried, minlength=len(names)).tolist(), strict=True))
    bars = [{**bar, "n_candidates": sizes[bar["name"]]} for bar in bars]
    counts = emotions.confusion(library.asked, library.carried[found[:, 0]], range(len(names)))
    figures = {}
    if options.plots:
        plots.groups(bars, plots_folder / "voices.png", title=f"{precision.measure} by emotion")
        hits = float((library.asked == library.carried[found[:, 0]]).mean())
        plots.confusion(counts, names, plots_folder / "voices_confusion.png", axes=("asked", "first clip"),
                        title=f"Emotion of the first clip: {100 * hits:.1f}% as asked")  # fmt: skip
        figures = {
            "voices.png": f"{precision.measure}: share of right ones among the first clips, by emotion.",
            "voices_confusion.png": "Emotion that was asked for (row) and that of the first clip (column).",
        }
    notes = {"texts": voices.side, "emotions": np.unique(np.array(names)[library.asked]).tolist(),
             "speakers": int(library.speaker.max()) + 1, "speakers_from": voices.speakers, **voices.left_out,
             "hubness_correction": "none" if correction is None else correction.method}  # fmt: skip
    by = {"measure": precision.measure, "by": "emotion", "rows": bars}
    confusion = {"rows": "emotion asked for", "columns": "emotion of the first clip", "names": names,
                 "counts": counts.tolist()}  # fmt: skip
    return protocols.Report(rows, {}, notes, figures, by, values, beside, precision.measure, plain, confusion)


class _Measured:
    """The rows of some head outputs; the same texts and clips every time."""

    def __init__(self, data: Data, projected: Projected, voices: Voices, options: EvaluateOptions) -> None:
        self.voices, self.library, self.options = voices, voices.library, options
        self.own = _voice_data.own_clips(data, voices)
        self.hashed = named.asked(projected.ids(voices.direction)[1], voices.clips)
        self.ratings = affect.vads(self.library.words) if self.library.gain is not None else None

    def of(
        self, queries: np.ndarray, clips: np.ndarray, correction: Any = None
    ) -> tuple[list[dict[str, Any]], tuple[named.Named, ...], np.ndarray]:
        """Rows, the values they summarise, and the order of the clips."""
        library, options, direction = self.library, self.options, self.voices.direction
        found = _clip_library.order(queries, clips, library, _clip_library.DEPTH, correction)
        measures = _measures(library, [k for k in KS if k <= len(clips)])
        of, ends = _clip_library.means(library, found, measures, options.resamples, options.seed)
        value = of()
        rows = [_row(direction, one.name, *row, library, options.seed)
                for one, *row in zip(measures, value, ends, of.chance(), strict=True)]  # fmt: skip
        values = [self._named(one.name, v) for one, v in zip(measures, value, strict=True)]
        rows += self._own(queries, clips, correction, values)
        rows += self._concordance(found)
        rows += self._predicted(queries, "texts", library.asked, library.unit)
        rows += self._predicted(clips, "clips", library.carried, library.speaker)
        rows += self._one_speaker(queries, clips, correction)
        return [{**row, "split": "test"} for row in rows], tuple(values), found

    def _named(self, measure: str, value: np.ndarray, group: np.ndarray | None = None) -> named.Named:
        group = self.voices.group if group is None else group
        return named.Named.of("test", self.voices.direction, measure, value, group, self.hashed)

    def _own(self, queries: np.ndarray, clips: np.ndarray, correction: Any, values: list[Any]) -> list[dict[str, Any]]:
        """id_recall@10: whether a clip of the text's own is among the first ten."""
        if self.own is None:
            return []
        ranks = (scores if correction is None else correction).ranks(queries, clips, self.own)
        hit = (np.minimum.reduceat(ranks, self.own.offsets[:-1]) <= KS[-1]).astype(np.float64)
        group = self.library.speaker[self.own.relevant[self.own.offsets[:-1]]]
        ends = statistics.interval(hit, group, "mean", self.options.resamples, self.options.seed)
        several = self.own.counts()
        chance = 1 - np.array([_none_of(len(clips), n, KS[-1]) for n in several.tolist()])
        name = f"id_recall@{KS[-1]}"
        values.append(self._named(name, hit, group))
        row = _row(self.voices.direction, name, hit, ends, chance, self.library, self.options.seed)
        return [{**row, "n_groups": len(np.unique(group))}]

    def _concordance(self, found: np.ndarray) -> list[dict[str, Any]]:
        """CCC of the valence, arousal and dominance that a text asks for with those of the clip found first."""
        if self.ratings is None:
            return []
        asked, carried = self.ratings[self.library.asked], self.ratings[self.library.carried]

        def each(texts: np.ndarray, first: np.ndarray) -> list[float]:
            return [concordance.ccc(asked[texts, d], carried[first, d]) for d in range(3)]

        estimate = each(np.arange(len(found)), found[:, 0])
        drawn = np.array(_clip_library.resampled(self.library, found, each, self.options.resamples, self.options.seed))
        rows = []
        for d, dimension in enumerate(affect.DIMENSIONS):
            ends = _clip_library.interval(estimate[d], drawn[:, d], -1.0)
            row = _row(self.voices.direction, f"CCC_{dimension}", np.array([estimate[d]]), ends, np.zeros(1),
                       self.library, self.options.seed)  # fmt: skip
            rows.append({**row, "n_queries": len(found)})
        return rows

    def _predicted(self, z: np.ndarray, what: str, code: np.ndarray, group: np.ndarray) -> list[dict[str, Any]]:
        """CCC of ratings that the outputs z (n, d) are with those of the emotions; nothing for other outputs."""
        if self.ratings is None or z.shape[1] != gaussian_features.WIDTH:
            return []
        points = gaussian_features.points_of(z)
        if not np.allclose(gaussian_features.lift(points), z, atol=1e-4):
            return []
        found = concordance.rows(self.ratings[code], points, group, self.options.resamples, self.options.seed)
        return [{**row, "direction": self.voices.direction, "measure": f"{row['measure']}/{what}",
                 "n_candidates": len(self.library.carried)} for row in found]  # fmt: skip

    def _one_speaker(self, queries: np.ndarray, clips: np.ndarray, correction: Any) -> list[dict[str, Any]]:
        """The same among the clips of one speaker alone: the mean over the speakers that have the emotion."""
        library, options = self.library, self.options
        measures = [one for one in _measures(library, KS) if one.name in ONE_SPEAKER]
        speakers = int(library.speaker.max()) + 1
        if not 1 < speakers < len(clips):
            return []
        shift = None if correction is None else correction.shift(clips)
        value, chance = (np.full((len(measures), speakers, len(queries)), np.nan) for _ in range(2))
        for one in range(speakers):
            mine = np.flatnonzero(library.speaker == one)
            texts = np.flatnonzero(np.isin(library.asked, library.carried[mine]))
            part = library.part(texts, mine)
            settled = None if shift is None else _clip_library.taken(shift, mine)
            order = _clip_library.order(queries[texts], clips[mine], part, KS[-1], correction, settled)
            values = _clip_library.Values(part, order, measures)
            value[:, one, texts], chance[:, one, texts] = values(), values.chance()
        known = np.isfinite(value[0])
        group = np.broadcast_to(np.arange(speakers)[:, None], known.shape)[known]
        rows = []
        for measure, v, by_chance in zip(measures, value, chance, strict=True):
            ends = statistics.interval(v[known], group, "mean", options.resamples, options.seed)
            row = _row(self.voices.direction, f"{measure.name}/one_speaker", v[known], ends, by_chance[known], library,
                       options.seed)  # fmt: skip
            rows.append({**row, "n_queries": len(queries)})
        return rows


def _measures(library: Library, ks: Sequence[int]) -> list[Measure]:
    most = max(ks)
    graded = [Measure(f"nDCG_vad@{most}", most)] if library.gain is not None else []
    return [*(Measure(f"precision@{k}", k) for k in ks), Measure(f"nDCG@{most}", most), *graded]


def _row(direction: str, measure: str, value: np.ndarray, ends: tuple[float, float], chance: np.ndarray,
         library: Library, seed: int, of_speakers: bool = True) -> dict[str, Any]:  # fmt: skip
    groups = int(library.speaker.max()) + 1 if of_speakers else len(np.unique(library.unit))
    return {"direction": direction, "measure": measure, "value": float(value.mean()), "low": ends[0], "high": ends[1],
            "chance": float(chance.mean()), "n_queries": len(value), "n_candidates": len(library.carried),
            "n_groups": groups, "seed": seed}  # fmt: skip


def _decides(values: Sequence[named.Named]) -> str:
    """The measure of the verdict; the deepest precision of a library that is smaller."""
    there = [one.measure for one in values if one.measure.startswith("precision")]
    return DECIDES if DECIDES in there else there[-1]


def _none_of(clips: int, own: int, k: int) -> float:
    """Probability that none of ``own`` clips is among the first k of a random order."""
    left = clips - own - np.arange(min(k, clips))
    return float(np.prod(np.maximum(left, 0) / (clips - np.arange(min(k, clips)))))

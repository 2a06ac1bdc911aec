"""What the protocols of voices read from the data: emotions, speakers, and the clip that is a text's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sensorium.errors import BadData
from sensorium.evaluate import protocols
from sensorium.evaluate.projected import Projected
from sensorium.evaluate.protocols._clip_library import Library
from sensorium.numerics import affect
from sensorium.pairs import Pairs, Relevance
from sensorium.types import Data, Items, is_missing

EMOTION = "emotion"
SPEAKERS = ("speaker", "actor")  # columns of clips that say who speaks; else the group of a clip's pairs
TRANSCRIPT = "transcript"
OTHER = {"left": "right", "right": "left"}


@dataclass(frozen=True)
class Voices:
    """Texts and clips of one split, and what is known of them.

    texts, clips: rows of the two tables. side: of the texts. left_out: what was not measured, by why.
    speakers: where they come from.
    """

    side: str
    texts: np.ndarray
    clips: np.ndarray
    library: Library
    speakers: str
    left_out: dict[str, int]

    @property
    def direction(self) -> str:
        """Of all rows: texts ask, clips answer."""
        return f"{self.side}->{OTHER[self.side]}"

    @property
    def group(self) -> np.ndarray:
        """Unit of the texts (q,)."""
        return self.library.unit


def check(data: Data, protocol: str) -> None:
    """Raise BadData unless the items of both sides have a column "emotion"."""
    protocols.two_sides(data, protocol)
    for side, items in (("left", data.left), ("right", data.right)):
        protocols.column(items, EMOTION, side, protocol)


def of(data: Data, pairs: Pairs, split: str, column: str = EMOTION) -> Voices:
    """The texts and clips of a split. Texts are the side of kind "text", see :func:`protocols.text_side`.

    Emotions are compared by :func:`sensorium.numerics.affect.canonical`, so that "anger" is "angry". Left out and
    counted: items without an emotion, and texts whose emotion no clip of the split carries. Raises BadData where
    nothing is left.
    """
    side = protocols.text_side(data)
    relevance = pairs.relevance(f"{side}->{OTHER[side]}", split)
    texts, clips = relevance.queries, relevance.candidates
    columns = _items(data, side).meta[column], _items(data, OTHER[side]).meta[column]
    asked, carried = _words(columns[0], texts), _words(columns[1], clips)
    left_out = {"clips_without_emotion": int((carried == "").sum()), "texts_without_emotion": int((asked == "").sum())}
    clips, carried = clips[carried != ""], carried[carried != ""]
    there = np.isin(asked, carried)
    left_out["texts_without_clip"] = int((~there & (asked != "")).sum())
    if not there.any():
        such = f", such as '{asked[asked != ''][0]}'" if (asked != "").any() else ""
        raise BadData(f"no clip of the {split} split carries an emotion of its texts{such}")
    texts, asked = texts[there], asked[there]
    words, codes = np.unique(np.concatenate([asked, carried]), return_inverse=True)
    speaker, source = _speakers(_items(data, OTHER[side]), clips, pairs.where(split), side)
    unit, tied = _units(pairs.where(split, 1), side, texts, clips, speaker)
    asked, carried = np.split(codes, [len(asked)])
    library = Library(tuple(words.tolist()), asked, carried, gains(words), speaker, unit, tied)
    return Voices(side, texts, clips, library, source, left_out)


def gains(words: Any) -> np.ndarray | None:
    """Gain (w, w) of a clip of one emotion for a text of another; None where a word has no ratings.

    1 − d / D, at least 0: d is the Euclidean distance of valence, arousal and dominance, D the largest between two of
    RAVDESS's eight emotions.
    """
    if any(affect.vad(str(word)) is None for word in words):
        return None
    largest = float(affect.distances(affect.EMOTIONS, affect.EMOTIONS).max())
    words = [str(word) for word in words]
    return np.clip(1 - affect.distances(words, words).astype(np.float64) / largest, 0, 1)


def own_clips(data: Data, voices: Voices) -> Relevance | None:
    """The clips that are a text's own, for texts that have any: of the same id, else with the text as transcript.

    The id of one of several texts, such as "a.wav#2", stands for "a.wav". Positions are into the clips of ``voices``.
    None where no text has a clip of its own.
    """
    left, right = _items(data, voices.side), _items(data, OTHER[voices.side])
    names = np.asarray(left.ids)[voices.texts].astype(np.str_)
    clip_names = np.asarray(right.ids)[voices.clips].astype(np.str_)
    stems = np.array([name.rpartition("#")[0] or name for name in names.tolist()], np.str_)
    for asked in (names, stems):
        if np.isin(asked, clip_names).any():
            return _equal(asked, clip_names)
    if left.kind == "text" and TRANSCRIPT in right.meta:
        said = _text(right.meta[TRANSCRIPT], voices.clips)
        wanted = _text(left.values, voices.texts)
        if np.isin(wanted[wanted != ""], said).any():
            return _equal(wanted, said)
    return None


def zs(projected: Projected, voices: Voices) -> tuple[np.ndarray, np.ndarray]:
    """Head outputs of the texts (q, d) and of the clips (m, d), float32."""
    queries, candidates = projected.sides(voices.direction)
    return np.asarray(queries[voices.texts], np.float32), np.asarray(candidates[voices.clips], np.float32)


def _equal(asked: np.ndarray, names: np.ndarray) -> Relevance:
    order = np.argsort(names, kind="stable")
    first, last = (np.searchsorted(names, asked, side, sorter=order) for side in ("left", "right"))
    queries = np.flatnonzero(last > first)
    relevant = [np.sort(order[first[row] : last[row]]) for row in queries.tolist()]
    offsets = np.append(0, np.cumsum([len(one) for one in relevant]))
    return Relevance(queries, np.arange(len(names)), offsets, np.concatenate(relevant), queries,
                     np.full(len(queries), -1))  # fmt: skip


def _items(data: Data, side: str) -> Items:
    return data.left if side == "left" else data.right


def _text(column: Any, rows: np.ndarray) -> np.ndarray:
    """A column as text (n,), "" where a value is missing."""
    values = [column[row] for row in rows.tolist()]
    return np.array(["" if is_missing(value) else str(value) for value in values], np.str_)


def _words(column: Any, rows: np.ndarray) -> np.ndarray:
    found = _text(column, rows)
    by = {word: affect.canonical(word) for word in np.unique(found).tolist()}
    return np.array([by[word] for word in found.tolist()], np.str_)


def _speakers(items: Items, clips: np.ndarray, pairs: Pairs, side: str) -> tuple[np.ndarray, str]:
    """Code of each clip's speaker (m,) and where it comes from. A clip without one is a speaker of its own."""
    column = next((name for name in SPEAKERS if name in items.meta), None)
    if column is not None:
        names, source = _text(items.meta[column], clips), f"column {column}"
    else:
        rows = pairs.right if side == "left" else pairs.left
        both = np.unique(np.stack([rows, pairs.group], 1), axis=0)
        row, first, count = np.unique(both[:, 0], return_index=True, return_counts=True)
        at = np.searchsorted(row, clips)
        single = count[at] == 1
        names = np.where(single, both[first[at], 1].astype(np.str_), "")
        source = "groups of pairs" if single.any() else "none: each clip on its own"
    alone = names == ""
    names = np.where(alone, np.char.add("\0", np.arange(len(clips)).astype(np.str_)), names)
    return np.unique(names, return_inverse=True)[1].reshape(-1), source


def _units(
    related: Pairs, side: str, texts: np.ndarray, clips: np.ndarray, speaker: np.ndarray
) -> tuple[np.ndarray, bool]:
    """What is drawn of the texts (q,): the speaker where each text goes with the clips of one, else each text."""
    mine, theirs = (related.left, related.right) if side == "left" else (related.right, related.left)
    there = np.isin(theirs, clips) & np.isin(mine, texts)
    edges = np.stack([mine[there], speaker[np.searchsorted(clips, theirs[there])]], 1)
    edges = np.unique(edges, axis=0)
    if len(edges) == len(texts) and np.array_equal(edges[:, 0], texts) and len(np.unique(edges[:, 1])) > 1:
        return edges[:, 1], True
    return np.arange(len(texts)), False

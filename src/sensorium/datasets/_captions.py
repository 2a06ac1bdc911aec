"""Captioned media: n clips or pictures with m captions, each clip once, as the items and pairs of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from sensorium.errors import BadData
from sensorium.pairs import Pairs
from sensorium.table import as_column
from sensorium.table.columns import missing
from sensorium.types import Data, Items, as_ids

NAMES = {"audio": "sound", "image": "picture"}  # what a clip of this kind is called
CAPTION = "caption"


@dataclass(frozen=True, eq=False)
class Corpus:
    """n clips and m captions. kind: "audio" or "image"; with vectors, what they were made of, or "".

    ids (n,); values: n paths, or vectors (n, d); columns: name → (n,) values. clip (m,): the clip of each caption;
    number (m,): of a caption within its clip, from 1; texts: m captions, None where the words are not known;
    vectors (m, d): of the captions, None where they are texts; caption_columns: name → (m,) values.
    split (n,): words, "" where the data say none; group (n,): clips of one group never stand in two splits.
    source: by side, what made vectors.
    """

    ids: np.ndarray
    values: Any
    kind: str
    clip: np.ndarray
    number: np.ndarray
    texts: list[str] | None
    split: np.ndarray
    group: np.ndarray
    vectors: np.ndarray | None = None
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)
    caption_columns: Mapping[str, np.ndarray] = field(default_factory=dict)
    caption_ids: np.ndarray | None = None
    source: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    def with_ids(self, prefix: str) -> Corpus:
        """The clips with a prefix before each id and group, such as the name of their split."""
        captions = None if self.caption_ids is None else _prefixed(prefix, self.caption_ids)
        ids, group = _prefixed(prefix, self.ids), _prefixed(prefix, self.group)
        return replace(self, ids=ids, group=group, caption_ids=captions)

    def ids_of_captions(self) -> np.ndarray:
        """Ids (m,): those that the data give, else of each the clip's with its number, ``x.wav#1``."""
        if self.caption_ids is not None:
            return self.caption_ids
        of_clip = self.ids[self.clip].tolist()
        return as_ids([f"{id}#{number}" for id, number in zip(of_clip, self.number.tolist(), strict=True)])

    def data(self) -> Data:
        """Left the clips, right the captions, a pair for each caption."""
        name = NAMES.get(self.kind, "")
        left = Items(self.ids, self.values, "vector" if self.vectors is not None else self.kind, dict(self.columns),
                     self.source.get("left", {}), name=name)  # fmt: skip
        meta: dict[str, np.ndarray] = {}
        if self.texts is not None:
            meta[CAPTION] = as_column(list(self.texts), CAPTION)
        meta |= {"clip": as_column(self.ids[self.clip], "clip"), "number": self.number.astype(np.int64)}
        meta |= {key: column for key, column in self.caption_columns.items() if key not in meta}
        kind, values = ("text", self.texts) if self.vectors is None else ("vector", self.vectors)
        right = Items(self.ids_of_captions(), values, kind, meta, self.source.get("right", {}), name=CAPTION)
        pairs = Pairs.of(self.clip, np.arange(len(self.clip)), group=self.group[self.clip],
                         split=None if not (self.split != "").any() else self.split[self.clip])  # fmt: skip
        given = "given" if (self.split != "").any() else "drawn"
        counts = {"clips": len(self), "captions": len(self.clip), "split": given}
        return Data(left, right, pairs, {**counts, **self.notes})


def joined(parts: Sequence[Corpus]) -> Corpus:
    """Corpora one after the other. Raises BadData where their kinds or widths differ."""
    if len(parts) == 1:
        return parts[0]
    first = parts[0]
    kinds = {part.kind for part in parts if part.kind}
    if len(kinds) > 1 or len({part.vectors is None for part in parts}) > 1:
        raise BadData(
            f"the data are of several kinds ({', '.join(sorted(kinds)) or 'files and vectors'}); give one kind"
        )
    start = np.cumsum([0, *(len(part) for part in parts[:-1])])
    vectors = first.vectors is not None
    for side, rows in (("media", [p.values for p in parts]), ("captions", [p.vectors for p in parts])):
        if vectors and len(widths := {one.shape[1] for one in rows}) > 1:
            raise BadData(
                f"the vectors of the {side} are of {min(widths)} and {max(widths)} numbers; they must be of one encoder"
            )
    own_ids = any(p.caption_ids is not None for p in parts)
    several = {name for p in parts for name in p.caption_columns}
    return Corpus(
        np.concatenate([p.ids for p in parts]),
        np.concatenate([p.values for p in parts]) if vectors else [one for p in parts for one in p.values],
        next(iter(kinds), ""),
        np.concatenate([p.clip + at for p, at in zip(parts, start, strict=True)]),
        np.concatenate([p.number for p in parts]),
        None if any(p.texts is None for p in parts) else [one for p in parts for one in p.texts],
        np.concatenate([p.split for p in parts]),
        np.concatenate([p.group for p in parts]),
        np.concatenate([p.vectors for p in parts]) if vectors else None,
        _columns([p.columns for p in parts], [len(p) for p in parts]),
        _columns([_of_captions(p, several) for p in parts], [len(p.clip) for p in parts]),
        np.concatenate([p.ids_of_captions() for p in parts]) if own_ids else None,
        first.source,
        _notes([p.notes for p in parts]),
    )  # fmt: skip


def _of_captions(part: Corpus, names: set[str]) -> dict[str, np.ndarray]:
    """These columns of the captions: where the clips have one alone, their clip's value."""
    of_clips = {name: part.columns[name][part.clip] for name in names if name in part.columns}
    return of_clips | dict(part.caption_columns)


def _prefixed(prefix: str, texts: np.ndarray) -> np.ndarray:
    return as_ids([f"{prefix}{one}" for one in texts.tolist()])


def _columns(parts: Sequence[Mapping[str, np.ndarray]], counts: Sequence[int]) -> dict[str, np.ndarray]:
    """Every column of any part, with missing values where a part lacks it."""
    names = dict.fromkeys(name for part in parts for name in part)
    made = {}
    for name in names:
        values = [v for part, n in zip(parts, counts, strict=True) for v in _listed(part.get(name), n)]
        if any(isinstance(v, list) for v in values):
            values = [v if v is None or isinstance(v, list) else [v] for v in values]
        made[name] = as_column(values, name)
    return made


def _listed(column: np.ndarray | None, n: int) -> list[Any]:
    if column is None:
        return [None] * n
    values = list(column) if column.dtype.kind in "Mm" else column.tolist()
    return [None if gone else value for value, gone in zip(values, missing(column).tolist(), strict=True)]


def _notes(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Numbers are added, lists are joined, of anything else the first is taken."""
    made: dict[str, Any] = {}
    for part in parts:
        for key, value in part.items():
            if key in made and isinstance(value, (int, float)) and not isinstance(value, bool):
                made[key] += value
            elif key in made and isinstance(value, list):
                made[key] = made[key] + [one for one in value if one not in made[key]]
            else:
                made.setdefault(key, value)
    return made

"""Vectors of texts and of clips in two files, as EmoRAG's scripts write them: joined by name, or by position."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from sensorium import formats
from sensorium.datasets import _clip_splits, _items
from sensorium.datasets._source import Source
from sensorium.errors import BadData, BadRecipe, nearest
from sensorium.formats import IDS_NAMES, SPLIT_NAMES
from sensorium.heads import check_finite
from sensorium.modalities.audio import files, ratings
from sensorium.pairs import Pairs
from sensorium.pairs.classes import Classes
from sensorium.types import Data, Items, as_ids

JOINS = ("name", "position")
KEYS = {"text": ("text_emb", "text_embs", "text_embeddings"),
        "audio": ("emo_emb", "audio_emb", "audio_embs", "audio_embeddings")}  # fmt: skip
_NAMES = ("filename", "fname", "stem", "FileName", *IDS_NAMES)
_ENDINGS = frozenset({*files.SUFFIXES, ".txt", ".lab", ".json", ".npy", ".pt"})
RATINGS = "valence, arousal, dominance"  # what vectors that come from such a table are called
_SHARED = ("transcript", "emotion", "speaker", "language", "path")  # columns that the other side is given too
_SOME = 3


@dataclass(frozen=True, eq=False)
class Table:
    """The vectors (n, d) of one file, and the columns beside them. side: "text" or "audio"; key: of the vectors."""

    side: str
    source: Source
    key: str
    vectors: np.ndarray

    @classmethod
    def open(cls, side: str, spec: str, scale: str = ratings.SCALE, skip: bool = False) -> Table:
        """``PATH`` or ``PATH:KEY``. Raises BadRecipe for a file or key that is not there, BadData for no vectors.

        A table of valence, arousal and dominance without vectors gives these, from ``scale`` to -1..1. skip: rows of
        it that have no number stay as NaN.
        """
        path, key = formats.split(spec)
        source = Source.open(str(path), None)
        columns = source.columns
        if not key:
            vectors = [columns.key] if columns.key else formats.names_of_vectors(columns)
            known = [name for name in KEYS[side] if name in columns] or vectors
            if not known and (found := ratings.values_of(columns, scale, source.where, skip)) is not None:
                return cls(side, source, RATINGS, found)
            if not known or (len(known) > 1 and known is vectors):
                raise BadRecipe(f"which array of {source.where} holds the vectors? type: data.{side}={path}:KEY; "
                                f"it has {', '.join(columns)}")  # fmt: skip
            key = known[0]
        if key not in columns:
            raise BadRecipe(f"data.{side}={spec}: {source.where} has no '{key}'; {nearest(key, columns)}")
        array = np.asarray(columns[key])
        if array.ndim != 2 or array.dtype.kind not in "fiu" or 0 in array.shape:
            raise BadData(f"{source.where}:{key} is {formats.described(array)}; expected numbers [n, d], a row a clip")
        return cls(side, source, key, array.astype(np.float32, copy=False))

    def __len__(self) -> int:
        return len(self.vectors)

    def column(self, name: str | None, usual: Sequence[str]) -> str | None:
        """The name of a column of one value a row: the given one, or a usual one that is there."""
        n, columns = len(self), self.source.columns
        if name:
            return name if name in columns else None
        return next((one for one in usual if one in columns and columns.shape(one)[:1] == (n,) and one != self.key),
                    None)  # fmt: skip

    def names(self, given: str | None) -> np.ndarray | None:
        """Names (n,) that rows are joined by; None where the file has none. Raises BadData where some are missing."""
        name = self.column(given, _NAMES)
        if name is None:
            return None
        texts = self.source.columns.texts(name)
        if len(texts) != len(self):
            raise BadData(f"{self.source.where}:{name} has {len(texts)} values for {len(self)} rows of '{self.key}'")
        gone = [row for row, value in enumerate(texts.tolist()) if value is None or not value.strip()]
        if gone:
            raise BadData(f"{self.source.where}:{name}: {len(gone)} of {len(self)} names are missing "
                          f"({self.source.rows(gone)}); fill them in, or join by rows: data.join=position")  # fmt: skip
        return as_ids([value.strip().replace("\\", "/") for value in texts.tolist()])

    @cached_property
    def metadata(self) -> dict[str, np.ndarray]:
        """Every column of one value a row."""
        found = {}
        for name in self.source.columns:
            if name != self.key and self.source.columns.shape(name) in ((len(self),), (-1,)):
                values = _items.metadata(self.source, name, required=False)
                if values is not None and len(values) == len(self):
                    found[name] = values
        return found


def load(text: Table, audio: Table, *, join: str, ids: str | None, split: str | None, group: str | None,
         relevant: str | None, allow_missing: bool) -> Data:  # fmt: skip
    """The pairs of text and clip. join: "name" or "position". ids: the column of names in both files.

    Raises BadRecipe for files without names, or columns that are not there; BadData for names that repeat or do not
    match (unless ``allow_missing``), other numbers of rows by position, and vectors that are NaN or infinite.
    """
    tables = (text, audio)
    names = [one.names(ids) for one in tables]
    i, j, notes = _by_position(tables, names) if join == "position" else _by_name(tables, names, ids, allow_missing)
    name = names[1] if names[1] is not None and join == "name" else np.arange(len(audio))
    for one, rows in zip(tables, (i, j), strict=True):
        if one.key == RATINGS and (lost := ~np.isfinite(one.vectors[rows]).all(axis=1)).any():
            notes[f"{one.side}_without_ratings"] = int(lost.sum())
            i, j = i[~lost], j[~lost]
            if not len(i):
                raise BadData(f"{one.source.where}: none of its rows has ratings; fill them in")
    clip_ids = as_ids(name)[j]
    meta = [{n: c[rows] for n, c in one.metadata.items()} for one, rows in zip(tables, (i, j), strict=True)]
    for mine, other in (meta, meta[::-1]):
        mine.update({n: other[n] for n in _SHARED if n not in mine and n in other})
    words = _common(tables, meta, split, SPLIT_NAMES, "split")
    groups = _common(tables, meta, group, ("speaker", "actor", "spk"), "group")
    items = []
    for one, rows, columns, called in zip(tables, (i, j), meta, ("text", "clip"), strict=True):
        check_finite(one.vectors[rows], clip_ids, f"{one.source.where}:{one.key}")
        source = {"name": "vectors", "key": one.key}
        items.append(Items(clip_ids, one.vectors[rows], "vector", columns, source, name=called))
    split_words = None if words is None else _clip_splits.of_words(words, f"the split of {text.source.where}")
    at = np.arange(len(i))
    groups = None if groups is None else _clip_splits.groups(groups, clip_ids)
    pairs = Pairs.of(at, at, split=split_words, group=groups)
    if relevant is not None:
        labels = _common(tables, meta, relevant, (), "relevant")
        pairs = replace(pairs, classes=Classes.of(labels, at, at, len(at), len(at)))
    notes |= {"text": f"{text.source.where}:{text.key}", "audio": f"{audio.source.where}:{audio.key}",
              "split": "drawn" if words is None else "given"}  # fmt: skip
    return Data(items[0], items[1], pairs, notes)


def _by_position(tables: Sequence[Table], names: Sequence[np.ndarray | None]) -> tuple[Any, Any, dict[str, Any]]:
    text, audio = tables
    if len(text) != len(audio):
        raise BadData(f"{text.source.where} has {len(text):,} rows, {audio.source.where} {len(audio):,}; by position "
                      "their numbers must be equal: join by names with data.join=name")  # fmt: skip
    said = f"row i of {text.source.where} is taken for row i of {audio.source.where}: data.join=position"
    notes: dict[str, Any] = {"join": "position"}
    if names[0] is not None and names[1] is not None:
        differ = int((_without_ending(names[0]) != _without_ending(names[1])).sum())
        notes["names_that_differ"] = differ
        said += f"; both have names, of which {differ:,} of {len(text):,} differ" if differ else ""
    return np.arange(len(text)), np.arange(len(text)), {**notes, "said": [said]}


def _by_name(tables: Sequence[Table], names: Sequence[np.ndarray | None], ids: str | None,
             allow_missing: bool) -> tuple[Any, Any, dict[str, Any]]:  # fmt: skip
    for one, found in zip(tables, names, strict=True):
        if found is None:
            what = f"no column '{ids}'" if ids else f"no names ({', '.join(_NAMES[:3])}, …)"
            raise BadRecipe(f"{one.source.where} has {what} to join its rows by; type: data.ids=COLUMN, or join by "
                            f"rows: data.join=position (it has {', '.join(one.source.columns)})")  # fmt: skip
    how, keys = "as they are", list(names)
    if len(np.intersect1d(*keys)) < max(map(len, keys)):
        cut = [_without_ending(one) for one in names]
        if len(np.intersect1d(*cut)) > len(np.intersect1d(*keys)):
            how, keys = "without their endings", cut
    for one, key in zip(tables, keys, strict=True):
        unique, counts = np.unique(key, return_counts=True)
        if (counts > 1).any():
            rows = np.flatnonzero(key == unique[counts > 1][0]).tolist()
            raise BadData(f"{one.source.where}: {int((counts > 1).sum())} names stand in more than one row, such as "
                          f"{str(unique[counts > 1][0])!r} ({one.source.rows(rows)}), compared {how}; a name must be "
                          "one clip: keep the folders in the names, or remove the copies")  # fmt: skip
    only = [key[~np.isin(key, other)] for key, other in (keys, keys[::-1])]
    shared = len(keys[0]) - len(only[0])
    if not shared or (not allow_missing and (len(only[0]) or len(only[1]))):
        said = " and ".join(f"{len(lost):,} of {len(key):,} names are only in {one.source.where} (such as "
                            f"{', '.join(map(repr, lost[:_SOME].tolist()))})"
                            for one, key, lost in zip(tables, keys, only, strict=True) if len(lost))  # fmt: skip
        remedy = ", or drop these rows: data.allow_missing=true" if shared else ", or data.join=position"
        raise BadData(f"{said}, compared {how}; correct them{remedy}")
    order = np.argsort(keys[1])
    i = np.flatnonzero(np.isin(keys[0], keys[1]))
    j = order[np.searchsorted(keys[1], keys[0][i], sorter=order)]
    notes = {"join": "name", "names_compared": how, "only_in_text": len(only[0]), "only_in_audio": len(only[1])}
    return i, j, notes


def _without_ending(names: np.ndarray) -> np.ndarray:
    """Names without the ending of a sound, text or array file; what else follows a dot stays."""
    cut = [os.path.splitext(name) for name in names.tolist()]
    return np.array([stem if ending.lower() in _ENDINGS else stem + ending for stem, ending in cut], np.str_)


def _common(tables: Sequence[Table], meta: Sequence[dict[str, np.ndarray]], given: str | None, usual: Sequence[str],
            what: str) -> list[str | None] | None:  # fmt: skip
    """A column of the pairs as texts, of whichever file has it; where both have it they must agree."""
    if given == "":
        return None
    found = [[None if v is None or v == "" else str(v) for v in columns[name].tolist()] for columns in meta
             if (name := next((one for one in ([given] if given else usual) if one in columns), None))]  # fmt: skip
    if not found and given:
        columns = [name for columns in meta for name in columns]
        raise BadRecipe(f"data.{what}={given}: neither file has such a column; {nearest(given, columns)}")
    if not found:
        return None
    differ = [row for row, (a, b) in enumerate(zip(found[0], found[-1], strict=True)) if a != b]
    if differ:
        raise BadData(f"{tables[0].source.where} and {tables[1].source.where} disagree on the {what} of {len(differ)} "
                      f"pairs, such as {found[0][differ[0]]!r} against {found[-1][differ[0]]!r}")  # fmt: skip
    return found[0]

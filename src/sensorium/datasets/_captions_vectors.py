"""Vectors of captioned media that exist already: one file with those of the media and those of the captions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sensorium import formats
from sensorium.datasets._captions import Corpus
from sensorium.datasets._source import Source
from sensorium.errors import BadData, BadRecipe, nearest
from sensorium.formats import IDS_NAMES, SPLIT_NAMES, Columns, objects
from sensorium.pairs import Pairs
from sensorium.table import as_column
from sensorium.types import as_ids

#: Names of the two arrays, which are looked for in this order.
MEDIA = {"audio": ("audio", "audio_emb", "audio_embs", "audio_embeddings", "sound", "sounds", "emo_emb"),
         "image": ("image", "image_emb", "image_embs", "image_embeddings", "images", "picture", "pictures"),
         "": ("media", "left", "vectors")}  # fmt: skip
CAPTIONS = (
    "text",
    "text_emb",
    "text_embs",
    "text_embeddings",
    "captions_emb",
    "caption_emb",
    "caption_embeddings",
    "right",
)
TEXTS = ("captions", "caption", "texts", "sentences")
CLIPS = ("clip", "clips", "clip_id", "clip_ids", "caption_clip", "image_id", "audio_id")


def read(path: str, left: str | None, right: str | None, given: dict[str, Any], bad: str, kind: str) -> Corpus:
    """The corpus of a file of vectors: of n media (n, d), of captions (n, c, d), or (m, d) beside the clip of each.

    left, right: names of the two arrays. given: the columns "id", "split", "group" and "caption" that the recipe names.
    A caption vector of [n, c, d] that is all zeros stands for none. Raises BadRecipe for arrays that are not there,
    BadData, with rows, for vectors that are NaN, infinite or zero (``bad="skip"`` leaves them out), for other numbers
    of rows, and for captions whose clip is not there.
    """
    source = Source.open(path, None)
    columns = source.columns
    media = _chosen(columns, left, [name for names in MEDIA.values() for name in names], "left", source.where)
    captions = _chosen(columns, right, CAPTIONS, "right", source.where)
    kind = kind if kind != "auto" else next((one for one, names in MEDIA.items() if media in names), "")
    values, texts = (_vectors(columns, name, source.where) for name in (media, captions))
    if values.ndim != 2:
        raise BadData(f"{source.where}:{media} is {formats.described(values)}; expected one vector an item, [n, d]")
    n = len(values)
    ids = _ids(columns, given.get("id"), n, source.where)
    if texts.ndim == 3 or (len(texts) == n and not _clips(columns, n)):
        each = texts.shape[1] if texts.ndim == 3 else 1
        if len(texts) != n:
            raise BadData(f"{source.where}: {n} vectors in '{media}' and captions of {len(texts)} items in "
                          f"'{captions}'; their numbers must be equal")  # fmt: skip
        clip, number = np.repeat(np.arange(n), each), np.tile(np.arange(1, each + 1), n)
        flat = texts.reshape(n * each, -1)
        there = flat.any(axis=1) | np.isnan(flat).any(axis=1) if texts.ndim == 3 else np.ones(n, bool)
    else:
        clip, flat, there = (
            _of_clips(columns, texts, ids, n, source.where, (media, captions)),
            texts,
            np.ones(len(texts), bool),
        )
        number = _numbers(clip)
    good = _good(values, source, media, bad)
    usable = there & _good(flat, source, captions, bad, there) & good[clip]
    return _corpus(columns, kind, ids, values, clip, number, flat, good, usable, given, source, (media, captions), bad)


def _corpus(columns: Columns, kind: str, ids: np.ndarray, values: np.ndarray, clip: np.ndarray, number: np.ndarray,
            flat: np.ndarray, good: np.ndarray, usable: np.ndarray, given: dict[str, Any], source: Source,
            names: tuple[str, str], bad: str) -> Corpus:  # fmt: skip
    with_caption = np.zeros(len(ids), bool)
    with_caption[clip[usable]] = True
    kept = np.flatnonzero(good & with_caption)
    if not len(kept):
        raise BadData(f"{source.where}: no vector of '{names[0]}' has a caption vector that can be used")
    at = np.cumsum(good & with_caption) - 1
    notes: dict[str, Any] = {"caption_vectors_left_out": int((~usable).sum())} if not usable.all() else {}
    if len(kept) < len(ids):
        notes["clips_left_out"] = int(len(ids) - len(kept))
    words = _texts_of(columns, given.get("caption"), len(ids), len(clip))
    split, group = (_column(columns, given.get(key), usual, len(ids), key, source.where)
                    for key, usual in (("split", SPLIT_NAMES), ("group", ())))  # fmt: skip
    meta = {}
    for name in columns:
        if name not in names and columns.shape(name) == (len(ids),) and name not in TEXTS:
            meta[name] = as_column(columns.exact(name)[kept], name)
    return Corpus(
        ids[kept], values[kept], kind, at[clip[usable]], number[usable],
        None if words is None else [words[i] or "" for i in np.flatnonzero(usable).tolist()],
        _split(split, len(ids), source.where)[kept], ids[kept] if group is None else _groups(group, ids)[kept],
        vectors=flat[usable], columns=meta, notes=notes,
        source={"left": {"name": "vectors", "key": names[0]}, "right": {"name": "vectors", "key": names[1]}},
    )  # fmt: skip


def _groups(group: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Groups (n,) as texts; an item without one is a group of its own."""
    return as_ids([id if one is None else str(one) for one, id in zip(group.tolist(), ids.tolist(), strict=True)])


def _chosen(columns: Columns, name: str | None, usual: Sequence[str], key: str, where: str) -> str:
    if name is not None:
        if name not in columns:
            raise BadRecipe(f"data.{key}={name}: {where} has no such array ({nearest(name, columns)})")
        return name
    found = next((one for one in usual if one in columns and len(columns.shape(one)) > 1), None)
    if found is None:
        raise BadRecipe(f"which array of {where} holds the vectors of the {'media' if key == 'left' else 'captions'}? "
                        f"type: data.{key}=ARRAY; it has {', '.join(columns)}")  # fmt: skip
    return found


def _vectors(columns: Columns, name: str, where: str) -> np.ndarray:
    array = np.asarray(columns[name])
    if array.dtype.kind not in "fiu" or array.ndim not in (2, 3) or 0 in array.shape:
        raise BadData(
            f"{where}:{name} is {formats.described(array)}; expected numbers [n, d], or [n, c, d] of captions"
        )
    return array.astype(np.float32, copy=False)


def _good(vectors: np.ndarray, source: Source, name: str, bad: str, there: np.ndarray | None = None) -> np.ndarray:
    """Mask (n,) of usable vectors. Unless ``bad`` is "skip", raises BadData with the rows of the others."""
    finite = np.isfinite(vectors).all(axis=1)
    good = finite & vectors.any(axis=1)
    faulty = ~good if there is None else ~good & there
    if faulty.any() and (bad != "skip" or not (good & (there if there is not None else True)).any()):
        rows = np.flatnonzero(faulty)
        what = "NaN or infinity" if not finite[rows[0]] else "nothing but zeros"
        said = f"{len(rows)} of {len(vectors)} vectors hold NaN, infinity or only zeros, such as {what}"
        raise BadData(f"{source.where}:{name}: {said} in {source.rows(rows)}; embed these again, or leave them "
                      "out with data.bad=skip")  # fmt: skip
    return good


def _ids(columns: Columns, name: str | None, n: int, where: str) -> np.ndarray:
    found = _column(columns, name, (*IDS_NAMES, "audio_ids", "image_ids"), n, "id", where)
    ids = as_ids(np.arange(n)) if found is None else as_ids(found)
    unique, counts = np.unique(ids, return_counts=True)
    if len(unique) < n:
        if name is None:
            return as_ids(np.arange(n))
        again = np.flatnonzero(ids == unique[np.argmax(counts)])
        raise BadData(f"{where}: {np.count_nonzero(counts > 1)} ids of '{name}' stand in several rows, such as "
                      f"'{ids[again[0]]}' (rows {', '.join(str(row + 1) for row in again[:3])}); every item needs its "
                      "own")  # fmt: skip
    return ids


def _clips(columns: Columns, n: int) -> str | None:
    return next((name for name in CLIPS if name in columns), None)


def _of_clips(
    columns: Columns, texts: np.ndarray, ids: np.ndarray, n: int, where: str, names: tuple[str, str]
) -> np.ndarray:
    """The media row (m,) of each caption vector, by the column that names its clip."""
    name = _clips(columns, n)
    if name is None or columns.shape(name)[:1] != (len(texts),):
        raise BadData(f"{where}: {n} vectors in '{names[0]}' and {len(texts)} in '{names[1]}', and no column says "
                      f"which caption is of which; expected a column '{CLIPS[0]}' with the id of each caption's item, "
                      "or captions [n, c, d]")  # fmt: skip
    row_of = {id: row for row, id in enumerate(ids.tolist())}
    of = [row_of.get(id, -1) for id in as_ids(columns[name]).tolist()]
    if lost := [row for row, at in enumerate(of) if at < 0]:
        raise BadData(f"{where}: '{name}' names {len(lost)} items that '{names[0]}' does not have, such as "
                      f"'{columns[name][lost[0]]}' (row {lost[0] + 1}); correct the ids")  # fmt: skip
    return np.array(of, np.int64)


def _numbers(clip: np.ndarray) -> np.ndarray:
    seen: dict[int, int] = {}
    number = np.zeros(len(clip), np.int64)
    for at, one in enumerate(clip.tolist()):
        number[at] = seen[one] = seen.get(one, 0) + 1
    return number


def _column(
    columns: Columns, name: str | None, usual: Sequence[str], n: int, key: str, where: str
) -> np.ndarray | None:
    if name == "":
        return None
    if name is not None and (name not in columns or columns.shape(name)[:1] != (n,)):
        raise BadRecipe(f"data.{key}={name}: {where} has no such column of {n} rows; {nearest(name, columns)}")
    found = name or next((one for one in usual if one in columns and columns.shape(one) == (n,)), None)
    return None if found is None else columns.texts(found)


def _texts_of(columns: Columns, name: str | None, n: int, m: int) -> np.ndarray | None:
    """The captions (m,) as texts, where the file has them: (n, c), a list a row, or (m,)."""
    for one in (name,) if name else TEXTS:
        if one not in columns:
            continue
        array = columns[one]
        if array.ndim == 2 and array.size == m:
            return objects([None if v is None else str(v) for v in array.ravel().tolist()])
        if array.ndim == 1 and len(array) == m:
            return objects([None if v is None else str(v) for v in array.tolist()])
        if array.ndim == 1 and len(array) == n and all(isinstance(v, (list, tuple)) for v in array.tolist()):
            flat = [one for v in array.tolist() for one in v]
            if len(flat) == m:
                return objects([None if v is None else str(v) for v in flat])
    return None


def _split(words: np.ndarray | None, n: int, where: str) -> np.ndarray:
    at = np.arange(n)
    try:
        texts = [""] * n if words is None else ["" if w is None else str(w).strip() for w in words.tolist()]
        return Pairs.of(at, at, group=at, split=np.array(texts, np.str_)).split
    except BadData as error:
        raise BadData(f'{where}: {error}; or ignore the column: data.split=""') from None

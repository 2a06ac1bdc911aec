"""The cache of the Embed2Image document: audio_embeddings.pt, text_embeddings.pt and metadata.json, one row a caption.

Row i of both tensors (p, d) is one caption with its clip: the clip's vector stands there once for each of its captions.
ids[i] of metadata.json is ``x.wav#1`` … ``x.wav#5``; where ids have no number, or where there is no metadata.json, rows
of equal audio vectors are one clip. Caches that sensorium wrote have lists ``captions`` and ``splits`` beside the ids.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from sensorium.datasets import _captions
from sensorium.datasets._captions import Corpus
from sensorium.errors import BadData, BadRecipe
from sensorium.formats import pt
from sensorium.pairs import SPLIT_WORDS, SPLITS
from sensorium.types import as_ids

AUDIO, TEXT, ABOUT = "audio_embeddings", "text_embeddings", "metadata.json"
FILES = (f"{AUDIO}.pt", f"{TEXT}.pt", ABOUT)
_CLOSE = 1e-5  # of the vectors of one clip, over their length


def is_cache(folder: Path) -> bool:
    """Whether a folder holds both tensors."""
    return all((folder / name).is_file() for name in FILES[:2])


def folders(spec: str | Path | Sequence[str]) -> list[Path]:
    """The folders of caches that a specification names: itself, those directly below it, or each of a list.

    Raises BadRecipe where there is none.
    """
    named = [spec] if isinstance(spec, (str, Path)) else list(spec)
    found: list[Path] = []
    for one in named:
        folder = Path(one).expanduser()
        if is_cache(folder):
            found.append(folder)
            continue
        below = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
        inside = sorted(filter(is_cache, below), key=lambda path: (_rank(path), path.name))
        if not inside:
            half = [path for path in (folder, *below) if any((path / name).is_file() for name in FILES[:2])]
            lacks = f"; {half[0]} has only one of them" if half else ""
            raise BadRecipe(f"data.cache={one}: no cache there; expected a folder with {FILES[0]} and {FILES[1]}, or "
                            f"with one such folder a split{lacks}")  # fmt: skip
        found += inside
    return found


def _rank(folder: Path) -> int:
    """The place of a folder's split: training, validation, test, others."""
    return (*SPLITS, "").index(SPLIT_WORDS.get(folder.name.lower(), ""))


def read(spec: str | Path | Sequence[str], bad: str = "stop", *, prefix: bool = False) -> Corpus:
    """The clips and captions of one or several caches, of which each clip is there once.

    Several caches are a split each, which the names of their folders say (development, validation, evaluation; train,
    test), and stands before the ids: ``development/x.wav``. prefix: also of one cache.
    Raises BadRecipe where there is no cache, BadData, with rows, for tensors or ids of different numbers, vectors of
    one clip that differ, and vectors that are NaN, infinite or zero (``bad="skip"`` leaves these out).
    """
    places = folders(spec)
    parts = []
    for folder in places:
        part = _read(folder, bad)
        word = SPLIT_WORDS.get(folder.name.lower(), "")
        if len(places) > 1 and not word:
            raise BadData(f"{folder}: of several caches each is a split, and '{folder.name}' names none; rename the "
                          f"folder: {', '.join(sorted(SPLIT_WORDS))}")  # fmt: skip
        if len(places) > 1 or (prefix and word):
            part = part.with_ids(f"{folder.name}/")
        own = (part.split != "").any()
        parts.append(part if own else replace(part, split=np.full(len(part), word, "<U10")))
    return _captions.joined(parts)


def with_texts(corpus: Corpus, texts: Mapping[str, str]) -> Corpus:
    """The corpus with the words of its captions, by caption id; unchanged where some are not known."""
    ids = corpus.ids_of_captions().tolist()
    if corpus.texts is not None or any(one not in texts for one in ids):
        return corpus
    return replace(corpus, texts=[texts[one] for one in ids])


def _read(folder: Path, bad: str) -> Corpus:
    audio, text = (pt.tensor(folder / f"{name}.pt") for name in (AUDIO, TEXT))
    about = _about(folder)
    for name, array in ((AUDIO, audio), (TEXT, text)):
        if array.ndim != 2 or array.dtype.kind != "f" or 0 in array.shape:
            raise BadData(f"{folder / name}.pt has shape {list(array.shape)} of {array.dtype}; expected vectors [p, d]")
    ids = about.get("ids")
    if len(audio) != len(text):
        raise BadData(f"{folder}: {len(audio)} vectors in {FILES[0]}, {len(text)} in {FILES[1]}; both have a row for "
                      "each caption: the cache was cut short, make it again")  # fmt: skip
    if ids is not None and len(ids) != len(audio):
        raise BadData(f"{folder / ABOUT} has {len(ids)} ids for the {len(audio)} rows of {FILES[0]} and {FILES[1]}; "
                      "the cache was cut short, make it again")  # fmt: skip
    notes: dict[str, Any] = {"rows_of_cache": len(audio)}
    usable = _usable(folder, audio, text, ids, bad)
    if not usable.all():
        notes |= {"captions_left_out": int((~usable).sum())}
    rows = np.flatnonzero(usable)
    audio, text = audio[rows].astype(np.float32), text[rows].astype(np.float32)
    clip, number, names, captions = _clips(folder, audio, None if ids is None else ids[rows], notes)
    first = np.unique(clip, return_index=True)[1]
    _same(folder, audio, clip, first, rows)
    alike = _codes(audio[first])
    group = names[np.unique(alike, return_index=True)[1]][alike]
    made = about.get("encoders") if isinstance(about.get("encoders"), dict) else {}
    source = {side: made.get(key) or {"name": "vectors", "key": key, **_made_by(about, word)}
              for side, key, word in (("left", AUDIO, "audio"), ("right", TEXT, "text"))}  # fmt: skip
    words, split = (_beside(folder, about, key, usable) for key in ("captions", "splits"))
    return Corpus(
        names, audio[first], "audio", clip, number, words, _splits(folder, split, clip, first, rows), group,
        vectors=text, caption_ids=captions, source=source, notes=notes,
    )  # fmt: skip


def _about(folder: Path) -> dict[str, Any]:
    """metadata.json, ids as an array; {} where there is none. Raises BadData for a damaged one."""
    path = folder / ABOUT
    if not path.is_file():
        return {}
    try:
        about = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise BadData(f"{path} is not valid JSON ({error}); make the cache again, or delete the file") from None
    if not isinstance(about, dict):
        raise BadData(f"{path} holds no object; expected ids, audio_embedding_shape, …")
    ids = about.get("ids")
    if ids is None:
        return about
    if not isinstance(ids, list) or not all(isinstance(one, (str, int)) and one != "" for one in ids):
        raise BadData(
            f"{path}: 'ids' is no list of texts; expected one id for each row of the tensors, such as x.wav#1"
        )
    return about | {"ids": as_ids([str(one) for one in ids])}


def _beside(folder: Path, about: Mapping[str, Any], key: str, usable: np.ndarray) -> list[str] | None:
    """The texts of the usable rows that our own caches have beside the ids; None where there are none."""
    found = about.get(key)
    if found is None:
        return None
    if not isinstance(found, list) or len(found) != len(usable) or not all(isinstance(one, str) for one in found):
        raise BadData(f"{folder / ABOUT}: '{key}' is no list of {len(usable)} texts, one for each row of the tensors; "
                      "correct it, or leave it out")  # fmt: skip
    return [found[row] for row in np.flatnonzero(usable).tolist()]


def _splits(folder: Path, words: list[str] | None, clip: np.ndarray, first: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The split (n,) of each clip, "" without words (p,). Raises BadData for a word that is none, and a clip in two."""
    if words is None:
        return np.full(len(first), "", "<U10")
    if unknown := [word for word in words if word.lower() not in SPLIT_WORDS]:
        raise BadData(f"{folder / ABOUT}: split '{unknown[0]}'; expected {', '.join(SPLITS)}")
    split = np.array([SPLIT_WORDS[word.lower()] for word in words], "<U10")
    apart = np.flatnonzero(split != split[first][clip])
    if len(apart):
        raise BadData(f"{folder / ABOUT}: the rows of one clip are in two splits, such as row {rows[apart[0]] + 1}; "
                      "correct 'splits'")  # fmt: skip
    return split[first]


def _made_by(about: Mapping[str, Any], word: str) -> dict[str, Any]:
    keys = {"audio": ("audio_encoder", "audio_sample_rate"), "text": ("text_encoder",)}[word]
    return {key: about[key] for key in keys if isinstance(about.get(key), (str, int))}


def _usable(folder: Path, audio: np.ndarray, text: np.ndarray, ids: Any, bad: str) -> np.ndarray:
    usable = np.ones(len(audio), bool)
    for name, array in ((AUDIO, audio), (TEXT, text)):
        good = np.isfinite(array).all(axis=1) & array.any(axis=1)
        usable &= good
        if not good.all() and (bad != "skip" or not usable.any()):
            rows = np.flatnonzero(~good)
            called = ", ".join(f"row {row + 1}" + (f" '{ids[row]}'" if ids is not None else "") for row in rows[:3])
            raise BadData(f"{folder / name}.pt: {len(rows)} of {len(array)} vectors hold NaN, infinity or only zeros "
                          f"({called}); embed these again, or leave them out with data.bad=skip")  # fmt: skip
    return usable


def _clips(folder: Path, audio: np.ndarray, ids: Any, notes: dict[str, Any]):
    """Clip and number (p,) of each row, ids (n,) of the clips in order, and ids (p,) of captions, or None."""
    texts = None if ids is None else [str(one) for one in ids.tolist()]
    split = [one.rpartition("#") for one in texts or ()]
    if texts is not None and all(stem and number.isdigit() for stem, _, number in split):
        if len(set(texts)) < len(texts):
            again = next(one for at, one in enumerate(texts) if one in texts[:at])
            raise BadData(f"{folder / ABOUT}: {len(texts) - len(set(texts))} ids stand twice, such as '{again}'; each "
                          "caption needs its own")  # fmt: skip
        known: dict[str, int] = {}
        clip = np.array([known.setdefault(stem, len(known)) for stem, _, _ in split], np.int64)
        return clip, np.array([int(number) for _, _, number in split], np.int64), as_ids(list(known)), None
    if texts is None:
        texts = [f"sample_{row}" for row in range(len(audio))]
        notes["said"] = [f"{folder} has no {ABOUT}: rows of equal audio vectors are taken for one clip"]
    codes = _codes(audio)
    clip = _by_first(codes)
    number = np.zeros(len(clip), np.int64)
    seen: dict[int, int] = {}
    for at, one in enumerate(clip.tolist()):
        number[at] = seen[one] = seen.get(one, 0) + 1
    first = np.unique(clip, return_index=True)[1]
    if len(set(texts)) < len(texts):
        texts = [f"{one}#{row + 1}" for row, one in enumerate(texts)]
    names = as_ids([texts[at] for at in first.tolist()])
    return clip, number, names, as_ids(texts)


def _codes(vectors: np.ndarray) -> np.ndarray:
    """A code (n,) for each vector, equal where these are."""
    flat = np.ascontiguousarray(vectors)
    return np.unique(flat.view(np.dtype((np.void, flat.itemsize * flat.shape[1]))).ravel(), return_inverse=True)[
        1
    ].ravel()


def _by_first(code: np.ndarray) -> np.ndarray:
    _, first, inverse = np.unique(code, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first, kind="stable")] = np.arange(len(first))
    return rank[inverse]


def _same(folder: Path, audio: np.ndarray, clip: np.ndarray, first: np.ndarray, rows: np.ndarray) -> None:
    """Raise BadData where the rows of one clip have different audio vectors."""
    apart = np.linalg.norm(audio - audio[first][clip], axis=1) > _CLOSE * np.linalg.norm(audio, axis=1)
    if apart.any():
        at = int(np.flatnonzero(apart)[0])
        raise BadData(f"{folder / FILES[0]}: the vectors of {len(np.unique(clip[apart]))} clips differ from caption to "
                      f"caption, such as those of rows {rows[first[clip[at]]] + 1} and {rows[at] + 1}; ids of one clip "
                      "begin alike: correct the ids of metadata.json, or make the cache again")  # fmt: skip

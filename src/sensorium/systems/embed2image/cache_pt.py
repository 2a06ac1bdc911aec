"""The cache of the original: ``audio_embeddings.pt``, ``text_embeddings.pt`` (p, d) and ``metadata.json``.

A row is a caption: the vector of its clip, which so stands in the file once a caption, and the caption's own. Ids are
``CLIP#1``, ``CLIP#2`` and so on. As stores it is two: ``audio``, each clip once, and ``text``, each caption.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sensorium import io, parts, store
from sensorium.errors import BadData, BadRecipe, nearest, require
from sensorium.numerics import unit as unit_length
from sensorium.pairs import SPLITS
from sensorium.store import manifest, reading
from sensorium.systems import _run_vectors
from sensorium.types import Data, Embeddings

FILES = {"left": "audio_embeddings.pt", "right": "text_embeddings.pt"}
STORES = {"left": "audio", "right": "text"}
ABOUT = "metadata.json"
_OPTIONS = {"bad": "skip leaves rows out that cannot be used (error)"}


class Rows(NamedTuple):
    """The rows of a cache. left, right: tables; clip, caption (p,): their rows; number (p,): of a caption of its clip.

    split (p,): words, "" where there is none. about: what metadata.json says of encoders and rate.
    """

    left: Embeddings
    right: Embeddings
    clip: np.ndarray
    caption: np.ndarray
    number: np.ndarray
    split: np.ndarray
    about: Mapping[str, Any]


def is_cache(folder: Path) -> bool:
    """Whether a folder is a cache, or holds caches, one a split."""
    found = (folder, *(sorted(folder.iterdir()) if folder.is_dir() else ()))
    return any((one / FILES["left"]).is_file() and (one / FILES["right"]).is_file() for one in found)


def to_stores(path: Path, out: Path, options: Sequence[str]) -> dict[str, Any]:
    """Import a cache as the stores ``out/audio`` and ``out/text``; returns what was made.

    Raises BadRecipe for an unknown option, BadData for a cache that cannot be used.
    """
    given = dict(text.partition("=")[::2] for text in options)
    for key in given:
        if key not in _OPTIONS:
            raise BadRecipe(f"import embed2image of a cache takes no '{key}'; {nearest(key, _OPTIONS)}")
    if not is_cache(path):
        raise BadData(f"{path} is no cache of the original; expected {FILES['left']}, {FILES['right']} and {ABOUT}")
    data = parts.make("datasets", {"name": "captioned", "cache": str(path), **given}, "data").load()
    said = _about(path)
    made = []
    for side, items in (("left", data.left), ("right", data.right)):
        rows = data.pairs.left if side == "left" else data.pairs.right
        split = np.full(len(items), "", "<U10")
        split[rows] = data.pairs.split
        meta = {**items.meta, **({"split": split} if (split != "").any() else {})}
        own = {"name": "imported-embed2image", "file": FILES[side]}
        own |= {key: value for key, value in said.items() if key.startswith(STORES[side])}
        store.append(out / STORES[side], items.ids.tolist(), items.values, own, meta)
        made.append(str(out / STORES[side]))
    return {"stores": made, "clips": len(data.left), "captions": len(data.right),
            "width": [int(items.values.shape[1]) for items in (data.left, data.right)], **_left_out(data)}  # fmt: skip


def of_stores(folder: Path, out: Path, text: str | None = None, split: str | None = None) -> list[Path]:
    """Write the stores of a folder, ``audio`` and ``text``, as a cache; or a store of clips and that of its captions.

    text: store of the captions, where ``folder`` is a store itself. A caption belongs to the clip of its column
    ``clip``, or to the one that its id ``CLIP#1`` names. Raises BadData where there is no such clip.
    """
    if text is None and not manifest.exists(folder / STORES["left"]):
        raise BadData(f"{folder} holds no stores 'audio' and 'text'; where it is a store of clips, name that of their "
                      "captions: text=STORE")  # fmt: skip
    left, right = (folder, Path(text).expanduser()) if text else (folder / STORES["left"], folder / STORES["right"])
    tables = [reading.open(one) for one in (left, right)]
    for table, where in zip(tables, (left, right), strict=True):
        if table.offsets is not None:
            raise BadData(f"{where} holds frames, several vectors an item; the original has one vector a clip")
    clips, captions = tables
    of = captions.meta.get("clip")
    names = (
        [one.rpartition("#")[0] for one in captions.ids.tolist()] if of is None else [str(one) for one in of.tolist()]
    )
    row_of = {id: row for row, id in enumerate(clips.ids.tolist())}
    if lost := [row for row, name in enumerate(names) if name not in row_of]:
        raise BadData(f"{right}: {len(lost)} captions belong to clips that {left} does not have, such as caption "
                      f"'{captions.ids[lost[0]]}' of clip '{names[lost[0]]}'")  # fmt: skip
    clip = np.array([row_of[name] for name in names], np.int64)
    words = captions.meta.get("split")
    rows = Rows(clips, captions, clip, np.arange(len(clip)), _numbers(captions, clip),
                np.full(len(clip), "") if words is None else np.asarray(words).astype(np.str_),
                _encoders(clips.fingerprint, captions.fingerprint))  # fmt: skip
    return write(rows, out, split)


def of_run(run: Any, out: Path, split: str | None = None) -> list[Path]:
    """Write the vectors that a run was fitted on as a cache; at unit length where its heads scale them so."""
    data, (left, right), pairs = _run_vectors.of(run, "clips on its left and captions on its right side")
    related = pairs.where(label=1)
    order = np.lexsort((related.right, related.left))
    clip, caption = related.left[order], related.right[order]
    tables = []
    for side, table in (("left", left), ("right", right)):
        scaled = run.head(side).arguments.get("preprocess") == "unit"
        vectors = unit_length(np.asarray(table.vectors[:], np.float32)) if scaled else table.vectors
        tables.append(Embeddings(table.ids, vectors, table.fingerprint, _with_texts(table.meta, data, side)))
    rate = int(rate_of(run))
    about = _encoders(left.fingerprint, right.fingerprint) | ({"audio_sample_rate": rate} if rate else {})
    unique = len(np.unique(caption)) == len(caption)
    numbers = _numbers(tables[1], clip, caption) if unique else _running(clip)
    return write(Rows(tables[0], tables[1], clip, caption, numbers, related.split[order], about), out, split)


def rate_of(run: Any) -> int:
    """The rate of the left encoder in Hz; 0 where the items came as vectors."""
    encoder = run.encoder("left")
    return 0 if encoder is None else encoder.sample_rate


def write(rows: Rows, out: Path, split: str | None = None) -> list[Path]:
    """The three files, metadata.json last. split: the rows of one split alone, whose name ids then do not repeat.

    metadata.json has the keys of the original, and beside them ``captions`` where these are known, and ``splits`` where
    there are several.
    Raises BadRecipe for a split without rows, BadData where a folder holds another cache already.
    """
    torch = require("torch", "train")
    kept = np.arange(len(rows.clip))
    if split is not None:
        kept = np.flatnonzero(rows.split == split)
        if not len(kept):
            there = [word for word in SPLITS if (rows.split == word).any()]
            raise BadRecipe(
                f"split={split}: no row is of it; {nearest(split, there) if there else 'there are no splits'}"
            )
    clips = rows.left.ids[rows.clip[kept]].tolist()
    folders = {clip.partition("/")[0] if "/" in clip else "" for clip in clips}
    if split is not None and len(folders) == 1 and folders != {""}:
        clips = [clip.partition("/")[2] for clip in clips]
    ids = [f"{clip}#{number}" for clip, number in zip(clips, rows.number[kept].tolist(), strict=True)]
    audio, text = (np.asarray(table.vectors[at[kept]], np.float32)
                   for table, at in ((rows.left, rows.clip), (rows.right, rows.caption)))  # fmt: skip
    about = {"ids": ids, "audio_embedding_shape": list(audio.shape), "text_embedding_shape": list(text.shape),
             "audio_sample_rate": None, **rows.about, "num_pairs": len(ids)}  # fmt: skip
    captions = rows.right.meta.get("caption")
    if captions is not None:
        about["captions"] = [str(one) for one in np.asarray(captions)[rows.caption[kept]].tolist()]
    if len(set(rows.split[kept].tolist())) > 1:
        about["splits"] = rows.split[kept].tolist()
    out.mkdir(parents=True, exist_ok=True)
    files = []
    for name, vectors in ((FILES["left"], audio), (FILES["right"], text)):
        tensor = torch.from_numpy(np.ascontiguousarray(vectors))
        io.write(out / name, lambda file, tensor=tensor: torch.save(tensor, file))
        files.append(out / name)
    io.write_json(out / ABOUT, about)
    return [*files, out / ABOUT]


def _numbers(captions: Embeddings, clip: np.ndarray, caption: np.ndarray | None = None) -> np.ndarray:
    """The number of each caption of its clip: of its column, of its id, or its place."""
    rows = np.arange(len(clip)) if caption is None else caption
    column = captions.meta.get("number")
    if column is not None and np.asarray(column).dtype.kind in "iu":
        numbers = np.asarray(column)[rows]
    else:
        ends = [one.rpartition("#")[2] for one in captions.ids[rows].tolist()]
        numbers = np.array([int(end) if end.isdecimal() else 0 for end in ends], np.int64)
    pairs = set(zip(clip.tolist(), numbers.tolist(), strict=True))
    return numbers if len(pairs) == len(clip) and (numbers > 0).all() else _running(clip)


def _running(clip: np.ndarray) -> np.ndarray:
    """1, 2, … for the rows of each clip, in order."""
    seen: dict[int, int] = {}
    made = np.zeros(len(clip), np.int64)
    for row, one in enumerate(clip.tolist()):
        made[row] = seen[one] = seen.get(one, 0) + 1
    return made


def _encoders(left: Mapping[str, Any], right: Mapping[str, Any]) -> dict[str, Any]:
    """What made the vectors, as metadata.json says it; what an imported cache said is said again."""
    said = {key: value for one in (left, right) for key, value in one.items() if key in _KEPT}
    return {"audio_encoder": left.get("name", ""), "text_encoder": right.get("name", "")} | said


#: Entries of metadata.json that a store of an imported cache keeps in its fingerprint.
_KEPT = ("audio_encoder", "text_encoder", "audio_sample_rate")


def _about(path: Path) -> dict[str, Any]:
    """What metadata.json says of encoders and rate; of several caches the first one's."""
    places = [path / ABOUT, *sorted(path.glob(f"*/{ABOUT}"))]
    found = next((io.read_json(one) for one in places if one.is_file()), {})
    return {key: found[key] for key in _KEPT if isinstance(found, dict) and isinstance(found.get(key), (str, int))}


def _with_texts(meta: Mapping[str, np.ndarray], data: Data, side: str) -> Mapping[str, np.ndarray]:
    """Metadata with the captions themselves, where the right items are texts."""
    if side == "left" or data.right.kind != "text" or "caption" in meta:
        return meta
    return {**meta, "caption": np.array([str(one) for one in data.right.values], object)}


def _left_out(data: Data) -> dict[str, Any]:
    return {key: value for key, value in data.notes.items() if "left_out" in key}

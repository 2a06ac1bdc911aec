"""The original's clips: ``audio_embeddings.npz`` and the index folder ``Zy.npy``, ``names.npy`` and a FAISS file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sensorium import formats, io
from sensorium.errors import BadData, BadRecipe, require
from sensorium.formats import Column, Columns, npz
from sensorium.formats._numpy import content, read_npy
from sensorium.types import Embeddings, as_ids

CLIPS = "audio_embeddings.npz"
KEYS = ("emo_emb", "audio_emb")
TEXTS = "text_emb"
NAMES = ("filename", "fname", "stem")
KINDS = ("hnsw", "flat", "none")
_LINKS, _BREADTH = 32, 80  # of the original's HNSW
_SAME = 1e-4  # largest difference of a number of two unit vectors that are the same clip's


class Clips(NamedTuple):
    """Clips of one file.

    ids: (n,), each once. names: (n,), as the file has them. vectors: (n, d) float32. meta: further columns. key: of the
    array. indexed: whether the vectors are those of an index folder: head outputs already, of unit length. renamed: how
    many ids have a number added, as several clips had one name.
    """

    ids: np.ndarray
    names: np.ndarray
    vectors: np.ndarray
    meta: Mapping[str, np.ndarray]
    key: str
    indexed: bool
    renamed: int


def read(path: Path) -> Clips:
    """The clips of a file of vectors, or of a folder: of its ``audio_embeddings.npz``, else of ``Zy.npy``.

    Ids are the file names, with their folders where the file has them; without names they are row numbers, as in the
    original. Names that stand twice have ``#2``, ``#3`` added, so that no clip is lost.
    Raises BadRecipe where nothing is there, BadData for a file that cannot be used.
    """
    if path.is_dir():
        if not (path / CLIPS).is_file():
            return _of_index(path)
        path = path / CLIPS
    if not path.is_file():
        raise BadRecipe(f"no file {path}; expected the original's clips, such as clips={CLIPS}, or its index folder")
    columns = formats.read(path)
    key = next((key for key in KEYS if key in columns), None) or _only(columns, path)
    vectors = np.asarray(columns[key])
    _check(vectors, f"{path}:{key}")
    n = len(vectors)
    name = next((name for name in NAMES if name in columns and columns.shape(name) == (n,)), None)
    stated = next((one for one in NAMES if one in columns), None)
    if name is None and stated is not None:
        raise BadData(
            f"{path}: '{stated}' has shape {columns.shape(stated)} for the {n} rows of '{key}'; save it again"
        )
    given = np.arange(n).astype(np.str_) if name is None else _ids(columns[name], f"{path}:{name}")
    if name == "stem":
        given = np.char.add(given, ".wav")
    ids, renamed = unique(given)
    meta = {other: columns[other] for other in columns if other not in (key, name) and columns.shape(other) == (n,)}
    return Clips(ids, given, vectors.astype(np.float32), meta, key, False, renamed)


def stale(folder: Path, names: np.ndarray, vectors: np.ndarray) -> bool | None:
    """Whether the folder's index is of other clips than these, by its content; None where it has no index.

    names: (n,) of the files. vectors: (n, d) of unit length. The original compares the shapes alone, and so answers
    with the clips that were there before wherever there are as many now.
    """
    if not (folder / "Zy.npy").is_file() or not (folder / "names.npy").is_file():
        return None
    there, called = read_npy(folder / "Zy.npy"), read_npy(folder / "names.npy")
    if there.shape != vectors.shape or called.shape != names.shape:
        return True
    basenames = ([Path(str(one)).name for one in some.tolist()] for some in (called, names))
    return not (np.allclose(there, vectors, atol=_SAME) and next(basenames) == next(basenames))


def write_index(ids: np.ndarray, vectors: np.ndarray, out: Path, kind: str = "hnsw") -> list[Path]:
    """An index folder that the original loads. kind: "hnsw", "flat", or "none" for no FAISS file.

    The FAISS index is of inner products, as its name says; the original's own HNSW is of L2 distances.
    Raises BadRecipe for another kind, MissingExtra without faiss.
    """
    if kind not in KINDS:
        raise BadRecipe(f"index={kind}; expected {', '.join(KINDS)}")
    vectors = np.ascontiguousarray(vectors, np.float32)
    files = [(out / "Zy.npy", lambda: content(vectors)), (out / "names.npy", lambda: content(ids.astype(np.str_)))]
    if kind != "none":
        faiss = require("faiss", "train")
        d = vectors.shape[1]
        if kind == "hnsw":
            index = faiss.IndexHNSWFlat(d, _LINKS, faiss.METRIC_INNER_PRODUCT)
            index.hnsw.efConstruction = _BREADTH
        else:
            index = faiss.IndexFlatIP(d)
        index.add(vectors)
        files.append((out / f"faiss_{kind}_ip.index", lambda: faiss.serialize_index(index).tobytes()))
    for path, made in files:
        io.write(path, made())
    return [path for path, _ in files]


def unique(given: np.ndarray) -> tuple[np.ndarray, int]:
    """Names (n,) with ``#2``, ``#3`` added where they stand again, and how many were changed."""
    taken, seen, made = set(given.tolist()), {}, []
    for name in given.tolist():
        if name in seen:
            count = seen[name] + 1
            while f"{name}#{count}" in taken:
                count += 1
            seen[name] = count
            taken.add(f"{name}#{count}")
            made.append(f"{name}#{count}")
        else:
            seen[name] = 1
            made.append(name)
    return np.array(made, np.str_), sum(a != b for a, b in zip(made, given.tolist(), strict=True))


def columns(path: Path) -> Columns:
    """The clips of a file or folder as the columns of a store."""
    clips = read(path)
    made = {clips.key: Column(clips.vectors.shape, lambda: clips.vectors), "filename": Column(clips.ids.shape,
            lambda: clips.ids.astype(object))}  # fmt: skip
    made |= {name: Column((len(clips.ids),), lambda c=column: c) for name, column in clips.meta.items()}
    return Columns(made, path, ids="filename", key=clips.key)


def write_clips(store: Embeddings, out: Path) -> list[Path]:
    """A store as ``audio_embeddings.npz``: ``emo_emb`` float32, ``filename``, and every metadata column."""
    return npz.write(_float32(store), out / CLIPS if out.suffix == "" else out, KEYS[0], NAMES[0])


def write_texts(store: Embeddings, out: Path) -> list[Path]:
    """A store as ``train_text_raw.npz``: ``text_emb`` float32, ``filename``, and every metadata column."""
    return npz.write(_float32(store), out / "train_text_raw.npz" if out.suffix == "" else out, TEXTS, NAMES[0])


def _float32(store: Embeddings) -> Embeddings:
    vectors = np.asarray(store.vectors[:], np.float32)
    return Embeddings(store.ids, vectors, store.fingerprint, store.meta, store.offsets)


def _of_index(path: Path) -> Clips:
    for name in ("Zy.npy", "names.npy"):
        if not (path / name).is_file():
            raise BadRecipe(f"{path} has no {CLIPS} and no {name}; expected the original's clips or its index folder")
    vectors, names = read_npy(path / "Zy.npy"), read_npy(path / "names.npy")
    _check(vectors, str(path / "Zy.npy"))
    if names.shape != (len(vectors),):
        raise BadData(f"{path / 'names.npy'} has shape {names.shape} for the {len(vectors)} rows of Zy.npy; build the "
                      "index again")  # fmt: skip
    given = _ids(names, str(path / "names.npy"))
    ids, renamed = unique(given)
    return Clips(ids, given, np.array(vectors, np.float32), {}, "Zy", True, renamed)


def _ids(names: np.ndarray, where: str) -> np.ndarray:
    try:
        return as_ids(names)
    except BadData as error:
        raise BadData(f"{where}: {error}") from None


def _check(vectors: Any, where: str) -> None:
    if vectors.dtype.kind not in "fiu" or vectors.ndim != 2 or 0 in vectors.shape:
        raise BadData(f"{where} is {formats.described(vectors)}; expected numbers [n, d]")


def _only(columns: Columns, path: Path) -> str:
    """The one array of vectors. Raises BadData where there is none, or several."""
    if columns.key:
        return columns.key
    found = formats.names_of_vectors(columns)
    if len(found) != 1:
        raise BadData(f"{path} has no array '{KEYS[0]}' or '{KEYS[1]}'; it holds {', '.join(columns) or 'nothing'}")
    return found[0]

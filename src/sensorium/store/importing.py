"""Importing other people's embedding files as a store; the original stays as it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sensorium.errors import BadData, BadRecipe, nearest
from sensorium.formats import arrays
from sensorium.store.writing import append
from sensorium.types import as_ids

IDS = ("ids", "id", "filename", "fname", "file_name", "stem", "image_path", "key", "names", "path")
VECTORS = ("vectors", "embeddings", "embedding", "vector", "text_emb", "emo_emb", "audio_emb",
           "perception_embeddings", "clip_embeddings", "audio_embeddings", "text_embeddings")  # fmt: skip


@dataclass(frozen=True)
class Kind:
    """One kind of file: what it is, the names its vectors go by, and the endings it may have ("" is a folder)."""

    about: str
    vectors: tuple[str, ...]
    endings: tuple[str, ...]


KINDS: Mapping[str, Kind] = {
    "npy": Kind("an array with ids.json (and metadata.csv) beside it", VECTORS, (".npy", "")),
    "npz": Kind("several named arrays in one file", VECTORS, (".npz",)),
    "pt": Kind("a tensor or a dict of tensors, ids in metadata.json beside it", VECTORS, (".pt", ".pth", "")),
    "safetensors": Kind("named tensors, ids in the header or beside it", VECTORS, (".safetensors",)),
    "parquet": Kind("a table with a column of vectors", VECTORS, (".parquet",)),
    "clip-retrieval": Kind("img_emb_*.npy or text_emb_*.npy with metadata_*.parquet", ("img_emb", "text_emb"), ("",)),
}


def import_(
    kind: str,
    path: Path | str,
    out: Path | str,
    key: str | None = None,
    ids: str | None = None,
    name: str | None = None,
    **unknown: Any,
) -> dict[str, Any]:
    """Bring a file into the store ``out`` and return what was done, as one record.

    key: the array of vectors, [n, d] or [n, c, d] (c partners a row become ids ``id#1`` … ``id#c``).
    ids: the column of ids; ``ids=rows`` numbers the rows. name: the encoder that made the vectors,
    for the fingerprint. Other columns of n values become metadata. Importing the same file again
    changes nothing.
    Raises BadRecipe for an unknown kind, option, key or file, BadData for vectors or ids that cannot
    be used; ``out`` is then as it was.
    """
    if kind not in KINDS:
        raise BadRecipe(f"cannot import '{kind}'; known: {', '.join(KINDS)}")
    if unknown:
        word = next(iter(unknown))
        raise BadRecipe(f"import takes no '{word}'; {nearest(word, ['key', 'ids', 'name'])}")
    path = Path(path).expanduser()
    ending = "" if path.is_dir() else path.suffix.lower()
    if path.exists() and ending not in KINDS[kind].endings:
        raise BadRecipe(f"{path} is no '{kind}' file; '{kind}' is {KINDS[kind].about}")
    columns = arrays.clip_retrieval(path) if kind == "clip-retrieval" and path.is_dir() else arrays.read(path)
    key = _vectors_name(columns, key, KINDS[kind].vectors, path)
    vectors = columns[key]
    offsets = columns["offsets"] if "offsets" in columns and len(columns["offsets"]) != len(vectors) else None
    count = len(vectors) if offsets is None else len(offsets) - 1
    found, ids_name = _ids(columns, ids, count, path)
    meta = {n: columns[n] for n in columns if n not in (key, ids_name) and _is_metadata(columns[n], count)}
    if vectors.ndim == 3:
        partners = vectors.shape[1]
        found = np.array([f"{i}#{k + 1}" for i in found.tolist() for k in range(partners)])
        vectors, meta = vectors.reshape(-1, vectors.shape[2]), {n: np.repeat(c, partners) for n, c in meta.items()}
    if vectors.dtype.kind in "iu":
        vectors = vectors.astype(np.float32)
    fingerprint = {"name": name or f"imported-{kind}", "file": path.name, "key": key}
    written = append(out, found, vectors, fingerprint, meta, offsets=offsets)
    return {"kind": kind, "path": str(path), "out": str(out), "key": key, "ids": ids_name, "items": len(found),
            "width": int(vectors.shape[1]), "dtype": vectors.dtype.name, **written._asdict()}  # fmt: skip


def _vectors_name(columns: Mapping[str, np.ndarray], key: str | None, usual: tuple[str, ...], path: Path) -> str:
    if key is not None:
        if key not in columns:
            raise BadRecipe(f"{path} has no '{key}'; {nearest(key, columns)}")
        if columns[key].ndim not in (2, 3) or columns[key].dtype.kind not in "fiu":
            shape = f"{columns[key].dtype} {columns[key].shape}"
            raise BadData(f"{path}:{key} is {shape}; expected numbers [n, d], or [n, c, d]")
        return key
    fitting = [n for n in columns if columns[n].ndim in (2, 3) and columns[n].dtype.kind == "f"]
    named = [n for n in usual if n in fitting]
    if len(fitting) == 1 or (len(named) == 1 and usual is not VECTORS):
        return fitting[0] if len(fitting) == 1 else named[0]
    if not fitting:
        raise BadData(f"{path} holds no array of vectors [n, d]; it holds {', '.join(columns)}")
    raise BadRecipe(f"which array of {path}? type: key={fitting[0]} (it holds {', '.join(fitting)})")


def _ids(columns: Mapping[str, np.ndarray], name: str | None, n: int, path: Path) -> tuple[np.ndarray, str]:
    if name == "rows":
        return as_ids(np.arange(n)), "rows"
    wanted = IDS if name is None else (name,)
    for known in wanted:
        if known in columns and columns[known].shape == (n,):
            return as_ids(columns[known]), known
    if name is None:
        looked = ", ".join(IDS)
        raise BadRecipe(f"{path} has no ids (looked for {looked}); type: ids=COLUMN, or ids=rows to number the rows")
    raise BadRecipe(f"{path} has no column '{name}' of {n} ids; {nearest(name, columns)}")


def _is_metadata(column: np.ndarray, n: int) -> bool:
    return column.shape == (n,) and column.dtype.kind in "Uiufb"

"""The original's vectors: ``embeddings.npy`` and ``ids.json``, and the FAISS file made of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sensorium import io
from sensorium.errors import BadData, BadRecipe, require
from sensorium.formats import Column, Columns, npy
from sensorium.formats._beside import beside
from sensorium.numerics import unit
from sensorium.types import Embeddings

METRICS = ("cosine", "l2")
INDEX = "faiss.index"


def read(path: Path) -> Columns:
    """The vectors of a flat FAISS file, of unit length in a cosine index, with ids.json beside it; or of a folder.

    Raises BadData for a file that is no flat index, MissingExtra without faiss.
    """
    if path.is_dir():
        return npy.read(path)
    faiss = require("faiss", "train")
    try:
        owner = faiss.read_index(str(path))  # which must outlive the view below
        index = faiss.downcast_index(owner)
    except RuntimeError as error:
        raise BadData(f"{path} is no FAISS file ({str(error).splitlines()[-1]}); write it again") from None
    if not isinstance(index, faiss.IndexFlat):
        raise BadData(f"{path} is a {type(index).__name__}, which does not store whole vectors; expected a flat index: "
                      "import embeddings.npy in its place")  # fmt: skip
    vectors = index.reconstruct_n(0, index.ntotal).astype(np.float32)
    return beside(path, len(vectors), {"vectors": Column(vectors.shape, lambda: vectors)}, "vectors")


def write(store: Embeddings, out: Path, metric: str = "cosine", normalize: str = "true") -> list[Path]:
    """``embeddings.npy``, ``ids.json`` and ``faiss.index`` in a folder.

    metric: "cosine" indexes unit vectors by inner product, "l2" the vectors as they are written. normalize: whether
    ``embeddings.npy`` has unit length, as the original's; "false" leaves the vectors as the encoder gives them.
    Raises BadRecipe for another value.
    """
    if metric not in METRICS:
        raise BadRecipe(f"metric={metric}; expected cosine or l2")
    if normalize not in ("true", "false"):
        raise BadRecipe(f"normalize={normalize}; expected true or false")
    faiss = require("faiss", "train")
    vectors = np.array(store.vectors[:], np.float32)
    scaled = unit(vectors)
    written = scaled if normalize == "true" else vectors
    files = npy.write(Embeddings(store.ids, written, store.fingerprint), out)
    index = faiss.IndexFlatIP(store.dim) if metric == "cosine" else faiss.IndexFlatL2(store.dim)
    index.add(np.ascontiguousarray(scaled if metric == "cosine" else written))
    io.write(out / INDEX, faiss.serialize_index(index).tobytes())
    return [*files, out / INDEX]

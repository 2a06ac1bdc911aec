"""The files of an index on disk: vectors as .npy, and IVF-PQ lists trained on a sample and merged from shards."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from sensorium import io
from sensorium.errors import BadRecipe, Corrupt, require
from sensorium.indexes._rows import REMEDY
from sensorium.types import blocks

VECTORS, INDEX, DATA = "base.npy", "ivf.index", "ivf.data"
_PER_CELL = 24  # training vectors
_PER_ENTRY = 40  # of a codebook
_GRAPH_FROM = 1024  # cells from which a graph finds the nearest ones, instead of a look at each
_LINKS = 32  # of a cell in the graph
_BREADTH = 32  # of the graph's search, at least
_TRAINED = 512 << 20  # bytes of them at most
_SHARD = 256 << 20  # bytes of vectors that are encoded before their codes go to the disk
_BLOCK = 65_536


class Gathered:
    """Rows (n, d) of vectors that a function gives by position, read as an array is."""

    def __init__(self, at: Callable[[np.ndarray], np.ndarray], positions: np.ndarray, dim: int) -> None:
        self.at, self.positions, self.shape = at, positions, (len(positions), dim)

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, rows: slice) -> np.ndarray:
        return self.at(self.positions[rows])


def write(folder: Path, vectors: Any, kind: Any) -> np.ndarray:
    """Write vectors (n, d), block by block, as a type of number; returns the file as a memory map. Raises DiskFull."""
    path = folder / VECTORS
    with io.typed_errors(path):
        file = np.lib.format.open_memmap(path, "w+", kind, vectors.shape)
        for part in blocks(len(vectors), _BLOCK):
            file[part] = vectors[part]
        file.flush()
        del file
    return read(folder, vectors.shape)


def read(folder: Path, shape: tuple[int, ...]) -> np.ndarray:
    """The file of vectors as a memory map. Raises Corrupt for another shape or a file that is not whole."""
    try:
        found = np.load(folder / VECTORS, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise Corrupt(f"{folder / VECTORS} is damaged or missing ({error}); {REMEDY}") from None
    if found.shape != tuple(shape):
        raise Corrupt(f"{folder / VECTORS}: shape {found.shape}, {tuple(shape)} expected; {REMEDY}")
    return found


def build(folder: Path, vectors: np.ndarray, cells: int, code: int) -> None:
    """Train on a sample, encode shard by shard, and merge the shards on the disk.

    Memory holds the sample, or one shard and the mapped pages of what is merged. Raises BadRecipe for cells or code
    that do not fit the vectors.
    """
    faiss = library()
    n, d = vectors.shape
    cells = min(cells or 2 ** int(np.round(np.log2(max(4 * np.sqrt(n), 1)))), n)
    code = code or _fit(d)
    if d % code:
        raise BadRecipe(
            f"faiss_disk: code={code} does not divide the width {d}; type for instance: index.code={_fit(d)}"
        )
    many = int(min(n, max(_PER_CELL * cells, 256 * _PER_ENTRY), max(_TRAINED // (4 * d), 1024)))
    bits = 8 if many >= 1024 else 4
    quantizer = faiss.IndexFlatIP(d)
    empty = faiss.IndexIVFPQ(quantizer, d, cells, code, bits, faiss.METRIC_INNER_PRODUCT)
    for clustering in (empty.cp, empty.pq.cp):
        clustering.min_points_per_centroid = 1
    if many < 2**bits:  # a codebook cannot have more entries than there are vectors
        empty = faiss.IndexIVFFlat(quantizer, d, cells, faiss.METRIC_INNER_PRODUCT)
        empty.cp.min_points_per_centroid = 1
    rows = np.unique(np.linspace(0, n - 1, many).astype(np.int64))
    empty.train(np.ascontiguousarray(vectors[rows], np.float32))
    if cells >= _GRAPH_FROM:
        empty.quantizer = _graph(quantizer, cells, d)
    faiss.write_index(empty, str(folder / "trained"))
    names = []
    for part in blocks(n, max(1, _SHARD // (4 * d))):
        shard = faiss.read_index(str(folder / "trained"))
        for some in blocks(part.stop - part.start, _BLOCK):
            at = np.arange(part.start + some.start, part.start + some.stop)
            shard.add_with_ids(np.ascontiguousarray(vectors[at[0] : at[-1] + 1], np.float32), at)
        names.append(folder / f"shard-{len(names)}")
        with io.typed_errors(names[-1]):
            faiss.write_index(shard, str(names[-1]))
        del shard
    _merge(folder, names)
    for path in (*names, folder / "trained"):
        path.unlink()


def _graph(quantizer: Any, cells: int, d: int) -> Any:
    """HNSW over the centres of the cells: three times as fast as a look at each of 16,384."""
    faiss = library()
    graph = faiss.IndexHNSWFlat(d, _LINKS, faiss.METRIC_INNER_PRODUCT)
    graph.hnsw.efConstruction, graph.hnsw.efSearch = 100, _BREADTH
    graph.add(quantizer.reconstruct_n(0, cells))
    return graph


def parameters(index: Any, nprobe: int, **more: Any) -> Any:
    """How to search an opened index in ``nprobe`` cells. more: further fields, such as a selector ``sel``."""
    faiss = library()
    if isinstance(faiss.downcast_index(index.quantizer), faiss.IndexHNSW):
        more["quantizer_params"] = faiss.SearchParametersHNSW(efSearch=max(_BREADTH, 2 * nprobe))
    return faiss.SearchParametersIVF(nprobe=nprobe, **more)


def _merge(folder: Path, names: list[Path]) -> None:
    """Lists of the shards, one after the other, in one file that is memory-mapped."""
    faiss = library()
    whole, pointers, shards = faiss.read_index(str(folder / "trained")), faiss.InvertedListsPtrVector(), []
    for name in names:
        shards.append(faiss.read_index(str(name), faiss.IO_FLAG_MMAP))
        pointers.push_back(shards[-1].invlists)
    lists = faiss.OnDiskInvertedLists(whole.nlist, whole.code_size, str(folder / DATA))
    with io.typed_errors(folder / DATA), _quiet():
        whole.ntotal = lists.merge_from_multiple(pointers.data(), pointers.size(), False)
        whole.replace_invlists(lists, True)
        lists.this.disown()  # the index has them now
        faiss.write_index(whole, str(folder / "ivf.tmp"))
    (folder / "ivf.tmp").rename(folder / INDEX)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Drop what FAISS writes to standard output, which belongs to results."""
    flush = ctypes.CDLL(None).fflush
    sys.stdout.flush()
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        yield
    finally:
        flush(None)
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


def opened(folder: Path) -> Any:
    """The index, its lists memory-mapped from the file beside it. Raises Corrupt."""
    faiss = library()
    try:
        index = faiss.read_index(str(folder / INDEX), faiss.IO_FLAG_SKIP_IVF_DATA)
        lists = faiss.downcast_InvertedLists(index.invlists)
        lists.filename, lists.read_only = str(folder / DATA), True
        lists.do_mmap()
    except (RuntimeError, AttributeError) as error:
        raise Corrupt(f"{folder / INDEX} is damaged ({str(error)[-80:]}); {REMEDY}") from None
    return index


def _fit(d: int) -> int:
    """The largest divisor of a width up to an eighth of it, or up to 32 where that is at most a quarter."""
    return next(code for code in range(max(1, d // 8, min(d // 4, 32)), 0, -1) if d % code == 0)


def library() -> Any:
    """faiss. Raises MissingExtra."""
    return require("faiss", "train")

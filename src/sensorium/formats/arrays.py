"""Other people's embedding files, read safely: no pickle is ever executed, arrays are mapped where they can be.

A file is read as a mapping of column names to arrays, each loaded when it is asked for. A file
of one nameless array (``.npy``, a bare tensor) calls it "vectors"; ids found beside it are "ids".
"""

from __future__ import annotations

import ast
import csv
import json
import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from sensorium.errors import BadData, BadRecipe, MissingExtra, nearest
from sensorium.types import as_ids

VECTORS, IDS = "vectors", "ids"


class Columns(Mapping[str, np.ndarray]):
    """Named arrays, each loaded when it is first asked for."""

    def __init__(self, loaders: Mapping[str, Callable[[], np.ndarray]]) -> None:
        self._loaders = dict(loaders)
        self._loaded: dict[str, np.ndarray] = {}

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._loaded:
            self._loaded[name] = self._loaders[name]()
        return self._loaded[name]

    def __contains__(self, name: object) -> bool:
        return name in self._loaders

    def __iter__(self) -> Iterator[str]:
        return iter(self._loaders)

    def __len__(self) -> int:
        return len(self._loaders)


def read(path: Path | str) -> Mapping[str, np.ndarray]:
    """The arrays of a file or folder, by name, loaded when asked for.

    Knows .npz, .npy, .pt and .pth, .safetensors, .parquet, and folders: a store, clip-retrieval's
    (img_emb, text_emb, metadata), or one with embeddings.npy and ids.json, or with *_embeddings.pt.
    Raises BadRecipe when there is no such file or its type is unknown, BadData when it cannot be read
    without running code, is damaged, or ids beside it are of another number.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        return _folder(path)
    if not path.is_file():
        raise BadRecipe(f"no file {path}; give the path of an {', '.join(sorted(_READERS))} file or of a folder")
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise BadRecipe(f"{path}: cannot read '{path.suffix}' files; {nearest(path.suffix, _READERS)}")
    return reader(path)


def split(spec: str) -> tuple[Path, str]:
    """``path`` or ``path:key`` as path and key ("" when none is named)."""
    path, _, key = str(spec).rpartition(":")
    if not path or Path(spec).expanduser().exists():
        path, key = str(spec), ""
    return Path(path).expanduser(), key


def pick(columns: Mapping[str, np.ndarray], names: tuple[str, ...], where: object, what: str) -> str:
    """The first of some names that the columns have. Raises BadRecipe listing what there is."""
    for name in names:
        if name in columns:
            return name
    raise BadRecipe(f"{where} has no {what} called {' or '.join(map(repr, names))}; it holds {', '.join(columns)}")


def open_npz(path: Path | str) -> Columns:
    """The arrays of a .npz file: uncompressed ones memory-mapped, the rest read when asked for.

    Text in object arrays is read without executing the pickle it was saved as.
    Raises BadData when the file is damaged.
    """
    path = Path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            members = [i for i in archive.infolist() if i.filename.endswith(".npy")]
    except (zipfile.BadZipFile, OSError) as error:
        raise BadData(f"{path} is not a readable .npz file ({error}); save or download it again") from None
    return Columns({i.filename.removesuffix(".npy"): lambda i=i: _member(path, i) for i in members})


def _member(path: Path, info: zipfile.ZipInfo) -> np.ndarray:
    where = f"{path}:{info.filename.removesuffix('.npy')}"
    try:
        with zipfile.ZipFile(path) as archive, archive.open(info) as file:
            shape, fortran, dtype, header = _npy_header(file, where)
            if dtype.hasobject:
                return _strings(file, where, shape)
            size = int(np.prod(shape)) * dtype.itemsize
            if info.compress_type != zipfile.ZIP_STORED or not size:
                content = file.read(size + 1)
                if len(content) != size:
                    raise BadData(f"{where} is cut short or too long; save or download {path.name} again")
                flat = np.frombuffer(content, dtype)
                return flat.reshape(shape, order="F" if fortran else "C")
        if info.file_size < header + size:
            raise BadData(f"{where} is cut short; save or download {path.name} again")
        start = _data_start(path, info) + header
        return np.memmap(path, dtype, "r", start, shape, "F" if fortran else "C")
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
        raise BadData(f"{where} is damaged ({error}); save or download {path.name} again") from None


def _data_start(path: Path, info: zipfile.ZipInfo) -> int:
    """Where a member's bytes begin: the local header's name and extra field may differ from the directory's."""
    with open(path, "rb") as file:
        file.seek(info.header_offset + 26)
        name, extra = struct.unpack("<HH", file.read(4))
    return info.header_offset + 30 + name + extra


def _npy_header(file: BinaryIO, where: str) -> tuple[tuple[int, ...], bool, np.dtype, int]:
    """Shape, Fortran order, dtype and the header's length in bytes."""
    magic = file.read(8)
    if magic[:6] != b"\x93NUMPY" or len(magic) < 8:
        raise BadData(f"{where} is not an .npy array; save or download it again")
    wide = magic[6] >= 2
    length = struct.unpack("<I" if wide else "<H", file.read(4 if wide else 2))[0]
    try:
        if length > 1 << 16:
            raise ValueError(f"{length} bytes of header")
        head = ast.literal_eval(file.read(length).decode("utf-8" if magic[6] >= 3 else "latin-1"))
        dtype = np.lib.format.descr_to_dtype(head["descr"])
        return tuple(head["shape"]), bool(head["fortran_order"]), dtype, 8 + (4 if wide else 2) + length
    except (ValueError, SyntaxError, KeyError, TypeError, MemoryError) as error:
        raise BadData(f"{where} has a damaged header ({error}); save or download it again") from None


def _strings(file: BinaryIO, where: str, shape: tuple[int, ...]) -> np.ndarray:
    from sensorium.formats.pickled import read_strings

    return read_strings(file, where, shape)


def _npy_array(path: Path) -> np.ndarray:
    with open(path, "rb") as file:
        shape, fortran, dtype, header = _npy_header(file, str(path))
        if dtype.hasobject:
            return _strings(file, str(path), shape)
        size = int(np.prod(shape)) * dtype.itemsize
        if os.fstat(file.fileno()).st_size < header + size:
            raise BadData(
                f"{path} is cut short: {dtype} {shape} needs {header + size} bytes; save or download it again"
            )
    if not size:
        return np.zeros(shape, dtype)
    return np.memmap(path, dtype, "r", header, shape, "F" if fortran else "C")


def _npy(path: Path) -> Columns:
    vectors = _npy_array(path)
    return Columns({VECTORS: lambda: vectors, **_beside(path, len(vectors))})


def _beside(path: Path, n: int) -> dict[str, Callable[[], np.ndarray]]:
    """Ids in ids.json or metadata.json beside a file, and metadata.csv's columns joined to them by id."""
    names = (f"{path.stem}.ids.json", f"{path.stem}_ids.json", "ids.json", "metadata.json")
    for name in names:
        found = path.with_name(name)
        if found.is_file() and (ids := _json_ids(found)) is not None:
            if len(ids) != n:
                raise BadData(f"{found} has {len(ids)} ids for the {n} rows of {path.name}; mend it, or move it away")
            return {IDS: lambda: ids, **_csv_columns(path.with_name("metadata.csv"), ids), **_json_columns(found, n)}
    return {}


def _json_ids(path: Path) -> np.ndarray | None:
    try:
        value = json.loads(path.read_bytes())
    except ValueError as error:
        raise BadData(f"{path} is not valid JSON ({error}); mend it, or move it away") from None
    if isinstance(value, dict):
        value = value.get(IDS)
    if isinstance(value, list) and value and isinstance(value[0], dict):
        value = [row.get("id") for row in value]
    return as_ids(value) if isinstance(value, list) and None not in value else None


def _json_columns(path: Path, n: int) -> dict[str, Callable[[], np.ndarray]]:
    """The metadata columns that our own export keeps in metadata.json."""
    value = json.loads(path.read_bytes())
    found = value.get("columns") if isinstance(value, dict) else None
    columns = {k: v for k, v in found.items() if isinstance(v, list) and len(v) == n} if isinstance(found, dict) else {}
    return {k: lambda v=v: np.array([np.nan if x is None else x for x in v]) for k, v in columns.items()}


def _csv_columns(path: Path, ids: np.ndarray) -> dict[str, Callable[[], np.ndarray]]:
    if not path.is_file():
        return {}
    with open(path, newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    if not rows or "id" not in rows[0]:
        return {}
    by_id = {row["id"]: row for row in rows}
    names = [n for n in rows[0] if n and n != "id"]
    return {n: lambda n=n: np.array([by_id.get(i, {}).get(n) or "" for i in ids.tolist()], np.str_) for n in names}


def _pt(path: Path) -> Columns:
    try:
        import torch
    except ImportError:
        raise MissingExtra("torch", "train") from None
    import pickle

    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        reason = str(error).split("\n", 1)[0][:120]
        raise BadData(
            f"{path} cannot be read as tensors and plain values, and no other code in it is run ({reason}); "
            "save it again with tensors only, or as .safetensors"
        ) from None
    if torch.is_tensor(found):
        found = {VECTORS: found}
    elif isinstance(found, (list, tuple)) and found and all(torch.is_tensor(x) for x in found):
        found = {VECTORS: torch.stack(list(found))}
    if not isinstance(found, dict):
        raise BadData(f"{path} holds a {type(found).__name__}; expected a tensor or a dict of tensors")
    columns = {str(k): lambda v=v: _from_torch(v) for k, v in found.items() if torch.is_tensor(v)}
    columns |= {str(k): lambda v=v: np.asarray(v) for k, v in found.items() if _flat_list(v)}
    counts = {len(v) for v in found.values() if torch.is_tensor(v) and v.ndim >= 2}
    if len(counts) == 1 and IDS not in columns:
        columns |= _beside(path, counts.pop())
    return Columns(columns)


def _from_torch(tensor: Any) -> np.ndarray:
    import torch

    tensor = tensor.detach()
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).contiguous().numpy()


def _flat_list(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and bool(value) and all(isinstance(x, (str, int, float)) for x in value)


def _safetensors(path: Path) -> Columns:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "numpy") as file:
            names, about = list(file.keys()), file.metadata() or {}
    except SafetensorError as error:
        raise BadData(f"{path} is not a readable .safetensors file ({error}); save or download it again") from None

    def load(name: str) -> np.ndarray:
        with safe_open(path, "numpy") as file:
            return file.get_tensor(name)

    columns = {name: lambda name=name: load(name) for name in names}
    if IDS in about:
        ids = as_ids(json.loads(about[IDS]))
        return Columns({**columns, IDS: lambda: ids})
    counts = {len(x) for x in map(load, names) if x.ndim >= 2}
    return Columns({**columns, **(_beside(path, counts.pop()) if len(counts) == 1 else {})})


def _parquet(path: Path) -> Columns:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
        names = file.schema_arrow.names
    except pa.ArrowInvalid as error:
        raise BadData(f"{path} is not a readable Parquet file ({error}); save or download it again") from None
    return Columns({name: lambda name=name: _arrow(pq.read_table(path, columns=[name])[name]) for name in names})


def _arrow(column: Any) -> np.ndarray:
    """A column as NumPy: lists of equal length as (n, d), text as unicode."""
    import pyarrow as pa

    kind = column.type
    if pa.types.is_fixed_size_list(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind):
        flat = pa.chunked_array([c.flatten() for c in column.chunks], kind.value_type).to_numpy()
        if column.null_count or not len(column) or len(flat) % len(column):
            raise BadData("a Parquet column of lists has rows of different lengths; expected one vector a row")
        width = len(flat) // len(column)
        if not all(len(x) == width for c in column.chunks for x in c):
            raise BadData("a Parquet column of lists has rows of different lengths; expected one vector a row")
        return flat.reshape(len(column), width)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return np.array(["" if v is None else v for v in column.to_pylist()], np.str_)
    return column.to_numpy()


def _folder(path: Path) -> Mapping[str, np.ndarray]:
    if (path / "manifest.json").is_file():
        return _store(path)
    if any(path.glob("*_emb/*_emb_*.npy")) or any(path.glob("*_emb_*.npy")):
        return clip_retrieval(path)
    if (path / "embeddings.npy").is_file():
        return _npy(path / "embeddings.npy")
    tensors = {p.stem: _pt(p) for p in sorted(path.glob("*_embeddings.pt"))}
    if tensors:  # a cache of audio_embeddings.pt and text_embeddings.pt with one metadata.json
        columns = {stem: lambda c=c: c[VECTORS] for stem, c in tensors.items() if VECTORS in c}
        rest = {n: lambda c=c, n=n: c[n] for c in tensors.values() for n in c if n != VECTORS}
        return Columns({**rest, **columns})
    raise BadRecipe(f"{path} is no store, holds no img_emb or text_emb, and no embeddings.npy; name one of its files")


def _store(path: Path) -> Columns:
    from sensorium import store  # here, since importing other files into a store starts from this module

    opened = store.open(path)
    if opened.offsets is not None:
        raise BadData(f"{path} holds frames, several vectors an item; pool them into one each first")
    columns = {name: lambda name=name: opened.meta[name] for name in opened.meta}
    return Columns({**columns, VECTORS: lambda: opened.vectors, IDS: lambda: opened.ids})


def clip_retrieval(path: Path | str) -> Columns:
    """A clip-retrieval folder: img_emb and text_emb (n, d), and the columns of its Parquet metadata.

    Parts are matched by their number: img_emb_0.npy goes with metadata_0.parquet.
    """
    path, columns = Path(path), {}
    for name in ("img_emb", "text_emb"):
        parts = _numbered(path, name, "npy")
        if parts:
            columns[name] = lambda parts=parts: _stacked([_npy_array(p) for p in parts.values()])
            numbers = list(parts)
    metadata = _numbered(path, "metadata", "parquet")
    if metadata:
        if list(metadata) != numbers:
            raise BadData(f"{path}: parts {numbers} of vectors, but {list(metadata)} of metadata; restore the missing")
        files = [_parquet(p) for p in metadata.values()]
        for name in files[0]:
            columns[name] = lambda name=name: np.concatenate([file[name] for file in files])
    return Columns(columns)


def _numbered(path: Path, name: str, suffix: str) -> dict[int, Path]:
    found = [*path.glob(f"{name}/{name}_*.{suffix}"), *path.glob(f"{name}_*.{suffix}")]
    numbers = {p: p.stem.rpartition("_")[2] for p in found}
    return dict(sorted((int(number), p) for p, number in numbers.items() if number.isdecimal()))


def _stacked(parts: list[np.ndarray]) -> np.ndarray:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


_READERS: dict[str, Callable[[Path], Columns]] = {
    ".npz": open_npz, ".npy": _npy, ".pt": _pt, ".pth": _pt, ".safetensors": _safetensors, ".parquet": _parquet,
}  # fmt: skip

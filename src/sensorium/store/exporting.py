"""Exporting a store in the shape of another tool, block by block and atomically."""

from __future__ import annotations

import csv
import io as memory
import json
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from sensorium import io
from sensorium.errors import BadData, BadRecipe, MissingExtra
from sensorium.store import reading
from sensorium.types import Embeddings, Rows, blocks

_BLOCK = 8192


def export(kind: str, folder: Path | str, out: Path | str, **options: Any) -> dict[str, Any]:
    """Write a store as another tool's file or folder and return what was written, as one record.

    Options: ``npz`` takes key (default "embeddings") and ids (default "ids"), the names of the
    arrays; ``clip-retrieval`` takes side, "img" or "text".
    Raises BadRecipe for an unknown kind or option, BadData for frames where the kind has no room for them.
    """
    if kind not in KINDS:
        raise BadRecipe(f"cannot export '{kind}'; known: {', '.join(KINDS)}")
    store, out = reading.open(folder), Path(out)
    if store.offsets is not None and kind != "npz":
        raise BadData(f"{folder} holds frames, which '{kind}' has no room for; type: sensorium export npz {folder} …")
    try:
        files = KINDS[kind](store, out, **options)
    except TypeError as error:
        if "keyword argument" not in str(error):
            raise
        raise BadRecipe(f"export {kind}: {str(error).partition(') ')[2] or error}") from None
    return {"kind": kind, "store": str(folder), "out": str(out), "items": len(store), "width": store.dim,
            "files": [str(f) for f in files]}  # fmt: skip


def _npy(store: Embeddings, out: Path) -> list[Path]:
    """``embeddings.npy``, ``ids.json`` and ``metadata.csv`` in a folder; or NAME.npy with NAME.ids.json."""
    single = out.suffix == ".npy"
    array, ids = (out, out.with_suffix(".ids.json")) if single else (out / "embeddings.npy", out / "ids.json")
    io.write(array, _array_content(store.vectors))
    io.write(ids, json.dumps(store.ids.tolist(), ensure_ascii=False, indent=0))
    if single or not store.meta:
        return [array, ids]
    text = memory.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["id", *store.meta])
    table.writerows(zip(store.ids.tolist(), *(store.meta[n].tolist() for n in store.meta), strict=True))
    io.write(out / "metadata.csv", text.getvalue())
    return [array, ids, out / "metadata.csv"]


def _npz(store: Embeddings, out: Path, key: str = "embeddings", ids: str = "ids") -> list[Path]:
    """One .npz with the vectors, the ids, offsets of frames, and every metadata column; no pickles."""
    out = out if out.suffix == ".npz" else out.with_name(out.name + ".npz")
    columns = {key: store.vectors, ids: store.ids, **{n: store.meta[n] for n in store.meta}}
    if store.offsets is not None:
        columns["offsets"] = store.offsets
    if len(columns) != 2 + len(store.meta) + (store.offsets is not None):
        raise BadRecipe(f"export npz: '{key}' or '{ids}' is also a metadata column; choose other names")

    def write(file: BinaryIO) -> None:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
            for name, rows in columns.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    for part in _array_content(rows):
                        member.write(memoryview(part).cast("B") if len(part) else b"")

    io.write(out, write)
    return [out]


def _pt(store: Embeddings, out: Path) -> list[Path]:
    """A tensor as torch saves it, and ``metadata.json`` beside it with ids, shape and encoder."""
    try:
        import torch
    except ImportError:
        raise MissingExtra("torch", "train") from None
    out = out if out.suffix in (".pt", ".pth") else out / "embeddings.pt"
    about = out.with_name("metadata.json")
    ids = store.ids.tolist()
    known = io.read_json(about) if about.is_file() else {"ids": ids}
    if not isinstance(known, dict) or known.get("ids") != ids:
        raise BadData(f"{about} belongs to other ids than those of this store; export into another folder")
    shapes = {**known.get("shapes", {}), out.stem: list(store.vectors.shape)}
    encoders = {**known.get("encoders", {}), out.stem: store.fingerprint}
    meta = {n: store.meta[n].tolist() for n in store.meta}
    tensor = torch.from_numpy(np.array(store.vectors[:]))
    io.write(out, lambda file: torch.save(tensor, file))
    io.write_json(about, {**known, "ids": ids, "shapes": shapes, "encoders": encoders, "columns": _json_safe(meta)})
    return [out, about]


def _parquet(store: Embeddings, out: Path) -> list[Path]:
    """One table: id, vector (a fixed-size list) and the metadata columns; page checksums."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    out = out if out.suffix == ".parquet" else out.with_name(out.name + ".parquet")

    def table(rows: slice) -> Any:
        flat = pa.array(np.ascontiguousarray(store.vectors[rows]).reshape(-1))
        vectors = pa.FixedSizeListArray.from_arrays(flat, store.dim)
        meta = {n: _arrow(store.meta[n][rows]) for n in store.meta}
        return pa.table({"id": _arrow(store.ids[rows]), "vector": vectors, **meta})

    def write(file: BinaryIO) -> None:
        with pq.ParquetWriter(file, table(slice(0, 0)).schema, write_page_checksum=True) as writer:
            for rows in blocks(len(store), _BLOCK):
                writer.write_table(table(rows))

    io.write(out, write)
    return [out]


def _clip_retrieval(store: Embeddings, out: Path, side: str = "img") -> list[Path]:
    """``img_emb/img_emb_0.npy`` (or text_emb) and ``metadata/metadata_0.parquet`` with image_path and the columns."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if side not in ("img", "text"):
        raise BadRecipe(f"export clip-retrieval: side is '{side}'; expected img or text")
    array = out / f"{side}_emb" / f"{side}_emb_0.npy"
    about = out / "metadata" / "metadata_0.parquet"
    table = pa.table({"image_path": _arrow(store.ids), **{n: _arrow(store.meta[n]) for n in store.meta}})
    io.write(array, _array_content(store.vectors))
    io.write(about, lambda file: pq.write_table(table, file, write_page_checksum=True))
    return [array, about]


KINDS: Mapping[str, Callable[..., list[Path]]] = {
    "npy": _npy,
    "npz": _npz,
    "pt": _pt,
    "parquet": _parquet,
    "clip-retrieval": _clip_retrieval,
}


def _array_content(rows: Rows) -> Iterator[Any]:
    """A .npy file as buffers: header, then the rows block by block."""
    shape, dtype = tuple(rows.shape), np.dtype(rows.dtype)
    head = memory.BytesIO()
    about = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(head, about)
    yield head.getvalue()
    for block in blocks(len(rows), _BLOCK):
        yield np.ascontiguousarray(rows[block]).view(np.uint8)


def _arrow(column: np.ndarray) -> Any:
    import pyarrow as pa

    return pa.array(column.tolist(), pa.string()) if column.dtype.kind == "U" else pa.array(column)


def _json_safe(meta: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
    """JSON has no NaN: null stands for it."""
    return {n: [None if v != v else v for v in values] for n, values in meta.items()}

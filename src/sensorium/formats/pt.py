"""A tensor or a dict of tensors as torch saves them, ids in metadata.json beside it."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sensorium import io
from sensorium.errors import BadData, require
from sensorium.formats import _typed
from sensorium.formats._beside import beside
from sensorium.formats._columns import IDS, VECTORS, Column, Columns, printable, reading
from sensorium.formats._format import Format
from sensorium.formats._numpy import BLOCK_BYTES
from sensorium.types import Embeddings

_REMEDY = "save it again with tensors only, or as .safetensors"


def read(path: Path) -> Columns:
    """A tensor, a list of vectors or a dict of tensors and lists; or a folder of ``NAME_embeddings.pt``.

    Only tensors and plain values are read (``weights_only``), after the archive's CRC-32 was verified.
    Raises BadData when the file is damaged or holds anything else, or a tensor has no values in memory.
    """
    return _folder(path) if path.is_dir() else _file(path)


def write(store: Embeddings, out: Path) -> list[Path]:
    """The tensor ``NAME.pt``, and ``metadata.json`` beside it with ids, shapes, encoders and columns.

    Several tensors of the same ids share one metadata.json. Raises BadData when it belongs to other ids,
    or a column JSON cannot hold.
    """
    torch = _torch()
    out = out if out.suffix in (".pt", ".pth") else out / "embeddings.pt"
    about = out.with_name("metadata.json")
    ids = store.ids.tolist()
    known = io.read_json(about) if about.is_file() else {"ids": ids}
    if not isinstance(known, dict) or known.get("ids") != ids:
        raise BadData(f"{about} belongs to other ids than those of this store; export into another folder")
    meta = {name: np.asarray(store.meta[name]) for name in store.meta}
    taken = {IDS, VECTORS} & set(meta)
    if taken:
        raise BadData(
            f"a metadata column is called '{min(taken)}', as the ids or vectors are; "
            "type: sensorium export parquet STORE --out FOLDER"
        )
    types = {name: _typed.type_of(column, name, "pt") for name, column in meta.items()}
    added = {
        "shapes": {**known.get("shapes", {}), out.stem: list(store.vectors.shape)},
        "encoders": {**known.get("encoders", {}), out.stem: store.fingerprint},
        "columns": {name: _typed.to_json(column) for name, column in meta.items()},
        "types": types,
    }
    tensor = torch.from_numpy(np.array(store.vectors[:]))
    io.write(out, lambda file: torch.save(tensor, file))
    io.write_json(about, {**known, **added})
    return [out, about]


def _folder(path: Path) -> Columns:
    """``audio_embeddings.pt`` and ``text_embeddings.pt`` with one metadata.json, as a cache of two encoders."""
    whole: dict[str, Column] = {}
    ids = None
    for file in sorted(path.glob("*embeddings.pt")):
        found = _file(file)
        ids = found.ids or ids
        for name, column in found.taken().items():
            whole[file.stem if name == VECTORS else name] = column
    return Columns(whole, path, ids=ids)


def load(path: Path) -> Any:
    """What torch saved in a file, tensors and plain values alone, after its CRC-32 was verified.

    Raises BadData when the file is damaged or holds anything else.
    """
    torch = _torch()
    _verify(path)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged or malicious file fails in many ways, none of which ran anything
        reason = printable(str(error).split("\n", 1)[0].split(". ", 1)[0])
        raise BadData(
            f"{path} cannot be read as tensors and plain values, and no other code in it is run ({reason}); {_REMEDY}"
        ) from None


def tensor(path: Path) -> np.ndarray:
    """The one tensor that a file holds. Raises BadData as :func:`load` does, and where it holds anything else."""
    content = load(path)
    if not _torch().is_tensor(content):
        raise BadData(
            f"{path} holds a {type(content).__name__}; expected one tensor, as torch.save(tensor, path) writes"
        )
    return _array(content, str(path))


def _file(path: Path) -> Columns:
    torch, content = _torch(), load(path)
    if isinstance(content, (list, tuple)) and content and all(torch.is_tensor(x) for x in content):
        shapes = {tuple(x.shape) for x in content}
        if len(shapes) > 1:
            raise BadData(
                f"{path} is a list of tensors of unequal shapes, such as {sorted(shapes)[:3]}; expected one width"
            )
        with reading(path, _REMEDY):
            content = torch.stack([dense(x, str(path)) for x in content])
    if torch.is_tensor(content):
        content = {VECTORS: content}
    if not isinstance(content, Mapping):
        raise BadData(f"{path} holds a {type(content).__name__}; expected a tensor or a dict of tensors")
    columns: dict[str, Column] = {}
    for key, value in content.items():
        if str(key) in columns:
            raise BadData(f"{path} has two keys that read '{key}'; rename one")
        if torch.is_tensor(value):
            columns[str(key)] = Column(tuple(value.shape), lambda v=value, k=key: _array(v, f"{path}:{k}"))
        elif _flat_list(value):
            columns[str(key)] = Column((len(value),), lambda v=value, k=key: _typed.from_json(v, None, f"{path}:{k}"))
    counts = {len(v) for v in content.values() if torch.is_tensor(v) and v.ndim >= 2}
    if len(counts) == 1 and IDS not in columns:
        return beside(path, counts.pop(), columns)
    return Columns(columns, path)


def _verify(path: Path) -> None:
    """Compare the CRC-32 of every member, which torch does not; files of before torch 1.6 are no archives."""
    if not zipfile.is_zipfile(path):
        return
    with reading(path), zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            try:
                with archive.open(info) as file:
                    while file.read(BLOCK_BYTES):
                        pass
            except zipfile.BadZipFile as error:
                raise BadData(
                    f"{path} is damaged ({error}); save or download it again (a file saved under torch.serialization."
                    "set_crc32_options(False) has no checksums: save it again without)"
                ) from None


def dense(tensor: Any, where: str) -> Any:
    """A tensor that has its values in memory, one after the other. Raises BadData for any other."""
    import torch

    if tensor.device.type == "meta":
        raise BadData(f"{where} is a tensor on the meta device, which has no values; save the loaded weights")
    if tensor.layout != torch.strided or tensor.is_nested:
        raise BadData(f"{where} is a {str(tensor.layout).removeprefix('torch.')} tensor; save x.to_dense()")
    if tensor.is_quantized:
        raise BadData(f"{where} is a quantised tensor; save x.dequantize()")
    return tensor.detach().resolve_conj().resolve_neg()


def _array(tensor: Any, where: str) -> np.ndarray:
    import torch

    values = dense(tensor, where)
    remedy = f"save it as float32 (it is {values.dtype})"
    with reading(where, remedy):
        if values.dtype == torch.bfloat16 or "float8" in str(values.dtype) or "float4" in str(values.dtype):
            values = values.float()  # exact: float32 holds every value of these
        return values.contiguous().numpy()


def _flat_list(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and bool(value) and all(isinstance(x, (str, int, float)) for x in value)


def _torch() -> Any:
    return require("torch", "train")


FORMAT = Format(
    endings=(".pt", ".pth", ""), read=read, write=write, folder=lambda path: any(path.glob("*embeddings.pt"))
)  # fmt: skip

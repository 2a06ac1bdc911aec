"""Named tensors, ids in the header or beside it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sensorium.errors import BadData
from sensorium.formats import _narrow
from sensorium.formats._beside import beside, ids_of
from sensorium.formats._columns import IDS, Column, Columns, reading
from sensorium.formats._format import Format

_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1",
           "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1", "BOOL": "?", "C64": "<c8"}  # fmt: skip
_WIDENED = {
    "BF16": ("<u2", _narrow.bfloat16),
    "F8_E4M3": ("u1", _narrow.float8_e4m3),
    "F8_E5M2": ("u1", _narrow.float8_e5m2),
}


class _Tensor(NamedTuple):
    """Where a tensor lies in the file."""

    dtype: str
    shape: tuple[int, ...]
    start: int


def read(path: Path) -> Columns:
    """The tensors by name, memory-mapped; bfloat16 and float8 as float32, which holds each of their values.

    Raises BadData when the file is damaged; a tensor of a type that is not known only when it is accessed.
    """
    from safetensors import SafetensorError, safe_open

    with reading(path):
        try:
            with safe_open(path, "numpy") as file:  # checks that the header and the offsets fit the file
                about = file.metadata() or {}
        except SafetensorError as error:
            raise BadData(f"{path} is not a readable .safetensors file ({error}); save or download it again") from None
        tensors = _tensors(path)
    columns = {
        name: Column(one.shape, lambda name=name, one=one: _load(path, name, one)) for name, one in tensors.items()
    }
    if IDS in about and IDS not in columns:
        with reading(f"{path}:{IDS}"):
            ids = ids_of(json.loads(about[IDS]), f"{path}:{IDS}")
        return Columns({**columns, IDS: Column((len(ids),), lambda: ids)}, path, ids=IDS)
    counts = {one.shape[0] for one in tensors.values() if len(one.shape) >= 2}
    return beside(path, counts.pop(), columns) if len(counts) == 1 and IDS not in columns else Columns(columns, path)


def _tensors(path: Path) -> dict[str, _Tensor]:
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header: dict[str, Any] = json.loads(file.read(length))
    return {name: _Tensor(one["dtype"], tuple(one["shape"]), 8 + length + one["data_offsets"][0])
            for name, one in header.items() if name != "__metadata__"}  # fmt: skip


def _load(path: Path, name: str, one: _Tensor) -> np.ndarray:
    stored, widen = _WIDENED.get(one.dtype, (_DTYPES.get(one.dtype), None))
    if stored is None:
        raise BadData(f"{path}:{name} is {one.dtype}, which NumPy has no type for; save it as float32")
    if not math.prod(one.shape):
        return np.zeros(one.shape, np.float32 if widen else stored)
    mapped = np.memmap(path, stored, "r", one.start, one.shape or (1,))
    mapped = mapped if one.shape else mapped.reshape(())
    return widen(mapped) if widen else mapped


FORMAT = Format(endings=(".safetensors",), read=read)

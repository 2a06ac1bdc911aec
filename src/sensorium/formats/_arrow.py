"""Parquet columns as NumPy and back; page checksums are verified wherever pages have them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sensorium.errors import BadData
from sensorium.formats import _text
from sensorium.formats._columns import Column, reading


def columns(path: Path) -> dict[str, Column]:
    """Every column of a Parquet file, loaded at first access.

    Raises BadData when the file is damaged or encrypted, or two columns have one name.
    """
    import pyarrow.parquet as pq

    with reading(path):
        try:
            with pq.ParquetFile(path, page_checksum_verification=True) as file:
                schema, n = file.schema_arrow, file.metadata.num_rows
        except Exception as error:  # of pyarrow: which of its classes depends on the byte that is wrong
            raise BadData(f"{path} is not a readable Parquet file ({error}); save or download it again") from None
    check_repeated(schema.names, path)
    return {
        name: column_of(_shape(n, schema.field(name).type), lambda name=name: _read(path, name), f"{path}:{name}")
        for name in schema.names
    }


def column_of(shape: tuple[int, ...], read: Callable[[], Any], where: str) -> Column:
    """A column of an Arrow table; read: gives it as a chunked Arrow array."""
    return Column(shape, lambda: to_numpy(read(), where), lambda: to_exact(read(), where))


def of_table(table: Any, where: object) -> dict[str, Column]:
    """Every column of an Arrow table in memory. Raises BadData when two have one name."""
    check_repeated(table.column_names, where)
    return {
        name: column_of(_shape(len(table), table.schema.field(name).type), lambda name=name: table.column(name),
                        f"{where}:{name}")
        for name in table.column_names
    }  # fmt: skip


def check_repeated(names: Sequence[str], where: object) -> None:
    """Raise BadData when two columns have one name."""
    if len(set(names)) != len(names):
        again = next(name for name in names if list(names).count(name) > 1)
        raise BadData(f"{where} has two columns called '{again}'; rename one")


def to_numpy(column: Any, where: str) -> np.ndarray:
    """A chunked Arrow column as NumPy.

    Lists of numbers of one length become [n, d], lists of those [n, c, d]; dictionaries (pandas
    categories) are decoded; dates are datetime64 (a time zone's times in UTC). Whatever has nulls, and
    text, bytes, decimals, lists of anything else, is an object array of Python values with None for null;
    numbers with nulls are floats with NaN where that loses nothing.
    """
    import pyarrow as pa

    kind = column.type
    if isinstance(kind, pa.BaseExtensionType):
        column, kind = column.cast(kind.storage_type), kind.storage_type
    if pa.types.is_dictionary(kind):
        return to_numpy(column.cast(kind.value_type), where)
    if _is_list(kind):
        stacked = _stacked(column, where)
        return _text.objects(column.to_pylist()) if stacked is None else stacked
    if pa.types.is_boolean(kind):
        return _text.objects(column.to_pylist()) if column.null_count else column.to_numpy()
    if pa.types.is_integer(kind) and column.null_count:
        values = column.to_pylist()
        exact = all(v is None or abs(v) <= 1 << 53 for v in values)
        return np.array([np.nan if v is None else v for v in values], np.float64) if exact else _text.objects(values)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_timestamp(kind) or kind == pa.date32():
        return column.to_numpy()
    return _text.objects(column.to_pylist())


def to_exact(column: Any, where: str) -> np.ndarray:
    """As :func:`to_numpy`, one value a row: whole numbers with nulls are objects with None, lists stay lists."""
    import pyarrow as pa

    kind = column.type
    if isinstance(kind, pa.BaseExtensionType):
        column, kind = column.cast(kind.storage_type), kind.storage_type
    if pa.types.is_dictionary(kind):
        return to_exact(column.cast(kind.value_type), where)
    if _is_list(kind) or (pa.types.is_integer(kind) and column.null_count):
        return _text.objects(column.to_pylist())
    return to_numpy(column, where)


def from_numpy(column: Any) -> Any:
    """A column as an Arrow array: text as string, everything else as Arrow infers it."""
    import pyarrow as pa

    array = np.asarray(column)
    return pa.array(array.tolist(), pa.string()) if array.dtype.kind == "U" else pa.array(array)


def _read(path: Path, name: str) -> Any:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        return file.read(columns=[name]).column(name)


def _is_list(kind: Any) -> bool:
    import pyarrow as pa

    return pa.types.is_fixed_size_list(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind)


def _numeric(kind: Any) -> bool:
    import pyarrow as pa

    while _is_list(kind):
        kind = kind.value_type
    return pa.types.is_integer(kind) or pa.types.is_floating(kind)


def _shape(n: int, kind: Any) -> tuple[int, ...]:
    """Columns by the schema: lists of numbers are likely vectors, their width is known once loaded."""
    depth = 0
    while _is_list(kind) and _numeric(kind):
        kind, depth = kind.value_type, depth + 1
    return (n, *[-1] * depth)


def _stacked(column: Any, where: str) -> np.ndarray | None:
    """Lists of numbers of one length as one array [n, d]; None where they are no such."""
    import pyarrow as pa

    if not _numeric(column.type) or column.null_count or not len(column):
        return None
    flat = pa.chunked_array([chunk.flatten() for chunk in column.chunks], column.type.value_type)
    lengths = {
        int(x) for chunk in column.chunks for x in np.unique(chunk.value_lengths().to_numpy(zero_copy_only=False))
    }
    if len(lengths) != 1 or (width := lengths.pop()) * len(column) != len(flat):
        return None
    if _is_list(flat.type):
        inner = _stacked(flat, where)
        return None if inner is None else inner.reshape(len(column), width, *inner.shape[1:])
    if flat.null_count:
        raise BadData(f"{where} has null inside of {flat.null_count} lists; correct or drop these rows")
    return flat.to_numpy().reshape(len(column), width)


def check_names(names: Mapping[str, Any], taken: tuple[str, ...], format: str) -> None:
    """Raise BadData where a metadata column has the name of the column of ids or vectors."""
    for name in taken:
        if name in names:
            raise BadData(
                f"export {format}: '{name}' is also a metadata column; choose another name for the ids: ids=NAME"
            )

"""Columns and data frames of other libraries (pandas, polars, Arrow, torch, SciPy) as NumPy arrays; none is imported.

A library is asked for only when it is loaded already: a value of it cannot exist otherwise.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from sensorium.errors import BadData

_DENSE_BYTES = 4 << 30  # of a sparse matrix as a dense float32 one, at most


@runtime_checkable
class _ArrowStream(Protocol):
    """A table or column of any library that speaks Arrow's C stream interface."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...


@runtime_checkable
class _ArrowArray(Protocol):
    """A column of any library that speaks Arrow's C array interface."""

    def __arrow_c_array__(self, requested_schema: object | None = None) -> tuple[object, object]: ...


@runtime_checkable
class _Array(Protocol):
    """Whatever NumPy converts to an array."""

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray: ...


class Frame(NamedTuple):
    """A table: its columns by name, each of n values, and the labels of its rows where it has such (pandas)."""

    columns: Mapping[str, Any]
    index: np.ndarray | None = None


def frame_of(value: Any, what: str) -> Frame | None:
    """A pandas, polars or Arrow table, a record array or a mapping of columns as a Frame; None for anything else.

    pandas' index counts as ids when it has a name or is text; a plain numbering of rows does not.
    """
    if (pandas := sys.modules.get("pandas")) and isinstance(value, pandas.DataFrame):
        names = [str(name) for name in value.columns]
        columns = {name: value.iloc[:, at] for at, name in enumerate(names)}
        index = value.index
        labelled = not isinstance(index, pandas.MultiIndex) and (index.name is not None or index.dtype.kind in "OUT")
        return Frame(_unique(names, columns, what), np.asarray(index) if labelled and index.is_unique else None)
    if (polars := sys.modules.get("polars")) and isinstance(value, polars.DataFrame | polars.LazyFrame):
        table = value.collect() if isinstance(value, polars.LazyFrame) else value
        return Frame({one.name: one for one in table.get_columns()})
    if (arrow := sys.modules.get("pyarrow")) and isinstance(value, arrow.Table | arrow.RecordBatch):
        names = list(value.schema.names)
        return Frame(_unique(names, {name: value.column(at) for at, name in enumerate(names)}, what))
    if isinstance(value, Mapping):
        if not value or not all(isinstance(name, str) for name in value):
            raise BadData(f"{what} is a mapping without columns; expected one such as {{'id': […], 'text': […]}}")
        lengths = {name: len(column) for name, column in value.items()}
        if len(set(lengths.values())) > 1:
            listed = ", ".join(f"{name} {n}" for name, n in lengths.items())
            raise BadData(f"{what}: its columns have different lengths ({listed}); expected one value a row in each")
        return Frame(value)
    if isinstance(value, np.ndarray) and value.dtype.names:
        return Frame({name: value[name] for name in value.dtype.names})
    if isinstance(value, _ArrowStream) and not isinstance(value, _Array):  # a table of yet another library
        import pyarrow as pa

        return frame_of(pa.table(value), what)
    return None


def column_of(value: Any, what: str) -> Any:
    """One column as an array (n, …) of numbers, or as a list of n Python values; other values as they are."""
    if isinstance(value, np.ma.MaskedArray):
        return value.filled() if not np.ma.getmaskarray(value).any() else value.tolist()
    if isinstance(value, np.ndarray):
        return value.tolist() if value.dtype.kind in "OUST" and value.ndim == 1 else value
    if (torch := sys.modules.get("torch")) and isinstance(value, torch.Tensor):
        dense = value.detach().cpu().to_dense() if value.is_sparse else value.detach().cpu()
        return (dense.float() if dense.dtype == torch.bfloat16 else dense).numpy()
    if (sparse := sys.modules.get("scipy.sparse")) and sparse.issparse(value):
        return _dense(value, what)
    if (pandas := sys.modules.get("pandas")) and isinstance(value, pandas.Series | pandas.Index):
        return _of_pandas(value, pandas)
    if (polars := sys.modules.get("polars")) and isinstance(value, polars.Series):
        return column_of(value.to_arrow(), what)
    if (arrow := sys.modules.get("pyarrow")) and isinstance(value, arrow.Array | arrow.ChunkedArray):
        return _of_arrow(value, arrow)
    if isinstance(value, _ArrowStream | _ArrowArray) and not isinstance(value, _Array):
        import pyarrow as pa

        return _of_arrow(pa.chunked_array(value) if isinstance(value, _ArrowStream) else pa.array(value), pa)
    if isinstance(value, _Array) and not isinstance(value, (list, tuple)):
        return column_of(np.asarray(value), what)
    return list(value) if isinstance(value, tuple) else value


def _unique(names: list[str], columns: dict[str, Any], what: str) -> dict[str, Any]:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise BadData(f"{what} has several columns called '{twice[0]}'; rename or drop them")
    return columns


def _dense(matrix: Any, what: str) -> np.ndarray:
    n, d = matrix.shape
    if n * d * 4 > _DENSE_BYTES:
        raise BadData(
            f"{what} is a sparse matrix {matrix.shape} of {n * d * 4 / 1e9:.1f} GB as vectors; reduce its width first, "
            "such as with sklearn.decomposition.TruncatedSVD(256)"
        )
    return np.asarray(matrix.todense())


def _of_pandas(series: Any, pandas: Any) -> Any:
    if isinstance(series.dtype, pandas.CategoricalDtype):
        return series.astype(object).tolist()
    if series.dtype.kind in "iufb" and not series.hasnans:
        return series.to_numpy()
    if series.dtype.kind in "mM":
        return np.asarray(series)
    if series.dtype.kind == "f":
        return series.to_numpy(np.float64, na_value=np.nan)
    missing = series.isna().tolist()
    return [None if gone else one for one, gone in zip(series.tolist(), missing, strict=True)]


def _of_arrow(column: Any, arrow: Any) -> Any:
    """An Arrow column: numbers as an array (n,), lists of one width as (n, d), everything else as Python values."""
    types = arrow.types
    if isinstance(column, arrow.ChunkedArray):
        column = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    if isinstance(column, arrow.ChunkedArray):  # of no chunk
        return column.to_pylist()
    if isinstance(column, arrow.FixedShapeTensorArray):
        return column.to_numpy_ndarray()
    if isinstance(column, arrow.ExtensionArray):
        column = column.storage
    lists = types.is_list(column.type) or types.is_large_list(column.type) or types.is_fixed_size_list(column.type)
    if lists and not column.null_count and len(column) and _number(column.type.value_type, types):
        flat = column.flatten()
        if not flat.null_count and len(flat) % len(column) == 0:
            widths = np.full(1, len(flat) // len(column))
            if not types.is_fixed_size_list(column.type):
                widths = np.diff(column.offsets.to_numpy())
            if (widths == widths[0]).all():
                return flat.to_numpy(zero_copy_only=False).reshape(len(column), -1)
    if _number(column.type, types) and not column.null_count:
        return column.to_numpy(zero_copy_only=False)
    if types.is_temporal(column.type):
        return column.to_numpy(zero_copy_only=False)
    return column.to_pylist()


def _number(kind: Any, types: Any) -> bool:
    return types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)


def name_of(column: Any) -> str:
    """The name of a pandas or polars column; "" where it has none."""
    for library in ("pandas", "polars"):
        module = sys.modules.get(library)
        if module is not None and isinstance(column, module.Series):
            return "" if column.name is None else str(column.name)
    return ""


def is_picture(value: Any) -> bool:
    """Whether a value is an image of Pillow."""
    pillow = sys.modules.get("PIL.Image")
    return pillow is not None and isinstance(value, pillow.Image)


def is_tensor(value: Any) -> bool:
    """Whether a value is a tensor of torch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)

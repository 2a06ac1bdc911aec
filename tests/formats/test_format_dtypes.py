"""Every type, byte order and layout of an array: imported exactly, or refused in words; never a store that cannot be read."""

import json
import shutil
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium import formats, store
from sensorium.datasets.arrays import Arrays
from sensorium.errors import BadData, SensoriumError
from sensorium.store import importing

FLOATS = ["<f2", ">f2", "<f4", ">f4", "<f8", ">f8"]
INTEGERS = ["<i1", "<i2", ">i2", "<i4", ">i4", "<i8", ">i8", "<u1", ">u2", "<u4", ">u8"]
OTHERS = ["<c8", ">c16", "?", "<M8[s]", "<m8[s]", "S3", "<U3", ">U3", "O", "V4", [("a", "<f4"), ("b", "<i2")]]
LONG = [np.dtype(np.longdouble), np.dtype(np.longdouble).newbyteorder()]


def values(dtype, shape, rng):
    dtype = np.dtype(dtype)
    numbers = rng.integers(1, 100, size=shape)
    if dtype.kind == "V":
        return np.zeros(shape, dtype)
    if dtype.kind == "O":
        return numbers.astype(str).astype(object)
    if dtype.kind == "f":
        return (numbers / 7).astype(dtype)
    return numbers.astype(dtype)


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from([*FLOATS, *INTEGERS, *OTHERS, *LONG]), st.sampled_from("CF"),
    st.sampled_from([(), (5,), (0, 3), (5, 0), (5, 3), (1, 1), (5, 2, 3), (2, 1, 1, 2)]),
    st.sampled_from(["npy", "npz", "npz compressed"]), st.integers(0, 99),
)  # fmt: skip
def test_numpy_files_of_every_type(tmp_path_factory, dtype, order, shape, kind, seed):
    folder = tmp_path_factory.mktemp("t")
    array = np.asarray(values(dtype, shape, np.random.default_rng(seed)), order=order)
    if kind == "npy":
        np.save(folder / "a.npy", array)
        path = folder / "a.npy"
    else:
        path = folder / "a.npz"
        (np.savez if kind == "npz" else np.savez_compressed)(path, vectors=array)
    try:
        importing.import_(kind[:3], path, folder / "s", key="vectors", ids="rows")
    except SensoriumError:
        assert not (folder / "s" / "manifest.json").exists()
        good = array.dtype.kind in "fiu" and array.ndim in (2, 3) and array.size
        assert not good or array.dtype.char == "g"  # whose sevenths no float64 holds
    else:
        found = store.open(folder / "s", full=True)
        assert found.vectors.dtype in (np.float16, np.float32, np.float64) and found.vectors.dtype.isnative
        assert np.array_equal(found.vectors[:], array.reshape(-1, array.shape[-1]))
        assert store.verify(folder / "s") == []
    finally:
        shutil.rmtree(folder)


def test_integers_are_exact_or_refused(tmp_path):
    for largest, dtype in ((1 << 24, "float32"), ((1 << 24) + 1, "float64"), (1 << 53, "float64")):
        np.save(tmp_path / "a.npy", np.array([[largest, -1]]))
        record = importing.import_("npy", tmp_path / "a.npy", tmp_path / str(largest), key="vectors", ids="rows")
        assert record["dtype"] == dtype
        assert store.open(tmp_path / str(largest)).vectors[:].tolist() == [[largest, -1]]
    for odd in ([[(1 << 53) + 1, 1]], [[-(1 << 63), 1]]):
        np.save(tmp_path / "a.npy", np.array(odd))
        with pytest.raises(BadData, match="which no float holds exactly"):
            importing.import_("npy", tmp_path / "a.npy", tmp_path / "no", key="vectors", ids="rows")


@pytest.mark.parametrize("order", "CF")
@pytest.mark.parametrize("dtype", LONG, ids=["native", "other byte order"])
def test_longdouble_is_exact_or_refused(tmp_path, dtype, order):
    np.save(tmp_path / "a.npy", np.asarray(np.eye(3) / 4, dtype, order=order))
    importing.import_("npy", tmp_path / "a.npy", tmp_path / "s", ids="rows")
    assert np.array_equal(store.open(tmp_path / "s").vectors[:], np.eye(3) / 4)
    np.save(tmp_path / "b.npy", np.eye(3, dtype=np.longdouble) / 3)
    with pytest.raises(BadData, match=r"b.npy:vectors holds (float128|float96|longdouble) numbers that float64 cannot"):
        importing.import_("npy", tmp_path / "b.npy", tmp_path / "t", ids="rows")


@pytest.mark.parametrize("dtype", [*FLOATS, *INTEGERS, "?", "<M8[s]", ">M8[us]", "S3", "<U3", ">U3", "O"])
def test_columns_of_every_type_keep_their_values(tmp_path, dtype):
    column = values(dtype, (4,), np.random.default_rng(0))
    np.savez(tmp_path / "a.npz", x=np.eye(4, dtype=np.float32), ids=np.arange(4), column=column)
    found = formats.read(tmp_path / "a.npz")["column"]
    expected = np.char.decode(column) if np.dtype(dtype).kind == "S" else column
    assert found.tolist() == expected.tolist() and found.dtype.isnative
    if np.dtype(dtype).kind in "fiub":
        assert found.dtype == column.dtype.newbyteorder("=")
        importing.import_("npz", tmp_path / "a.npz", tmp_path / "s")
        assert store.open(tmp_path / "s").meta["column"].tolist() == column.tolist()


TORCH = ["float16", "bfloat16", "float32", "float64", "float8_e4m3fn", "float8_e5m2", "uint8", "int8", "int16", "int32",
         "int64", "bool", "complex64"]  # fmt: skip


@pytest.mark.parametrize("dtype", TORCH)
@pytest.mark.parametrize("kind", ["pt", "safetensors"])
def test_torch_and_safetensors_files_of_every_type(tmp_path, kind, dtype):
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file

    tensor = torch.from_numpy(np.random.default_rng(0).integers(1, 100, size=(5, 3)) / 7).to(getattr(torch, dtype))
    held = {"x": tensor, "unused": torch.tensor(2.0).bfloat16()}
    path = tmp_path / f"a.{kind}"
    torch.save(held, path) if kind == "pt" else save_file(held, path)
    if dtype in ("bool", "complex64"):
        with pytest.raises(BadData, match=rf"a\.{kind}:x is (bool|complex64) \(5, 3\); expected numbers"):
            importing.import_(kind, path, tmp_path / "s", key="x", ids="rows")
        return
    importing.import_(kind, path, tmp_path / "s", key="x", ids="rows")
    assert np.array_equal(store.open(tmp_path / "s").vectors[:], tensor.double().numpy())


def test_every_float8_is_widened_exactly():
    torch = pytest.importorskip("torch")
    from sensorium.formats import _narrow

    bits = np.arange(256, dtype=np.uint8)
    for name, widen in (("float8_e4m3fn", _narrow.float8_e4m3), ("float8_e5m2", _narrow.float8_e5m2)):
        expected = torch.from_numpy(bits).view(getattr(torch, name)).float().numpy()
        np.testing.assert_array_equal(widen(bits), expected)
    half = np.arange(1 << 16, dtype=np.uint16)
    expected = torch.from_numpy(half.view(np.int16)).view(torch.bfloat16).float().numpy()
    np.testing.assert_array_equal(_narrow.bfloat16(half), expected)


def test_safetensors_types_that_numpy_has_no_word_for(tmp_path):
    header = {"x": {"dtype": "F8_E8M0", "shape": [2, 2], "data_offsets": [0, 4]},
              "y": {"dtype": "F32", "shape": [1, 1], "data_offsets": [4, 8]}}  # fmt: skip
    text = json.dumps(header).encode()
    (tmp_path / "a.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + b"\0\0\0\0\0\0\x80\x3f")
    found = formats.read(tmp_path / "a.safetensors")
    assert found["y"].tolist() == [[1.0]]
    with pytest.raises(BadData, match="a.safetensors:x is F8_E8M0, which NumPy has no type for; save it as float32"):
        found["x"]


def test_tensors_without_plain_values_are_refused(tmp_path):
    torch = pytest.importorskip("torch")
    whole = torch.eye(3)
    for name, tensor, message in (
        ("sparse", whole.to_sparse(), r"a.pt:x is a sparse_coo tensor; save x.to_dense\(\)"),
        ("csr", whole.to_sparse_csr(), r"a.pt:x is a sparse_csr tensor"),
        ("meta", torch.empty(3, 3, device="meta"), "a.pt:x is a tensor on the meta device, which has no values"),
    ):
        torch.save({"x": tensor, "y": whole}, tmp_path / "a.pt")
        with pytest.raises(BadData, match=message):
            importing.import_("pt", tmp_path / "a.pt", tmp_path / name, key="x", ids="rows")
        assert np.array_equal(formats.read(tmp_path / "a.pt")["y"], np.eye(3))
    torch.save([torch.ones(3), torch.ones(2)], tmp_path / "b.pt")
    with pytest.raises(BadData, match="b.pt is a list of tensors of unequal shapes"):
        formats.read(tmp_path / "b.pt")


@pytest.mark.parametrize("dtype", [">f4", "<f2", "<i4"])
def test_arrays_take_every_order_in_place(tmp_path, dtype):
    x = values(dtype, (6, 4), np.random.default_rng(0))
    np.savez(tmp_path / "a.npz", left=np.asfortranarray(x), right=x)
    data = Arrays(file=str(tmp_path / "a.npz")).load()
    assert np.array_equal(data.left.values, x.astype(np.float32)) and data.left.values.dtype == np.float32


@pytest.mark.parametrize("kind", ["npy", "npz"])
@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<i4"])
def test_a_file_in_fortran_order_is_imported_in_bounded_memory(tmp_path, monkeypatch, kind, dtype):
    """A block of rows is a little of every column: neither the array nor the map may be held whole."""
    monkeypatch.setattr("sensorium.store.writing.SHARD_BYTES", 1 << 20)
    x = np.asfortranarray(np.random.default_rng(0).integers(-1000, 1000, size=(4000, 2000)).astype(dtype))
    path = tmp_path / f"a.{kind}"
    np.save(path, x) if kind == "npy" else np.savez(path, vectors=x)
    tracemalloc.start()
    importing.import_(kind, path, tmp_path / "s", key="vectors", ids="rows")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.5 * x.nbytes
    assert np.array_equal(store.open(tmp_path / "s").vectors[:], x)

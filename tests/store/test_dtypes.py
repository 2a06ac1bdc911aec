"""What a writer takes: whatever array it is given, the store opens with the same numbers, or it is refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toys import Words

from sensorium import store
from sensorium.errors import BadData, SensoriumError
from sensorium.store import shard, writing
from sensorium.types import Items

MADE_BY = {"name": "toy"}
DTYPES = ["<f2", ">f2", "<f4", ">f4", "<f8", ">f8", "longdouble", "int8", "<i4", ">i8", "uint16", "bool", "complex64",
          "object", "S4", "U4", "M8[s]"]  # fmt: skip
LAYOUTS = ["C", "F", "strided", "reversed", "read-only", "big stride", "subclass"]


def laid_out(array, layout):
    if layout == "F":
        return np.asfortranarray(array)
    if layout == "strided":
        return np.repeat(array, 2, axis=0)[::2]
    if layout == "reversed":
        return array[::-1][::-1]
    if layout == "big stride":
        return np.concatenate([array, array], axis=1)[:, : array.shape[1]]
    if layout == "read-only":
        array = array.copy()
        array.flags.writeable = False
        return array
    return array.view(np.matrix) if layout == "subclass" and array.dtype.kind == "f" else array


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(DTYPES), st.sampled_from(LAYOUTS), st.integers(1, 5), st.integers(1, 4), st.booleans())
def test_what_was_appended_is_what_is_opened(tmp_path_factory, dtype, layout, n, d, ragged):
    folder = tmp_path_factory.mktemp("dtypes") / "s"
    array = laid_out((np.arange(n * d).reshape(n, d) % 7 + 1).astype(dtype), layout)
    offsets = np.array([0, n]) if ragged else None
    ids = ["one"] if ragged else [f"i{k}" for k in range(n)]
    try:
        store.append(folder, ids, array, MADE_BY, offsets=offsets)
    except SensoriumError:
        assert np.dtype(dtype).kind != "f", "every floating-point type is taken"
        assert not store.exists(folder)
        return
    opened = store.open(folder)
    assert opened.vectors.dtype.isnative and opened.vectors.dtype.name in ("float16", "float32", "float64")
    assert np.array_equal(np.asarray(opened.vectors[:], np.float64), np.asarray(array, np.float64))
    assert store.verify(folder) == []
    store.compact(folder)
    assert np.array_equal(np.asarray(store.open(folder).vectors[:], np.float64), np.asarray(array, np.float64))


@pytest.mark.parametrize("dtype", [">f4", "longdouble", "<f8"])
def test_an_encoder_may_give_any_floating_point_type(tmp_path, dtype):
    texts = ["a", "bb", "ccc"]
    found = store.embed(Items(np.array(texts), texts, "text"), Words(dtype=dtype), tmp_path / "s", progress=False)
    assert found.vectors.dtype.isnative
    opened = store.open(tmp_path / "s")
    assert np.array_equal(np.asarray(opened.vectors[:], np.float32), np.stack([Words().vector(t) for t in texts]))


def test_what_no_reader_takes_is_refused_with_the_reason(tmp_path):
    def refused(vectors, message, **more):
        with pytest.raises(BadData, match=message):
            store.append(tmp_path / "s", ["a", "b"], vectors, MADE_BY, **more)
        assert not store.exists(tmp_path / "s")

    good = np.ones((2, 3), np.float32)
    refused(np.ma.masked_array(good, [[True, False, False]] * 2), "masked array with masked values; fill or drop")
    refused(np.full((2, 3), np.longdouble("1e400")), "NaN or infinity")
    refused(np.ones((2, 3, 4), np.float32), r"vectors of shape \(2, 3, 4\); expected \(items, width\)")
    refused(np.ones(2, np.float32), r"vectors of shape \(2,\); expected \(items, width\)")
    refused(good, r"offsets are float64 of shape \(3,\); expected integers", offsets=np.array([0.0, 1, 2]))
    refused(good, "offsets do not rise from 0 to the 2 frames", offsets=np.array([0, 1, 3]))
    refused(good, "offsets do not rise from 0 to the 2 frames", offsets=np.array([0, 3, 2]))
    texts = ["a", "b"]
    with pytest.raises(BadData, match="dtype=int8 of a store; expected float32, float16 or float64"):
        store.embed(Items(np.array(texts), texts, "text"), Words(), tmp_path / "e", dtype="int8")
    batch = shard.Batch(texts, [b"0" * 16] * 2, good.astype(">f4"), {})
    with pytest.raises(BadData, match=r"vectors are >f4 of shape \(2, 3\); expected"):
        writing.Writer(tmp_path / "w", MADE_BY).stage(batch)

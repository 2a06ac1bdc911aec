"""FAISS on disk: built in shards that are merged, linked when saved, built anew when much has changed; typed errors."""

import numpy as np
import pytest

from sensorium import io
from sensorium.errors import BadData, BadRecipe, Corrupt
from sensorium.indexes import _disk_build as build
from sensorium.indexes.faiss_disk import FaissDisk

pytest.importorskip("faiss")
RANDOM = np.random.default_rng(5)
CENTRES = RANDOM.standard_normal((20, 16))
VECTORS = (CENTRES[np.arange(3000) % 20] + RANDOM.standard_normal((3000, 16)) / 2).astype(np.float32)
IDS = np.arange(3000).astype(str)


def saved(index, folder):
    with io.publish(folder) as building:
        index.save(building)
    return folder


def recall(index, queries, vectors):
    truth = np.argsort(-(queries @ vectors.T), axis=1)[:, :10]
    return np.mean((truth[:, :, None] == index.search(queries, 10).rows[:, None, :]).any(axis=2))


def test_a_damage_of_the_vectors_is_found_by_verify(tmp_path):
    index = FaissDisk()
    index.add(IDS, VECTORS)
    index.verify()  # nothing is saved yet
    folder = saved(index, tmp_path / "index")
    FaissDisk.load(folder).verify()
    data = bytearray((folder / build.VECTORS).read_bytes())
    data[-5] ^= 1
    (folder / build.VECTORS).write_bytes(data)
    with pytest.raises(Corrupt, match=rf"{build.VECTORS}.*build the index again"):
        FaissDisk.load(folder).verify()


def test_shards_are_merged_into_what_one_pass_gives(tmp_path, monkeypatch, capfd):
    whole = FaissDisk(cells=32, code=8)
    whole.add(IDS, VECTORS)
    expected = whole.search(VECTORS[:50], 10).rows
    monkeypatch.setattr(build, "_SHARD", 16 * 4 * 700)
    monkeypatch.setattr(build, "_BLOCK", 256)
    np.save(tmp_path / "vectors.npy", VECTORS)
    parts = FaissDisk(cells=32, code=8)
    parts.add(IDS, np.load(tmp_path / "vectors.npy", mmap_mode="r"))
    np.testing.assert_array_equal(parts.search(VECTORS[:50], 10).rows, expected)
    assert recall(parts, VECTORS[::60], VECTORS) > 0.95
    folder = saved(parts, tmp_path / "index")
    assert sorted(p.name for p in folder.iterdir()) == ["base.npy", "index.json", "items.parquet", "ivf.data", "ivf.index",
                                                        "positions.npy", "tail.npy"]  # fmt: skip
    again = FaissDisk.load(folder)
    np.testing.assert_array_equal(again.search(VECTORS[:50], 10).rows, expected)
    again.add(["new"], VECTORS[:1] * 2)
    inode = (folder / "base.npy").stat().st_ino
    saved(again, folder)
    assert (folder / "base.npy").stat().st_ino == inode, "what did not change is linked"
    assert FaissDisk.load(folder).search(VECTORS[:1], 1).ids[0, 0] == "new"
    assert capfd.readouterr().out == "", "standard output belongs to results"


def test_much_that_changed_makes_a_new_base():
    index = FaissDisk(cells=16)
    index.add(IDS[:1000], VECTORS[:1000])
    index.search(VECTORS[:1], 1)
    index.add(IDS[1000:1100], VECTORS[1000:1100])
    assert index._n == 1000 and recall(index, VECTORS[1000:1100:9], VECTORS[:1100]) > 0.9
    index.remove(IDS[:400].tolist())
    assert index._n == 700 and len(index) == 700
    np.testing.assert_array_equal(index.vectors(), VECTORS[400:1100])
    assert recall(index, VECTORS[400:1100:70], VECTORS[400:1100]) > 0.9


def test_a_graph_finds_the_cells_of_large_indexes(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "_GRAPH_FROM", 64)
    index = FaissDisk(cells=64, nprobe=16)
    index.add(IDS, VECTORS, {"odd": np.arange(3000) % 2})
    index = FaissDisk.load(saved(index, tmp_path / "index"))
    assert type(build.library().downcast_index(index._built().quantizer)).__name__ == "IndexHNSWFlat"
    assert recall(index, VECTORS[::60], VECTORS) > 0.95
    few = index.search(VECTORS[::60], 10, where={"odd": 1}).rows
    truth = np.argsort(np.where(np.arange(3000) % 2, -(VECTORS[::60] @ VECTORS.T), 0), axis=1)[:, :10]
    assert np.mean((truth[:, :, None] == few[:, None, :]).any(axis=2)) > 0.95


def test_a_number_that_float16_cannot_hold_is_refused():
    index = FaissDisk(precision="float16")
    with pytest.raises(BadData, match="id '7' holds a number above 65,504.*index.precision=float32"):
        index.add(IDS[:9], np.where(np.arange(9)[:, None] == 7, np.float32(7e4), VECTORS[:9]))
    index.add(IDS[:9], VECTORS[:9])
    with pytest.raises(BadData, match="id '2' holds a number above 65,504"):
        index.add(["1x", "2"], np.array([VECTORS[0], -7e4 * np.ones(16)]))
    assert len(index) == 9


def test_float16_halves_the_file(tmp_path):
    sizes = {}
    for precision in ("float16", "float32"):
        index = FaissDisk(precision=precision)
        index.add(IDS, VECTORS)
        np.testing.assert_array_equal(index.vectors([3, 4]), VECTORS[[3, 4]].astype(precision).astype(np.float32))
        assert recall(index, VECTORS[::90], VECTORS) > 0.9
        sizes[precision] = (saved(index, tmp_path / precision) / "base.npy").stat().st_size - 128
    assert sizes["float32"] == 2 * sizes["float16"]


@pytest.mark.parametrize("name", ["base.npy", "ivf.index", "ivf.data", "positions.npy", "items.parquet"])
def test_damage_is_noticed(tmp_path, name):
    index = FaissDisk()
    index.add(IDS[:100], VECTORS[:100])
    path = saved(index, tmp_path / "index") / name
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(Corrupt, match=f"{name}.*build the index again"):
        FaissDisk.load(tmp_path / "index")


@pytest.mark.parametrize(("arguments", "message"), [
    ({"cells": -1}, "cells=-1; expected 0 to 1048576"), ({"code": 300}, "code=300; expected 0 to 256"),
    ({"nprobe": 0}, "nprobe=0; expected 1 to 65536"), ({"rescore": 0}, "rescore=0; expected 1 to 1024"),
    ({"precision": "int8"}, "precision='int8'; expected float32 or float16"),
])  # fmt: skip
def test_arguments_are_refused(arguments, message):
    with pytest.raises(BadRecipe, match=message):
        FaissDisk(**arguments)


def test_a_code_that_does_not_fit_the_width_is_refused():
    index = FaissDisk(code=5)
    index.add(IDS, VECTORS)
    with pytest.raises(BadRecipe, match="code=5 does not divide the width 16; type for instance: index.code=4"):
        index.search(VECTORS[:1], 1)

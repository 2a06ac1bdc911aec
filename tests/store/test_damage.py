"""Damaged, incomplete and unwelcome input: a typed error that says what to do, and nothing lost."""

import json
import os
import resource
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from toys import Frames, Words

from sensorium import io, store
from sensorium.errors import BadData, Corrupt, DiskFull, Mismatch
from sensorium.types import Items

MADE_BY = {"name": "toy"}
REMEDY = r"embed the same items again.*or drop it: python -c .*store\.repair\('.*s'\)"


def fill(folder, n=40, d=8, start=0, **meta):
    ids = [f"i{k}" for k in range(start, start + n)]
    vectors = np.random.default_rng(start).normal(size=(n, d)).astype(np.float32)
    store.append(folder, ids, vectors, MADE_BY, meta)
    return vectors


def one(folder, pattern):
    return sorted(folder.glob(pattern))[0]


def flip(path, at=-5):
    content = bytearray(path.read_bytes())
    content[at] ^= 16
    path.write_bytes(content)


@pytest.mark.parametrize("pattern", ["*.vectors.npy", "*.items.parquet", "*.removed.npy"])
@pytest.mark.parametrize("how", ["flipped", "cut", "missing"])
def test_a_damaged_file_is_named_with_the_remedy(tmp_path, pattern, how):
    folder = tmp_path / "s"
    fill(folder)
    store.remove(folder, ["i3"])
    path = one(folder, pattern)
    if how == "flipped":
        flip(path)
    elif how == "cut":
        os.truncate(path, path.stat().st_size - 7)
    else:
        path.unlink()
    word = {"flipped": "is damaged", "cut": "is (damaged|cut short)", "missing": "is missing"}[how]
    with pytest.raises(Corrupt, match=rf"{path.name} {word}.*{REMEDY}"):
        store.open(folder)
    problems = store.verify(folder)
    assert len(problems) == 1 and path.name in problems[0]


def test_a_large_store_checks_size_and_header_when_opened_and_all_when_verified(tmp_path):
    fill(tmp_path / "s")
    path = one(tmp_path / "s", "*.vectors.npy")
    flip(path)
    assert len(store.open(tmp_path / "s", full=False)) == 40
    assert len(store.verify(tmp_path / "s")) == 1
    flip(path, at=70)  # inside the header
    with pytest.raises(Corrupt, match=r"vectors\.npy is damaged"):
        store.open(tmp_path / "s", full=False)


def test_only_the_damaged_shard_is_embedded_again(tmp_path):
    texts = [f"t{k}" for k in range(30)]
    items = Items(np.array([f"i{k}" for k in range(30)]), texts, "text")
    store.embed(items, Words(), tmp_path / "s", shard_rows=10, progress=False)
    flip(one(tmp_path / "s", "*.vectors.npy"))
    again = Words()
    found, report = store.embed_reported(items, again, tmp_path / "s", shard_rows=10, progress=False)
    assert len(again.seen) == 10 and report == store.Report(10, 20, 1)
    assert np.array_equal(found.vectors[:], np.stack([Words().vector(t) for t in texts]))
    assert store.verify(tmp_path / "s") == []


def test_repair_drops_the_damaged_shard_only(tmp_path):
    fill(tmp_path / "s")
    kept = fill(tmp_path / "s", start=40)
    bad = next(p for p in (tmp_path / "s").glob("*.vectors.npy") if np.load(p)[0, 0] != kept[0, 0])
    flip(bad)
    assert store.repair(tmp_path / "s") == store.Repaired([bad.name], 40, False)
    assert np.array_equal(store.open(tmp_path / "s").vectors[:], kept)


@pytest.mark.parametrize("damage", ["flip", "unlink", "not json", "stranger"])
def test_a_lost_manifest_is_rebuilt_from_the_shards(tmp_path, damage):
    folder = tmp_path / "s"
    fill(folder, year=list(range(40)))
    fill(folder, start=20, year=list(range(40)))  # i20 … i39 replaced
    store.remove(folder, ["i0", "i59"])
    before = store.open(folder)
    before = dict(zip(before.ids.tolist(), before.vectors[:].tolist(), strict=True))
    path = folder / "manifest.json"
    if damage == "flip":
        path.write_text(path.read_text().replace('"dim": 8', '"dim": 9'))
    elif damage == "unlink":
        path.unlink()
    else:
        path.write_text("{" if damage == "not json" else "{}")
    with pytest.raises(Corrupt, match=r"manifest\.json is .*type: python -c .*repair\('.*s'\)"):
        store.open(folder)
    assert store.repair(folder) == store.Repaired([], 58, True)
    opened = store.open(folder)
    assert dict(zip(opened.ids.tolist(), opened.vectors[:].tolist(), strict=True)) == before
    assert opened.meta["year"].dtype == np.int64 and store.verify(folder) == []


def test_a_writer_rebuilds_a_lost_manifest_instead_of_starting_anew(tmp_path):
    fill(tmp_path / "s")
    (tmp_path / "s" / "manifest.json").unlink()
    fill(tmp_path / "s", start=40)
    assert len(store.open(tmp_path / "s")) == 80
    (tmp_path / "s" / "manifest.json").unlink()
    fill(tmp_path / "s")  # nothing new
    assert len(store.open(tmp_path / "s")) == 80


def test_nothing_to_open_or_repair(tmp_path):
    with pytest.raises(Corrupt, match="no is missing: no store there; embed or import into it first"):
        store.open(tmp_path / "no")
    with pytest.raises(Corrupt, match="no is missing: no store to repair there"):
        store.repair(tmp_path / "no")
    with pytest.raises(Corrupt, match=r"holds no shard that can be read; delete it, and embed again: rm -r"):
        store.repair(tmp_path)
    assert store.verify(tmp_path / "no") and not store.exists(tmp_path)


def test_a_newer_format_is_refused(tmp_path):
    fill(tmp_path / "s")
    path = tmp_path / "s" / "manifest.json"
    path.write_text(path.read_text().replace('"version": 1', '"version": 2'))
    with pytest.raises(Mismatch, match="has format version 2, this sensorium reads version 1; update sensorium"):
        store.open(tmp_path / "s")


def test_what_append_refuses_leaves_the_store_as_it_was(tmp_path):
    folder = tmp_path / "s"
    fill(folder, year=[1] * 40)
    before = sorted((p.name, io.checksum(p)) for p in folder.iterdir())
    good = np.ones((2, 8), np.float32)
    bad = good.copy()
    bad[1, 3] = np.nan

    def refused(error, message, ids=("x", "y"), vectors=good, made_by=MADE_BY, **more):
        with pytest.raises(error, match=message):
            store.append(folder, list(ids), vectors, made_by, **more)
        assert sorted((p.name, io.checksum(p)) for p in folder.iterdir()) == before

    refused(BadData, r"1 of 2 items \('y'\) with NaN or infinity", vectors=bad)
    refused(BadData, r"2 of 2 items \('x', 'y'\) with a zero vector", vectors=good * 0)
    refused(BadData, "holds vectors of width 8, these have width 5; choose another folder", vectors=good[:, :5])
    refused(BadData, "duplicate ids, such as 'x'", ids=("x", "x"))
    refused(BadData, "2 vectors for 3 ids", ids=("x", "y", "z"))
    refused(BadData, "1 keys for 2 ids", keys=[b"0" * 16])
    refused(BadData, "vectors are int64; expected float32", vectors=np.ones((2, 8), int))
    refused(Mismatch, "holds float32 vectors, these are float64", vectors=good.astype(np.float64))
    refused(Mismatch, "holds vectors of 'toy', these are of 'other'", made_by={"name": "other"})
    refused(Mismatch, "holds one vector an item, these are frames", vectors=[good, good])
    refused(BadData, "column 'year' holds text here but integer in the store", meta={"year": ["a", "b"]})
    refused(BadData, r"column 'when' holds datetime64\[s\].*convert it to text", meta={
        "when": np.array(["2020", "2021"], "datetime64[s]")})  # fmt: skip
    refused(BadData, r"column 'k' holds int64 of shape \(2, 1\)", meta={"k": np.ones((2, 1), int)})
    refused(BadData, "column 'k' has 3 values for 2 items", meta={"k": [1, 2, 3]})
    with pytest.raises(BadData, match=r"item 'b' has frames of shape \(3, 4\); expected \(frames, 3\)"):
        store.append(tmp_path / "f", ["a", "b"], [np.ones((2, 3)), np.ones((3, 4))], MADE_BY)
    with pytest.raises(BadData, match=r"1 of 2 items \('b'\) without a single frame; leave such items out"):
        store.append(tmp_path / "f", ["a", "b"], [np.ones((2, 3)), np.ones((0, 3))], MADE_BY)


def test_folders_that_are_something_else_are_not_touched(tmp_path):
    (tmp_path / "thesis.txt").write_text("x")
    with pytest.raises(BadData, match=r"holds other files, such as thesis\.txt, and no store; choose an empty folder"):
        fill(tmp_path)
    with pytest.raises(BadData, match=r"thesis\.txt is a file; a store is a folder"):
        fill(tmp_path / "thesis.txt")
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


def test_columns_missing_in_some_shards_are_filled(tmp_path):
    fill(tmp_path / "s", 2, year=[1, 2], who=["a", "b"])
    fill(tmp_path / "s", 2, start=2, year=[0.5, 1.5], good=[True, False])
    fill(tmp_path / "s", 1, start=4)
    meta = store.open(tmp_path / "s").meta
    assert sorted(meta) == ["good", "who", "year"] and len(meta) == 3
    assert meta["who"].tolist() == ["a", "b", "", "", ""]
    np.testing.assert_array_equal(meta["year"], [1, 2, 0.5, 1.5, np.nan])
    np.testing.assert_array_equal(meta["good"], [np.nan, np.nan, 1, 0, np.nan])


def test_opening_reads_no_vectors(tmp_path):
    fill(tmp_path / "s", 2000, 64)
    opened = store.open(tmp_path / "s", full=False)
    assert isinstance(opened.vectors, np.memmap)
    store.append(tmp_path / "f", ["a"], [np.ones((3, 2), np.float32)], Frames.fingerprint)
    assert isinstance(store.open(tmp_path / "f").vectors, np.memmap)


def test_who_has_a_store_open_keeps_reading_while_it_is_compacted(tmp_path):
    vectors = fill(tmp_path / "s")
    opened = store.open(tmp_path / "s")
    store.remove(tmp_path / "s", ["i0"])
    assert store.compact(tmp_path / "s") == 1
    assert np.array_equal(opened.vectors[:], vectors) and len(opened.ids) == 40
    assert np.array_equal(store.open(tmp_path / "s").vectors[:], vectors[1:])


def limited(folder: Path, size: int) -> str:
    """Append 1 MB in a child whose files may not grow beyond ``size`` bytes; what it raised."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
            fill(folder, 4096, 64, start=1000)
            os.write(write, b"nothing was raised")
        except BaseException as error:
            os.write(write, f"{type(error).__name__}: {error}".encode())
        finally:
            os._exit(0)
    os.close(write)
    message = os.read(read, 1 << 16).decode()
    os.close(read)
    os.waitpid(child, 0)
    return message


def test_a_file_too_large_for_the_disk_leaves_the_store_as_it_was(tmp_path):
    vectors = fill(tmp_path / "s", d=64)
    before = sorted(p.name for p in (tmp_path / "s").iterdir())
    message = limited(tmp_path / "s", 300_000)
    assert message.startswith("DiskFull: no room to write") and "free some space, or choose another folder" in message
    assert sorted(p.name for p in (tmp_path / "s").iterdir()) == before
    assert np.array_equal(store.open(tmp_path / "s").vectors[:], vectors)


@pytest.fixture
def tiny_disk(tmp_path):
    """A real file system of 2 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    if os.geteuid() or not shutil.which("mount"):
        pytest.skip("mounting a small disk needs root")
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", place], capture_output=True).returncode:
        pytest.skip("mounting is not permitted here")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def test_a_full_disk_leaves_the_store_as_it_was(tiny_disk):
    vectors = fill(tiny_disk / "s", d=64)
    with pytest.raises(DiskFull, match=r"no room to write .*what was there before is untouched"):
        fill(tiny_disk / "s", 100_000, 64, start=1000)
    assert np.array_equal(store.open(tiny_disk / "s").vectors[:], vectors)
    texts = [f"t{k}" for k in range(3000)]
    items = Items(np.array(texts), texts, "text")
    with pytest.raises(DiskFull):
        store.embed(items, Words(dim=512, batch=100), tiny_disk / "e", shard_rows=500, progress=False)
    assert len(store.open(tiny_disk / "e")) >= 500 and store.verify(tiny_disk / "e") == []
    assert not list(tiny_disk.rglob(".tmp-*"))


def test_the_manifest_says_what_the_documentation_says(tmp_path):
    fill(tmp_path / "s", year=[1] * 40)
    body = json.loads((tmp_path / "s" / "manifest.json").read_text())
    assert list(body) == ["format", "version", "items", "fingerprint", "dim", "dtype", "ragged", "columns", "shards",
                          "checksum"]  # fmt: skip
    assert list(body["shards"][0]) == ["name", "items", "rows", "dead", "files"]
    assert list(body["shards"][0]["files"]) == ["vectors", "items"]
    assert body["columns"] == {"year": "integer"}

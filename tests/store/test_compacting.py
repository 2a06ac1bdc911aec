"""Compaction: the same items in the same order, memory of about one shard, large shards left alone."""

import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toys import Words

from sensorium import io, store
from sensorium.errors import DiskFull
from sensorium.store import compacting, manifest, writing
from sensorium.types import Items

MADE_BY = {"name": "toy"}
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def rows(seed, n, d=16):
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


def content(folder):
    found = store.open(folder)
    if found.offsets is None:
        vectors = [row.tobytes() for row in found.vectors[:]]
    else:
        vectors = [found.vectors[a:b].tobytes() for a, b in zip(found.offsets, found.offsets[1:], strict=False)]
    return found.ids.tolist(), vectors, {name: repr(found.meta[name].tolist()) for name in found.meta}


@settings(max_examples=25, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=6),
    removed=st.sets(st.integers(0, 53)),
    ragged=st.booleans(),
    shard_bytes=st.integers(1, 1500),
)
def test_compacting_changes_no_item_and_no_order(sizes, removed, ragged, shard_bytes):
    folder = Path(tempfile.mkdtemp(dir=MEMORY)) / "s"
    count = 0
    for seed, n in enumerate(sizes):
        ids = [f"i{count + k}" for k in range(n)]
        vectors = [rows(seed * 100 + k, 1 + k % 3) for k in range(n)] if ragged else rows(seed, n)
        store.append(folder, ids, vectors, MADE_BY, {"text": ids} if seed % 2 else {"number": [seed] * n})
        count += n
    store.remove(folder, [f"i{k}" for k in removed])
    before = content(folder)
    shards = store.compact(folder, shard_bytes)
    assert content(folder) == before and store.verify(folder) == []
    known = manifest.read(folder)
    assert len(known.shards) == shards and not any(s.dead for s in known.shards)
    for s in known.shards:
        assert s.items == 1 or s.rows * 64 <= shard_bytes
    shutil.rmtree(folder.parent)


def test_only_runs_of_adjacent_small_shards_are_merged(tmp_path, monkeypatch):
    monkeypatch.setattr(compacting, "SHARD_BYTES", 10_000)
    monkeypatch.setattr(compacting, "_TINY", 200)
    folder = tmp_path / "s"
    for k in range(6):
        store.append(folder, [f"a{k}"], rows(k, 1), MADE_BY)
    store.append(folder, [f"large{k}" for k in range(100)], rows(50, 100), MADE_BY)
    for k in range(10):
        store.append(folder, [f"b{k}"], rows(100 + k, 1), MADE_BY)
    store.remove(folder, ["b3"])
    before, names = content(folder), [s.name for s in manifest.read(folder).shards]
    compacting.compact_small(writing.Writer(folder, MADE_BY), shard_rows=4)
    assert [s.name for s in manifest.read(folder).shards] == names
    compacting.compact_small(writing.Writer(folder, MADE_BY))
    after = manifest.read(folder).shards
    assert content(folder) == before and store.verify(folder) == []
    assert [s.name for s in after[:7]] == names[:7] and len(after) == 8 and after[7].items == 9


def test_a_shard_much_larger_than_the_newer_ones_is_not_rewritten_for_them(monkeypatch):
    monkeypatch.setattr(compacting, "_TINY", 10)

    def run_of(*sizes):
        shards = [manifest.Shard(str(i), 1, 1, 0, {"vectors": manifest.File("v", n, "")}) for i, n in enumerate(sizes)]
        return compacting.small_run(manifest.Manifest({}, 1, "float32", False, {}, tuple(shards)))

    assert run_of(*[5] * 8) is None
    assert run_of(*[5] * 9) == range(0, 9)
    assert run_of(10_000, *[5] * 9) == range(1, 10)
    assert run_of(90, *[5] * 9) == range(0, 10)
    assert run_of(*[5] * 9, compacting.SHARD_BYTES, 5) == range(0, 9)
    assert run_of() is None


def test_appending_one_by_one_rewrites_few_bytes(memory, monkeypatch):
    monkeypatch.setattr(compacting, "_TINY", 200)
    written = []
    stage = compacting.shard.stage
    monkeypatch.setattr(compacting.shard, "stage", lambda f, b, m: written.append(len(b)) or stage(f, b, m))
    n = 100
    for k in range(n):
        items = Items(np.array([f"i{k}"]), [f"text {k}"], "text")
        store.embed(items, Words(), memory / "s", progress=False)
    assert len(store.open(memory / "s")) == n
    assert len(manifest.read(memory / "s").shards) <= 3 * (compacting.MANY + 1)
    assert sum(written) <= 10 * n  # with every merge rewriting all before it: 12 * n and growing with n


def within(extra: int, folder: Path, work: str) -> str:
    """What the lines ``work`` print in a new process that may take only ``extra`` bytes more than it has.

    New, because what earlier work has freed in a process can be taken again without asking the system. The lines
    may use ``store``, ``np`` and ``folder``; the first runs before the limit: what is imported when first used.
    """
    first, rest = work.strip().split("\n", 1)
    script = f"""
import resource, sys, warnings
from pathlib import Path
import numpy as np
from sensorium import store
from sensorium.store import writing
folder = Path(sys.argv[1])
{first}
used = int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_DATA, (used + {extra}, used + {extra}))
try:
{textwrap.indent(textwrap.dedent(rest), "    ")}
    print("done")
except BaseException as error:
    print(f"{{type(error).__name__}}: {{error}}")
"""
    made = subprocess.run([sys.executable, "-c", script, str(folder)], capture_output=True, text=True, timeout=120)
    assert made.returncode == 0, made.stderr
    return made.stdout.strip().splitlines()[-1]


def test_compacting_takes_the_memory_of_a_shard_not_of_the_store(tmp_path):
    folder, d = tmp_path / "s", 1024
    for k in range(12):  # 96 MB of vectors
        store.append(folder, [f"{k}.{i}" for i in range(2000)], rows(k, 2000, d), MADE_BY)
    store.remove(folder, [f"{k}.7" for k in range(12)])
    before = io.checksum(folder / "manifest.json")
    store.append(tmp_path / "warm", ["a"], rows(0, 1, d), MADE_BY)
    warm = "store.compact(folder.parent / 'warm', 8 << 20)\n"
    message = within(8 << 20, folder, warm + "store.compact(folder, 64 << 20)")
    assert message.startswith(("MemoryError", "_ArrayMemoryError", "ArrowMemoryError")) or "allocate" in message
    assert io.checksum(folder / "manifest.json") == before and len(store.open(folder)) == 12 * 1999
    assert within(48 << 20, folder, warm + "store.compact(folder, 8 << 20)") == "done"
    assert store.verify(folder) == [] and len(store.open(folder)) == 12 * 1999


def test_appending_a_fortran_ordered_matrix_takes_the_memory_of_a_shard(tmp_path):
    n, d = 16_000, 1024  # 64 MB
    matrix = rows(0, n, d)
    np.save(tmp_path / "f.npy", np.asfortranarray(matrix))
    assert np.load(tmp_path / "f.npy", mmap_mode="r").flags.f_contiguous
    append = """
    store.append(folder / 'warm', ['a'], np.ones((1, 8), np.float32), {'name': 'toy'})
    writing.SHARD_BYTES = 4 << 20
    mapped = np.load(folder / 'f.npy', mmap_mode='r')
    store.append(folder / 's', [f'i{k}' for k in range(len(mapped))], mapped, {'name': 'toy'})"""
    assert within(32 << 20, tmp_path, append) == "done"
    assert np.array_equal(store.open(tmp_path / "s").vectors[n - 5 :], matrix[n - 5 :])


def test_shards_of_frames_are_as_large_as_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "SHARD_BYTES", 4096)
    frames = [rows(k, 1 if k == 0 else 20, 8) for k in range(30)]
    store.append(tmp_path / "s", [f"i{k}" for k in range(30)], frames, MADE_BY)
    sizes = [s.files["vectors"].bytes for s in manifest.read(tmp_path / "s").shards]
    assert max(sizes) <= 4096 + 256 and len(sizes) == 5
    frames = [rows(k, 1 if k < 29 else 500, 8) for k in range(30)]  # one long item is a shard of its own
    store.append(tmp_path / "t", [f"i{k}" for k in range(30)], frames, MADE_BY)
    assert [s.items for s in manifest.read(tmp_path / "t").shards] == [29, 1]


def test_a_disk_too_full_to_compact_does_not_fail_an_embedding(tmp_path, monkeypatch):
    for k in range(compacting.MANY):
        store.append(tmp_path / "s", [f"i{k}"], rows(k, 1, 6), Words().fingerprint)

    def full(*_):
        raise DiskFull("no room")

    monkeypatch.setattr(compacting.shard, "stage", full)
    writer = writing.Writer(tmp_path / "s", Words().fingerprint)
    monkeypatch.undo()
    store.append(tmp_path / "s", ["last"], rows(99, 1, 6), Words().fingerprint)
    writer.refresh()
    monkeypatch.setattr(compacting.shard, "stage", full)
    compacting.compact_small(writer)
    with pytest.raises(DiskFull):
        store.compact(tmp_path / "s")
    assert len(store.open(tmp_path / "s")) == compacting.MANY + 1 and store.verify(tmp_path / "s") == []


def test_more_small_shards_than_files_may_be_open_can_be_read_and_merged(tmp_path, monkeypatch):
    import os
    import resource

    from sensorium.store import reading

    monkeypatch.setattr(reading, "MANY_FILES", 10)
    vectors = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    for at in range(60):
        store.append(tmp_path / "many", [f"i{at}"], vectors[at : at + 1], {"name": "made"})
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 20, hard))
    try:
        assert np.array_equal(store.open(tmp_path / "many").vectors, vectors)
        assert store.compact(tmp_path / "many") == 1
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert np.array_equal(store.open(tmp_path / "many").vectors, vectors)

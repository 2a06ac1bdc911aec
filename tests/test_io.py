"""Files are absent, old or whole; locks and leftovers of the dead are told from those of the living."""

import errno
import fcntl
import json
import multiprocessing
import os
import threading
from pathlib import Path

import numpy as np
import pytest
import xxhash

from sensorium import io
from sensorium.errors import BadData, Busy, Corrupt, DiskFull


def leftovers(folder):
    return [p.name for p in folder.rglob(".tmp-*")]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"abc", b"abc"),
        ("é", "é".encode()),
        ([b"ab", np.arange(3, dtype=np.uint8), b"", "z"], b"ab\x00\x01\x02z"),
        ((part for part in (b"a", b"b")), b"ab"),
        (lambda file: file.write(b"from a function"), b"from a function"),
    ],
)
def test_write_and_its_checksum(tmp_path, content, expected):
    path = tmp_path / "deep" / "er" / "file"
    staged = io.Staged(path, content)
    assert not path.exists()
    staged.commit()
    assert path.read_bytes() == expected and staged.size == len(expected)
    assert staged.checksum == io.checksum(path) == xxhash.xxh3_128_hexdigest(expected)
    assert leftovers(tmp_path) == []


def test_a_failing_write_leaves_the_old_content(tmp_path):
    path = tmp_path / "file"
    io.write(path, b"old")

    def broken(file):
        file.write(b"half of the new")
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        io.write(path, broken)
    staged = io.Staged(path, b"never committed")
    staged.discard()
    staged.discard()
    assert path.read_bytes() == b"old" and leftovers(tmp_path) == []


def test_committing_onto_a_folder_leaves_nothing_behind(tmp_path):
    (tmp_path / "file").mkdir()
    with pytest.raises(IsADirectoryError):
        io.write(tmp_path / "file", b"x")
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_no_room_says_what_to_do(tmp_path, code):
    def full(file):
        raise OSError(code, "no")

    io.write(tmp_path / "file", b"old")
    with pytest.raises(DiskFull, match=r"no room to write .*file \(\d+ MB free on that disk\); what was there before is "
                       "untouched: free some space, or choose another folder with --out"):  # fmt: skip
        io.write(tmp_path / "file", full)
    assert (tmp_path / "file").read_bytes() == b"old" and leftovers(tmp_path) == []
    with pytest.raises(OSError, match="other"), io.typed_errors(tmp_path):
        raise OSError(errno.EIO, "other")


def test_json_round_trip_and_its_errors(tmp_path):
    path = tmp_path / "a.json"
    io.write_json(path, {"n": np.int64(3), "v": np.ones(2), "p": Path("x")})
    assert io.read_json(path) == {"n": 3, "v": [1.0, 1.0], "p": "x"}
    for wrong, error in (({"x": float("nan")}, ValueError), ({"x": object()}, TypeError)):
        with pytest.raises(error):
            io.write_json(path, wrong)
    assert io.read_json(path)["n"] == 3
    path.write_bytes(b"{")
    with pytest.raises(Corrupt, match=r"a\.json is not valid JSON .*; embed again"):
        io.read_json(path, "embed again")
    with pytest.raises(Corrupt, match=r"b\.json is missing; restore it, or make it anew"):
        io.read_json(tmp_path / "b.json")


def test_verify_names_the_file_and_the_remedy(tmp_path):
    path = tmp_path / "file"
    io.write(path, b"content")
    io.verify(path, io.checksum(path), "")
    with pytest.raises(Corrupt, match=r"file is damaged: checksum [0-9a-f]{8}…, expected 00000000…; do this"):
        io.verify(path, "0" * 32, "do this")
    with pytest.raises(Corrupt, match="other is missing; do this"):
        io.verify(tmp_path / "other", "0" * 32, "do this")


def test_publish_swaps_the_whole_folder(tmp_path):
    for version in range(3):
        with io.publish(tmp_path / "f") as building:
            (building / "sub").mkdir()
            (building / "sub" / str(version)).write_text("x")
            if version:
                assert (tmp_path / "f" / "sub" / str(version - 1)).exists()
    assert [p.name for p in (tmp_path / "f" / "sub").iterdir()] == ["2"] and leftovers(tmp_path) == []


def test_a_failing_publish_leaves_the_old_folder(tmp_path):
    with io.publish(tmp_path / "f") as building:
        (building / "a").write_text("old")
    with pytest.raises(DiskFull), io.publish(tmp_path / "f") as building:
        (building / "a").write_text("new")
        raise OSError(errno.ENOSPC, "no")
    assert (tmp_path / "f" / "a").read_text() == "old" and leftovers(tmp_path) == []
    (tmp_path / "file").write_text("x")
    with (
        pytest.raises(BadData, match="file is a file, a folder was expected; move it away"),
        io.publish(tmp_path / "file"),
    ):
        pass
    assert (tmp_path / "file").read_text() == "x"


def test_publish_works_where_folders_cannot_be_exchanged(tmp_path, monkeypatch):
    monkeypatch.setattr(io, "_exchange", lambda a, b: False)
    for version in ("1", "2"):
        with io.publish(tmp_path / "f") as building:
            (building / "a").write_text(version)
    assert (tmp_path / "f" / "a").read_text() == "2" and leftovers(tmp_path) == []


def test_several_publish_at_once(tmp_path):
    def work(k):
        for _ in range(5):
            with io.publish(tmp_path / "f") as building:
                (building / "a").write_text(str(k))
                (building / "b").write_text(str(k))

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert (tmp_path / "f" / "a").read_text() == (tmp_path / "f" / "b").read_text()
    assert leftovers(tmp_path) == []


def hold(folder, locked, leave):
    with io.lock(folder):
        locked.set()
        leave.wait(20)


def test_the_lock_excludes_and_is_freed_by_death(tmp_path):
    context = multiprocessing.get_context("fork")
    locked, leave = context.Event(), context.Event()
    other = context.Process(target=hold, args=(tmp_path, locked, leave))
    other.start()
    assert locked.wait(20)
    with (
        pytest.raises(Busy, match="is being written by another process; wait for it, or choose another --out"),
        io.lock(tmp_path, wait=False),
    ):
        pass
    other.kill()
    other.join()
    with io.lock(tmp_path, wait=False):
        pass


def test_sweep_spares_the_living(tmp_path):
    living = io.Staged(tmp_path / "a", b"x")
    (tmp_path / ".tmp-dead-b").write_text("x")
    (tmp_path / ".tmp-dead-folder").mkdir()
    (tmp_path / ".tmp-dead-folder" / "x").write_text("x")
    assert io.sweep(tmp_path) == 0  # too young to be judged
    assert io.sweep(tmp_path, age=0) == 2
    living.commit()
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
    with io.publish(tmp_path / "f") as building:
        assert io.sweep(tmp_path, age=0) == 0
        (building / "x").write_text("1")
    assert (tmp_path / "f" / "x").exists()


def test_json_is_text_that_ends_with_a_newline(tmp_path):
    io.write_json(tmp_path / "a.json", {"b": 1})
    assert (tmp_path / "a.json").read_text() == json.dumps({"b": 1}, indent=2) + "\n"
    assert os.stat(tmp_path / "a.json").st_size == 13


def test_an_exchange_that_the_system_refuses_is_an_error_and_no_reason_to_rename_one_by_one(tmp_path):
    with pytest.raises(OSError, match="Not a directory|Invalid|Permission|not permitted"):
        io._exchange(tmp_path, Path("/proc/1/cwd"))
    assert io._exchange(tmp_path / "missing", tmp_path) is False


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_sweep_that_looks_at_a_temporary_file_this_moment_is_no_error(tmp_path, monkeypatch, kind):
    """Sweeping locks what it looks at for a moment; its writer, which has only just made it, waits."""
    flock, looked = fcntl.flock, []

    def looked_at_first(file, operation):
        if not looked:
            looked.append(os.open(next(tmp_path.glob(".tmp-*")), os.O_RDONLY))
            flock(looked[0], fcntl.LOCK_EX)
            threading.Timer(0.1, os.close, looked).start()
        return flock(file, operation)

    monkeypatch.setattr(fcntl, "flock", looked_at_first)
    if kind == "file":
        io.write(tmp_path / "a", b"content")
        assert (tmp_path / "a").read_bytes() == b"content"
    else:
        with io.publish(tmp_path / "a") as building:
            (building / "b").write_bytes(b"content")
        assert (tmp_path / "a" / "b").read_bytes() == b"content"
    assert looked


def test_a_process_that_asks_whether_a_lock_is_held_does_not_make_it_held(tmp_path):
    with io.lock(tmp_path):
        pass
    asking = os.open(tmp_path / ".lock", os.O_RDONLY)
    fcntl.flock(asking, fcntl.LOCK_SH)
    threading.Timer(0.03, os.close, [asking]).start()
    with io.lock(tmp_path, wait=False):
        pass

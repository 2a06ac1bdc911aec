"""Live changes of a run: what is appended is read back, by anyone, in any state a killed writer can leave."""

import contextlib
import os
import shutil
import struct
import tempfile
import warnings
from pathlib import Path

import numpy as np
import processes
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium import io
from sensorium.errors import BadData, Corrupt
from sensorium.search import journal, records
from sensorium.search.journal import Change, Journal, columns, copied

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
changes = st.builds(
    Change,
    texts,
    st.one_of(
        st.none(),
        st.lists(st.floats(-9, 9, width=32), min_size=1, max_size=4).map(lambda v: np.array(v, np.float32)),
        st.just(np.arange(6, dtype=np.float32).reshape(3, 2)),
    ),
    st.dictionaries(texts, st.one_of(texts, st.integers(-5, 5), st.booleans()), max_size=3),
    st.just("maker"),
    st.sampled_from(["", "image/png"]),
    st.binary(max_size=30),
)


def same(one: Change, other: Change) -> bool:
    if one.id != other.id or (one.vector is None) != (other.vector is None):
        return False
    if one.vector is None:
        return True
    return np.array_equal(one.vector, other.vector) and one.columns == other.columns and one.encoder == other.encoder


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(changes, min_size=1, max_size=4), min_size=1, max_size=4), st.data())
def test_what_is_appended_is_read_back_cut_anywhere_to_whole_appends(tmp_path_factory, appends, data):
    folder = tmp_path_factory.mktemp("run")
    writer = Journal(folder, "left")
    ends, wanted = [], [change for append in appends for change in append]
    for append in appends:
        assert writer.append(append) == []
        ends += [writer.size] * len(append)
    found = Journal(folder, "left").read()
    assert len(found) == len(wanted) and all(map(same, found, wanted))
    for change in writer.latest.values():
        last = next(c for c in reversed(wanted) if c.id == change.id)
        shows = last.vector is not None and last.media_type
        assert writer.media(change.id) == ((last.media_type, last.media) if shows else None)
    whole = writer.path.read_bytes()
    cut = data.draw(st.integers(len(journal.MAGIC), len(whole)))
    writer.path.write_bytes(whole[:cut])
    with pytest.warns(UserWarning, match="bytes of changes that were acknowledged are missing") if (
        records.START <= cut < len(whole)) else contextlib.nullcontext():  # fmt: skip
        assert len(Journal(folder, "left").read()) == sum(end <= cut for end in ends)


def test_the_last_word_is_what_rewriting_leaves(tmp_path):
    writer, reader = Journal(tmp_path, "left"), Journal(tmp_path, "left")
    vector = np.ones(2, np.float32)
    for i in range(5):
        writer.append([Change("a", i * vector, {}, "m", "image/png", bytes([i])), Change(f"b{i}")])
    assert len(reader.read()) == 10 and reader.read() == []
    writer.rewrite()
    assert writer.records == len(writer.latest) == 6
    assert writer.media("a") == ("image/png", b"\4") and (writer.latest["a"].vector == 4).all()
    assert len(reader.read()) == 6, "a file that was replaced is read anew"
    assert [c.id for c in writer.append([Change("c")])] == []
    assert [c.id for c in reader.read()] == ["c"]


def test_a_reader_knows_when_it_is_behind(tmp_path):
    writer, reader = Journal(tmp_path, "left"), Journal(tmp_path, "left")
    assert not reader.is_behind, "there is nothing to read"
    for change in (Change("a"), Change("b"), Change("a")):
        writer.append([change])
        assert reader.is_behind and not writer.is_behind
        assert [one.id for one in reader.read()] == [change.id] and not reader.is_behind
    writer.rewrite()
    assert reader.is_behind and not writer.is_behind, "another file lies there"
    assert [one.id for one in reader.read()] == ["b", "a"] and not reader.is_behind
    reader.close()
    assert reader.is_behind and [one.id for one in reader.read()] == ["b", "a"]
    writer.path.unlink()
    assert not reader.is_behind and reader.read() == [] and list(reader.latest) == ["b", "a"]


def test_a_reader_is_behind_a_file_that_became_shorter(tmp_path):
    writer, reader = Journal(tmp_path, "left"), Journal(tmp_path, "left")
    writer.append([Change("a" * 500)])
    first = writer.path.stat().st_size
    writer.append([Change("b")])
    assert len(reader.read()) == 2 and not reader.is_behind
    os.truncate(writer.path, first)
    assert reader.is_behind
    with pytest.warns(UserWarning, match="an unknown number of changes that were acknowledged are missing") as said:
        assert reader.read() == []
    assert said[0].filename == __file__, "the warning is shown at the line that called"


def test_a_reader_is_behind_another_file_of_the_same_size(tmp_path):
    writer, reader = Journal(tmp_path, "left"), Journal(tmp_path, "left")
    writer.append([Change("a")])
    assert len(reader.read()) == 1 and not reader.is_behind
    io.write(writer.path, writer.path.read_bytes())
    assert reader.is_behind


def test_a_file_written_anew_says_where_it_ends(tmp_path):
    writer = Journal(tmp_path, "left")
    for _ in range(3):
        writer.append([Change("a"), Change("b")])
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # that something is missing at its end
        writer.rewrite()
        assert [change.id for change in Journal(tmp_path, "left").read()] == ["a", "b"]
    slot = records.committed(writer.path.read_bytes()[: records.START])
    assert slot.end == writer.path.stat().st_size


@pytest.mark.parametrize("newer", [True, False])
def test_a_folder_exchanged_while_its_lock_is_awaited_is_locked_anew(tmp_path, monkeypatch, newer):
    """The lock of the folder that lies there now is taken, whichever of the two was made first."""
    folders = sorted((tmp_path / name for name in "ab"), key=lambda path: (path.mkdir(), path.stat().st_ino)[1])
    old, new = folders if newer else folders[::-1]
    run, locks, lock = tmp_path / "run", [], journal.fcntl.flock
    os.rename(old, run)

    def exchanged(handle, how):
        if not locks:
            os.rename(run, tmp_path / "gone")
            os.rename(new, run)
        locks.append(os.fstat(handle).st_ino)
        lock(handle, how)

    monkeypatch.setattr(journal.fcntl, "flock", exchanged)
    with journal.locked(run):
        assert locks == [(tmp_path / "gone").stat().st_ino, run.stat().st_ino]


@pytest.mark.parametrize("piece", [1, 50, 1 << 20])
def test_a_disk_that_takes_a_few_bytes_at_a_time_gets_all_of_them(tmp_path, monkeypatch, piece):
    whole = os.pwrite
    monkeypatch.setattr(journal, "_PIECE", piece)
    monkeypatch.setattr(os, "pwrite", lambda file, content, at: whole(file, memoryview(content)[:7], at))
    change = Change("a", np.arange(5, dtype=np.float32), {"caption": "b" * 100}, "m", "image/png", bytes(range(200)))
    writer = Journal(tmp_path, "left")
    writer.append([change, change, change])
    monkeypatch.undo()
    reader = Journal(tmp_path, "left")
    assert [same(found, change) for found in reader.read()] == [True] * 3
    assert reader.media("a") == ("image/png", bytes(range(200)))


def test_a_file_without_anything_to_drop_is_not_rewritten(tmp_path):
    writer = Journal(tmp_path, "left")
    writer.rewrite()
    assert not writer.path.exists()
    writer.append([Change("a"), Change("b")])
    file, size = writer.path.stat().st_ino, writer.path.stat().st_size
    writer.rewrite()
    assert writer.path.stat().st_ino == file
    writer.append([Change("a")])
    writer.rewrite()
    assert writer.path.stat().st_ino != file and records.START < writer.path.stat().st_size <= size


def test_the_slot_says_where_the_file_ends_and_what_is_missing_is_counted(tmp_path):
    writer, ends = Journal(tmp_path, "left"), [records.START]
    for i in range(4):
        writer.append([Change("a" * (i + 1)), Change("b")])
        ends.append(writer.path.stat().st_size)
        slot = records.committed(writer.path.read_bytes()[: records.START])
        assert (slot.number, slot.last, slot.end) == (i + 2, *ends[-2:])
    whole = writer.path.read_bytes()
    for cut, there in ((ends[4] - 1, 6), (ends[3], 6), (ends[3] - 1, 4), (records.START, 0)):
        writer.path.write_bytes(whole[:cut])
        with pytest.warns(UserWarning, match=f"{ends[4] - ends[there // 2]:,} bytes of changes that were acknowledged"):
            assert len(Journal(tmp_path, "left").read()) == there
    writer.path.write_bytes(whole[: records.START - 1])
    again = Journal(tmp_path, "left")
    with pytest.warns(UserWarning, match="an unknown number of changes that were acknowledged are missing"):
        assert again.read() == []
    with pytest.warns(UserWarning, match="an unknown number"):
        again.append([Change("c")])
    assert [one.id for one in Journal(tmp_path, "left").read()] == ["c"]


def test_two_writers_see_each_others_words(tmp_path):
    one, two = Journal(tmp_path, "left"), Journal(tmp_path, "left")
    one.append([Change("a")])
    assert [c.id for c in two.append([Change("b")])] == ["a"]
    assert [c.id for c in one.append([Change("c")])] == ["b"]
    assert list(Journal(tmp_path, "left").latest) == [] and len(Journal(tmp_path, "left").read()) == 3


def test_damage_before_the_end_is_named(tmp_path):
    writer = Journal(tmp_path, "left")
    writer.append([Change("a", np.ones(3, np.float32)), Change("b")])
    whole = bytearray(writer.path.read_bytes())
    whole[records.START + 30] ^= 1
    writer.path.write_bytes(whole)
    with pytest.raises(Corrupt, match=rf"left.journal is damaged at byte {records.START}; move it away"):
        Journal(tmp_path, "left").read()
    writer.path.write_bytes(b"something else altogether")
    with pytest.raises(Corrupt, match="is no journal"):
        Journal(tmp_path, "left").read()


def test_a_run_that_was_deleted_takes_no_words(tmp_path):
    with pytest.raises(BadData, match="is not there any more"):
        Journal(tmp_path / "gone", "left").append([Change("a")])


def test_words_follow_an_exchanged_folder(tmp_path):
    old, new = tmp_path / "run", tmp_path / "new"
    old.mkdir()
    new.mkdir()
    writer = Journal(old, "left")
    writer.append([Change("a")])
    with copied(old, new):
        io.exchange(new, old)
    writer.append([Change("b")])  # opened before, writes into the folder that lies there now
    assert [c.id for c in Journal(old, "left").read()] == ["a", "b"]
    with copied(tmp_path / "first", tmp_path / "other"):
        pass  # nothing to carry, nothing made
    assert not (tmp_path / "other").exists()


def test_columns_take_the_types_that_are_there():
    like = {"name": np.array(["a"]), "year": np.array([1]), "size": np.array([0.5]), "old": np.array([True])}
    told = [Change("x", columns={"name": 7, "year": "2001", "size": "wide", "other": 1}), Change("y")]
    found = columns(told, like, 1)
    assert list(found) == ["name", "year", "size", "old"]
    assert found["name"].tolist() == ["7", ""] and found["year"].tolist() == [2001, 0]
    assert np.isnan(found["size"]).all() and found["old"].tolist() == [False, False]
    assert columns(told, {}, 0)["other"].tolist() == ["1", ""], "an empty index has no types yet"


FEW = [Change("a", np.ones(3, np.float32), {"t": "x", "n": 1}, "m", "image/png", b"png"), Change("b", np.zeros(2)),
       Change("a"), Change("c", np.ones((2, 2)), {"t": "y" * 30}, "m")]  # fmt: skip


def former(changes) -> bytes:
    """A journal as it was written before records had a checksum of their head."""
    content = records.MAGIC_1
    for change in changes:
        payload = records.pack(change)
        content += struct.pack("<IQ", len(payload), xxhash.xxh3_64_intdigest(payload)) + payload
    return content


def told(changes) -> list[str]:
    return [f"{c.id} {None if c.vector is None else c.vector.tolist()} {dict(c.columns)}" for c in changes]


@pytest.mark.parametrize("format", [1, 2])
@pytest.mark.parametrize("count", [1, 2, 4])
def test_every_flipped_bit_is_seen_or_harmless(tmp_path, format, count):
    """One bit of a journal turned, each in its turn: all changes are there, or Corrupt says where the damage is."""
    changes, writer = FEW[:count], Journal(tmp_path, "left")
    for change in changes:
        writer.append([change])
    if format == 1:
        writer.path.write_bytes(former(changes))
    whole, silent, refused = writer.path.read_bytes(), 0, 0
    for bit in range(8 * len(whole)):
        turned = bytearray(whole)
        turned[bit // 8] ^= 1 << bit % 8
        writer.path.write_bytes(turned)
        try:
            silent += told(Journal(tmp_path, "left").read()) != told(changes)
        except Corrupt as error:
            refused += 1
            assert "move it away to serve the run without its live changes" in str(error)
    assert silent == 0 and refused >= 8 * (len(whole) - records.START)


def test_a_damaged_slot_costs_nothing_and_the_next_append_goes_on(tmp_path):
    writer = Journal(tmp_path, "left")
    for change in FEW[:2]:
        writer.append([change])
    whole = writer.path.read_bytes()
    for at in range(len(records.MAGIC), records.START):
        writer.path.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
        Journal(tmp_path, "left").append([FEW[3]])
        assert told(Journal(tmp_path, "left").read()) == told([*FEW[:2], FEW[3]])
    writer.path.write_bytes(whole[: len(records.MAGIC)] + bytes(len(whole) - len(records.MAGIC)))
    with pytest.raises(Corrupt, match="its header is damaged"):
        Journal(tmp_path, "left").read()


def test_an_append_cut_anywhere_is_lost_alone_and_written_over(tmp_path):
    """What a killed writer may leave: the header of before, and part of the records of one append."""
    writer = Journal(tmp_path, "left")
    writer.append([FEW[0]])
    before = writer.path.read_bytes()
    writer.append([FEW[1], FEW[3]])
    after = writer.path.read_bytes()
    for cut in range(len(before), len(after) + 1):
        for rest in (b"", bytes(len(after) - cut)):  # a disk may have made room for what was not written
            writer.path.write_bytes(before + after[len(before) : cut] + rest)
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                found = told(Journal(tmp_path, "left").read())
            assert found in (told([FEW[0], FEW[1], FEW[3]]), told(FEW[:1])), "all of an append or none"
            assert len(found) == 3 or cut < len(after)
            Journal(tmp_path, "left").append([Change("z")])
            assert told(Journal(tmp_path, "left").read())[: len(found)] == found


def test_a_journal_of_before_is_read_and_written_anew(tmp_path):
    path = tmp_path / "live" / "left.journal"
    path.parent.mkdir()
    path.write_bytes(former(FEW))
    reader = Journal(tmp_path, "left")
    assert told(reader.read()) == told(FEW)
    path.write_bytes(former(FEW)[:-3])
    assert told(Journal(tmp_path, "left").read()) == told(FEW[:3]), "an append that was cut short"
    path.write_bytes(former(FEW[:2]))
    writer = Journal(tmp_path, "left")
    writer.append([FEW[3]])
    assert path.read_bytes().startswith(records.MAGIC) and told(writer.latest.values()) == told([*FEW[:2], FEW[3]])
    assert writer.media("a") == ("image/png", b"png")
    path.write_bytes(former(FEW[:2]))
    again = Journal(tmp_path, "left")
    again.rewrite()
    assert path.read_bytes().startswith(records.MAGIC) and again.media("a") == ("image/png", b"png")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (Change("a", np.ones(2), {"t": "x" * 100_001}), "column 't' has 100,001 characters, at most 100,000"),
        (Change("a", np.ones(2), {f"t{i}": "x" * 99_000 for i in range(11)}), "bytes of columns"),
        (Change("a", np.ones(2), {"t": "\ud800"}), "its columns cannot be stored"),
        (Change("a", np.ones(2), {"t": object()}), "its columns cannot be stored"),
    ],
)
def test_values_beyond_the_bounds_are_not_written(tmp_path, change, message):
    writer = Journal(tmp_path, "left")
    writer.append([Change("first")])
    before = writer.path.read_bytes()
    with pytest.raises(BadData, match=message):
        writer.append([change])
    assert writer.path.read_bytes() == before


def test_a_failed_flush_leaves_the_file_as_it_was(tmp_path, monkeypatch):
    writer = Journal(tmp_path, "left")
    writer.append([Change("a")])
    before, flush = writer.path.read_bytes(), os.fsync

    def fail(handle):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="Input/output"):
        writer.append([Change("b")])
    monkeypatch.setattr(os, "fsync", flush)
    assert writer.path.read_bytes() == before
    writer.append([Change("c")])
    assert [c.id for c in Journal(tmp_path, "left").read()] == ["a", "c"]


def test_what_a_killed_compaction_left_is_swept(tmp_path):
    writer = Journal(tmp_path, "left")
    writer.append([Change("a")])
    left = writer.path.parent / ".tmp-0123456789ab-left.journal"
    for clean in (lambda: writer.append([Change("b")]), writer.rewrite):
        left.write_bytes(b"half")
        os.utime(left, (0, 0))
        clean()
        assert not left.exists()


def test_a_folder_without_write_permission_is_named():
    """In a process of its own, as nobody: root may write anywhere."""
    folder = Path(tempfile.mkdtemp())
    Journal(folder, "left").append([Change("a")])
    os.chmod(folder, 0o755)
    code = f"""
import os
from sensorium.search.journal import Change, Journal
from sensorium.errors import ReadOnly
if os.getuid() == 0:
    os.setuid(65534)
else:
    os.chmod({str(folder)!r} + "/live", 0o555), os.chmod({str(folder)!r} + "/live/left.journal", 0o444)
one = Journal({str(folder)!r}, "left")
assert len(one.read()) == 1
for act in (lambda: one.append([Change("b")]), lambda: Journal({str(folder)!r}, "right").append([Change("b")])):
    try:
        act()
    except ReadOnly as error:
        print(error)
"""
    done = processes.run(code=code, text=True)
    lines = done.stdout.splitlines()
    assert len(lines) == 2, done.stderr
    assert "left.journal may not be written (Permission denied), nothing was changed; give write" in lines[0]
    assert "right.journal may not be written" in lines[1]
    shutil.rmtree(folder)

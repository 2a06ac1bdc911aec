"""Live changes of a run: what is appended is read back, by anyone, in any state a killed writer can leave."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium import io
from sensorium.errors import BadData, Corrupt
from sensorium.search import journal
from sensorium.search.journal import Change, Journal, carried, columns

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
@given(st.lists(changes, min_size=1, max_size=6), st.data())
def test_what_is_appended_is_read_back_cut_anywhere_to_a_prefix(tmp_path_factory, wanted, data):
    folder = tmp_path_factory.mktemp("run")
    writer = Journal(folder, "left")
    ends = []
    for change in wanted:
        assert writer.append([change]) == []
        ends.append(writer.size)
    found = Journal(folder, "left").read()
    assert len(found) == len(wanted) and all(map(same, found, wanted))
    for change in writer.latest.values():
        last = next(c for c in reversed(wanted) if c.id == change.id)
        shows = last.vector is not None and last.media_type
        assert writer.media(change.id) == ((last.media_type, last.media) if shows else None)
    whole = writer.path.read_bytes()
    cut = data.draw(st.integers(len(journal.MAGIC), len(whole)))
    writer.path.write_bytes(whole[:cut])
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
    whole[len(journal.MAGIC) + 20] ^= 1
    writer.path.write_bytes(whole)
    with pytest.raises(Corrupt, match=r"left.journal is damaged at byte 20; move it away"):
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
    with carried(old, new):
        io.exchange(new, old)
    writer.append([Change("b")])  # opened before, writes into the folder that lies there now
    assert [c.id for c in Journal(old, "left").read()] == ["a", "b"]
    with carried(tmp_path / "first", tmp_path / "other"):
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

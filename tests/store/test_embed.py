"""Embedding into a store: what is encoded, what is reused, what is refused."""

import multiprocessing
import threading

import numpy as np
import pytest
from toys import Frames, Words

from sensorium import io, store
from sensorium.errors import BadData, Mismatch
from sensorium.types import Items


def items(texts, ids=None, **meta):
    ids = [f"i{k}" for k in range(len(texts))] if ids is None else ids
    return Items(np.array(ids), texts, "text", meta)


def test_vectors_come_in_the_order_of_the_items_however_they_were_batched(tmp_path):
    texts = [("word " * (k * 7 % 11 + 1)) + str(k) for k in range(50)]
    encoder = Words()
    found = store.embed(items(texts), encoder, tmp_path / "s", shard_rows=16, progress=False)
    assert np.array_equal(found.vectors[:], np.stack([encoder.vector(t) for t in texts]))
    lengths = [len(t) for t in encoder.seen[:16]]
    assert lengths == sorted(lengths, reverse=True)
    assert found.fingerprint == encoder.fingerprint


def test_only_new_and_changed_content_is_encoded(tmp_path):
    encoder = Words()
    store.embed(items(["a", "b", "c"]), encoder, tmp_path / "s", progress=False)
    again = Words()
    found, report = store.embed_reported(items(["a", "B", "c", "d"]), again, tmp_path / "s", progress=False)
    assert sorted(again.seen) == ["B", "d"] and report == store.Report(2, 2, 0)
    assert np.array_equal(found.vectors[1], encoder.vector("B"))
    opened = store.open(tmp_path / "s")
    assert sorted(opened.ids.tolist()) == ["i0", "i1", "i2", "i3"]
    third = Words()
    found = store.embed(items(["d"], ["other"]), third, tmp_path / "s", progress=False)
    assert np.array_equal(found.vectors[0], encoder.vector("d"))
    assert third.seen == []


def test_equal_content_is_encoded_once_and_every_id_survives(tmp_path):
    encoder = Words()
    found = store.embed(items(["x", "y", "x", "x"]), encoder, tmp_path / "s", shard_rows=1, progress=False)
    assert sorted(encoder.seen) == ["x", "y"]
    assert np.array_equal(found.vectors[[0, 2, 3]], np.stack([encoder.vector("x")] * 3))
    assert sorted(store.open(tmp_path / "s").ids.tolist()) == ["i0", "i1", "i2", "i3"]


def test_changed_metadata_is_stored_without_encoding(tmp_path):
    store.embed(items(["a", "b"], year=[1, 2], who=["x", None]), Words(), tmp_path / "s", progress=False)
    again = Words()
    store.embed(items(["a", "b"], year=[1, 3], who=["x", None]), again, tmp_path / "s", progress=False)
    opened = store.open(tmp_path / "s")
    assert again.seen == [] and dict(zip(opened.ids.tolist(), opened.meta["year"].tolist(), strict=True)) == {
        "i0": 1, "i1": 3}  # fmt: skip


def test_files_and_arrays_are_known_by_their_content(tmp_path):
    class Pixels(Words):
        takes = "image"

        def encode(self, values):
            self.seen += values
            return np.full((len(values), self.dim), 1.0 + len(self.seen), np.float32)

    def embed(*values):
        encoder = Pixels()
        given = Items(np.array([f"i{k}" for k in range(len(values))]), list(values), "image")
        store.embed(given, encoder, tmp_path / "s", progress=False)
        return len(encoder.seen)

    path = tmp_path / "a.png"
    path.write_bytes(b"one")
    grey = np.zeros((2, 3), np.uint8)
    assert embed(str(path), path, grey, grey.copy(), grey.reshape(3, 2), grey.astype(bool), b"one") == 5
    assert embed(str(path), path, grey, grey.copy(), grey.reshape(3, 2), grey.astype(bool), b"one") == 0
    path.write_bytes(b"two")
    assert embed(str(path), path) == 1
    path.unlink()
    with pytest.raises(BadData, match=r"image item 'i0': cannot read .*a\.png .*restore the file or drop the item"):
        embed(str(path))
    with pytest.raises(BadData, match="image item 'i0' is dict; expected text, bytes, a path"):
        embed({})
    with pytest.raises(BadData, match="image item 'i0' holds Python objects"):
        embed(np.array([None]))
    assert embed((np.zeros(3, np.float32), 16000), (np.zeros(3, np.float32), 8000)) == 2


def test_frames_keep_their_items(tmp_path):
    texts = ["abc", "d", "efgh", "d"]
    for _ in range(2):
        found = store.embed(items(texts), Frames(), tmp_path / "s", shard_rows=2, progress=False)
        for i, text in enumerate(texts):
            assert np.array_equal(found.vectors[found.offsets[i] : found.offsets[i + 1]], Frames().vector(text))
    reversed_items = items(texts[::-1], ["i3", "i2", "i1", "i0"])
    found = store.embed(reversed_items, Frames(), tmp_path / "s", progress=False)
    assert np.array_equal(found.vectors[:], np.concatenate([Frames().vector(t) for t in texts[::-1]]))


class Broken(Words):
    def __init__(self, value, at="bad"):
        super().__init__()
        self.value, self.at = value, at

    def encode(self, values):
        found = super().encode(values)
        for row, text in enumerate(values):
            if text == self.at:
                found[row] = self.value
        return found


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.nan, r"1 of 1 items \('i2'\) with NaN or infinity; correct or drop these items"),
        (np.inf, "'i2'.*with NaN or infinity"),
        (0.0, "'i2'.*with a zero vector, which has no direction"),
    ],
)
def test_unusable_vectors_are_refused_by_id_and_the_good_ones_kept(tmp_path, value, message):
    good = ["a", "b", "bad", "c", "d"]
    encoder = Broken(value)
    encoder.batch = 1
    with pytest.raises(BadData, match=message):
        store.embed(items(good), encoder, tmp_path / "s", shard_rows=1, progress=False)
    before = io.checksum(tmp_path / "s" / "manifest.json")
    assert store.open(tmp_path / "s").ids.tolist() == ["i0", "i1"]
    with pytest.raises(BadData):
        store.embed(items(good), encoder, tmp_path / "s", shard_rows=1, progress=False)
    assert io.checksum(tmp_path / "s" / "manifest.json") == before
    mended = Words()
    found = store.embed(items(good), mended, tmp_path / "s", progress=False)
    assert sorted(mended.seen) == ["bad", "c", "d"] and len(found) == 5


def test_half_precision_is_kept_and_overflow_refused(tmp_path):
    found = store.embed(items(["a", "b"]), Words(), tmp_path / "s", dtype="float16", progress=False)
    assert found.vectors.dtype == np.float16
    assert store.embed(items(["a", "c"]), Words(), tmp_path / "s", progress=False).vectors.dtype == np.float16
    with pytest.raises(BadData, match="with NaN or infinity"):
        store.embed(items(["bad"], ["z"]), Broken(1e6), tmp_path / "s", progress=False)


def test_wrong_widths_and_counts_are_refused(tmp_path):
    class Wide(Words):
        def encode(self, values):
            return np.ones((len(values), self.dim + 1), np.float32)

    class Short(Words):
        def encode(self, values):
            return np.ones((len(values) - 1, self.dim), np.float32)

    with pytest.raises(BadData, match=r"the encoder gave shape \(2, 7\) for 2 items, from 'i0' on; expected width 6"):
        store.embed(items(["a", "b"]), Wide(), tmp_path / "s", progress=False)
    with pytest.raises(BadData, match="the encoder gave 1 vectors for 2 items, from 'i0' on"):
        store.embed(items(["a", "b"]), Short(), tmp_path / "s", progress=False)
    with pytest.raises(Mismatch, match="the encoder takes text, the items are audio"):
        store.embed(Items(np.array(["a"]), ["x"], "audio"), Words(), tmp_path / "s")
    assert not store.exists(tmp_path / "s")


def test_another_encoder_is_refused_naming_both(tmp_path):
    store.embed(items(["a"]), Words(name="first"), tmp_path / "s", progress=False)
    with pytest.raises(Mismatch, match=r"of 'first', these are of 'second'.*; choose .*rm -r .*s"):
        store.embed(items(["a"]), Words(name="second"), tmp_path / "s", progress=False)
    assert store.open(tmp_path / "s").fingerprint["name"] == "first"


def test_nothing_is_embedded_into_an_empty_answer(tmp_path):
    found = store.embed(items([]), Words(), tmp_path / "s", progress=False)
    assert len(found) == 0


def test_an_interruption_keeps_what_was_encoded(tmp_path):
    class Interrupted(Words):
        def encode(self, values):
            if len(self.seen) >= 8:
                raise KeyboardInterrupt
            return super().encode(values)

    texts = [f"{k:02d}" for k in range(20)]
    with pytest.raises(KeyboardInterrupt):
        store.embed(items(texts), Interrupted(), tmp_path / "s", progress=False)
    rest = Words()
    store.embed(items(texts), rest, tmp_path / "s", progress=False)
    assert len(rest.seen) == 12


def test_two_threads_embed_two_stores(tmp_path):
    found = {}

    def work(name):
        texts = [f"{name} {k}" for k in range(200)]
        found[name] = store.embed(items(texts), Words(), tmp_path / name, shard_rows=20)

    threads = [threading.Thread(target=work, args=(name,)) for name in ("left", "right")]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for name in ("left", "right"):
        assert np.array_equal(found[name].vectors[7], Words().vector(f"{name} 7"))


def embed_range(folder, start, stop):
    texts = [f"text {k}" for k in range(start, stop)]
    ids = [f"i{k}" for k in range(start, stop)]
    for upto in range(20, len(texts) + 1, 20):
        store.embed(items(texts[:upto], ids[:upto]), Words(), folder, shard_rows=7, progress=False)


def test_several_processes_embed_into_one_store(tmp_path):
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=embed_range, args=(tmp_path / "s", 30 * k, 30 * k + 60)) for k in range(4)]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    assert [w.exitcode for w in workers] == [0] * 4
    opened = store.open(tmp_path / "s")
    assert sorted(opened.ids.tolist()) == sorted(f"i{k}" for k in range(150))
    for name, row in zip(opened.ids.tolist(), opened.vectors[:], strict=True):
        assert np.array_equal(row, Words().vector(f"text {name[1:]}"))
    assert store.verify(tmp_path / "s") == []
    named = {f.name for f in store.manifest.read(tmp_path / "s").files()}
    assert {p.name for p in (tmp_path / "s").iterdir()} == named | {"manifest.json", ".lock"}

"""Embedding on Ray gives the single-machine store, item by item, whatever is killed meanwhile."""

import numpy as np
import pytest
from counted import Counted, encoded

from sensorium import store
from sensorium.errors import BadData, DiskFull, Mismatch, Unreachable
from sensorium.scale import embedding
from sensorium.scale.cluster import Where
from sensorium.scale.embedding import OnRay
from sensorium.store import arrivals, engines, manifest
from sensorium.types import Items


def items(texts, **meta):
    return Items(np.array([f"i{k}" for k in range(len(texts))]), texts, "text", meta)


def on_ray(given, encoder, folder, **options):
    with OnRay(Where(), workers=2) as engine, engines.by(engine):
        return store.embed(given, encoder, folder, progress=False, **options)


def contents(folder):
    """Every item of a store: id, vector, key and metadata."""
    opened, known = store.open(folder), manifest.read(folder)
    keys = dict(zip(*store_keys(folder, known), strict=True))
    rows = [opened.vectors[i] for i in range(len(opened))] if opened.offsets is None else [
        opened.vectors[a:b] for a, b in zip(opened.offsets, opened.offsets[1:], strict=False)]  # fmt: skip
    found = {}
    for i, name in enumerate(opened.ids.tolist()):
        assert name not in found
        found[name] = rows[i].tobytes(), keys[name], {c: opened.meta[c][i] for c in opened.meta}
    return found, known.fingerprint, known.dtype, known.dim, known.columns


def store_keys(folder, known):
    ids, keys = [], []
    for one in known.shards:
        table = store.shard.read_items(folder, one)
        ids += table["id"].to_pylist()
        keys += table["key"].to_pylist()
    return ids, keys


@pytest.mark.parametrize("frames", [False, True])
def test_the_store_equals_that_of_one_machine(ray, tmp_path, frames):
    texts = [f"text {k * 7 % 150}" for k in range(200)]  # a quarter of them twice
    given = items(texts, year=np.arange(200), who=[f"w{k % 5}" for k in range(200)])
    here = Counted(tmp_path / "here", frames=frames)
    there = Counted(tmp_path / "there", frames=frames)
    local = store.embed(given, here, tmp_path / "local", progress=False)
    far = on_ray(given, there, tmp_path / "far")
    assert contents(tmp_path / "local") == contents(tmp_path / "far")
    assert np.array_equal(local.vectors[:], far.vectors[:]) and far.ids.tolist() == local.ids.tolist()
    assert sorted(encoded(there.log)) == sorted(set(texts)) == sorted(encoded(here.log))
    assert store.verify(tmp_path / "far") == []
    names = {f.name for f in manifest.read(tmp_path / "far").files()}
    assert {p.name for p in (tmp_path / "far").iterdir()} == names | {"manifest.json", ".lock"}


def test_only_what_is_new_is_encoded(ray, tmp_path):
    encoder = Counted(tmp_path / "log")
    on_ray(items([f"a{k}" for k in range(60)]), encoder, tmp_path / "s")
    on_ray(items([f"a{k}" for k in range(70)]), encoder, tmp_path / "s")
    assert sorted(encoded(encoder.log)) == sorted(f"a{k}" for k in range(70))
    changed = items([f"a{k}" for k in range(70)], year=np.arange(70))
    on_ray(changed, encoder, tmp_path / "s")
    assert len(encoded(encoder.log)) == 70 and store.open(tmp_path / "s").meta["year"].sum() == 69 * 35


def test_a_bad_item_is_refused_as_on_one_machine_and_the_others_are_kept(ray, tmp_path):
    encoder = Counted(tmp_path / "log", refused="t150")
    encoder.batch = 8
    texts = [f"t{k}" for k in range(200)]
    with pytest.raises(BadData, match=r"1 of \d+ items \('i150'\) with NaN or infinity; correct or drop these items"):
        on_ray(items(texts), encoder, tmp_path / "s", shard_rows=40)
    kept = len(store.open(tmp_path / "s"))
    encoder.refused = ""
    on_ray(items(texts), encoder, tmp_path / "s")
    assert 0 < kept < 200 and len(store.open(tmp_path / "s")) == 200
    assert len(encoded(encoder.log)) <= 200 + 8 + 8  # the refused call, and what another worker had in its hands


def test_a_worker_that_dies_in_the_middle_of_a_block_costs_its_call_alone(ray, tmp_path):
    encoder = Counted(tmp_path / "log", wait=0.002, dies="t333")
    encoder.batch = 16
    texts = [f"t{k:03d}" for k in range(400)]
    found = on_ray(items(texts), encoder, tmp_path / "s", shard_rows=50)
    assert (tmp_path / "log.died").exists()
    assert np.array_equal(found.vectors[:], np.stack([encoder.vector(t) for t in texts]))
    assert len(encoded(encoder.log)) <= 400 + 50 and set(encoded(encoder.log)) == set(texts)


def test_workers_that_die_again_and_again_end_the_command_with_a_sentence(ray, tmp_path, monkeypatch):
    monkeypatch.setattr(embedding, "RESTARTS", 0)
    encoder = Counted(tmp_path / "log", dies="t150")
    with pytest.raises(
        Unreachable, match=r"Ray ended the job \(.*; what was encoded is in the store: correct that, and"
    ):
        on_ray(items([f"t{k:03d}" for k in range(200)]), encoder, tmp_path / "s", shard_rows=20)


def test_a_worker_with_other_weights_is_refused(ray, tmp_path):
    encoder = Counted(tmp_path / "log")
    encoder.elsewhere = "others"
    with pytest.raises(
        Mismatch, match=r"of 'counted', these are of 'counted' \(weights: .*\); install the same packages"
    ):
        on_ray(items(["a", "b"]), encoder, tmp_path / "s")
    assert encoded(encoder.log) == []


def test_a_full_disk_of_one_worker_ends_the_command_and_the_same_command_goes_on(ray, tmp_path):
    encoder, texts = Counted(tmp_path / "log", full="t150"), [f"t{k:03d}" for k in range(200)]
    encoder.batch = 10
    with pytest.raises(DiskFull, match=r"no room to write .*; what was there before is untouched: free some space"):
        on_ray(items(texts), encoder, tmp_path / "s", shard_rows=20)
    kept = len(store.open(tmp_path / "s"))
    on_ray(items(texts), encoder, tmp_path / "s", shard_rows=20)
    assert 0 < kept < 200 and len(store.open(tmp_path / "s")) == 200 and store.verify(tmp_path / "s") == []
    assert (
        len(encoded(encoder.log)) <= 200 + 20 + 20
    )  # the block that could not be written, and one of the other worker


def test_shards_that_a_killed_call_left_are_committed_and_not_encoded_again(tmp_path):
    """Without Ray: the shards lie among the arrivals, one of them half-written."""
    encoder, texts = Counted(tmp_path / "log"), [f"t{k}" for k in range(30)]
    with OnRay(Where()) as engine, engines.by(engine):
        given = items(texts)
        keys = engine.keys("text", given.ids.tolist(), texts)
        writer = store.Writer(tmp_path / "s", encoder.fingerprint)
        for at in (0, 10, 20):
            rows = range(at, at + 10)
            batch = store.shard.Batch([f"i{k}" for k in rows], [keys[k] for k in rows],
                                      np.stack([encoder.vector(texts[k]) for k in rows]), {})  # fmt: skip
            last = arrivals.write(arrivals.folder_of(tmp_path / "s"), batch, writer._shape(batch))
        (arrivals.folder_of(tmp_path / "s") / last.files["vectors"].name).write_bytes(b"half")
        assert len(arrivals.left(tmp_path / "s")) == 2
        assert arrivals.adopt(writer, arrivals.left(tmp_path / "s")).added == 20
        assert arrivals.adopt(writer, [last]).added == 10 or len(store.open(tmp_path / "s")) == 20


def test_ray_is_not_started_where_nothing_is_missing(tmp_path):
    encoder, given = Counted(tmp_path / "log"), items(["a", "b"])
    store.embed(given, encoder, tmp_path / "s", progress=False)
    with OnRay(Where("no.such.host:1")) as engine, engines.by(engine):
        found = store.embed(given, encoder, tmp_path / "s", progress=False)
        assert engine._ray is None and len(found) == 2

"""Several writers of one store: nothing is rebuilt or deleted without the lock, whatever the order of their steps."""

import numpy as np
import pytest
from toys import Words
from writers_race import lost_appends

from sensorium import io, store
from sensorium.errors import Busy, Mismatch
from sensorium.store import embedding, manifest, repairing, writing
from sensorium.types import Items

MADE_BY = {"name": "toy"}


def append(folder, name):
    store.append(folder, [name], np.full((1, 4), len(name) + 1, np.float32), MADE_BY)


def test_a_first_look_without_the_lock_changes_nothing(tmp_path, monkeypatch):
    """The interleaving that lost appends: shards are renamed, and committed, between a writer's first two looks."""
    folder = tmp_path / "s"
    append(folder, "a")
    looks = {"manifest": 0, "shards": 0, "appended": 0}
    exists, has_shards, rebuild = manifest.exists, repairing.has_shards, repairing.rebuild

    def no_manifest_at_first(where):
        looks["manifest"] += 1
        return looks["manifest"] > 2 and exists(where)

    def no_shards_at_first(where):
        looks["shards"] += 1
        return looks["shards"] > 1 and has_shards(where)

    def rebuilt_while_others_commit(where):
        found = rebuild(where)
        try:
            with io.lock(where, wait=False):
                free = True
        except Busy:
            free = False
        if free:
            looks["appended"] += 1
            append(where, "b")  # acknowledged, and lost when the rebuilt manifest is written
        return found

    monkeypatch.setattr(manifest, "exists", no_manifest_at_first)
    monkeypatch.setattr(repairing, "has_shards", no_shards_at_first)
    monkeypatch.setattr(repairing, "rebuild", rebuilt_while_others_commit)
    writer = writing.Writer(folder, MADE_BY)
    append(folder, "c")
    append(folder, "d")
    assert writer.remove(["d"]) == 1
    present = ["a", "b", "c"] if looks["appended"] else ["a", "c"]
    assert sorted(store.open(folder).ids.tolist()) == present and store.verify(folder) == []


def test_opening_a_writer_leaves_a_foreign_folder_alone(tmp_path):
    (tmp_path / "empty").mkdir()
    writing.Writer(tmp_path / "empty", MADE_BY)
    assert list((tmp_path / "empty").iterdir()) == []


@pytest.mark.slow
def test_six_writers_that_begin_together_lose_nothing():
    assert lost_appends(rounds=24, writers=6) == []


def test_items_that_another_process_replaced_while_they_were_embedded_are_said(tmp_path, monkeypatch):
    texts = [f"text {i}" for i in range(6)]
    items = Items(np.array(list("abcdef")), texts, "text")
    compact = embedding.compacting.compact_small

    def replaced(writer, shard_rows):
        store.append(tmp_path / "s", ["c"], np.ones((1, 6), np.float32), Words().fingerprint)
        compact(writer, shard_rows)

    monkeypatch.setattr(embedding.compacting, "compact_small", replaced)
    with pytest.raises(Mismatch, match="another process changed 1 items meanwhile, such as 'c'; run again"):
        store.embed(items, Words(), tmp_path / "s", progress=False)


def test_commits_within_a_chunk_stage_each_item_once(tmp_path, monkeypatch):
    """A slow encoder commits in the middle of a shard: what was committed is not written again."""
    staged = []
    stage = writing.Writer.stage
    monkeypatch.setattr(embedding, "COMMIT_SECONDS", -1.0)
    monkeypatch.setattr(writing.Writer, "stage", lambda self, batch: staged.append(len(batch)) or stage(self, batch))
    texts = [f"text {i}" for i in range(40)]
    found = store.embed(Items(np.array(texts), texts, "text"), Words(), tmp_path / "s", progress=False)
    assert sum(staged) == 40 and len(staged) == 10
    assert np.array_equal(found.vectors[:], np.stack([Words().vector(t) for t in texts]))

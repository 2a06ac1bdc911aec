"""Writers killed at random moments: nothing acknowledged lost, nothing unreadable, nothing twice."""

import json
import os
import shutil
import tempfile
import threading
from pathlib import Path

import numpy as np
import pytest
from examples import times
from harness import kill_at_random

from sensorium import io, store
from sensorium.contracts import Encoder
from sensorium.types import Items

pytestmark = pytest.mark.slow

FINGERPRINT = {"name": "toy", "revision": 1}


@pytest.fixture
def folder():
    """A folder in memory where there is one: SIGKILL loses no page cache, so waiting for a disk tests nothing."""
    memory = Path("/dev/shm")
    made = Path(tempfile.mkdtemp(dir=memory if os.access(memory, os.W_OK) else None))
    yield made / "target"
    shutil.rmtree(made)


class Toy(Encoder):
    takes = "text"
    dim = 16
    fingerprint = FINGERPRINT

    def encode(self, values):
        return np.stack([vector(value) for value in values])


def vector(text: str) -> np.ndarray:
    return np.random.default_rng(list(text.encode())).normal(size=16).astype(np.float32)


def content(folder, problems=()):
    """Everything in a store as a dict; asserts that it is whole and that no id is there twice."""
    assert store.verify(folder) == []
    opened = store.open(folder)
    assert len(set(opened.ids.tolist())) == len(opened.ids)
    return dict(zip(opened.ids.tolist(), opened.vectors[:], strict=True)) if len(opened.ids) else {}


def test_embedding_killed_at_random_moments(folder):
    def writer(attempt, acknowledge):
        # Every attempt brings 20 new items, and asks for the last attempt's again.
        ids = [f"{a}-{i}" for a in range(max(0, attempt - 1), attempt + 1) for i in range(20)]
        for upto in range(20, len(ids) + 1, 10):
            part = Items(np.array(ids[:upto]), [f"text {i}" for i in ids[:upto]], "text")
            store.embed(part, Toy(), folder, shard_rows=5 if attempt % 2 else None, batch=5, progress=False)
            acknowledge(json.dumps(ids[:upto]))

    def check(acknowledged):
        if not (folder / "manifest.json").exists():
            assert not acknowledged
            return
        there = content(folder)
        wanted = {name for line in acknowledged[-30:] for name in json.loads(line)}
        assert wanted <= there.keys()
        for name in list(wanted)[:50]:
            assert np.array_equal(there[name], vector(f"text {name}"))
        if len(acknowledged) % 7 == 0:
            everything = {name for line in acknowledged for name in json.loads(line)}
            assert everything <= there.keys()

    assert kill_at_random(writer, check, kills=times(90), seed=1).killed == times(90)
    leftovers = [p for p in folder.iterdir() if p.name.startswith(".tmp-")]
    assert io.sweep(folder, age=0) == len(leftovers)
    assert not any(p.name.startswith(".tmp-") for p in folder.iterdir())


def test_append_and_remove_killed_at_random_moments(folder):
    def writer(attempt, acknowledge):
        for step in range(5):
            name = f"{attempt}.{step}"
            ids = [f"{name}.{i}" for i in range(5)] + ["shared"]
            store.append(folder, ids, np.stack([vector(f"{name}{i}") for i in ids]), FINGERPRINT, {"step": [step] * 6})
            acknowledge(f"+{name}")
            if step == 2:
                store.remove(folder, [f"{name}.0"])
                acknowledge(f"-{name}.0")
            if step == 4:
                store.compact(folder)

    def check(acknowledged):
        if not (folder / "manifest.json").exists():
            assert not acknowledged
            return
        there = content(folder)
        removed = {line[1:] for line in acknowledged if line[0] == "-"}
        assert not removed & there.keys()
        for line in acknowledged:
            if line[0] == "+":
                for i in range(1, 5):
                    assert f"{line[1:]}.{i}" in there
        assert not acknowledged or "shared" in there
        # An append is whole or absent: items 1 to 4 of a step come together.
        steps = {name.rpartition(".")[0] for name in there if name != "shared"}
        assert all(all(f"{step}.{i}" in there for i in range(1, 5)) for step in steps)

    assert kill_at_random(writer, check, kills=times(60), seed=2).killed == times(60)


def test_publishing_killed_at_random_moments(folder):
    def writer(attempt, acknowledge):
        for version in range(attempt * 100, attempt * 100 + 6):
            with io.publish(folder) as building:
                sums = {}
                for name in ("vectors.bin", "table.bin"):
                    io.write(building / name, f"{version} {name} ".encode() * 2000)
                    sums[name] = io.checksum(building / name)
                io.write_json(building / "manifest.json", {"version": version, "files": sums})
            acknowledge(str(version))

    def check(acknowledged):
        if not folder.exists():
            assert not acknowledged
            return
        about = io.read_json(folder / "manifest.json")
        for name, expected in about["files"].items():
            io.verify(folder / name, expected, "")
        assert sorted(p.name for p in folder.iterdir()) == ["manifest.json", "table.bin", "vectors.bin"]
        if acknowledged:
            assert about["version"] >= int(acknowledged[-1])

    assert kill_at_random(writer, check, kills=times(50), seed=3).killed == times(50)
    io.sweep(folder.parent, age=0)
    assert [p.name for p in folder.parent.iterdir()] == [folder.name]


def test_a_killed_writer_frees_the_lock_and_others_go_on(folder):
    store.append(folder, ["a"], vector("a")[None], FINGERPRINT)

    def writer(attempt, acknowledge):
        with io.lock(folder):
            acknowledge("locked")
            threading.Event().wait(0.05)

    def check(acknowledged):
        with io.lock(folder, wait=False):
            assert len(content(folder)) >= 1

    assert kill_at_random(writer, check, kills=5, seed=4).killed == 5
    assert os.listdir(folder)

"""Embedding on Ray into an object store: the store of one machine, copied here or not, whatever fails meanwhile."""

import random

import numpy as np
import pytest
from counted import Counted, encoded
from s3_server import serving
from test_ray_embedding import contents, items

from sensorium import progress, store
from sensorium.errors import BadData, Unreachable
from sensorium.scale.cluster import Where
from sensorium.scale.remote import InObjects
from sensorium.store import engines, manifest

TEXTS = [f"text {k * 7 % 150}" for k in range(200)]


@pytest.fixture
def server(monkeypatch):
    pytest.importorskip("s3fs", reason="'s3fs' is not installed; type: pip install 'sensorium[scale]'")
    with serving() as one:
        monkeypatch.setenv("AWS_ENDPOINT_URL", one.url)
        yield one


@pytest.fixture(params=["file", "s3"])
def url(request, tmp_path):
    if request.param == "file":
        return f"file://{tmp_path}/there"
    return f"s3://bucket{request.getfixturevalue('server').server_address[1]}/there"


def embed(given, encoder, folder, url, whole=True, **options):
    with InObjects(Where(), url, whole, workers=2) as engine, engines.by(engine):
        return store.embed(given, encoder, folder, progress=False, **options)


def copied(url, folder):
    """The store at a URL as a folder: every object as a file."""
    from sensorium.scale.objects import Objects

    there = Objects(url).below("s")
    folder.mkdir(parents=True)
    for name in there.sizes():
        (folder / name).write_bytes(there.get(name))
    return folder


def test_the_objects_are_the_store_of_one_machine(ray, tmp_path, url):
    given = items(TEXTS, year=np.arange(200), who=[f"w{k % 5}" for k in range(200)])
    encoder = Counted(tmp_path / "log")
    far = embed(given, encoder, tmp_path / "e" / "s", url, whole=False)
    assert len(far) == 200 and far.dim == 6 and not (tmp_path / "e").exists()
    with pytest.raises(BadData, match="these vectors lie in an object store and were not fetched"):
        far.vectors[:1]
    local = store.embed(given, Counted(tmp_path / "other"), tmp_path / "local", progress=False)
    assert contents(copied(url, tmp_path / "c")) == contents(tmp_path / "local")
    assert store.verify(tmp_path / "c") == []
    named = {f.name for f in manifest.read(tmp_path / "c").files()}
    assert {p.name for p in (tmp_path / "c").iterdir()} - {".lock"} == named | {"manifest.json"}
    # A run copies the vectors; nothing is encoded again, here or by another machine.
    whole = embed(given, encoder, tmp_path / "e" / "s", url)
    assert np.array_equal(whole.vectors[:], local.vectors[:]) and len(encoded(encoder.log)) == 150
    changed = items([*TEXTS, "new"], year=np.arange(201), who=["w0"] * 201)
    assert len(embed(changed, encoder, tmp_path / "f" / "s", url, whole=False)) == 201
    assert len(encoded(encoder.log)) == 151
    again = embed(changed, encoder, tmp_path / "e" / "s", url)
    assert len(encoded(encoder.log)) == 151 and np.array_equal(again.vectors[:200], local.vectors[:])
    assert len(store.open(copied(url, tmp_path / "d"))) == 201 == len(store.open(tmp_path / "e" / "s"))


def test_faults_of_the_object_store_lose_and_double_nothing(ray, server, tmp_path, monkeypatch):
    url, encoder = f"s3://faulty{server.server_address[1]}/there", Counted(tmp_path / "log")
    chance = random.Random(0)

    def fault(verb, key):
        if verb in ("PUT", "GET") and key.endswith((".npy", ".parquet")) and chance.random() < 0.2:
            return chance.choice(["503", "half", "landed"])
        return None

    server.fault = fault
    embed(items(TEXTS), encoder, tmp_path / "s", url, whole=True, shard_rows=20)
    server.fault = lambda verb, key: None
    assert sorted(encoded(encoder.log)) == sorted(set(TEXTS))
    assert len(store.open(copied(url, tmp_path / "c"))) == 200 and store.verify(tmp_path / "c") == []


def test_an_object_store_that_goes_away_ends_the_command_and_the_same_command_goes_on(
    ray, server, tmp_path, monkeypatch
):
    from sensorium.scale import lease, objects

    monkeypatch.setattr(lease, "ENDS", 1.0)  # that of this very process stays there, as it cannot be deleted
    url, encoder = f"s3://away{server.server_address[1]}/there", Counted(tmp_path / "log")
    monkeypatch.setattr(objects, "TRIES", 2)
    written = []

    def fault(verb, key):
        if verb == "PUT" and key.endswith(".items.parquet"):
            written.append(key)
        return "503" if len(set(written)) > 2 else None

    server.fault = fault
    with pytest.raises(Unreachable, match="type the same command again when the object store answers"):
        embed(items(TEXTS), encoder, tmp_path / "s", url, whole=False, shard_rows=20)
    before = len(encoded(encoder.log))
    server.fault = lambda verb, key: None
    embed(items(TEXTS), encoder, tmp_path / "s", url, whole=False)
    assert before >= 40 and len(encoded(encoder.log)) <= 150 + before - 40  # two blocks of 20 were written
    assert len(store.open(copied(url, tmp_path / "c"))) == 200


def test_a_slow_object_store_slows_the_command_and_loses_and_doubles_nothing(ray, server, tmp_path):
    """Every answer about a shard comes a second late: progress moves meanwhile, each text is encoded once."""
    url, encoder, steps = f"s3://slow{server.server_address[1]}/there", Counted(tmp_path / "log"), Steps()
    server.delay = 1.0
    server.fault = lambda verb, key: "slow" if key.endswith((".npy", ".parquet")) else None
    with progress.watched(steps):
        embed(items(TEXTS), encoder, tmp_path / "s", url, whole=False, shard_rows=50)
    server.fault = lambda verb, key: None
    assert sorted(encoded(encoder.log)) == sorted(set(TEXTS))
    assert len(store.open(copied(url, tmp_path / "c"))) == 200 and store.verify(tmp_path / "c") == []
    put = [key for verb, key in server.calls if verb == "PUT" and key.endswith(".npy")]
    assert put and len(put) == len(set(put)), "a call that is answered in time is not made again"
    done = [done for _, done, _ in steps.counts]
    assert done == sorted(done) and len(set(done)) >= 4 and steps.counts[-1][1:] == (150, 150)


def test_an_answer_that_comes_after_the_time_out_is_asked_for_again_and_landed_once(ray, server, tmp_path, monkeypatch):
    """Time-out of 1 s, answers after 2 s to the first call for each shard: written again over itself."""
    url, encoder = f"s3://late{server.server_address[1]}/there", Counted(tmp_path / "log")
    monkeypatch.setenv("SENSORIUM_STORE_TIMEOUT", "1")
    server.delay, late = 2.0, set()

    def fault(verb, key):
        if not key.endswith(".npy") or (len(late) >= 3 and key not in late):
            return None
        first = key not in late or [c for v, c in server.calls if v == "PUT"].count(key) == 1
        late.add(key)
        return "slow" if verb == "PUT" and first else None

    server.fault = fault
    embed(items(TEXTS), encoder, tmp_path / "s", url, whole=False, shard_rows=50)
    server.fault = lambda verb, key: None
    put = [key for verb, key in server.calls if verb == "PUT" and key in late]
    assert late and len(put) == 2 * len(late)
    assert sorted(encoded(encoder.log)) == sorted(set(TEXTS))
    assert len(store.open(copied(url, tmp_path / "c"))) == 200 and store.verify(tmp_path / "c") == []


class Steps:
    """A watcher that keeps what it is told."""

    def __init__(self):
        self.counts = []

    def stage(self, name):
        pass

    def count(self, what, done, total):
        self.counts.append((what, done, total))

"""Milvus: what is kept in a collection and checked at opening, generations switched by alias, kills, typed errors.

A server is milvus-lite's own, in a process that can be killed; MILVUS_URI names a real one: see test_congruence.py.
"""

import base64
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from sensorium import io
from sensorium.errors import BadRecipe, Busy, Corrupt, DatabaseError, Mismatch
from sensorium.indexes import _milvus_database as databases
from sensorium.indexes import milvus as milvus_file
from sensorium.indexes.milvus import Milvus

SERVER = os.environ.get("MILVUS_URI", "")
RANDOM = np.random.default_rng(3)
VECTORS = RANDOM.standard_normal((300, 8)).astype(np.float32)
IDS = [f"item-{i}" for i in range(300)]


def needed(name):
    return pytest.importorskip(name, reason="needs pymilvus and milvus-lite; type: pip install 'sensorium[scale]'")


@pytest.fixture(scope="module")
def libraries():
    for name in ("pymilvus", "milvus_lite"):
        needed(name)


def index_of(rows=slice(None), vectors=VECTORS, **arguments):
    index = Milvus(**arguments)
    index.add(IDS[rows], vectors[rows], {"n": np.arange(300)[rows]})
    index.fingerprint = {"made": "data", "head": "a" * 32}
    return index


def saved(index, folder):
    with io.publish(folder) as building:
        index.save(building)
    return folder


class Server:
    """milvus-lite's server in a process of its own, on a folder that outlives it."""

    def __init__(self, folder):
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            self.port = one.getsockname()[1]
        self.folder, self.uri = folder, f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self):
        code = (
            "from milvus_lite.adapter.grpc.server import run_server;"
            f"run_server({str(self.folder)!r}, '127.0.0.1', {self.port})"
        )
        self.process = subprocess.Popen([sys.executable, "-u", "-c", code], stdout=subprocess.PIPE, text=True)
        assert "listening" in self.process.stdout.readline()

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate()


@pytest.fixture(scope="module")
def server(libraries, tmp_path_factory):
    one = Server(tmp_path_factory.mktemp("server") / "data")
    yield one
    one.kill()


@pytest.fixture
def at(server):
    """Arguments of an index on a server, under a name of its own."""
    return {"uri": SERVER or server.uri, "collection": f"t_{uuid.uuid4().hex[:8]}", "kind": "FLAT"}


def ids_of(index, k=5):
    return index.search(VECTORS[:3], k).ids.tolist()


def test_what_a_collection_holds_is_checked_when_it_is_opened(at, tmp_path):
    index = index_of(**at)
    folder = saved(index, tmp_path / "index")
    assert ids_of(Milvus.load(folder)) == ids_of(index)
    database = databases.Database(at["uri"])
    about = database.about(index.holds)
    assert about["head"] == "a" * 32 and about["built"] == 300
    database.set_about(index.holds, {**about, "head": "b" * 32})
    with pytest.raises(Mismatch, match="holds vectors of head bbbbbbbb…, this index is of aaaaaaaa…; build the index"):
        Milvus.load(folder)
    database.set_about(index.holds, {**about, "fingerprint": "other"})
    with pytest.raises(Mismatch, match="holds vectors of data and encoder other…"):
        Milvus.load(folder)
    database.drop(index.holds)
    with pytest.raises(Mismatch, match="no collection 't_.*': newer ones took its place; build the index again"):
        Milvus.load(folder)
    database.close()


def test_a_new_generation_is_built_beside_and_switched_while_searches_go_on(at, tmp_path):
    """Searches by the alias and by an index that is open find all of the old or all of the new, and never fail."""
    old = index_of(**at)
    folder = saved(old, tmp_path / "index")
    opened = Milvus.load(folder)
    expected, stop, faults, seen = ids_of(opened), threading.Event(), [], set()

    def search():
        client = needed("pymilvus").MilvusClient(at["uri"], dedicated=True)
        while not stop.is_set():
            try:
                hit = client.search(at["collection"], VECTORS[:1], limit=1, output_fields=["id"], timeout=20)[0][0]
                seen.add(hit["entity"]["id"])
                if ids_of(opened) != expected:
                    faults.append("other hits")
            except Exception as error:
                faults.append(error)

    threads = [threading.Thread(target=search) for _ in range(2)]
    for thread in threads:
        thread.start()
    new = index_of(vectors=-VECTORS, **at)
    saved(new, tmp_path / "new")
    deadline = time.monotonic() + 30  # a server may tell the one who searches a moment later
    while len(seen) < 2 and not faults and time.monotonic() < deadline:
        time.sleep(0.05)
    stop.set()
    for thread in threads:
        thread.join(60)
    answers = {index.search(VECTORS[:1], 1).ids[0, 0] for index in (opened, new)}
    assert not faults and seen == answers and len(answers) == 2, (faults[:1], seen)
    database = databases.Database(at["uri"])
    assert database.target(at["collection"]) == new.holds != old.holds and database.has(old.holds)
    saved(index_of(slice(0, 200), **at), tmp_path / "third")
    assert not database.has(old.holds) and database.has(new.holds), "the one before stays, older ones go"
    database.close()


def test_the_same_items_are_not_written_twice(at, tmp_path, monkeypatch):
    index = index_of(**at)
    saved(index, tmp_path / "index")
    written = []
    write = databases.Database.write
    monkeypatch.setattr(
        databases.Database,
        "write",
        lambda self, name, keys, *rest: (written.append(len(keys)), write(self, name, keys, *rest)),
    )
    again = index_of(**at)
    assert again.holds == index.holds and not written
    again.remove(IDS[:2])
    assert index_of(**at).holds != index.holds, "a collection that was changed is not taken for what it was built as"


def test_the_database_is_killed_while_it_is_written_to(libraries, tmp_path, monkeypatch):
    """The same call goes on with what was acknowledged: nothing is lost, nothing twice."""
    server = Server(tmp_path / "data")
    at = {"uri": server.uri, "collection": "killed", "kind": "FLAT"}
    monkeypatch.setattr(milvus_file, "_PART", 40)
    monkeypatch.setattr(databases, "_SECONDS", 3.0)
    monkeypatch.setattr(databases, "_TO_CONNECT", 2.0)
    write, count = databases.Database.write, []

    def failing(self, name, keys, *rest):
        count.append(len(keys))
        if len(count) == 4:
            server.kill()
        write(self, name, keys, *rest)

    try:
        monkeypatch.setattr(databases.Database, "write", failing)
        with pytest.raises(DatabaseError, match=r"milvus at http://127.0.0.1.*nothing is lost: type it again"):
            index_of(**at)
        with pytest.raises(DatabaseError):
            index_of(**at)
        server.start()
        count.extend([0] * 10)
        for _ in range(60):  # the channels of this process wait between attempts; those of a new one would not
            with contextlib.suppress(DatabaseError):
                index = index_of(**at)
                break
            time.sleep(0.5)
        assert sum(count) == 3 * 40 + 40 + 180, "the 120 that were acknowledged are not written again"
        database = databases.Database(at["uri"])
        assert database.count(index.holds) == 300
        np.testing.assert_array_equal(index.vectors(), VECTORS)
        saved(index, tmp_path / "index")
        database.close()
    finally:
        server.kill()


def test_items_that_another_process_added_are_left_out_until_they_are_known(at, tmp_path):
    folder = saved(index_of(**at), tmp_path / "index")
    one, other = Milvus.load(folder), Milvus.load(folder)
    one.add(["new"], VECTORS[:1] * 3, {"n": np.array([7])})
    assert one.search(VECTORS[:1], 1).ids[0, 0] == "new" and other.search(VECTORS[:1], 1).ids[0, 0] == "item-0"
    other.add(["new"], VECTORS[:1] * 3, {"n": np.array([7])})
    assert ids_of(one) == ids_of(other)
    one.remove(["item-0"])
    assert "item-0" not in other.search(VECTORS[:1], 5).ids


def test_an_embedded_database_is_of_one_process(libraries, tmp_path):
    index = index_of()
    folder = saved(index, tmp_path / "index")
    code = (
        f"import sys; from pathlib import Path; from sensorium.indexes.milvus import Milvus\n"
        f"one = Milvus.load(Path({str(folder)!r})); print(len(one), flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "300\n"
        with pytest.raises(Busy, match="an embedded database is of one process at a time.*index.uri=http://HOST:19530"):
            Milvus.load(folder)
    finally:
        holder.communicate()
    assert ids_of(Milvus.load(folder)) == ids_of(index)


def test_a_missing_database_is_said(libraries, tmp_path):
    folder = saved(index_of(), tmp_path / "index")
    next(folder.glob("milvus-*.db")).rename(tmp_path / "elsewhere")
    with pytest.raises(Corrupt, match=r"milvus-.*\.db is missing; build the index again"):
        Milvus.load(folder)


@pytest.mark.parametrize(("arguments", "message"), [
    ({"uri": "localhost:19530"}, "uri='localhost:19530'; expected an address such as http://localhost:19530"),
    ({"uri": "http://me:secret@host:19530"}, "contains a password; take it out and type: export MILVUS_TOKEN="),
    ({"kind": "HNWS"}, "no kind 'HNWS' .*did you mean 'HNSW'"),
    ({"kind": "DISKANN"}, "an embedded database has FLAT, HNSW"),
    ({"collection": "9 lives"}, "collection='9 lives'; expected letters, digits and _"),
    ({"breadth": 0}, "breadth=0; expected 1 or more, up to 32768"),
    ({"rescore": 5000}, "rescore=5000; expected 1 or more, up to 1024"),
])  # fmt: skip
def test_arguments_are_refused(arguments, message):
    with pytest.raises(BadRecipe, match=message):
        Milvus(**arguments)


def test_what_signs_in_goes_to_the_server_alone(libraries, at, tmp_path, monkeypatch):
    """MILVUS_TOKEN is in the metadata of every call to a server; in no file, no message and no argument."""
    grpc, token = needed("grpc"), "me:very-secret-word"
    seen = []

    class Recorder(grpc.GenericRpcHandler):
        def service(self, call):
            seen.append((call.method, dict(call.invocation_metadata)))
            return None  # not implemented: the client gives up

    stub = grpc.server(ThreadPoolExecutor(2), handlers=[Recorder()])
    port = stub.add_insecure_port("127.0.0.1:0")
    stub.start()
    monkeypatch.setenv(databases.TOKEN, token)
    coded = base64.b64encode(token.encode()).decode()
    try:
        with pytest.raises(DatabaseError) as caught:
            index_of(uri=f"http://127.0.0.1:{port}", collection="signed")
    finally:
        stub.stop(0)
    assert seen and {about.get("authorization") for _, about in seen} == {coded}, seen
    index = index_of(**at)
    folder = saved(index, tmp_path / "index")
    assert ids_of(Milvus.load(folder)) == ids_of(index), "a server without sign-in takes it too"
    said = [str(caught.value), repr(index.arguments), json.dumps(databases.Database(at["uri"]).about(index.holds))]
    said += [path.read_bytes().decode("latin-1") for path in folder.rglob("*") if path.is_file()]
    assert not any("very-secret-word" in text or coded in text for text in said)

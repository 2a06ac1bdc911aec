"""An object store with faults: nothing is lost, nothing half-read is taken, and what stays away is named."""

import pytest
import xxhash
from s3_server import serving

from sensorium.errors import BadRecipe, Busy, MissingExtra, Unreachable
from sensorium.scale import lease, objects
from sensorium.scale.objects import Objects
from sensorium.store.manifest import File


@pytest.fixture
def server(monkeypatch):
    pytest.importorskip("s3fs", reason="'s3fs' is not installed; type: pip install 'sensorium[scale]'")
    with serving() as one:
        for name, value in (("AWS_ENDPOINT_URL", one.url), ("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b"),
                            ("AWS_DEFAULT_REGION", "us-east-1"), ("AWS_MAX_ATTEMPTS", "1")):  # fmt: skip
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(objects, "FIRST", 0.001)
        yield one


@pytest.fixture(params=["file", "s3"])
def there(request, tmp_path):
    if request.param == "file":
        pytest.importorskip("fsspec", reason="'fsspec' is not installed; type: pip install 'sensorium[scale]'")
        return Objects(f"file://{tmp_path}/e/store")
    server = request.getfixturevalue("server")
    return Objects(f"s3://bucket-{server.server_address[1]}/e/store")


def file(name, content):
    return File(name, len(content), xxhash.xxh3_128_hexdigest(content))


def test_objects_are_written_read_listed_and_deleted(there):
    assert there.sizes() == {}
    there.put("a.npy", b"one")
    there.put("ab.npy", b"three")
    assert there.sizes() == {"a.npy": 3, "ab.npy": 5} and there.sizes("ab") == {"ab.npy": 5}
    assert there.checked(file("a.npy", b"one")) == there.get("a.npy") == b"one"
    there.delete(["a.npy", "absent"])
    assert there.sizes() == {"ab.npy": 5} and there.below("x").sizes() == {}
    with pytest.raises(FileNotFoundError):
        there.get("a.npy")


def faults(server, *found):
    """The next requests for objects fail like this, one after the other."""
    left = list(found)

    def next_fault(verb, key):
        return left.pop(0)[1] if left and left[0][0] == verb and key.endswith(".npy") else None

    server.fault = next_fault
    return left


def test_a_refused_call_is_tried_again(server):
    there = Objects(f"s3://b{server.server_address[1]}/s")
    left = faults(server, ("PUT", "503"), ("PUT", "503"), ("GET", "503"), ("DELETE", "503"))
    there.put("a.npy", b"content")
    assert there.get("a.npy") == b"content"
    there.delete(["a.npy"])
    assert left == [] and server.objects == {}


def test_half_a_read_is_not_taken(server):
    there = Objects(f"s3://b{server.server_address[1]}/s")
    there.put("a.npy", b"whole content")
    left = faults(server, ("GET", "half"), ("GET", "half"))
    assert there.checked(file("a.npy", b"whole content")) == b"whole content" and left == []


def test_a_write_that_landed_and_failed_is_written_once_more_with_the_same_content(server):
    there = Objects(f"s3://b{server.server_address[1]}/s")
    left = faults(server, ("PUT", "landed"), ("PUT", "landed"))
    there.put("a.npy", b"content")
    assert left == [] and list(server.objects.values()) == [b"content"]


def test_what_stays_away_is_named_with_what_to_type(server, monkeypatch):
    monkeypatch.setattr(objects, "TRIES", 2)
    there = Objects(f"s3://b{server.server_address[1]}/s")
    server.fault = lambda verb, key: "503"
    with pytest.raises(
        Unreachable, match=r"s3://b\d+/s: could not write a.npy in 2 tries .*: type the same command again"
    ):
        there.put("a.npy", b"content")


def test_a_store_that_is_silent_for_too_long_is_named_with_what_to_type(server, monkeypatch):
    monkeypatch.setattr(objects, "TRIES", 2)
    monkeypatch.setenv(objects.TIMEOUT, "0.5")
    there = Objects(f"s3://b{server.server_address[1]}/s")
    server.delay, server.fault = 2.0, lambda verb, key: "slow" if key.endswith(".npy") else None
    with pytest.raises(Unreachable, match=(
        r"s3://b\d+/s: could not write a.npy in 2 tries \(.*Timeout.*: type the same command again when the object "
        r"store answers, or let it be silent for longer than 0.5 s: export SENSORIUM_STORE_TIMEOUT=5$"
    )):  # fmt: skip
        there.put("a.npy", b"content")
    assert list(server.objects.values()) == [b"content"], "both arrived"
    monkeypatch.setenv(objects.TIMEOUT, "5")
    assert Objects(there.url).get("a.npy") == b"content"


@pytest.mark.parametrize("seconds", ["soon", "0", "-1", "nan", "1e9"])
def test_other_time_outs_are_refused(seconds, monkeypatch):
    monkeypatch.setenv(objects.TIMEOUT, seconds)
    with pytest.raises(BadRecipe, match=f"SENSORIUM_STORE_TIMEOUT={seconds}; expected seconds above 0, up to 86400"):
        Objects("s3://bucket/x")


@pytest.mark.parametrize("url", ["s4://bucket/x", "bucket/x"])
def test_other_urls_are_refused(url):
    pytest.importorskip("fsspec", reason="'fsspec' is not installed; type: pip install 'sensorium[scale]'")
    with pytest.raises(
        BadRecipe, match=r"--stores .*; expected s3://BUCKET/FOLDER, gs://BUCKET/FOLDER or file:///FOLDER"
    ):
        Objects(url).sizes()


def test_without_the_client_the_extra_is_named(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.setitem(sys.modules, "fsspec", sys)
    with pytest.raises(MissingExtra, match=r"'s3fs' .*; type: pip install 'sensorium\[scale\]'"):
        Objects("s3://bucket/x").sizes()


def test_a_lease_of_a_process_that_ended_is_taken_over_and_one_of_a_living_process_is_not(there, monkeypatch):
    there.put(lease.NAME, b'{"token": "x", "host": "elsewhere", "pid": 1, "time": 0}')
    with lease.held(there):
        assert lease.NAME in there.sizes()
        monkeypatch.setattr(lease, "ENDS", 0.5)
        monkeypatch.setattr(lease, "RENEWED", 0.1)
        there.put(lease.NAME, b'{"token": "x", "host": "elsewhere", "pid": 7, "time": 1e12}')
        with pytest.raises(Busy, match=r"is being written by process 7 of elsewhere; wait for it, or choose another"), \
                lease.held(there):  # fmt: skip
            pass
    assert lease.NAME not in there.sizes()

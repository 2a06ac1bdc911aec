"""Stores as data sets of a Hub on this machine: only new shards, few commits, faults, checks of what comes back."""

import json
import re

import numpy as np
import pytest
from fake_hub import READER, TOKEN
from hub_here import fake, turned  # noqa: F401  a fixture
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sensorium import store
from sensorium.errors import BadData, BadRecipe, Corrupt, HubError, Mismatch
from sensorium.store import hub, hub_errors, hub_files, manifest, mirror
from sensorium.store.hub import Place

MADE = {"name": "minilm", "precision": "fp32"}
NAME = "me/vectors"


def grow(folder, first, n=3, made=MADE):
    """One more shard of n items."""
    rng = np.random.default_rng(first)
    ids = [f"i{first + i}" for i in range(n)]
    store.append(folder, ids, rng.normal(size=(n, 4)).astype(np.float32), made, {"word": [f"w{i}" for i in ids]})
    return folder


def shards(folder, n):
    for i in range(n):
        grow(folder, 100 * i)
    return folder


def same(a, b):
    one, two = store.open(a), store.open(b)
    assert one.ids.tolist() == two.ids.tolist() and dict(one.fingerprint) == dict(two.fingerprint)
    assert np.array_equal(np.asarray(one.vectors), np.asarray(two.vectors))
    assert {k: v.tolist() for k, v in one.meta.items()} == {k: v.tolist() for k, v in two.meta.items()}
    assert not store.verify(b)


def push(folder, name=NAME, **more):
    return mirror.push(folder, name, progress=False, **more)


def pull(out, name=NAME, **more):
    return mirror.pull(name, out, progress=False, **more)


def names(fake):  # noqa: F811
    return set(fake.files(NAME, "dataset"))


def test_pushed_and_pulled_it_is_the_same_store(fake, tmp_path):  # noqa: F811
    vectors = shards(tmp_path / "vectors", 3)
    done = push(vectors, private=True)
    assert (done["files"], done["items"], done["repo"]) == (6, 9, "datasets/me/vectors")
    assert fake.repository(NAME, "dataset").private
    there = pull(tmp_path / "back")
    assert there["stores"] == {str(tmp_path / "back"): 9} and there["files"] == 6
    same(vectors, tmp_path / "back")
    assert not list(tmp_path.glob(".*")), "nothing is left beside them"


def test_a_store_of_frames_and_of_removed_items_travels_too(fake, tmp_path):  # noqa: F811
    frames = [np.ones((n, 4), np.float32) * n for n in (1, 3, 2)]
    store.append(tmp_path / "vectors", ["a", "b", "c"], frames, MADE)
    store.remove(tmp_path / "vectors", ["b"])
    push(tmp_path / "vectors")
    pull(tmp_path / "back")
    back = store.open(tmp_path / "back")
    assert back.ids.tolist() == ["a", "c"] and back.offsets.tolist() == [0, 1, 3]


def test_only_new_shards_are_sent_and_nothing_new_is_no_commit(fake, tmp_path):  # noqa: F811
    vectors = shards(tmp_path / "vectors", 3)
    push(vectors)
    sent, history = len(fake.received), fake.repository(NAME, "dataset").history
    assert push(vectors)["files"] == 0 and len(history) == 2 and len(fake.received) == sent
    grow(vectors, 900)
    assert push(vectors)["files"] == 2
    assert len(fake.received) == sent + 2 and len(history) == 3
    added = history[-1][2]
    assert len(added) == 4 and {"README.md", "manifest.json"} < set(added), "two files of one shard, manifest and card"


def test_what_the_manifest_no_longer_names_is_deleted_with_the_same_commit(fake, tmp_path):  # noqa: F811
    vectors = shards(tmp_path / "vectors", 3)
    push(vectors)
    fake.repository(NAME, "dataset").commit({"notes/mine.txt": b"kept"})
    store.compact(vectors)
    push(vectors)
    assert names(fake) == {p.name for p in vectors.iterdir() if p.name != ".lock"} | {
        ".gitattributes", "README.md", "notes/mine.txt"}  # fmt: skip
    assert len(fake.repository(NAME, "dataset").history) == 4
    pull(tmp_path / "back")
    same(vectors, tmp_path / "back")


@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(["grow", "replace", "remove", "compact", "push"]), min_size=1, max_size=7))
def test_after_any_changes_a_pull_gives_the_store_as_it_was_pushed(monkeypatch, tmp_path_factory, changes):
    place = tmp_path_factory.mktemp("any")
    with turned(monkeypatch, place / "home") as fake:  # noqa: F811
        vectors = grow(place / "vectors", 0)
        for at, change in enumerate([*changes, "push"]):
            if change == "grow":
                grow(vectors, 100 * (at + 1))
            elif change == "replace":
                store.append(vectors, ["i0"], np.full((1, 4), at + 2, np.float32), MADE, {"word": ["new"]})
            elif change == "remove":
                store.remove(vectors, ["i1"])
            elif change == "compact":
                store.compact(vectors)
            else:
                push(vectors)
        assert len(fake.received) == len(set(fake.received)), "nothing is sent twice"
        pull(place / "back")
        same(vectors, place / "back")


def test_many_small_shards_become_few_files_unless_they_are_there_already(fake, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setattr("sensorium.store.compacting.FEW", 5)
    vectors = shards(tmp_path / "vectors", 4)
    push(vectors)
    first = {s.name for s in manifest.read(vectors).shards}
    for i in range(7):
        grow(vectors, 5000 + 10 * i)
    before = store.open(vectors).ids.tolist()
    done = push(vectors)
    assert done["files"] == 2, "seven new shards as one"
    assert first < {s.name for s in manifest.read(vectors).shards}, "those that were sent are as they were"
    assert store.open(vectors).ids.tolist() == before and not store.verify(vectors)
    pull(tmp_path / "back")
    same(vectors, tmp_path / "back")


def test_shards_go_before_the_manifest_where_they_take_several_commits(fake, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setattr(mirror, "ONE_COMMIT", 3)
    push(shards(tmp_path / "vectors", 3))
    first, last = fake.repository(NAME, "dataset").history[1:]
    assert len(first[2]) == 6 and last[2] == ["README.md", "manifest.json"]


@pytest.mark.parametrize(("kind", "method", "pattern"), [
    (500, "POST", "/commit/"), (429, "POST", "/commit/"), ("lost", "POST", "/commit/"), ("cut", "PUT", "/objects/"),
    ("cut", "POST", "/commit/"), (500, "PUT", "/objects/"), (429, "POST", "objects/batch"), (503, "POST", "preupload"),
    (500, "GET", "/tree/"), (429, "POST", "repos/create"), ("lost", "PUT", "/objects/"),
])  # fmt: skip
def test_a_fault_that_passes_costs_nothing(fake, tmp_path, kind, method, pattern):  # noqa: F811
    vectors = shards(tmp_path / "vectors", 4)
    fake.fault(kind, method, pattern, retry_after=0 if kind == 429 else None)
    push(vectors)
    pull(tmp_path / "back")
    same(vectors, tmp_path / "back")
    history = fake.repository(NAME, "dataset").history
    assert len(history) == 2, "a commit whose answer was lost is not made again"
    twice = len(fake.received) - len(set(fake.received))
    assert twice == (kind == "lost" and method == "PUT"), "only what nobody has acknowledged is sent again"


def test_the_hub_is_waited_for_as_long_as_it_says(fake, tmp_path, monkeypatch, capsys):  # noqa: F811
    waits = []
    monkeypatch.setattr(hub_errors.time, "sleep", waits.append)
    fake.fault(429, "POST", "/commit/", retry_after=7)
    push(grow(tmp_path / "vectors", 0))
    assert waits == [7.0] and "trying again in 7 s" in capsys.readouterr().err


@pytest.mark.parametrize(("kind", "expected"), [
    (500, "the Hub failed (500) at datasets/me/vectors; nothing is lost, what has arrived stays; type again: sensorium"),
    (429, "the Hub allows no more requests now (429, the next in 400 s); nothing is lost"),
    ("cut", "gives no answer for datasets/me/vectors"),
    (401, "the Hub does not accept the token of this machine (401); type: hf auth login"),
    (403, "the token may not write to datasets/me/vectors (403); make one that may at"),
    (400, "the Hub refused datasets/me/vectors (400"),
])  # fmt: skip
def test_a_fault_that_stays_is_told_and_the_next_call_goes_on(fake, tmp_path, kind, expected):  # noqa: F811
    vectors = shards(tmp_path / "vectors", 2)
    fake.fault(kind, "POST", "/commit/", times=99, retry_after=400 if kind == 429 else None)
    with pytest.raises(HubError, match=re.escape(expected)) as told:
        push(vectors)
    assert TOKEN not in str(told.value)
    sent = len(fake.received)
    fake.faults.clear()
    assert push(vectors)["files"] == 4 and len(fake.received) == sent, "what has arrived is not sent again"


def test_login_rights_and_names(monkeypatch, tmp_path):
    vectors = grow(tmp_path / "vectors", 0)
    with turned(monkeypatch, tmp_path / "none", token=None), pytest.raises(HubError, match="not logged in .* hf auth"):
        push(vectors)
    for token, said in (("hf_nobody_knows_this", r"does not accept the token of this machine \(401\)"),
                        (READER, r"may not write to datasets/me/vectors \(403\)")):  # fmt: skip
        with turned(monkeypatch, tmp_path / token, token=token), pytest.raises(HubError, match=said):
            push(vectors)
    for name in ("vectors", "me/../x", "/etc", "me/", "../x", "a b/c", "me/x/y", "me/.."):
        with pytest.raises(BadRecipe, match="no repository of the Hub; expected USER/NAME"):
            push(vectors, name)


def test_a_public_data_set_is_not_taken_for_a_private_one(fake, tmp_path):  # noqa: F811
    push(grow(tmp_path / "vectors", 0))
    sent = len(fake.received)
    with pytest.raises(BadRecipe, match="is there already and public, so nothing was sent; make it private at"):
        push(grow(tmp_path / "vectors", 100), private=True)
    assert len(fake.received) == sent


def test_other_encoders_and_other_peoples_files_are_not_touched(fake, tmp_path):  # noqa: F811
    push(grow(tmp_path / "vectors", 0))
    with pytest.raises(Mismatch, match="datasets/me/vectors holds vectors .*choose another name"):
        push(grow(tmp_path / "other", 0, made={"name": "hashing"}))
    fake.put("me/books", {"train.csv": b"a,b\n"}, "dataset")
    with pytest.raises(BadRecipe, match="datasets/me/books holds other files, such as train.csv, and no store"):
        push(tmp_path / "vectors", "me/books")
    fake.put("me/web", {"manifest.json": b'{"name": "an app"}'}, "dataset")
    for call in (lambda: push(tmp_path / "vectors", "me/web"), lambda: pull(tmp_path / "web", "me/web")):
        with pytest.raises(BadData, match=r"holds a manifest.json that is not of a store of sensorium"):
            call()
    with pytest.raises(BadData, match="is no store of sensorium: it holds train.csv, and no manifest.json"):
        pull(tmp_path / "books", "me/books")
    assert not (tmp_path / "books").exists() and not list(tmp_path.glob(".*"))


def test_a_damaged_shard_is_not_sent(fake, tmp_path):  # noqa: F811
    vectors = grow(tmp_path / "vectors", 0)
    path = next(vectors.glob("*.vectors.npy"))
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(Corrupt, match="is damaged: checksum"):
        push(vectors)
    assert fake.received == []


def test_a_file_that_came_wrong_is_refused_and_fetched_anew(fake, tmp_path):  # noqa: F811
    vectors = grow(tmp_path / "vectors", 0)
    push(vectors)
    fake.lie = next(vectors.glob("*.vectors.npy")).name
    with pytest.raises(
        Corrupt, match="is not what the Hub's checksum says; it was deleted, type again: sensorium pull"
    ):
        pull(tmp_path / "back")
    assert not (tmp_path / "back").exists()
    fake.lie = None
    pull(tmp_path / "back")
    same(vectors, tmp_path / "back")


def changed(fake, path, change):  # noqa: F811
    files = fake.files(NAME, "dataset")
    fake.put(NAME, {path: change(files[path])}, "dataset")


def test_a_data_set_that_was_changed_is_refused(fake, tmp_path):  # noqa: F811
    vectors = grow(tmp_path / "vectors", 0)
    push(vectors)
    file = next(vectors.glob("*.vectors.npy")).name
    changed(fake, file, lambda content: content[:-1] + b"\1")
    with pytest.raises(Corrupt, match="datasets/me/vectors itself is damaged: push the store again"):
        pull(tmp_path / "one")
    changed(fake, file, lambda content: content[:-4])
    with pytest.raises(Corrupt, match=f"is not whole: {file} of its manifest is missing or of another size"):
        pull(tmp_path / "two")
    changed(fake, "manifest.json", lambda content: content.replace(b'"dim": 4', b'"dim": 5'))
    with pytest.raises(Corrupt, match="its own checksum does not match"):
        pull(tmp_path / "three")
    changed(fake, "manifest.json", lambda content: b"{")
    with pytest.raises(BadData, match="manifest.json is not valid JSON"):
        pull(tmp_path / "four")


def forged(fake, name, shard="x"):  # noqa: F811
    """A manifest that names a file of this name, its checksum right."""
    file = {"name": name, "bytes": 1, "xxh3": "0" * 32}
    one = manifest.Shard(shard, 1, 1, 0, {"vectors": manifest.File(**file), "items": manifest.File(**file)})
    return manifest.Manifest(MADE, 4, "float32", False, {}, (one,))


@pytest.mark.parametrize("name", ["../../x.vectors.npy", "/tmp/x.vectors.npy", "a/x.vectors.npy", "x.pkl", "run.py"])
def test_no_name_leads_out_of_the_folder_and_no_other_file_is_fetched(fake, tmp_path, name):  # noqa: F811
    forged(fake, name).write(tmp_path)
    fake.put(NAME, {"manifest.json": (tmp_path / "manifest.json").read_bytes(), "x": b"1"}, "dataset")
    with pytest.raises(Corrupt, match="no file of a store; do not use it"):
        pull(tmp_path / "back")


@pytest.mark.parametrize("path", ["../escaped.txt", "/etc/escaped", "a/../../escaped", "c:\\escaped", "a//b"])
def test_a_list_of_files_that_leads_out_is_refused_before_anything_is_fetched(fake, tmp_path, path):  # noqa: F811
    push(grow(tmp_path / "vectors", 0))
    fake.put(NAME, {path: b"x"}, "dataset")
    with pytest.raises(Corrupt, match="which leads out of the folder; nothing was fetched"):
        pull(tmp_path / "back")
    assert not any("/resolve/" in asked for asked in fake.asked)


def test_a_pickle_in_a_data_set_stays_there(fake, tmp_path):  # noqa: F811
    push(grow(tmp_path / "vectors", 0))
    fake.put(NAME, {"evil.pkl": b"\x80\x04.", "load.py": b"raise SystemExit"}, "dataset")
    pull(tmp_path / "back")
    assert {path.suffix for path in (tmp_path / "back").iterdir()} <= {".npy", ".parquet", ".json", ""}
    assert not any(name in asked for asked in fake.asked for name in ("evil.pkl", "load.py"))


def test_revisions_and_folders_that_are_there(fake, tmp_path):  # noqa: F811
    vectors = grow(tmp_path / "vectors", 0)
    push(vectors)
    first = fake.repository(NAME, "dataset").refs["main"]
    push(grow(vectors, 100))
    assert pull(tmp_path / "first", revision=first)["stores"] == {str(tmp_path / "first"): 3}
    assert pull(tmp_path / "last")["stores"] == {str(tmp_path / "last"): 6}
    with pytest.raises(HubError, match="datasets/me/vectors at v9: there is no such revision"):
        pull(tmp_path / "none", revision="v9")
    with pytest.raises(HubError, match="the Hub has no datasets/me/none, or it is private and not yours"):
        pull(tmp_path / "none", "me/none")
    with pytest.raises(BadRecipe, match="last is there already; choose another folder with --out"):
        pull(tmp_path / "last")


def test_a_pull_that_was_cut_goes_on(fake, tmp_path):  # noqa: F811
    vectors = shards(tmp_path / "vectors", 3)
    push(vectors)
    name = sorted(path.name for path in vectors.glob("*.npy"))[-1]
    fake.fault(500, "GET", f"/resolve/.*{name}", times=99)
    with pytest.raises(HubError, match="type again: sensorium pull datasets/me/vectors"):
        pull(tmp_path / "back")
    fake.faults.clear()
    before = len(fake.requests)
    pull(tmp_path / "back")
    fetched = {
        path.rsplit("/", 1)[1] for method, path, _ in fake.requests[before:] if method == "GET" and "/resolve/" in path
    }
    assert name in fetched and len(fetched) < 6, "files that came before are not fetched again"
    same(vectors, tmp_path / "back")


def test_several_stores_in_one_data_set(fake, tmp_path):  # noqa: F811
    left, right = grow(tmp_path / "left", 0), grow(tmp_path / "right", 0, made={"name": "birdnet"})
    push(left, under="left")
    push(right)
    assert {"left/manifest.json", "right/manifest.json"} < names(fake)
    assert pull(tmp_path / "both")["stores"] == {str(tmp_path / "both" / n): 3 for n in ("left", "right")}
    same(left, tmp_path / "both" / "left")
    same(right, tmp_path / "both" / "right")
    card = fake.files(NAME, "dataset")["README.md"].decode()
    assert "| left | minilm | 3 | 3 | 4 | float32 |" in card and "| right | birdnet |" in card
    assert "Weights of the encoder birdnet: CC BY-NC-SA 4.0: not for commercial use." in card
    assert "left/*.items.parquet" in card


def test_the_card_is_what_the_hub_accepts_and_its_owner_may_write_it(fake, tmp_path):  # noqa: F811
    from huggingface_hub import DatasetCard

    vectors = grow(tmp_path / "vectors", 0)
    push(vectors, licence="cc-by-4.0")
    card = fake.files(NAME, "dataset")["README.md"].decode()
    assert fake.cards[-1] == {"repoType": "dataset", "content": card}
    data = DatasetCard(card).data.to_dict()
    assert (data["license"], data["size_categories"]) == ("cc-by-4.0", ["n<1K"]) and "sensorium" in data["tags"]
    assert "sensorium pull datasets/me/vectors --out vectors" in card and 'store.open("vectors")' in card
    push(grow(vectors, 100))
    assert "license: cc-by-4.0" in fake.files(NAME, "dataset")["README.md"].decode(), "stated once, it stays"
    with pytest.raises(BadRecipe, match='does not accept the card .* nothing was sent: .*"license" must be one of'):
        push(grow(vectors, 200), licence="my own words")
    fake.put(NAME, {"README.md": b"---\nlicense: mit\n---\n# My own page\n"}, "dataset")
    push(vectors)
    assert b"My own page" in fake.files(NAME, "dataset")["README.md"]


def test_the_hubs_checksums_are_those_of_git():
    content = b"hello\n"
    known = hub_files.File(6, "", "ce013625030ba8dba906f756967f9e9ca394464a")  # git hash-object
    assert known.is_of(content) and not known.is_of(b"hallo\n") and not known.is_of(b"hello")
    assert str(Place("me/x", "dataset")) == "datasets/me/x" and str(Place("me/x", "model")) == "me/x"


def test_no_message_holds_an_address_or_a_token():
    said = f"PUT https://s3.example.org/a?X-Amz-Signature=abc with {TOKEN} and Bearer abc.def failed"
    assert hub_errors.plain(said) == "PUT … with … and … failed"


def test_a_large_manifest_is_read_no_further(fake, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setattr(hub_files, "_LARGE_JSON", 10)
    fake.put(NAME, {"manifest.json": json.dumps({"format": manifest.FORMAT}).encode()}, "dataset")
    with pytest.raises(BadData, match="manifest.json has 29 bytes, which no file of ours has"):
        pull(tmp_path / "back")
    assert hub.name("a.b-c/d_e") == "a.b-c/d_e"

"""push, pull and embed --push-to, typed: killed and resumed, faults of the network, and a token that is shown nowhere."""

import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from fake_hub import TOKEN, FakeHub
from hub_here import command, environment, turned, typed

from sensorium import store
from sensorium.errors import BadData, BadRecipe, HubError
from sensorium.store import mirror, mirroring, watching
from sensorium.types import Items

pytest.importorskip("huggingface_hub")
MADE = {"name": "hashing"}


def filled(folder, shards=30, width=64):
    rng = np.random.default_rng(0)
    for at in range(shards):
        store.append(folder, [f"{at}-{i}" for i in range(8)], rng.normal(size=(8, width)).astype(np.float32), MADE)
    return folder


def killed_after(fake, objects, words, home):
    """Start a command and kill it when so many files have come; returns what it wrote."""
    full = threading.Event()
    fake.after = lambda count: full.set() if count >= objects else time.sleep(0.01)
    process = subprocess.Popen(command(*words), env=environment(fake, home), stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)  # fmt: skip
    assert full.wait(100), process.communicate(timeout=5)
    listing = Path(f"/proc/{process.pid}")
    seen = (listing / "cmdline").read_text() if listing.is_dir() else ""
    process.send_signal(signal.SIGKILL)
    out, err = process.communicate(timeout=30)
    fake.after = None
    return out + err + seen


def test_killed_and_resumed_nothing_is_sent_twice_and_no_token_is_shown(tmp_path):
    vectors = filled(tmp_path / "vectors")
    with FakeHub() as fake:
        shown = killed_after(fake, 20, ("push", vectors, "me/vectors"), tmp_path / "home")
        assert len(fake.repository("me/vectors", "dataset").history) == 1, "nothing is published by then"
        done = typed(fake, tmp_path / "home", "push", vectors, "me/vectors", "--json")
        assert done.returncode == 0, done.stderr
        assert len(fake.received) == len(set(fake.received)) == 60
        assert len(fake.repository("me/vectors", "dataset").history) == 2, "one commit"
        shown += done.stdout + done.stderr
        typed(fake, tmp_path / "home", "pull", "me/vectors", "--out", tmp_path / "back")
        assert not store.verify(tmp_path / "back") and len(store.open(tmp_path / "back")) == 240
        for path in (p for p in tmp_path.rglob("*") if p.is_file()):
            assert TOKEN.encode() not in path.read_bytes(), path
    assert TOKEN not in shown


def test_errors_are_one_line_that_says_what_to_type_without_the_token(tmp_path):
    vectors = filled(tmp_path / "vectors", 1)
    with FakeHub() as fake:
        none = typed(fake, tmp_path / "home", "push", vectors, "me/vectors", token=None)
        assert none.returncode == 2 and "not logged in to the Hub; type: hf auth login" in none.stderr
        fake.fault(401, "POST", "/repos/create")
        done = typed(fake, tmp_path / "home", "push", vectors, "me/vectors")
        assert done.returncode == 2 and done.stderr.count("\n") == 1 and "does not accept the token" in done.stderr
        assert TOKEN not in done.stdout + done.stderr
        (tmp_path / "home").mkdir(exist_ok=True)
        (tmp_path / "home" / "token").write_text(TOKEN)
        assert typed(fake, tmp_path / "home", "push", vectors, "me/vectors", token=None).returncode == 0, "a login"


def test_help_opens_with_something_to_paste_and_takes_no_token(tmp_path):
    for verb in ("push", "pull"):
        shown = subprocess.run(
            command(verb, "--help"), env=os.environ | {"COLUMNS": "100"}, capture_output=True, text=True
        )
        assert f"sensorium {verb} " in shown.stdout.split("Arguments")[0]
        assert "--token" not in shown.stdout


class Slow:
    """An encoder whose calls wait until they may go on."""

    takes, dim, batch, frames, joins, parted = "text", 4, 5, False, False, False

    def __init__(self, waits):
        self.fingerprint, self.waits, self.calls = {"name": "slow"}, waits, 0

    def cost(self, values):
        return ""

    def encode(self, values):
        self.calls += 1
        self.waits(self.calls)
        return np.array([[len(v), self.calls, 1, 2] for v in values], np.float32)


def texts(n):
    return Items(np.array([f"t{i}" for i in range(n)]), np.array([f"word {i}" for i in range(n)]), "text")


def embed(folder, n, waits=lambda call: None):
    return store.embed(texts(n), Slow(waits), folder, progress=False)


def test_new_shards_are_sent_while_embedding_goes_on(monkeypatch, tmp_path):
    with turned(monkeypatch, tmp_path / "home") as fake:

        def waits(call):  # the fifth call waits until the Hub has the first items
            end = time.monotonic() + 20
            while call == 5 and len(fake.repository("me/vectors", "dataset").history) < 2 and time.monotonic() < end:
                time.sleep(0.01)

        with mirroring.mirrored("me/vectors", every=10, again="again", progress=False) as sender:
            embed(tmp_path / "words", 40, waits)
            during = [len(files) for _, _, files, _ in fake.repository("me/vectors", "dataset").history]
        assert len(during) >= 2, "something was published before the embedding ended"
        assert len(fake.received) == len(set(fake.received)), "no shard twice"
        assert sender.files == len(fake.received)
        mirror.pull("me/vectors", tmp_path / "back", progress=False)
        assert store.open(tmp_path / "back").ids.tolist() == store.open(tmp_path / "words").ids.tolist()
        assert len(store.open(tmp_path / "back")) == 40


def test_a_hub_that_hangs_does_not_slow_the_embedding(monkeypatch, tmp_path):
    with turned(monkeypatch, tmp_path / "home") as fake:
        release = threading.Event()
        fake.after = lambda count: release.wait(30)
        with mirroring.mirrored("me/vectors", every=5, again="again", progress=False):
            embed(tmp_path / "words", 40)
            assert len(fake.received) <= 5, "all is embedded while the first files are on their way"
            release.set()
        mirror.pull("me/vectors", tmp_path / "back", progress=False)
        assert len(store.open(tmp_path / "back")) == 40


def test_the_network_fails_the_embedding_does_not(monkeypatch, tmp_path, capsys):
    with turned(monkeypatch, tmp_path / "home") as fake:
        fake.fault(500, "POST", "/commit/", times=999)
        with (
            pytest.raises(
                HubError, match="everything is embedded, but not everything is on the Hub: .* type again: AG"
            ),
            mirroring.mirrored("me/vectors", every=10, again="AGAIN"),
        ):
            embed(tmp_path / "words", 40)
        assert len(store.open(tmp_path / "words")) == 40
        assert "embedding goes on, and the next push tries again" in capsys.readouterr().err
        fake.faults.clear()
        before = len(fake.received)
        with mirroring.mirrored("me/vectors", every=10, again="AGAIN", progress=False):
            embed(tmp_path / "words", 40)
        mirror.pull("me/vectors", tmp_path / "back", progress=False)
        assert len(store.open(tmp_path / "back")) == 40 and len(fake.received) == len(set(fake.received)) >= before


def test_without_a_login_nothing_is_embedded_and_without_a_network_all_is(monkeypatch, tmp_path):
    nobody, refused = turned(monkeypatch, tmp_path / "home", token=None), pytest.raises(HubError, match="not logged in")
    with nobody, refused, mirroring.mirrored("me/vectors", again="again"):
        raise AssertionError("the block must not begin")
    with turned(monkeypatch, tmp_path / "home") as fake:
        fake.fault("cut", "POST", "/repos/create", times=999)
        with pytest.raises(HubError, match="everything is embedded, but"), mirroring.mirrored("me/v", again="again"):
            embed(tmp_path / "words", 10)
        assert len(store.open(tmp_path / "words")) == 10
    with (
        pytest.raises(BadRecipe, match="--push-every 0; expected a number of items"),
        mirroring.mirrored("me/v", every=0),
    ):
        raise AssertionError("the block must not begin")


def test_a_bad_item_ends_the_embedding_as_ever(monkeypatch, tmp_path):
    def fails(call):
        if call == 3:
            raise BadData("a bad item")

    with turned(monkeypatch, tmp_path / "home"):
        with pytest.raises(BadData, match="a bad item"), mirroring.mirrored("me/v", every=5, progress=False):
            embed(tmp_path / "words", 40, fails)
        assert watching.current() is None
        assert len(store.open(tmp_path / "words")) == 10, "what was encoded before stays"


def test_no_more_pushes_begin_in_an_hour_than_the_hub_allows(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(mirroring.time, "monotonic", lambda: now[0])
    sender = mirroring.Mirror("me/v", 1, False, "again", False)

    def waits(seconds=None):
        now[0] += seconds

    monkeypatch.setattr(sender._ends, "wait", waits)
    begun = 0
    while now[0] < 3600 and sender._may_begin():
        begun += 1
        now[0] += 0.5
    assert 100 <= begun <= 128


@pytest.mark.slow
def test_embed_with_a_mirror_typed(tmp_path):
    recipe = tmp_path / "small.toml"
    recipe.write_text('name = "small"\n[data]\nname = "glyphs"\nfonts = ["STIXSizOneSymReg"]\ntest = 10\nvalidation = 8\n'
                      '[left]\nencoder = "hog"\nhead = "linear"\n[right]\nencoder = { name = "hashing", dim = 64 }\n'
                      'head = "linear"\n[objective]\nname = "ridge"\n')  # fmt: skip
    with FakeHub() as fake:
        words = (
            "embed",
            recipe,
            "--out",
            tmp_path / "runs" / "x",
            "--push-to",
            "me/v",
            "--push-every",
            "20",
            "--private",
        )
        done = typed(fake, tmp_path / "home", *words)
        assert done.returncode == 0, done.stderr
        assert fake.repository("me/v", "dataset").private and TOKEN not in done.stdout + done.stderr
        there = typed(fake, tmp_path / "home", "pull", "me/v", "--out", tmp_path / "back", "--json")
        assert len(there.stdout.splitlines()) == 2
        for stored in (tmp_path / "runs" / "embeddings").iterdir():
            assert np.array_equal(store.open(stored).vectors, store.open(tmp_path / "back" / stored.name).vectors)

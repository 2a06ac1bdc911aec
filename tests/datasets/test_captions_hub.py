"""data.hub: caches of a data set of the Hub, against a Hub on this machine: fetched once, verified, and how it fails."""

import json

import hub_here
import made_captions as made
import pytest
from typer.testing import CliRunner

from sensorium import errors, parts
from sensorium.cli import app
from sensorium.datasets import _captions_hub
from sensorium.errors import BadData, BadRecipe, Corrupt

fake = hub_here.fake
NAME = "someone/audio-text"


def load(**keys):
    return parts.make("datasets", {"name": "clotho", **keys}, "data").load()


@pytest.fixture
def caches(tmp_path):
    """{path: bytes} of a data set as the document mirrors it: a folder a split, pictures beside."""
    for at, split in enumerate(("development", "validation", "evaluation")):
        made.cache(tmp_path / "published" / split, n=5, each=2, first=10 * at)
    files = {
        p.relative_to(tmp_path / "published").as_posix(): p.read_bytes() for p in (tmp_path / "published").rglob("*.*")
    }
    return files | {"development/pseudo_images/audio/x.png": b"a picture", "README.md": b"# embeddings"}


def test_the_caches_alone_are_fetched_once_and_read_from_the_disk(fake, caches, tmp_path):
    fake.put(NAME, caches, "dataset")
    data = load(hub=NAME, root=str(tmp_path / "to"))
    assert len(data.left) == 15 and set(data.pairs.split.tolist()) == {"train", "validation", "test"}
    there = {p.relative_to(tmp_path / "to" / "embeddings").as_posix() for p in (tmp_path / "to" / "embeddings").rglob("*.*")
             if ".cache" not in p.parts}  # fmt: skip
    assert there == {path for path in caches if "png" not in path and "README" not in path} | {"hub.json"}
    asked = len(fake.requests)
    assert len(load(hub=NAME, root=str(tmp_path / "to")).left) == 15 and len(fake.requests) == asked
    assert len(load(cache=str(tmp_path / "to" / "embeddings")).left) == 15  # as the document's own download leaves it


def test_one_folder_and_one_revision_of_it_without_a_root(fake, caches, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    fake.put(NAME, {f"runs/{path}": content for path, content in caches.items()}, "dataset")
    data = load(hub=f"{NAME}@main/runs/development")
    assert data.left.ids.tolist() == [f"development/x{at}.wav" for at in range(5)]
    assert (tmp_path / "cache" / "sensorium" / "hub" / "someone--audio-text@main" / "runs" / "development").is_dir()
    with pytest.raises(BadData, match=f"holds no audio_embeddings.pt in '.' or directly below it; type: data.hub={NAME}/runs/"
                                      "development"):  # fmt: skip
        load(hub=NAME)


def test_the_verb_download_takes_the_cache_of_the_hub(fake, caches, tmp_path):
    fake.put(NAME, caches, "dataset")
    words = ["download", "clotho", f"data.root={tmp_path / 'to'}", f"data.hub={NAME}", "--json"]
    done = CliRunner().invoke(app, words, catch_exceptions=False)
    assert json.loads(done.stdout) == {"folder": str(tmp_path / "to" / "embeddings")}
    assert len(load(cache=str(tmp_path / "to" / "embeddings")).left) == 15


def test_what_the_hub_does_not_give_or_gives_wrong(fake, caches, tmp_path):
    with pytest.raises(errors.HubError, match="has no datasets/someone/audio-text"):
        load(hub=NAME, root=str(tmp_path / "a"))
    fake.put(NAME, {"README.md": b"nothing"}, "dataset")
    with pytest.raises(
        BadData, match="holds no audio_embeddings.pt in '.' or directly below it; expected audio_embeddings.pt"
    ):
        load(hub=NAME, root=str(tmp_path / "a"))
    fake.put(NAME, caches, "dataset")
    fake.lie = "validation/text_embeddings.pt"
    with pytest.raises(Corrupt, match="validation/text_embeddings.pt"):
        load(hub=NAME, root=str(tmp_path / "a"))
    assert not (tmp_path / "a" / "embeddings" / _captions_hub.ABOUT).exists()
    fake.lie = None
    fake.fault(500, "GET", "/resolve/")
    assert len(load(hub=NAME, root=str(tmp_path / "a")).left) == 15  # tried again, and gone on with


@pytest.mark.parametrize("address", ["name", "a b/c", "https://x.org/a/b", "a/b@"])
def test_what_is_no_address_says_what_one_is(address, tmp_path):
    with pytest.raises(BadRecipe, match="expected USER/NAME, USER/NAME@REVISION or USER/NAME/FOLDER"):
        load(hub=address, root=str(tmp_path))
    with pytest.raises(BadRecipe, match="data.cache and data.hub are given"):
        load(hub=NAME, cache="x")
    with pytest.raises(BadRecipe, match=r"nothing to fetch without a data set of the Hub; type: data\.hub=USER/NAME"):
        parts.make("datasets", {"name": "captioned", "root": str(tmp_path)}, "data").obtain()

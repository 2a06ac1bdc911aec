"""sensorium images --push-to: the store and its pictures in one data set, sent once, and nothing else."""

import json
from pathlib import Path

import numpy as np
import pytest
from fake_hub import FakeHub
from hub_here import typed

from sensorium import store

pytest.importorskip("huggingface_hub")


def vectors(folder: Path) -> Path:
    x = np.random.default_rng(0).standard_normal((12, 30)).astype(np.float32)
    store.append(folder, [f"w{i}" for i in range(12)], x, {"name": "mfcc"})
    return folder


def test_a_store_and_its_pictures_are_sent_once(tmp_path: Path) -> None:
    made, out = vectors(tmp_path / "vectors"), tmp_path / "out"
    out.mkdir()
    (out / "secret.txt").write_text("mine")
    words = ("images", made, "--out", out, "--size", "8", "--push-to", "me/sounds", "--json")
    with FakeHub() as fake:
        done = typed(fake, tmp_path / "home", *words)
        assert done.returncode == 0, done.stderr
        (row,) = map(json.loads, done.stdout.splitlines())
        assert row["made"] == 12 and row["url"].endswith("/datasets/me/sounds")
        names = set(fake.files("me/sounds", "dataset"))
        pictures = {name for name in names if name.startswith("pseudo_images/")}
        assert pictures == {f"pseudo_images/audio/audio_w{i}.png" for i in range(12)} | {
            "pseudo_images/audio-sheet.png"
        }
        assert "manifest.json" in names and not any("secret" in name for name in names)
        before = list(fake.received)
        again = typed(fake, tmp_path / "home", *words)
        assert json.loads(again.stdout)["made"] == 0 and fake.received == before, "nothing is sent twice"
        back = typed(fake, tmp_path / "home", "pull", "datasets/me/sounds", "--out", tmp_path / "back")
        assert back.returncode == 0 and len(store.open(tmp_path / "back")) == 12, back.stderr


def test_what_is_refused_before_pictures_are_made(tmp_path: Path) -> None:
    made = vectors(tmp_path / "vectors")
    with FakeHub() as fake:
        done = typed(fake, tmp_path / "home", "images", made, "--out", tmp_path / "out", "--push-to", "nobody")
        assert done.returncode == 2 and "'nobody' is no repository of the Hub" in done.stderr
        done = typed(fake, tmp_path / "home", "images", made, "--out", tmp_path / "out", "--push-to", "a/b", token=None)
        assert done.returncode == 2 and "not logged in to the Hub" in done.stderr
    assert not (tmp_path / "out").exists()

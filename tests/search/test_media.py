"""What items look like is kept with the run: lossless, and nothing outside the data's folder is ever shown."""

import io
import json
import wave

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sensorium.errors import BadData, Corrupt
from sensorium.modalities.audio.files import wav
from sensorium.modalities.image.files import png
from sensorium.search import media
from sensorium.types import Items


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 20), st.integers(1, 20), st.sampled_from([(), (3,), (4,)]), st.integers(0, 2**32 - 1))
def test_png_is_read_by_others_without_loss(height, width, channels, seed):
    picture = np.random.default_rng(seed).integers(0, 256, (height, width, *channels), np.uint8)
    assert (np.asarray(Image.open(io.BytesIO(png(picture)))) == picture).all()


@pytest.mark.parametrize("channels", [1, 2])
def test_wav_is_read_by_others(channels):
    samples = np.random.default_rng(0).uniform(-1, 1, (50, channels)).astype(np.float32)
    with wave.open(io.BytesIO(wav(samples, 8000))) as file:
        assert (file.getframerate(), file.getnchannels(), file.getnframes()) == (8000, channels, 50)
        found = np.frombuffer(file.readframes(50), "<i2").reshape(50, channels) / 32767
    np.testing.assert_allclose(found, samples, atol=1 / 32767)


def test_arrays_are_packed_and_found_by_id(tmp_path):
    pictures = np.random.default_rng(0).integers(0, 256, (5, 6, 7), np.uint8)
    items = Items(np.array(list("abcde")), pictures, "image")
    assert media.build(items, np.array([0, 2, 4]), tmp_path, "left") == 3
    kept = media.open(tmp_path, "left")
    assert "c" in kept and "b" not in kept and kept.get("b") is None
    kind, content = kept.get("e")
    assert kind == "image/png" and (np.asarray(Image.open(io.BytesIO(content))) == pictures[4]).all()
    assert media.open(tmp_path, "right") is None


def test_text_and_vectors_keep_nothing(tmp_path):
    assert media.build(Items(np.array(["a"]), ["text"], "text"), np.array([0]), tmp_path, "left") == 0
    assert media.open(tmp_path, "left") is None


def test_paths_are_shown_only_inside_the_datas_folder(tmp_path):
    root, outside = tmp_path / "data", tmp_path / "outside"
    (root / "deep").mkdir(parents=True)
    outside.mkdir()
    (root / "a.wav").write_bytes(b"a")
    (root / "deep" / "b.wav").write_bytes(b"b")
    (outside / "secret.wav").write_bytes(b"secret")
    for name in ("link.wav", "gone.wav", "page.html", "loop.wav"):
        (root / name).write_bytes(b"x")
    names = ["a.wav", "deep/b.wav", "link.wav", "gone.wav", "page.html", "loop.wav"]
    items = Items(np.array(names), [str(root / name) for name in names], "audio")
    media.build(items, np.arange(len(names)), tmp_path / "run", "left")
    (root / "link.wav").unlink()
    (root / "link.wav").symlink_to(outside / "secret.wav")
    (root / "gone.wav").unlink()
    (root / "loop.wav").unlink()
    (root / "loop.wav").symlink_to(root / "loop.wav")
    kept = media.open(tmp_path / "run", "left")
    assert kept.get("a.wav") == ("audio/wav", (root / "a.wav").resolve())
    assert kept.get("deep/b.wav")[1].read_bytes() == b"b"
    for name in ("link.wav", "gone.wav", "page.html", "loop.wav", "../outside/secret.wav"):
        assert kept.get(name) is None
    (root / "deep" / "b.wav").unlink()
    (root / "deep").rmdir()
    (root / "deep").symlink_to(outside)
    (outside / "b.wav").write_bytes(b"secret")
    assert kept.get("deep/b.wav") is None, "a folder that became a link to the outside"


def test_sounds_of_samples_and_other_values(tmp_path):
    class Recipe:
        """A recipe for samples, which nothing is kept of."""

    values = [(np.zeros(10, np.float32), 8000), Recipe()]
    assert media.build(Items(np.array(["a", "b"]), values, "audio"), np.arange(2), tmp_path, "left") == 1
    kept = media.open(tmp_path, "left")
    assert kept.get("a")[1].startswith(b"RIFF") and kept.get("b") is None


def test_damage_and_shapes_are_named(tmp_path):
    items = Items(np.array(["a"]), np.zeros((1, 4, 4), np.uint8), "image")
    media.build(items, np.array([0]), tmp_path, "left")
    (tmp_path / "media" / "left.bin").write_bytes(b"short")
    with pytest.raises(Corrupt, match="bytes long; make it anew: sensorium index RUN"):
        media.open(tmp_path, "left")
    (tmp_path / "media" / "left.json").write_text("{}")
    with pytest.raises(Corrupt, match="format"):
        media.open(tmp_path, "left")
    with pytest.raises(BadData, match=r"expected \(h, w\)"):
        png(np.zeros((2, 2, 2), np.uint8))
    with pytest.raises(BadData, match="float or int16"):
        wav(np.zeros(3, np.int64), 8000)


def test_clips_behind_links_are_shown(tmp_path):
    """As caches of hubs and git-annex lay them out: the link has the ending, its target a hash for a name."""
    blobs, data = tmp_path / "blobs", tmp_path / "data"
    blobs.mkdir()
    data.mkdir()
    for name in ("a", "b"):
        (blobs / f"hash{name}").write_bytes(name.encode())
        (data / f"{name}.wav").symlink_to(blobs / f"hash{name}")
    (data / "c.html").write_bytes(b"<script>")
    ids = np.array(["a", "b", "c"])
    items = Items(ids, [str(data / "a.wav"), str(data / "b.wav"), str(data / "c.html")], "audio")
    assert media.build(items, np.arange(3), tmp_path / "run", "left") == 2
    shown = media.open(tmp_path / "run", "left")
    assert shown.get("a") == ("audio/wav", blobs / "hasha") and "b" in shown
    (blobs / "hashb").unlink()
    (blobs / "hashb").symlink_to(blobs / "hasha")
    assert shown.get("b") is None  # another file than the run was made of
    assert "c" not in shown and shown.get("c") is None  # nothing is promised that is not served


@pytest.mark.parametrize(
    "change",
    [{"type": "text/html"}, {"type": "image/svg+xml"}, {"type": 3}, {"root": 3}, {"bytes": "x"}, {"format": 9}],
)
def test_a_record_of_another_hand_is_refused(tmp_path, change):
    media.build(Items(np.array(["a"]), np.zeros((1, 4, 4), np.uint8), "image"), np.array([0]), tmp_path, "left")
    path = tmp_path / "media" / "left.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(Corrupt, match="media type|has no root|not of format"):
        media.open(tmp_path, "left")


@pytest.mark.parametrize("key", ["root", "bytes", "type", "format"])
def test_a_record_without_one_of_its_keys_is_refused(tmp_path, key):
    media.build(Items(np.array(["a"]), np.zeros((1, 4, 4), np.uint8), "image"), np.array([0]), tmp_path, "left")
    path = tmp_path / "media" / "left.json"
    path.write_text(json.dumps({name: value for name, value in json.loads(path.read_text()).items() if name != key}))
    with pytest.raises(Corrupt, match="has no root|not of format"):
        media.open(tmp_path, "left")


def test_paths_without_the_folder_that_they_lie_in_are_refused(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"a")
    media.build(Items(np.array(["a"]), [str(tmp_path / "a.wav")], "audio"), np.array([0]), tmp_path, "left")
    path = tmp_path / "media" / "left.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "root": None}))
    with pytest.raises(Corrupt, match="has no root for the paths of left.parquet; make it anew"):
        media.open(tmp_path, "left")

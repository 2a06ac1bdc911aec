"""Pseudo-images: torch's own resizing is the oracle; vectors come back where the picture holds them; files on disk."""

import json
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from sensorium.errors import BadData, BadRecipe
from sensorium.heads._pseudo import PseudoImages
from sensorium.modalities.image import files, pseudo_files, resize
from sensorium.modalities.image.pseudo import Bounds, PseudoImage

WORDS = {"mode": st.sampled_from(resize.MODES), "channels": st.sampled_from(["split", "replicate"]),
         "minmax": st.sampled_from(["image", "channel", "none"]), "clamp": st.booleans()}  # fmt: skip


def vectors(n: int, dim: int, seed: int = 0, scale: float = 1.0) -> np.ndarray:
    return (scale * np.random.default_rng(seed).standard_normal((n, dim))).astype(np.float32)


def documents(x: np.ndarray, wants: PseudoImage) -> np.ndarray:
    """The document's steps in torch, in its own order and operations."""
    x = torch.from_numpy(x)
    planes = 3 if wants.channels == "split" else 1
    side = 1
    while planes * side * side < x.shape[1]:
        side += 1
    x = F.pad(x, (0, planes * side * side - x.shape[1])).view(len(x), planes, side, side)
    x = x.clamp(-1, 1) if wants.clamp else x
    x = F.interpolate(x, size=(wants.size, wants.size), mode=wants.mode)
    x = x.repeat(1, 3, 1, 1) if planes == 1 else x
    if wants.minmax != "none":
        axes = (-2, -1) if wants.minmax == "channel" else (-3, -2, -1)
        low, high = x.amin(axes, keepdim=True), x.amax(axes, keepdim=True)
        x = (x - low) / (high - low + 1e-8)
    return x.numpy()


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 900), st.integers(1, 140), st.fixed_dictionaries(WORDS), st.integers(0, 99))
@example(768, 128, {"mode": "nearest", "channels": "split", "minmax": "image", "clamp": False}, 0)
def test_it_is_the_documents_transform(dim: int, size: int, words: dict, seed: int) -> None:
    wants, x = PseudoImage(size, **words), vectors(3, dim, seed, 0.05 if seed % 2 else 1.0)
    if wants.mode == "nearest-exact" and wants.side(dim) == 2:
        return  # where a pixel falls between two values exactly, torch takes either
    made, expected = wants.to_image(x), documents(x, wants)
    assert made.shape == (3, 3, size, size) and made.dtype == np.float32
    if wants.mode in resize.NEAREST:
        np.testing.assert_array_equal(made, expected)
    elif wants.minmax == "none":
        np.testing.assert_allclose(made, expected, rtol=0, atol=1e-6 * max(1.0, np.abs(x).max()))
    else:  # a picture of one pixel, or of equal ones, has no range: its rounding would be divided by nearly nothing
        spread = documents(x, PseudoImage(size, **{**words, "minmax": "none"}))
        axes = (2, 3) if wants.minmax == "channel" else (1, 2, 3)
        some = np.ptp(spread, axis=axes).reshape(3, -1).min() > 0.1 * np.abs(x).max()
        np.testing.assert_allclose(made, expected, rtol=0, atol=4e-6 if some else 1.0)
    one = wants.to_image(x[1])
    np.testing.assert_array_equal(one, made[1])  # a vector alone, and in a batch


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 300), st.integers(1, 70), st.fixed_dictionaries(WORDS), st.booleans())
def test_the_picture_in_torch_is_that_of_numpy(dim: int, size: int, words: dict, quantize: bool) -> None:
    wants = PseudoImage(size, **words, quantize=quantize and words["minmax"] != "none")
    x = vectors(4, dim, size)
    found = PseudoImages(wants, dim)(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(found, wants.to_image(x), rtol=0, atol=1e-6)
    if wants.quantize:
        np.testing.assert_array_equal(found, PseudoImage.from_pixels(wants.pixels(x)))


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 900), st.integers(1, 140), st.fixed_dictionaries(WORDS), st.floats(1e-3, 1e3))
def test_a_vector_comes_back_where_the_picture_holds_it(dim: int, size: int, words: dict, scale: float) -> None:
    """Size of its square or more, nearest neighbours, nothing clamped: or the picture says that it cannot."""
    wants, x = PseudoImage(size, **words), vectors(3, dim, size, scale)
    image, bounds = wants.with_bounds(x)
    side = wants.side(dim)
    holds = size >= side and (wants.mode in resize.NEAREST or size == side) and not wants.clamp
    assert wants.invertible(dim) == holds
    if not holds:
        with pytest.raises(BadRecipe, match="cannot be read back from its pseudo-image"):
            wants.to_vector(image, dim, bounds)
        return
    reach = np.abs(x).max()
    np.testing.assert_allclose(wants.to_vector(image, dim, bounds), x, rtol=0, atol=1e-6 * reach)
    np.testing.assert_array_equal(
        wants.to_vector(image[2], dim, Bounds(*(one[2] for one in bounds))), wants.to_vector(image, dim, bounds)[2]
    )
    if wants.minmax == "none":
        return
    levels = PseudoImage.from_pixels(wants.pixels(x))
    most = (bounds.high - bounds.low).max() / 255
    np.testing.assert_allclose(wants.to_vector(levels, dim, bounds), x, rtol=0, atol=most * 1.001)
    if wants.minmax == "image" and dim > 2:  # without bounds: up to scale and shift
        free = wants.to_vector(image, dim)
        low, high = (one.reshape(3, 1) for one in bounds)
        np.testing.assert_allclose(free, (x - low) / (high - low), rtol=0, atol=1e-5)


def test_the_squares_that_vectors_need() -> None:
    split, one = PseudoImage(), PseudoImage(channels="replicate")
    assert [split.side(d) for d in (1, 3, 4, 768, 769, 1024, 384)] == [1, 1, 2, 16, 17, 19, 12]
    assert [one.side(d) for d in (1, 2, 4, 5, 768, 784, 785)] == [1, 2, 2, 3, 28, 28, 29]
    image = PseudoImage(16, minmax="none").to_image(np.arange(768, dtype=np.float32))
    np.testing.assert_array_equal(image, np.arange(768).reshape(3, 16, 16))  # planes one after the other, row by row


def test_equal_values_and_integers() -> None:
    np.testing.assert_array_equal(PseudoImage(4).to_image(np.full(12, 7)), np.zeros((3, 4, 4)))
    assert PseudoImage(4, quantize=True).to_image(np.arange(12)).max() == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mode": "nearst"}, "pseudo-images: mode 'nearst'; did you mean 'nearest'"),
        ({"channels": "rgb"}, "pseudo-images: channels 'rgb'; known: replicate, split"),
        ({"minmax": "images"}, "pseudo-images: minmax 'images'; did you mean 'image'"),
        ({"size": 0}, "pseudo-images: size=0; expected a number of pixels from 1 to 1024"),
        ({"size": 2000}, "size=2000; expected a number of pixels"),
        ({"size": True}, "size=True; expected a number of pixels"),
        ({"quantize": True, "minmax": "none"}, "quantize takes values of 0 to 1"),
    ],
)
def test_settings_that_cannot_be(arguments: dict, message: str) -> None:
    with pytest.raises(BadRecipe, match=message):
        PseudoImage(**arguments)


def test_vectors_that_cannot_be() -> None:
    wants = PseudoImage(8)
    with pytest.raises(BadData, match=r"a pseudo-image of float64 \(2, 3, 4\); expected vectors"):
        wants.to_image(np.zeros((2, 3, 4)))
    with pytest.raises(BadData, match="with NaN or infinity"):
        wants.to_image(np.array([1.0, np.nan]))
    with pytest.raises(BadData, match=r"a picture of shape \(3, 9, 9\); expected \(n, 3, 8, 8\)"):
        wants.to_vector(np.zeros((3, 9, 9)), 12)
    with pytest.raises(BadRecipe, match="expected minmax image or channel"):
        PseudoImage(8, minmax="none").pixels(np.zeros(12))
    for one, why in ((PseudoImage(8, clamp=True), "clamp=false"), (PseudoImage(1), "expected size=2 or more"),
                     (PseudoImage(8, "bicubic"), "expected mode=nearest, or size=2")):  # fmt: skip
        with pytest.raises(BadRecipe, match=f"a vector of 12 numbers cannot be read back .*{why}"):
            one.to_vector(np.zeros((3, one.size, one.size)), 12)


def test_gradients_reach_the_vector_through_levels_too() -> None:
    for quantize in (False, True):
        x = torch.from_numpy(vectors(2, 27)).requires_grad_()
        image = PseudoImages(PseudoImage(9, quantize=quantize), 27)(x)
        (image * torch.randn(image.shape, generator=torch.Generator().manual_seed(0))).sum().backward()
        assert torch.isfinite(x.grad).all() and x.grad.abs().sum() > 0


# Files


IDS = ["rain.wav#1", "rain.wav#2", "a/b", "a b", "A_B", "雨", "x" * 300]


def test_names_are_those_of_the_document_and_never_shared() -> None:
    made = pseudo_files.names("audio", IDS)
    assert made[:2] == ["audio_rain.wav_1.png", "audio_rain.wav_2.png"]
    assert len({name.lower() for name in made}) == len(IDS) and max(map(len, made)) < 255
    assert all(name.isascii() and "/" not in name for name in made)


def test_bytes_are_the_same_whatever_the_number_of_threads(tmp_path: Path) -> None:
    x = vectors(150, 48)
    ids = [f"clip{i}.wav" for i in range(150)]
    content = []
    for workers in (1, 4):
        done = pseudo_files.write(ids, x, PseudoImage(8), tmp_path / str(workers), "audio", workers)
        assert (done.made, done.kept) == (150, 0) and [p.name for p in done.files] == pseudo_files.names("audio", ids)
        content.append([path.read_bytes() for path in done.files])
    assert content[0] == content[1]
    np.testing.assert_array_equal(files.read(done.files[3]), PseudoImage(8).pixels(x[3]))
    assert sorted(p.name for p in (tmp_path / "4").iterdir()) == sorted(p.name for p in done.files)


def test_only_what_is_missing_is_made(tmp_path: Path) -> None:
    x, ids = vectors(6, 48), list("abcdef")
    done = pseudo_files.write(ids, x, PseudoImage(8), tmp_path, "audio")
    again = pseudo_files.write(ids, x, PseudoImage(8), tmp_path, "audio")
    assert (again.made, again.kept) == (0, 6)
    done.files[0].unlink()  # missing; then cut short, of another vector, and no PNG
    done.files[1].write_bytes(done.files[1].read_bytes()[:-5])
    done.files[2].write_bytes(b"no picture")
    x[3] += 1
    told = []
    third = pseudo_files.write(ids, x, PseudoImage(8), tmp_path, "audio", advance=told.append)
    assert (third.made, third.kept, sum(told)) == (4, 2, 6)
    other = pseudo_files.write(ids, x, PseudoImage(8, channels="replicate"), tmp_path, "audio")
    assert other.made == 6
    for path, row in zip(other.files, x, strict=True):
        np.testing.assert_allclose(pseudo_files.read_vector(path), row, rtol=0, atol=np.ptp(row) / 255 + 1e-6)


def test_an_interruption_leaves_whole_files_only(tmp_path: Path) -> None:
    x, ids = vectors(300, 12), [str(i) for i in range(300)]

    def stop(done: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pseudo_files.write(ids, x, PseudoImage(4), tmp_path, "text", 2, stop)
    there = list(tmp_path.iterdir())
    assert 0 < len(there) < 300 and all(pseudo_files.about(path) for path in there)
    done = pseudo_files.write(ids, x, PseudoImage(4), tmp_path, "text", 2)
    assert (done.made, done.kept) == (300 - len(there), len(there))


def test_what_a_file_says_of_itself(tmp_path: Path) -> None:
    x = vectors(1, 48)
    path = pseudo_files.write(["a"], x, PseudoImage(8), tmp_path, "audio").files[0]
    content = path.read_bytes()
    at = content.index(b"tEXt")
    length = int.from_bytes(content[at - 4 : at], "big")
    text = content[at + 4 : at + 4 + length]
    assert int.from_bytes(content[at + 4 + length : at + 8 + length], "big") == zlib.crc32(b"tEXt" + text)
    said = json.loads(text.partition(b"\0")[2])
    assert said["transform"] == {"size": 8, "mode": "nearest", "channels": "split", "clamp": False, "minmax": "image"}
    assert said["dim"] == 48 and said["low"] == [float(x.min())] and said["vector"] == pseudo_files.digest(x[0])


def test_files_of_others(tmp_path: Path) -> None:
    path = tmp_path / "audio_a.png"
    path.write_bytes(files.png(np.zeros((4, 4, 3), np.uint8)))
    assert pseudo_files.about(path) is None and pseudo_files.about(tmp_path / "none.png") is None
    with pytest.raises(BadData, match="no pseudo-image with its settings; make it by: sensorium images STORE --out"):
        pseudo_files.read_vector(path)
    assert not len(pseudo_files.Stored(tmp_path, PseudoImage(4)).read(vectors(2, 12))[0])
    with pytest.raises(BadData, match=r"holds no pseudo-images of these settings \(size=4, mode=nearest, .*make them"):
        pseudo_files.Stored(tmp_path, PseudoImage(4)).read(vectors(2, 12), required=True)

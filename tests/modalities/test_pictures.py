"""One reading of pictures for a path, an upload and the page: orientation, modes, damaged EXIF, damaged files."""

import io
import random
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from sensorium import modalities
from sensorium.encoders.hashing import Hashing
from sensorium.encoders.hog import Hog
from sensorium.errors import BadData, SensoriumError
from sensorium.modalities.image import files

RANDOM = np.random.default_rng(0)
COLOUR = RANDOM.integers(0, 256, (9, 7, 3), np.uint8)


def saved(picture: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def both(content: bytes, folder: Path) -> np.ndarray:
    """The pixels from a path, after making sure that an upload gives the same."""
    path = folder / "picture.bin"
    path.write_bytes(content)
    upload = modalities.find("image").decode(content, modalities.Limits())
    found = modalities.find("face").read(path)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, upload.value)
    return found


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_everywhere(tmp_path: Path, kind: str, orientation: int) -> None:
    picture = Image.fromarray(COLOUR)
    exif = picture.getexif()
    exif[0x0112] = orientation
    content = saved(picture, kind, exif=exif)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(content))))  # Pillow's, as an oracle
    np.testing.assert_array_equal(both(content, tmp_path), expected)


def test_encoders_see_the_same_from_a_path_and_an_upload(tmp_path: Path) -> None:
    picture = Image.new("RGBA", (40, 60), (0, 0, 0, 0))
    picture.paste((20, 30, 200, 255), (5, 5, 25, 12))
    picture.paste((20, 30, 200, 128), (5, 5, 10, 50))
    exif = picture.getexif()
    exif[0x0112] = 6
    path = tmp_path / "a.png"
    picture.save(path, exif=exif)
    upload = files.decode(path.read_bytes(), 10**6)[0]
    for encoder in (Hog(), Hashing(takes="image")):
        np.testing.assert_array_equal(encoder.encode([str(path)]), encoder.encode([upload]))
        np.testing.assert_array_equal(encoder.encode([path]), encoder.encode([upload]))


def test_the_first_of_several_pictures_is_read(tmp_path: Path) -> None:
    first, second = Image.fromarray(COLOUR), Image.fromarray(255 - COLOUR)
    mpo = saved(first, "mpo", save_all=True, append_images=[second], quality=100)
    assert Image.open(io.BytesIO(mpo)).format == "MPO"
    np.testing.assert_array_equal(both(mpo, tmp_path), np.asarray(Image.open(io.BytesIO(mpo)).convert("RGB")))
    for kind, options in (("gif", {}), ("png", {}), ("webp", {"lossless": True})):
        content = saved(first.quantize(8).convert("RGB"), kind, save_all=True, append_images=[second], **options)
        assert (
            np.abs(both(content, tmp_path)[..., :3].astype(int) - np.asarray(first.quantize(8).convert("RGB"))).max()
            < 2
        )
    path = tmp_path / "pages.tiff"
    path.write_bytes(saved(Image.fromarray(COLOUR), "tiff"))
    np.testing.assert_array_equal(files.read(path), COLOUR)


@pytest.mark.filterwarnings("ignore")
def test_damaged_exif_is_ignored(tmp_path: Path) -> None:
    picture, right = Image.fromarray(COLOUR), saved(Image.fromarray(COLOUR), "png")
    for data in (
        b"Exif\0\0",
        b"Exif\0\0junk",
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\xff" * 40,
    ):
        both(saved(picture, "jpeg", exif=data), tmp_path)
        np.testing.assert_array_equal(both(saved(picture, "png", exif=data), tmp_path), COLOUR)
    exif = picture.getexif()
    exif[0x0112], exif[0x011A] = 6, 72.0
    content = saved(picture, "png", exif=exif)
    at = content.index(b"eXIf") + 4
    wrong = content[at:].replace(b"\x01\x1a\x00\x05\x00\x00\x00\x01", b"\x01\x1a\x00\x02\x00\x00\x00\x06")
    wrong = wrong.replace(b"\x1a\x01\x05\x00\x01\x00\x00\x00", b"\x1a\x01\x02\x00\x06\x00\x00\x00")
    assert wrong != content[at:]  # the resolution is a text now, and only the orientation is needed
    size = int.from_bytes(content[at - 8 : at - 4], "big")
    wrong = wrong[:size] + struct.pack(">I", zlib.crc32(b"eXIf" + wrong[:size])) + wrong[size + 4 :]
    np.testing.assert_array_equal(both(content[:at] + wrong, tmp_path), np.rot90(COLOUR, 3))
    for value in (0, 9, 1 << 15):
        exif = picture.getexif()
        exif[0x0112] = value
        np.testing.assert_array_equal(both(saved(picture, "png", exif=exif), tmp_path), both(right, tmp_path))


MODES = {
    "1": (9, 7), "L": (9, 7), "LA": (9, 7, 4), "P": (9, 7, 3), "RGB": (9, 7, 3), "RGBA": (9, 7, 4), "I;16": (9, 7),
}  # fmt: skip


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_of_png(tmp_path: Path, mode: str) -> None:
    if mode == "I;16":
        deep = RANDOM.integers(0, 1 << 16, (9, 7), np.uint16)
        found = both(saved(Image.fromarray(deep), "png"), tmp_path)
        np.testing.assert_array_equal(found, deep >> 8)
        return
    picture = Image.fromarray(COLOUR).convert(mode)
    found = both(saved(picture, "png"), tmp_path)
    assert found.shape == MODES[mode]
    expected = picture.convert({(9, 7): "L", (9, 7, 3): "RGB", (9, 7, 4): "RGBA"}[found.shape])
    np.testing.assert_array_equal(found, np.asarray(expected))


def test_transparency_by_colour_by_palette_and_of_sixteen_bits(tmp_path: Path) -> None:
    grey = Image.fromarray(COLOUR[..., 0])
    found = both(saved(grey, "png", transparency=int(COLOUR[0, 0, 0])), tmp_path)
    assert found.shape == (9, 7, 4) and found[0, 0, 3] == 0
    palette = Image.fromarray(COLOUR).quantize(4)
    found = both(saved(palette, "png", transparency=0), tmp_path)
    np.testing.assert_array_equal(found[..., 3] == 0, np.asarray(palette) == 0)
    found = both(saved(palette, "gif", transparency=1), tmp_path)
    np.testing.assert_array_equal(found[..., 3] == 0, np.asarray(palette) == 1)
    deep = np.arange(63, dtype=np.uint16).reshape(9, 7) * 1000
    content = saved(Image.fromarray(deep), "png")
    if "transparency" in Image.open(io.BytesIO(content := _with_trns(content, deep[2, 3]))).info:
        found = both(content, tmp_path)
        assert found.shape == (9, 7, 4) and (found[..., 3] == 0).sum() == 1 and found[2, 3, 3] == 0


def _with_trns(content: bytes, value: int) -> bytes:
    data = struct.pack(">H", value)
    chunk = struct.pack(">I", 2) + b"tRNS" + data + struct.pack(">I", zlib.crc32(b"tRNS" + data))
    at = content.index(b"IDAT") - 4
    return content[:at] + chunk + content[at:]


def test_cmyk_is_seen_as_colour(tmp_path: Path) -> None:
    red = Image.new("RGB", (16, 16), (220, 30, 30)).convert("CMYK")
    found = both(saved(red, "jpeg", quality=100), tmp_path)
    assert found.shape == (16, 16, 3) and found[8, 8, 0] > 180 and found[8, 8, 1:].max() < 80


def test_pixels_that_no_screen_shows_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tiff"
    Image.fromarray(np.full((4, 4), 0.5, np.float32)).save(path)
    with pytest.raises(BadData, match="floating-point numbers; save it in 8 or 16 bits"):
        files.read(path)
    Image.fromarray(np.full((4, 4), 1 << 20, np.int32)).save(path)
    with pytest.raises(BadData, match="more than 16 bits"):
        files.read(path)


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    whole = saved(Image.fromarray(COLOUR), "png")
    for name, content, said in (("empty", b"", "it is empty"), ("text", b"no picture" * 9, "cannot identify its format"),
                                ("cut", whole[:60], "truncated"), ("eps", b"%!PS-Adobe-3.0 EPSF-3.0\n", "cannot identify")):  # fmt: skip
        (tmp_path / name).write_bytes(content)
        with pytest.raises(BadData, match=f"cannot read .*{name} as a picture .*{said}"):
            files.read(tmp_path / name)
    for path, said in ((tmp_path, "it is no file"), ("no\0such", "null"), (tmp_path / "gone", "No such file")):
        with pytest.raises(BadData, match=said):
            files.read(path)
    with pytest.raises(BadData, match="63 pixels; at most 62|9 pixels; at most 62"):
        files.decode(whole, 62)
    values = [str(tmp_path / "text"), COLOUR, str(tmp_path / "cut")]
    error = modalities.find("image").bad_items(BadData("first"), values)
    assert "2 of 3 pictures are bad" in str(error)
    same = BadData("about something else")
    assert modalities.find("image").bad_items(same, [COLOUR]) is same


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 12), st.integers(1, 12), st.sampled_from([(), (3,), (4,)]), st.integers(0, 2**32 - 1))
def test_what_is_packed_is_read_back(height: int, width: int, channels: tuple[int, ...], seed: int) -> None:
    picture = np.random.default_rng(seed).integers(0, 256, (height, width, *channels), np.uint8)
    image = modalities.find("image")
    decoded = image.decode(image.pack(picture), modalities.Limits())
    np.testing.assert_array_equal(decoded.value, picture)
    assert decoded.media_type == image.packed_as and image.pack("a path") is None


def test_over_white_and_grey() -> None:
    clear = np.dstack([COLOUR, np.zeros((9, 7), np.uint8)])
    assert (files.over_white(clear) == 255).all() and (files.grey(clear) == 255).all()
    np.testing.assert_array_equal(files.over_white(COLOUR), COLOUR)
    assert files.grey(COLOUR[..., 0]) is not None and files.grey(COLOUR).shape == (9, 7)


KINDS = ("png", "jpeg", "gif", "webp", "bmp", "mpo", "tiff", "ppm", "ico", "tga", "pcx", "jpeg2000", "qoi")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("ignore")
def test_mutated_files_are_read_or_refused(tmp_path: Path, kind: str) -> None:
    """A few of the bytes changed, cut or doubled: nothing but SensoriumError, from a path and from an upload."""
    exif = Image.new("RGB", (1, 1)).getexif()
    exif[0x0112], exif[0x010F], exif[0x011A] = 6, "maker", 72.0
    options = {"exif": exif} if kind in ("jpeg", "png", "webp", "tiff") else {}
    whole = saved(Image.fromarray(COLOUR).resize((23, 17)), kind, **options)
    chance, path = random.Random(kind), tmp_path / "a"
    for _ in range(60):
        content = bytearray(whole)
        for _ in range(chance.randint(1, 5)):
            at = chance.randrange(len(content))
            way = chance.randrange(4)
            if way == 0:
                content[at] = chance.randrange(256)
            elif way == 1:
                content[at] ^= 1 << chance.randrange(8)
            elif way == 2:
                content[at : at + 4] = chance.choice([bytes(4), b"\xff" * 4, b"\x7f\xff\xff\xff", b"\0\0\0\1"])
            else:
                del content[at : at + chance.randint(1, 40)]
        path.write_bytes(content)
        for read in (lambda: files.read(path), lambda: files.decode(bytes(content), 10**6)[0]):  # noqa: B023
            try:
                found = read()
            except SensoriumError:
                continue
            assert found.dtype == np.uint8 and found.size

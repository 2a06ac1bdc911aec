"""Decoding what strangers send: pictures and sounds, bombs and broken files, in a process that can be killed."""

import asyncio
import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from sensorium.modalities.audio.files import wav
from sensorium.modalities.image.files import png
from sensorium.serve import Settings
from sensorium.serve.engine.decode import Decoders, Undecodable

pytestmark = pytest.mark.xdist_group("serve")
RANDOM = np.random.default_rng(0)


def decoded(kind: str, *contents: bytes, **settings):
    """Each file decoded, or what is wrong with it."""

    async def all_of_them():
        decoders, found = Decoders(Settings(**settings)), []
        for content in contents:
            try:
                found.append(tuple(await decoders.decode(kind, content)))
            except Undecodable as error:
                found.append(str(error))
        await decoders.close()
        return [*found, decoders.killed]

    return asyncio.run(all_of_them())


def file_of(picture: Image.Image, kind: str, **how) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **how)
    return out.getvalue()


def bomb(width: int, height: int) -> bytes:
    """A PNG of many equal pixels of one bit, a thousandth of its size when packed."""
    packer = zlib.compressobj(9)
    data = b"".join(packer.compress(b"\0" * (width // 8 + 2)) for _ in range(height)) + packer.flush()
    parts = ((b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)), (b"IDAT", data), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in parts
    )


def test_pictures_come_back_as_they_are():
    grey = RANDOM.integers(0, 256, (9, 7), np.uint8)
    colour = RANDOM.integers(0, 256, (9, 7, 3), np.uint8)
    clear = RANDOM.integers(0, 256, (9, 7, 4), np.uint8)
    turned = Image.fromarray(colour).getexif()
    turned[0x0112] = 6  # "turn by 90° to see it upright"
    *found, killed = decoded(
        "image",
        png(grey),
        png(colour),
        png(clear),
        file_of(Image.fromarray(grey), "bmp"),
        file_of(Image.fromarray(colour).convert("P"), "gif"),
        file_of(Image.fromarray(colour), "webp", lossless=True),
        file_of(Image.fromarray(colour), "png", exif=turned),
    )
    for (array, _), expected in zip(found[:4], (grey, colour, clear, grey), strict=True):
        assert (array == expected).all()
    assert found[4][0].shape == (9, 7, 3) and found[4][1] == "image/gif"
    assert (found[5][0] == colour).all() and found[5][1] == "image/webp"
    assert (found[6][0] == np.rot90(colour, -1)).all()
    assert killed == 0


def test_sounds_come_back_as_they_are():
    samples = RANDOM.uniform(-0.9, 0.9, 4000).astype(np.float32)
    ((found, rate), kind), _ = decoded("audio", wav(samples, 8000))
    assert rate == 8000 and kind == "audio/wav"
    np.testing.assert_allclose(found, samples, atol=1e-4)


def test_broken_pictures_are_named_and_the_process_lives():
    good = png(np.zeros((5, 5), np.uint8))
    svg = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
    tiff = file_of(Image.fromarray(np.zeros((5, 5), np.uint8)), "tiff")
    *found, last, killed = decoded("image", b"", b"junk", good[:40], good[:-20], svg, tiff, good)
    assert all(isinstance(one, str) and "cannot be used" in one for one in found)
    assert last[0].shape == (5, 5) and killed == 0


def test_bombs_are_refused_before_they_unpack():
    large = bomb(20_000, 20_000)
    assert len(large) < 1_000_000
    refused, told, killed = decoded("image", large, bomb(300, 300), max_pixels=80_000)
    assert "400" not in refused and "20000 × 20000" in refused and "300 × 300" in told and killed == 0


def test_what_takes_too_much_memory_is_stopped_and_the_next_is_decoded():
    small = png(np.zeros((5, 5), np.uint8))
    told, fine, _ = decoded("image", bomb(20_000, 20_000), small, max_pixels=10**9, decode_bytes=100 << 20)
    assert "memory" in told and fine[0].shape == (5, 5)


def test_what_takes_too_long_is_killed_and_the_next_is_decoded():
    small = png(np.zeros((5, 5), np.uint8))
    slow = bomb(30_000, 30_000)
    *_, told, killed = decoded("image", small, slow, max_pixels=10**9, decode_bytes=8 << 30, decode_seconds=0.05)
    assert "longer than" in told and killed >= 1

    async def after():
        decoders = Decoders(Settings(decode_seconds=0.2, max_pixels=10**9, decode_bytes=8 << 30))
        with pytest.raises(Undecodable):
            await decoders.decode("image", slow)
        decoders.settings = Settings()
        found = await decoders.decode("image", small)
        await decoders.close()
        return found

    assert asyncio.run(after())[0].shape == (5, 5)


def test_long_and_false_sounds_are_refused():
    hour = wav(np.zeros(8000 * 30, np.float32), 8000)
    lies = bytearray(wav(np.zeros(800, np.float32), 8000))
    lies[40:44] = struct.pack("<I", 0xFFFFFFF0)  # a header that claims 4 GB
    told, *rest, killed = decoded("audio", hour, bytes(lies), b"RIFF", b"fLaC" + b"\0" * 99, b"OggS", max_seconds=10)
    assert "10" in told and killed == 0
    assert all(isinstance(one, str) or len(one[0][0]) <= 800 for one in rest)


def test_decodings_side_by_side_do_not_mix():
    async def many():
        decoders = Decoders(Settings(decoders=2))
        pictures = [np.full((3 + i, 4), i, np.uint8) for i in range(12)]
        found = await asyncio.gather(*(decoders.decode("image", png(p)) for p in pictures))
        await decoders.close()
        return all((array == p).all() for (array, _), p in zip(found, pictures, strict=True))

    assert asyncio.run(many())

"""Samples as arrays: one rule of types and scales for recordings and streams; container formats by their first bytes."""

import io

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from sensorium.errors import BadData
from sensorium.modalities.audio import files
from sensorium.modalities.audio.magic import container
from sensorium.modalities.audio.samples import LOUDEST, to_float
from sensorium.stream.session import check_samples

TONE = np.sin(np.arange(16_000) / 20).astype(np.float32)


@pytest.mark.parametrize("kind", ["i1", "u1", "<i2", ">i2", "u2", "f2", "f4", ">f4", "f8", "g"])
def test_every_accepted_type_means_the_same_sound(kind: str) -> None:
    dtype = np.dtype(kind)
    full = 1 if dtype.kind == "f" else 2.0 ** (8 * dtype.itemsize - 1)
    given = {"i": TONE * (full - 1), "u": TONE * (full - 1) + full, "f": TONE}[dtype.kind].astype(dtype)
    found = to_float(given)
    assert found.dtype == np.float32 and np.abs(found - TONE).max() < (2e-2 if dtype.itemsize == 1 else 1e-3)
    np.testing.assert_array_equal(found, check_samples(given))
    np.testing.assert_array_equal(found, files.to_mono(given))
    np.testing.assert_array_equal(found, files.to_mono(np.stack([given, given], 1)))


@pytest.mark.parametrize("given", [
    *(np.zeros(3, kind) for kind in ("i4", ">i4", "u4", "i8", "u8", "c8", "?", "S3", "U3", "O", "M8[s]")),
    [1, 2, 3], (0, 0), range(3), [True, False], ["loud"], [None],
])  # fmt: skip
def test_types_whose_full_scale_is_unknown_are_refused_alike(given: object) -> None:
    with pytest.raises(BadData, match=r"full scale is unknown; send 16-bit samples as int16|expected numbers"):
        check_samples(given)
    with pytest.raises(BadData, match=r"full scale is unknown; send 16-bit samples as int16|expected numbers"):
        files.read((given, 16_000))


@pytest.mark.parametrize("given", [[[0.1], [0.2, 0.3]], np.zeros((2, 2)), 0.5, None, b"RIFF", "loud", {0.1: 0.2}])
def test_what_is_no_row_of_samples_is_refused(given: object) -> None:
    with pytest.raises(BadData, match=r"expected \(n,\) float32 or int16"):
        check_samples(given)


@pytest.mark.parametrize("rate", ["16000", b"16000", None, True, 16_000.5, float("nan"), float("inf"), [16_000], 1j])
def test_a_rate_that_is_no_whole_number_is_refused(rate: object) -> None:
    with pytest.raises(BadData, match="expected a whole number of Hz"):
        files.read((TONE, rate))
    with pytest.raises(BadData, match="expected a whole number of Hz"):
        files.Resampler(rate)


@pytest.mark.parametrize("rate", [16_000.0, np.int32(16_000), np.float32(16_000)])
def test_a_rate_may_be_of_any_numeric_type(rate: object) -> None:
    np.testing.assert_array_equal(files.read((TONE, rate)), TONE)


def test_rows_of_unequal_length_are_refused() -> None:
    with pytest.raises(BadData, match="are no array of numbers"):
        files.read(([[0.1], [0.2, 0.3]], 16_000))


@given(arrays.arrays(np.float32, st.integers(1, 50), elements=st.floats(width=32)))
def test_floats_are_accepted_or_refused_by_recordings_and_streams_alike(x: np.ndarray) -> None:
    fits = bool(np.isfinite(x).all() and np.abs(x).max() <= LOUDEST)
    for read in (check_samples, files.to_mono, lambda x: files.read((x, 16_000))):
        if fits:
            np.testing.assert_array_equal(read(x), x)
        else:
            with pytest.raises(BadData, match="NaN or infinite|times full scale"):
                read(x)


@given(st.binary(max_size=60))
def test_integers_of_16_bits_are_always_samples(data: bytes) -> None:
    x = np.frombuffer(data[: len(data) // 2 * 2], "<i2")
    np.testing.assert_array_equal(check_samples(x) * 32768, x)


def encoded(format: str, subtype: str | None = None) -> bytes:
    out = io.BytesIO()
    soundfile.write(out, TONE, 16_000, format=format, subtype=subtype)
    return out.getvalue()


@pytest.mark.parametrize(("format", "name"), [("WAV", "WAV"), ("RF64", "WAV"), ("W64", "WAV"), ("WAVEX", "WAV"), ("AIFF", "AIFF"), ("FLAC", "FLAC"),
                                              ("OGG", "Ogg"), ("MP3", "MP3"), ("CAF", "CAF"), ("AU", "AU")])  # fmt: skip
def test_containers_are_recognised_by_their_first_bytes(format: str, name: str) -> None:
    assert container(encoded(format)) == name
    assert container(b"ID3\4\0\0\0\0\0\0" + encoded(format)) == "MP3"


@pytest.mark.parametrize(("format", "codec", "name"), [("webm", "libopus", "WebM or Matroska"), ("mp4", "aac", "MP4"), ("adts", "aac", "AAC"),
                                                       ("mp3", "libmp3lame", "MP3")])  # fmt: skip
def test_containers_that_browsers_record(format: str, codec: str, name: str) -> None:
    av = pytest.importorskip("av", reason="PyAV writes these: pip install av")
    out = io.BytesIO()
    with av.open(out, "w", format=format) as file:
        stream = file.add_stream(codec, rate=48_000)
        frame = av.AudioFrame.from_ndarray(np.tile(TONE, 3)[None], format="fltp", layout="mono")
        frame.sample_rate = 48_000
        for one in (frame, None):
            for packet in stream.encode(one):
                file.mux(packet)
    assert container(out.getvalue()) == name


def test_samples_are_not_taken_for_a_file() -> None:
    for seed in range(300):
        data = np.random.default_rng(seed).bytes(seed * 10)
        assert container(data) is None  # a mark of four bytes is not found by chance
        assert container(b"\xff\xfb" + data) is None and container(b"\xff\xf1" + data) is None  # nor a frame by two
    assert container(b"ID") is None and container(b"RIFF") is None and container(b"") is None

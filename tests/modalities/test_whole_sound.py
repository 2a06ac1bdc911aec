"""Sound is read whole or refused: wrong lengths in headers, truncated files, recordings laid end to end."""

import io
import random
import struct
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from sound_files import RATE, encoded, samples, tone, wave, without_xing, written

from sensorium import modalities
from sensorium.errors import BadData, SensoriumError
from sensorium.modalities.audio import files, joined

WHOLE = {}


def whole(name: str) -> bytes:
    if not WHOLE:
        WHOLE.update(samples())
    return WHOLE[name]


def seconds(content: bytes) -> float:
    samples_, rate = files.read_mono(content)
    return len(samples_) / rate


NAMES = ("wav", "wav24", "float", "ulaw", "adpcm", "gsm", "flac", "vorbis", "opus", "mp3", "aiff", "au", "caf",
         "w64", "rf64", "webm", "m4a", "fragmented", "aac")  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_path_an_open_file_and_an_upload_give_the_same(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(whole(name))
    (first, rate), upload = files.read_mono(path), modalities.find("audio").decode(whole(name), modalities.Limits())
    np.testing.assert_array_equal(first, upload.value[0])
    np.testing.assert_array_equal(first, files.read_mono(io.BytesIO(whole(name)))[0])
    assert rate == upload.value[1] and len(first) / rate == pytest.approx(1.0, abs=0.15)
    assert np.argmax(np.abs(np.fft.rfft(first))) * rate / len(first) == pytest.approx(300, abs=3)


#: What recorders and streaming writers leave where a length belongs.
LENGTHS = [0, 8, 16, 0x7FFFF000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT", "ULAW"])
@pytest.mark.parametrize("length", LENGTHS)
def test_wrong_lengths_in_a_wav_header_of_a_whole_file(tmp_path: Path, subtype: str, length: int) -> None:
    right = wave(subtype)
    expected = files.read_mono(right)[0]
    riff = len(right) - 8 + length if 0 < length < 100 else length
    data = len(right) - right.index(b"data") - 8
    cases = [wave(subtype, riff)]
    if length and length < 100:
        cases.append(wave(subtype, None, data + length))  # the RIFF length says that the file is whole
    else:
        cases += [wave(subtype, riff, length), wave(subtype, None, length)]
    for content in cases:
        path = tmp_path / "a.wav"
        path.write_bytes(content)
        np.testing.assert_array_equal(files.read_mono(path)[0], expected)
        np.testing.assert_array_equal(files.read_mono(content)[0], expected)


def test_a_wav_file_without_samples_is_no_streamed_one() -> None:
    empty = written("WAV", seconds=0)
    with pytest.raises(BadData, match="no samples"):
        files.read_mono(empty)
    tail = b"LIST" + struct.pack("<I", 4) + b"INFO"
    riff = struct.pack("<I", len(empty) + len(tail) - 8)
    with pytest.raises(BadData, match="no samples"):
        files.read_mono(empty[:4] + riff + empty[8:] + tail)


@pytest.mark.parametrize("name", [n for n in NAMES if n not in ("aac",)])
def test_truncated_files_are_named(name: str) -> None:
    for share in (0.3, 0.6, 0.9):
        content = whole(name)[: int(len(whole(name)) * share)]
        with pytest.raises(BadData, match="truncated|cannot be read as sound"):
            files.read_mono(content)


def test_an_mp3_file_without_xing_header_states_only_an_estimate() -> None:
    for quality in (0.0, 0.9):  # constant and variable bit rate
        out = io.BytesIO()
        both = np.concatenate([tone(1.0, 44_100), np.zeros(44_100, np.float32), tone(1.0, 44_100)])
        mode = "VARIABLE" if quality else "CONSTANT"
        with soundfile.SoundFile(out, "w", 44_100, 1, format="MP3", bitrate_mode=mode, compression_level=0.3) as file:
            file.write(both)
        assert seconds(without_xing(out.getvalue())) == pytest.approx(3.0, abs=0.1)
    assert seconds(without_xing(whole("mp3")) + b"TAG" + bytes(125)) == pytest.approx(1.0, abs=0.1)


def test_a_flac_file_of_unknown_length_is_read_to_its_end() -> None:
    content = bytearray(whole("flac"))
    content[21] &= 0xF0  # the 36 bits of the total number of samples
    content[22:26] = bytes(4)
    assert seconds(bytes(content)) == 1.0
    with pytest.raises(BadData, match="1 s long; at most 0 s|at most 0 s"):
        files.read_mono(bytes(content), 0.4)


def test_recordings_laid_end_to_end_are_read_to_the_last() -> None:
    other = written("OGG", "VORBIS", 0.5, 44_100)
    bare = without_xing(whole("mp3"))
    for content, expected in (
        (whole("opus") * 2, 2.0), (whole("opus") + other, 1.5), (other + whole("vorbis") * 2, 2.5),
        (whole("mp3") * 3, 3.0), (whole("mp3") + written("MP3", None, 0.5, 44_100), 1.5), (bare * 2, 2.0),
        (whole("mp3") + bare, 2.0), (bare + whole("mp3"), 2.0),
        (whole("flac") * 2, 2.0), (whole("flac") + written("FLAC", None, 0.5, 44_100), 1.5),
        (whole("wav") * 2, 2.0), (whole("wav") + written("WAV", "PCM_24", 0.5, 8000), 1.5),
        (whole("aac") * 2, 2.0), (whole("aac") + encoded("adts", "aac", 0.5, 44_100), 1.5),
    ):  # fmt: skip
        assert seconds(content) == pytest.approx(expected, abs=0.25)
    samples_, _ = files.read_mono(whole("wav") * 2)
    np.testing.assert_array_equal(samples_, np.tile(files.read_mono(whole("wav"))[0], 2))
    with pytest.raises(BadData, match="2 s long; at most 1 s"):
        files.read_mono(whole("flac") * 2, 1.2)


@pytest.mark.parametrize("name", NAMES)
def test_recordings_of_any_formats_laid_end_to_end_are_read_to_the_last(tmp_path: Path, name: str) -> None:
    alone, path = seconds(whole(name)), tmp_path / "a.bin"
    for other in (name, "wav", "wav24", "flac", "mp3", "opus", "m4a", "webm"):
        path.write_bytes(whole(name) + whole(other))
        assert seconds(path.read_bytes()) == pytest.approx(alone + seconds(whole(other)), abs=0.05), other
        np.testing.assert_array_equal(files.read_mono(path)[0], files.read_mono(path.read_bytes())[0])
    for junk in (bytes(3000), b"TAG" + bytes(125), b"ID3\x04\0\0\0\0\0\x0a" + bytes(10)):
        assert seconds(whole(name) + junk) == pytest.approx(alone, abs=0.05)


@pytest.mark.parametrize("length", [0, 0xFFFFFFFF])
@pytest.mark.parametrize("other", ["wav", "float", "flac", "opus", "aiff", "caf", "w64", "rf64", "webm", "m4a"])
def test_a_wav_file_of_unknown_length_ends_where_another_recording_begins(length: int, other: str) -> None:
    first = wave("PCM_16", length, length)
    content = first + whole(other) + first
    assert seconds(content) == pytest.approx(2.0 + seconds(whole(other)), abs=0.05)
    np.testing.assert_array_equal(files.read_mono(first * 3)[0], np.tile(files.read_mono(first)[0], 3))


@pytest.mark.parametrize("other", NAMES)
def test_a_flac_file_ends_where_another_recording_begins(other: str) -> None:
    """Also where frames of MP3 and AAC follow without a header, and where FLAC comes again behind it."""
    flac, after = whole("flac"), without_xing(whole("mp3")) if other == "mp3" else whole(other)
    expected = files.read_mono(flac)[0]
    for content, count in ((flac + after, 1), (flac * 2 + after, 2), (flac + after + flac, 2)):
        assert seconds(content) == pytest.approx(count + seconds(after), abs=0.05)
    if other != "flac":
        found = joined.parts(flac + after, "a")
        np.testing.assert_array_equal(files.read_mono((flac + after)[: found[-1].stop])[0], expected)
        assert found == [(0, len(flac), 0)]


@pytest.mark.parametrize("rate", [8000, 16_000, 12_345, 44_100, 96_000])
@pytest.mark.parametrize("count", [1, 15, 16, 4095, 4096, 4097, 50_000, 600_000])
def test_the_last_frame_of_a_flac_file_is_found_by_its_number(rate: int, count: int) -> None:
    """Each size of a last block, and numbers of one byte and of two; libsndfile writes blocks of 4096."""
    samples_, out = np.random.default_rng(count).integers(-3000, 3000, (count, 2)).astype(np.int16), io.BytesIO()
    soundfile.write(out, samples_, rate, format="FLAC")
    content = out.getvalue()
    assert joined.parts(content + whole("wav"), "a") == [(0, len(content), 0)]
    assert joined.parts(content + bytes(100), "a") == [(0, len(content) + 100, 0)]


@pytest.mark.parametrize("junk", [b"\xff", b"\xff\xf8", b"\xff\xf8\x69\x08\0", b"\0\0"])
def test_megabytes_of_almost_frames_take_no_time(junk: bytes) -> None:
    content = whole("flac") + junk * (5_000_000 // len(junk))
    start = time.process_time()
    assert joined.parts(content, "a")[0].start == 0
    assert time.process_time() - start < 1.0


def test_chunks_and_types_between_joined_wav_files() -> None:
    """What lies behind the samples belongs to the file before; 16 bits and 24 are brought to one scale."""
    tail = b"LIST" + struct.pack("<I", 26) + b"INFOISFT" + struct.pack("<I", 14) + b"Lavf58.29.100\0"
    tagged = whole("wav")[:4] + struct.pack("<I", len(whole("wav")) + len(tail) - 8) + whole("wav")[8:] + tail
    one = files.read_mono(whole("wav"))[0]
    np.testing.assert_array_equal(files.read_mono(tagged * 3)[0], np.tile(one, 3))
    np.testing.assert_allclose(files.read_mono(whole("wav24") + tagged)[0], np.tile(one, 2), atol=1e-4)


def test_a_truncated_last_recording_is_named() -> None:
    for name in ("opus", "vorbis", "mp3", "wav", "aiff", "au", "caf", "w64", "rf64", "m4a", "webm"):
        content = whole(name) + whole(name)[: int(0.6 * len(whole(name)))]
        with pytest.raises(BadData, match="truncated"):
            files.read_mono(content)


def test_what_is_no_sound_says_so() -> None:
    right = wave()
    none = right[:22] + struct.pack("<H", 0) + right[24:32] + struct.pack("<H", 0) + right[34:]
    raw = (tone() * 32767).astype("<i2").tobytes()
    no_format = right[:12] + right[36:]
    for content, said in (
        (none, "0 channels"),
        (raw, ""),
        (no_format, "no format"),
        (b"\x1aE\xdf\xa3", ""),
        (b"OggS", ""),
    ):
        with pytest.raises(BadData, match=f"cannot be read as sound.*{said}|truncated"):
            files.read_mono(content, 60)
        with pytest.raises(BadData) as error:
            files.read_mono(content)
        assert "BytesIO" not in str(error.value)


@pytest.mark.parametrize("name", NAMES)
def test_mutated_files_are_read_or_refused(name: str) -> None:
    """A few of the bytes changed, cut or doubled: nothing but SensoriumError, and no longer than the limit."""
    chance = random.Random(name)
    for _ in range(40):
        content = bytearray(whole(name))
        for _ in range(chance.randint(1, 6)):
            at = chance.randrange(min(len(content), 200 if chance.random() < 0.7 else len(content)))
            way = chance.randrange(4)
            if way == 0:
                content[at] = chance.randrange(256)
            elif way == 1:
                content[at] ^= 1 << chance.randrange(8)
            elif way == 2:
                content[at : at + 4] = chance.choice([bytes(4), b"\xff" * 4, b"\x7f\xff\xff\xff"])
            else:
                del content[at : at + chance.randint(1, 40)]
        try:
            found, rate = files.read_mono(bytes(content), 600)
        except SensoriumError:
            continue
        assert found.ndim == 1 and len(found) and rate > 0 and np.isfinite(found).all()


def test_a_rate_that_no_recording_has_is_refused_later() -> None:
    content = bytearray(wave())
    struct.pack_into("<I", content, 24, 1)
    with pytest.raises(BadData, match="16000 s long"):
        files.read_mono(bytes(content))
    assert RATE == 16_000


def test_more_channels_than_eight_of_what_only_pyav_reads() -> None:
    """PyAV read past the eighth plane of a frame of separate channels, which ended the process."""
    import av

    out, samples = io.BytesIO(), (np.arange(24 * 4800).reshape(4800, 24) % 20_000).astype(np.int16)
    with av.open(out, "w", format="matroska") as file:
        stream = file.add_stream("pcm_s16le", rate=48_000, layout="22.2")
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout="22.2")
        frame.sample_rate = 48_000
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            file.mux(packet)
    found, rate = files.read_channels(out.getvalue())
    assert rate == 48_000
    np.testing.assert_allclose(found, samples / 2.0**15, atol=1e-6)

"""Reading sound: formats, rates, channels, and every way a file can be bad."""

import io
import os
import struct
import tempfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sensorium.errors import BadData
from sensorium.modalities.audio import files as audio


def tone(seconds: float = 0.5, rate: int = 16_000, hz: float = 440.0) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hz * np.arange(int(seconds * rate)) / rate)).astype(np.float32)


@pytest.mark.parametrize(
    "suffix,subtype,within",
    [("wav", "PCM_16", 1e-4), ("wav", "PCM_U8", 1e-2), ("wav", "FLOAT", 1e-7), ("flac", "PCM_24", 1e-6), ("aiff", "PCM_16", 1e-4)],
)  # fmt: skip
def test_lossless_formats_give_their_samples(tmp_path: Path, suffix: str, subtype: str, within: float) -> None:
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, tone(), 16_000, subtype=subtype)
    np.testing.assert_allclose(audio.read(path), tone(), atol=within)


@pytest.mark.parametrize("suffix", ["wav", "flac", "au"])
def test_sixteen_bits_are_exact_fractions_of_full_scale(tmp_path: Path, suffix: str) -> None:
    path, samples = tmp_path / f"a.{suffix}", np.arange(-(2**15), 2**15).astype(np.int16)
    soundfile.write(path, samples, 16_000, subtype="PCM_16")
    found = audio.read(path)
    assert found.dtype == np.float32 and (found == samples / 2.0**15).all()
    assert (found == soundfile.read(path, dtype="float32")[0]).all()
    soundfile.write(path, np.stack([samples, -np.maximum(samples, -(2**15) + 1)], 1), 16_000, subtype="PCM_16")
    np.testing.assert_allclose(audio.read(path), np.r_[-(2.0**-16), np.zeros(2**16 - 1)], atol=0)


@pytest.mark.parametrize("format_,suffix", [("OGG", "ogg"), ("MP3", "mp3")])
def test_lossy_formats_sound_the_same(tmp_path: Path, format_: str, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, tone(), 16_000, format=format_)
    found = audio.read(path)[: len(tone())]
    spectrum = np.abs(np.fft.rfft(found))
    assert np.argmax(spectrum) * 16_000 / len(found) == pytest.approx(440, abs=4)


def test_what_only_pyav_reads(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    path = tmp_path / "a.m4a"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(tone(1.0)[None], format="fltp", layout="mono")
        frame.sample_rate = 16_000
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    found = audio.read(path)
    assert len(found) == pytest.approx(16_000, abs=3000)
    assert np.argmax(np.abs(np.fft.rfft(found))) * 16_000 / len(found) == pytest.approx(440, abs=4)


def test_channels_are_averaged_and_rates_changed(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    many = np.stack([tone(0.5, 384_000)] + [np.zeros(192_000, np.float32)] * 31, 1)
    soundfile.write(path, many, 384_000)
    found = audio.read(path)
    assert len(found) == 8000
    np.testing.assert_allclose(found[500:-500], tone()[500:-500] / 32, atol=1e-4)


def test_a_wrong_suffix_does_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "really-flac.wav"
    soundfile.write(path, tone(), 16_000, format="FLAC")
    np.testing.assert_allclose(audio.read(path), tone(), atol=1e-4)


def test_one_sample_is_a_recording(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, np.array([0.25]), 48_000, subtype="FLOAT")
    np.testing.assert_allclose(audio.read(path), [0.25])


def bad_files(folder: Path) -> dict[str, tuple[Path, str]]:
    whole = io.BytesIO()
    soundfile.write(whole, tone(), 16_000, format="WAV", subtype="PCM_16")
    flac = io.BytesIO()
    soundfile.write(flac, tone(), 16_000, format="FLAC")
    nan = io.BytesIO()
    soundfile.write(nan, np.array([0.0, np.nan, np.inf]), 16_000, format="WAV", subtype="FLOAT")
    none = io.BytesIO()
    soundfile.write(none, np.zeros(0), 16_000, format="WAV")
    files = {
        "empty": (b"", "is empty"),
        "no samples": (none.getvalue(), "no samples"),
        "cut": (whole.getvalue()[:5000], "truncated"),
        "cut flac": (flac.getvalue()[: len(flac.getvalue()) // 2], "truncated|cannot be read"),
        "text": (b"this is no sound\n" * 99, "cannot be read as sound"),
        "nan": (nan.getvalue(), "2 of 3 samples are NaN"),
        "header": (whole.getvalue()[:30], "truncated"),
    }
    found = {}
    for name, (content, said) in files.items():
        path = folder / f"{name}.wav"
        path.write_bytes(content)
        found[name] = (path, said)
    found["missing"] = (folder / "nowhere.wav", "no sound file")
    return found


@pytest.mark.parametrize(
    "name", ["empty", "no samples", "cut", "cut flac", "text", "nan", "header", "missing"]
)  # fmt: skip
def test_bad_files_are_named(tmp_path: Path, name: str) -> None:
    path, said = bad_files(tmp_path)[name]
    with pytest.raises(BadData, match=said) as error:
        audio.read(path)
    assert path.name in str(error.value)


def test_limits(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(2.0), 16_000)
    with pytest.raises(BadData, match="2 s long; at most 1 s"):
        audio.read(path, max_seconds=1.0)
    for rate in (0, 10**9):
        with pytest.raises(BadData, match="sampling rate"):
            audio.read((tone(), rate))


def test_arrays() -> None:
    np.testing.assert_allclose(audio.read((np.array([[0, 32767]], np.int16), 16_000)), [0.5], atol=1e-4)
    np.testing.assert_allclose(audio.read((np.array([0, 128, 255], np.uint8), 16_000)), [-1, 0, 127 / 128])
    for bad in (np.zeros((0,), np.float32), np.zeros((2, 2, 2)), np.array(["a"])):
        with pytest.raises(BadData, match="samples of"):
            audio.read((bad, 16_000))


def test_bytes_of_a_socket() -> None:
    samples = tone(0.01)
    np.testing.assert_array_equal(audio.from_bytes(samples.astype("<f4").tobytes(), "float32"), samples)
    pcm = np.round(samples * 32767).astype("<i2")
    np.testing.assert_allclose(audio.from_bytes(pcm.tobytes()), samples, atol=1e-4)
    assert len(audio.from_bytes(b"")) == 0
    for data, encoding, said in ((b"abc", "pcm16", "no whole number"), (b"ab", "mp3", "pcm16 or float32"),
                                 (np.float32([np.nan]).tobytes(), "float32", "NaN")):  # fmt: skip
        with pytest.raises(BadData, match=said):
            audio.from_bytes(data, encoding)


@settings(max_examples=20, deadline=None)
@given(cuts=st.lists(st.integers(0, 3000), max_size=6), rate=st.sampled_from([8_000, 16_000, 44_100, 48_000]))
def test_resampling_a_stream_gives_what_the_file_gives(cuts: list[int], rate: int) -> None:
    x = tone(0.25, rate)
    stream, pieces, at = audio.Resampler(rate), [], 0
    for n in cuts:
        pieces.append(stream.push(x[at : at + n]))
        at += n
    pieces.append(stream.push(x[at:], last=True))
    found, whole = np.concatenate(pieces), audio.resample(x, rate, 16_000)
    assert abs(len(found) - len(whole)) <= 1
    n = min(len(found), len(whole))
    np.testing.assert_allclose(found[:n], whole[:n], atol=1e-5)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_wav_gives_what_soundfile_gives(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Whatever other chunks there are, and whatever the header says that is unusual."""
    channels, rate = data.draw(st.integers(1, 3), "channels"), data.draw(st.sampled_from([8000, 16000, 44100]), "rate")
    n = data.draw(st.integers(1, 50), "n")
    samples = np.random.default_rng(n).integers(-(2**15), 2**15, (n, channels)).astype("<i2")
    fmt = b"fmt " + struct.pack("<IHHIIHH", 16, 1, channels, rate, rate * channels * 2, channels * 2, 16)
    junk = st.binary(max_size=7).map(lambda x: b"junk" + struct.pack("<I", len(x)) + x + b"\0" * (len(x) % 2))
    before, after = (b"".join(data.draw(st.lists(junk, max_size=2))) for _ in range(2))
    said = data.draw(st.sampled_from([samples.nbytes, samples.nbytes + 100, 0xFFFFFFFF]), "length said")
    body = b"WAVE" + fmt + before + b"data" + struct.pack("<I", said) + samples.tobytes() + after
    promised = data.draw(st.sampled_from([len(body), 0, 0xFFFFFFFF]), "promised")
    path = tmp_path_factory.mktemp("wav") / "a.wav"
    path.write_bytes(b"RIFF" + struct.pack("<I", promised) + body)
    try:
        wanted, wanted_rate = soundfile.read(path, dtype="int16", always_2d=True)
    except soundfile.LibsndfileError:
        assume(False)
    if said == samples.nbytes + 100 and samples.nbytes + len(after) < said and promised != len(body):
        with pytest.raises(BadData, match="is truncated"):  # soundfile keeps silent about it
            audio.read_channels(path)
        return
    found, found_rate = audio.read_channels(path)
    assert found_rate == wanted_rate == rate
    np.testing.assert_array_equal(found if found.dtype == np.int16 else np.round(found * 2**15), wanted)


@pytest.mark.parametrize("kind,subtype", [("WAVEX", "PCM_16"), ("WAV", "PCM_24"), ("WAV", "ULAW"), ("RF64", "PCM_16")])
def test_other_kinds_of_wav_are_soundfile_s(tmp_path: Path, kind: str, subtype: str) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(), 16_000, subtype=subtype, format=kind)
    np.testing.assert_array_equal(audio.read(path), soundfile.read(path, dtype="float32")[0])


def test_a_file_that_may_not_be_read() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mine.wav"
        soundfile.write(path, tone(), 16_000)
        path.chmod(0)
        os.chmod(folder, 0o755)
        user = os.geteuid()
        try:
            if user == 0:  # who may read everything
                os.seteuid(65534)
            try:
                path.stat()
            except PermissionError:
                pytest.skip("the folder of temporary files is closed to others; type: TMPDIR=/tmp make test")
            with pytest.raises(BadData, match=r"mine.wav cannot be read \(Permission denied\); correct that"):
                audio.read(path)
        finally:
            os.seteuid(user)

"""Excerpts of sound files equal the same times of the whole file, in every container; the grid covers every second."""

import os
import tracemalloc

import numpy as np
import pytest
import sound_files
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.errors import BadData
from sensorium.modalities.audio import excerpts, files, modality
from sensorium.store.content_keys import content_keys
from sensorium.types import Excerpt


@settings(max_examples=200, deadline=None)
@given(st.floats(0.06, 5000), st.floats(0.05, 60), st.floats(0.01, 1))
def test_windows_cover_the_sound_and_end_with_it(duration, window, share):
    hop = max(0.05, share * window)
    spans = np.array(excerpts.grid(duration, window, hop))
    assert spans[0, 0] == 0 and spans[-1, 1] == duration
    assert len(spans) <= duration / hop + 2
    assert (np.diff(spans[:, 0]) > 0).all() and (spans[1:, 0] <= spans[:-1, 1] + 3e-6).all()  # no gap
    lengths = spans[:, 1] - spans[:, 0]
    assert np.allclose(lengths, window, atol=2e-6) if len(spans) > 1 else lengths[0] <= window + 0.1 * hop + 2e-6
    assert np.allclose(np.diff(spans[:-1, 0]), hop, atol=2e-6)


def test_the_grid_by_hand():
    assert excerpts.grid(60, 10, 5) == [(5.0 * k, 5.0 * k + 10) for k in range(11)]
    assert excerpts.grid(7, 10, 5) == [(0.0, 7.0)]
    assert excerpts.grid(60.2, 10, 5)[-2:] == [(45.0, 55.0), (50.2, 60.2)]  # 0.2 s more add no window


KINDS = [("wav", "WAV", "PCM_16"), ("wav", "WAV", "PCM_24"), ("wav", "WAV", "FLOAT"), ("wav", "WAV", "PCM_U8"),
         ("flac", "FLAC", "PCM_16"), ("flac", "FLAC", "PCM_24"), ("ogg", "OGG", "VORBIS"), ("opus", "OGG", "OPUS"),
         ("mp3", "MP3", None), ("aiff", "AIFF", "PCM_16"), ("au", "AU", "PCM_16"), ("caf", "CAF", "PCM_16")]  # fmt: skip


@pytest.mark.parametrize(("ending", "kind", "subtype"), KINDS)
def test_an_excerpt_is_what_the_whole_file_has_there(tmp_path, ending, kind, subtype):
    path, rate = str(tmp_path / f"a.{ending}"), 16_000
    random = np.random.default_rng(0)
    samples = np.stack([sound_files.tone(6.0, rate), 0.1 * random.standard_normal(6 * rate).astype(np.float32)], 1)
    soundfile.write(path, samples, rate, format=kind, subtype=subtype)
    whole, found = files.read_channels(path)
    for begin, end in [(0.0, 1.0), (2.345, 3.0), (5.0, len(whole) / found), (1.0, 1.0001), (4.2, 5.9)]:
        part, at = files.read_channels(Excerpt(path, begin, end))
        first, last = round(begin * found), max(round(begin * found) + 1, round(end * found))
        assert at == found
        np.testing.assert_array_equal(files.to_mono(part), files.to_mono(whole[first:last]))
    mono, _ = modality.read(Excerpt(path, 2.0, 3.0))
    assert len(mono) == found and len(files.read(Excerpt(path, 2.0, 3.0), 8000)) == 8000
    assert modality.pack(Excerpt(path, 2.0, 3.0))[:4] == b"RIFF"


def test_a_container_that_libsndfile_does_not_read_is_decoded_once(tmp_path):
    path = str(tmp_path / "a.m4a")
    (tmp_path / "a.m4a").write_bytes(sound_files.encoded("ipod", "aac", seconds=3.0))
    whole, rate = files.read_channels(path)
    for begin in (0.5, 1.5):
        part, _ = files.read_channels(Excerpt(path, begin, begin + 1))
        np.testing.assert_array_equal(part, whole[round(begin * rate) : round((begin + 1) * rate)])


def test_a_long_file_is_not_read_for_a_short_excerpt(tmp_path):
    """An hour and a half of 48 kHz, which has 500 MB: nine seconds of it take a few."""
    path = tmp_path / "long.wav"
    soundfile.write(path, np.zeros(48_000, np.int16), 48_000)
    content = bytearray(path.read_bytes())
    size = 48_000 * 2 * 5400
    content[4:8], content[40:44] = (size + 36).to_bytes(4, "little"), size.to_bytes(4, "little")
    path.write_bytes(content)
    os.truncate(path, 44 + size)
    tracemalloc.start()
    samples, rate = files.read_channels(Excerpt(str(path), 5000.0, 5009.0))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (len(samples), rate) == (9 * 48_000, 48_000) and peak < 10e6


def test_excerpts_that_are_not_there(tmp_path):
    path = str(tmp_path / "a.wav")
    soundfile.write(path, sound_files.tone(2.0), 16_000)
    with pytest.raises(BadData, match=r"a\.wav is 2 s long; an excerpt from 1 to 9 s is not in it"):
        files.read(Excerpt(path, 1.0, 9.0))
    with pytest.raises(BadData, match=r"an excerpt from 2 to 1 s; expected 0 ≤ begin < end"):
        files.read(Excerpt(path, 2.0, 1.0))
    with pytest.raises(BadData, match=r"an excerpt of 2 s; expected at most 1 s"):
        files.read(Excerpt(path, 0.0, 2.0), max_seconds=1.0)
    with pytest.raises(BadData, match="no sound file"):
        files.read(Excerpt(str(tmp_path / "gone.wav"), 0.0, 1.0))
    assert len(files.read(Excerpt(path, 1.0, 2.05))) == 16_000  # a header that rounds


def test_the_content_of_an_excerpt_is_the_file_and_its_times(tmp_path):
    a, b = tmp_path / "a.wav", tmp_path / "b.wav"
    soundfile.write(a, sound_files.tone(2.0), 16_000)
    b.write_bytes(a.read_bytes())
    parts = [Excerpt(str(a), 0.0, 1.0), Excerpt(str(b), 0.0, 1.0), Excerpt(str(a), 0.5, 1.0), str(a)]
    one, same, other, whole = content_keys("audio", list("abcd"), parts)
    assert one == same and len({one, other, whole}) == 3
    soundfile.write(a, sound_files.tone(2.0, hz=200.0), 16_000)
    assert content_keys("audio", ["a"], parts[:1]) != [one]
    with pytest.raises(BadData, match=r"audio item 'x': cannot read .*gone\.wav"):
        content_keys("audio", ["x"], [Excerpt(str(tmp_path / "gone.wav"), 0.0, 1.0)])

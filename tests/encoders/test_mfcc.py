"""MFCC against librosa and a float64 reference; a stream gives what the file gives."""

import numpy as np
import pytest
import scipy.fft
import scipy.signal
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_voice import EVERYTHING, RATE, streamed, voice

from sensorium.encoders.mfcc import Mfcc
from sensorium.errors import BadData, BadRecipe
from sensorium.modalities.audio import mel, spectra
from sensorium.numerics import threads as workers


def reference(x: np.ndarray, n_mfcc: int, n_mels: int, size: int, hop: int, fft: int) -> np.ndarray:
    """MFCC in float64 by the formulas: Hann, power, Slaney mel triangles, dB, DCT-II."""
    starts = range(0, len(x) - size + 1, hop)
    window = scipy.signal.get_window("hann", size)
    power = np.array([np.abs(np.fft.rfft(x[s : s + size].astype(float) * window, fft)) ** 2 for s in starts])
    low = np.linspace(0, 15 + 27 * np.log(8) / np.log(6.4), n_mels + 2)  # 8 kHz in mel
    hz = np.where(low < 15, low * 200 / 3, 1000 * np.exp(np.log(6.4) / 27 * (low - 15)))
    bins = np.arange(fft // 2 + 1) * RATE / fft
    filters = np.array([np.interp(bins, hz[i : i + 3], [0, 1, 0]) * 2 / (hz[i + 2] - hz[i]) for i in range(n_mels)])
    return scipy.fft.dct(10 * np.log10(np.maximum(power @ filters.T, 1e-10)), norm="ortho")[:, :n_mfcc]


@pytest.mark.parametrize("n_mfcc,n_mels,fft", [(13, 40, 512), (20, 64, 1024), (13, 26, 400), (13, 40, 401)])
def test_equals_the_formulas_in_float64(n_mfcc: int, n_mels: int, fft: int) -> None:
    x = voice(1.5)
    found = Mfcc(n_mfcc=n_mfcc, n_mels=n_mels, fft=fft).encode([(x, RATE)])[0]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, reference(x, n_mfcc, n_mels, 400, 160, fft), atol=1e-4)


def test_equals_librosa() -> None:
    librosa = pytest.importorskip("librosa", reason="librosa is an optional oracle: pip install librosa")
    x = voice(2.0)
    for fft in (400, 512, 551):
        # librosa centres the window in its frame of fft samples; ours starts it there
        padded = np.pad(x, ((fft - 400) // 2, (fft - 399) // 2))
        mel = librosa.feature.melspectrogram(
            y=padded, sr=RATE, n_fft=fft, win_length=400, hop_length=160, center=False, n_mels=40
        )
        wanted = librosa.feature.mfcc(S=librosa.power_to_db(mel, top_db=None), n_mfcc=13).T
        np.testing.assert_allclose(Mfcc(fft=fft).encode([(x, RATE)])[0], wanted, atol=1e-4)


@settings(max_examples=15, deadline=None)
@given(
    cuts=st.lists(st.integers(0, 4000), max_size=8),
    silence=st.sampled_from(["keep", "mark", "drop"]),
    cmvn=st.sampled_from(["none", "running"]),
    hop=st.sampled_from([10.0, 20.0, 32.0]),
)
def test_a_stream_gives_what_the_file_gives(cuts: list[int], silence: str, cmvn: str, hop: float) -> None:
    encoder = Mfcc(**EVERYTHING, silence=silence, cmvn=cmvn, hop=hop, silence_release=3.0)
    x = voice(0.6)
    chunks = np.split(x, np.minimum(np.cumsum(cuts, dtype=int), len(x)))
    whole = encoder.encode([(x, RATE)])[0]
    assert whole.shape[1] == encoder.dim
    np.testing.assert_allclose(streamed(encoder, chunks), whole, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("threads", [1, 3])
def test_many_recordings_are_shared_among_threads(threads: int) -> None:
    clips = [(voice(0.2 + 0.01 * (k % 7), seed=k), RATE) for k in range(70)]
    encoder, before = Mfcc(**EVERYTHING), torch.get_num_threads()
    workers._pool.cache_clear()
    torch.set_num_threads(threads)
    try:
        found = encoder.encode(clips)
        assert workers.count(torch) == torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
        workers._pool.cache_clear()
    assert len(found) == len(clips)
    for clip, frames in zip(clips, found, strict=True):
        np.testing.assert_allclose(frames, encoder.encode([clip])[0], atol=2e-4)
    with pytest.raises(BadData, match="clip.wav"):
        encoder.encode([*clips, "clip.wav"])
    assert encoder.encode([]) == []


@settings(max_examples=25, deadline=None)
@given(n_mels=st.integers(1, 128), fft=st.integers(400, 2048), low=st.floats(0, 300), high=st.floats(2000, 8000))
def test_mel_products_in_parts_equal_the_whole(n_mels: int, fft: int, low: float, high: float) -> None:
    power = np.random.default_rng(0).exponential(size=(3, fft // 2 + 1)).astype(np.float32)
    found = torch.empty(n_mels, 3)
    spectra.mel_spectrum(torch.from_numpy(power), fft, RATE, low, high, found)
    wanted = power.astype(float) @ mel.filters(n_mels, fft, RATE, low, high)
    np.testing.assert_allclose(found.T, wanted, rtol=1e-5, atol=1e-9)


def test_streams_stepped_together_equal_streams_stepped_alone() -> None:
    encoder = Mfcc(**EVERYTHING, silence="mark", cmvn="running")
    samples = np.stack([voice(0.3, seed) for seed in range(3)])[:, : encoder.span + 20 * encoder.hop]
    together = encoder.step(samples, encoder.start(3))[0]
    for row, found in zip(samples, together, strict=True):
        np.testing.assert_allclose(found, encoder.step(row[None], encoder.start(1))[0][0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("n", [1, 399, 400, 401, 559, 560])
def test_frames_of_short_recordings(n: int) -> None:
    x = voice(1.0)[:n]
    for options in ({}, {"pitch": True, "silence": "drop"}):
        encoder = Mfcc(**options)
        offline = encoder.encode([(x, RATE)])[0]
        assert len(offline) == (2 if n == 560 and not options else 1) or options
        assert np.isfinite(offline).all() and len(offline) >= 1
        np.testing.assert_allclose(streamed(encoder, [x]), offline, atol=1e-5)


def test_what_the_columns_say() -> None:
    t = np.arange(RATE) / RATE
    tone = (0.25 * scipy.signal.sawtooth(2 * np.pi * 200 * t)).astype(np.float32)
    tone[RATE // 2 :] = 0
    frames = Mfcc(n_mfcc=0, energy=True, pitch=True, silence="mark").encode([(tone, RATE)])[0]
    level, log_pitch, voicing, active = frames[20]
    assert level == pytest.approx(20 * np.log10(0.25 / np.sqrt(3)), abs=0.2)
    assert 150 * np.exp(log_pitch) == pytest.approx(200, rel=0.02)
    assert voicing > 0.9 and active == 1
    assert frames[-1, 2] == 0 and frames[-1, 3] == 0  # silence: unvoiced, inactive


def test_normalisations() -> None:
    x = voice(1.0)
    whole = Mfcc(cmvn="utterance").encode([(x, RATE)])[0]
    np.testing.assert_allclose(whole.mean(0), 0, atol=1e-4)
    assert (whole.std(0) < 1).all() and (whole.std(0) > 0.5).all()  # the prior leaves a little to go
    running = Mfcc(cmvn="running").encode([(x, RATE)])[0]
    np.testing.assert_allclose(running[-1], whole[-1], atol=1e-4)  # at the end all has been heard
    with pytest.raises(BadRecipe, match="set cmvn to none or running"):
        Mfcc(cmvn="utterance").start()


@pytest.mark.parametrize(
    "wrong,said",
    [
        ({"silence": "cut"}, "keep, mark, drop"),
        ({"cmvn": "all"}, "none, running, utterance"),
        ({"deltas": 3}, "0, 1 or 2"),
        ({"rate": 500}, "mfcc.rate=500; expected 2000 to 1000000 Hz"),
        ({"fft": 256}, "2 to fft=256"),
        ({"n_mfcc": 50}, "n_mfcc up to n_mels"),
        ({"fmin": 9000.0}, "fmin below fmax"),
        ({"n_mfcc": 0}, "frames without any feature"),
    ],
)
def test_refusals(wrong: dict, said: str) -> None:
    with pytest.raises(BadRecipe, match=said):
        Mfcc(**wrong)

"""Measures of a recording: loudness by the standard's own cases, levels, noise and silence of known mixtures."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_voice import voice

from sensorium.errors import BadData
from sensorium.modalities.audio import files, measures
from sensorium.modalities.audio.measures import measure, speech_rate

RATE = 16_000


def sine(hz: float, seconds: float, level: float, rate: int, channels: int = 1) -> np.ndarray:
    """A sine whose peak is ``level`` dBFS, (n, channels) float32."""
    t = np.arange(round(seconds * rate)) / rate
    return np.repeat((10 ** (level / 20) * np.sin(2 * np.pi * hz * t))[:, None], channels, 1).astype(np.float32)


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100, 48_000])
def test_a_sine_at_full_scale_in_one_channel_has_minus_3_01_lufs(rate):
    found = measure(sine(997.0, 3.0, 0.0, rate), rate)["loudness"]
    assert found == pytest.approx(-3.01, abs=0.005 if rate == 48_000 else 0.05)


#: EBU Tech 3341 (2016), cases 1 to 5: stereo sines of 1 kHz at these levels for so many seconds; what is expected.
EBU = [([(-23, 20)], -23.0), ([(-33, 20)], -33.0), ([(-36, 10), (-23, 60), (-36, 10)], -23.0),
       ([(-72, 10), (-36, 10), (-23, 60), (-36, 10), (-72, 10)], -23.0),
       ([(-26, 20), (-20, 20.1), (-26, 20)], -23.0)]  # fmt: skip


@pytest.mark.parametrize(("parts", "expected"), EBU)
def test_loudness_of_the_conformance_cases_of_ebu_tech_3341(parts, expected):
    x = np.concatenate([sine(1000.0, seconds, level, RATE, 2) for level, seconds in parts])
    assert measure(x, RATE)["loudness"] == pytest.approx(expected, abs=0.1)


def test_loudness_equals_that_of_pyloudnorm():
    pyloudnorm = pytest.importorskip("pyloudnorm", reason="pyloudnorm, another implementation, is not installed")
    for seed, rate in enumerate((16_000, 44_100, 48_000)):
        x = files.resample(voice(4.0, seed), RATE, rate)
        expected = pyloudnorm.Meter(rate, filter_class="DeMan").integrated_loudness(x.astype(np.float64))
        assert measure(x, rate)["loudness"] == pytest.approx(expected, abs=0.1)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 30_000), st.sampled_from([8_000, 11_025, 16_000, 48_000]), st.integers(0, 99))
def test_every_recording_has_measures_of_its_units(n, rate, seed):
    x = voice(n / RATE + 0.01, seed)[:n]
    found = measure(x, rate)
    assert list(found) == list(measures.COLUMNS)
    assert found["duration"] == len(x) / rate and found["sample_rate"] == rate
    assert 0 <= found["rms"] <= found["peak"] <= 1 and found["clipping"] == 0
    assert 0 <= found["silence_start"] <= found["duration"] and 0 <= found["silence_end"] <= found["duration"]


def test_blocks_change_nothing(monkeypatch):
    x = voice(3.0)
    whole = measure(x, RATE)
    monkeypatch.setattr(measures, "_BLOCK", 37)
    assert measure(x, RATE) == pytest.approx(whole, rel=1e-9)


@pytest.mark.parametrize("gain", [0.5, 0.1])
def test_a_gain_moves_levels_by_its_decibels_and_nothing_else(gain):
    x = voice(3.0)
    one, other = measure(x, RATE), measure(gain * x, RATE)
    assert other["loudness"] == pytest.approx(one["loudness"] + 20 * math.log10(gain), abs=0.05)
    assert other["rms"] == pytest.approx(gain * one["rms"], rel=1e-3)
    assert other["snr"] == pytest.approx(one["snr"], abs=0.01)
    assert (other["silence_start"], other["silence_end"]) == (one["silence_start"], one["silence_end"])


@pytest.mark.parametrize("expected", [5.0, 10.0, 20.0, 30.0])
def test_signal_to_noise_of_known_mixtures(expected):
    """Bursts of a tone in white noise: signal power over noise power while the tone sounds."""
    rng = np.random.default_rng(0)
    t = np.arange(4 * RATE) / RATE
    on = (t % 1.0) < 0.6
    signal = on * sine(300.0, 4.0, -12.0, RATE)[:, 0]
    noise = rng.standard_normal(len(t)) * np.sqrt(np.mean(signal[on] ** 2) / 10 ** (expected / 10))
    assert measure((signal + noise).astype(np.float32), RATE)["snr"] == pytest.approx(expected, abs=1.5)


@pytest.mark.parametrize(("start", "end"), [(0.5, 0.3), (0.0, 1.0), (1.2, 0.0)])
@pytest.mark.parametrize("floor", [0.0, 1e-4, 3e-3])
def test_silence_at_the_ends(start, end, floor):
    tone = sine(200.0, 1.5, -10.0, RATE)[:, 0]
    x = np.concatenate([np.zeros(round(start * RATE)), tone, np.zeros(round(end * RATE))])
    x = x + floor * np.random.default_rng(1).standard_normal(len(x))
    found = measure(x.astype(np.float32), RATE)
    assert found["silence_start"] == pytest.approx(start, abs=0.02)
    assert found["silence_end"] == pytest.approx(end, abs=0.02)


def test_a_click_ends_no_silence():
    x = np.concatenate([np.zeros(RATE // 2), sine(200.0, 1.0, -10.0, RATE)[:, 0]]).astype(np.float32)
    x[1000] = 0.5
    assert measure(x, RATE)["silence_start"] == pytest.approx(0.5, abs=0.02)


def test_clipping_is_the_share_of_samples_at_full_scale():
    x = 2 * sine(100.0, 1.0, 0.0, RATE)[:, 0]
    clipped = np.clip(x, -1, 1)
    as_int = np.clip(np.round(x * 32768), -32768, 32767).astype(np.int16)
    assert measure(clipped, RATE)["clipping"] == pytest.approx(2 / 3, abs=0.01)
    assert measure(as_int, RATE)["clipping"] == pytest.approx(2 / 3, abs=0.01)
    assert measure(0.99 * clipped, RATE)["clipping"] == 0


def test_silence_has_no_loudness_and_no_noise():
    found = measure(np.zeros(RATE, np.float32), RATE)
    assert math.isnan(found["loudness"]) and math.isnan(found["snr"])
    assert (found["rms"], found["peak"], found["silence_start"], found["silence_end"]) == (0, 0, 1, 1)


def test_channels_are_measured_together():
    left, right = voice(2.0, 0), voice(2.0, 1)
    both = measure(np.stack([left, right], 1), RATE)
    assert both["peak"] == max(measure(left, RATE)["peak"], measure(right, RATE)["peak"])
    assert measure(np.stack([left, left], 1), RATE)["loudness"] == pytest.approx(
        measure(left, RATE)["loudness"] + 10 * math.log10(2), abs=1e-6
    )


def test_a_constant_offset_is_no_sound():
    x = voice(2.0)
    assert measure(x + 0.05, RATE)["rms"] == pytest.approx(measure(x, RATE)["rms"], rel=0.02)


def test_a_recording_without_samples_is_refused():
    with pytest.raises(BadData, match="0 samples; expected one sample at least"):
        measure(np.zeros((0, 1), np.float32), RATE)
    with pytest.raises(BadData, match="1 of 10 samples are NaN"):
        measure(np.where(np.arange(10) == 3, np.nan, 0.1).astype(np.float32), RATE)


def test_characters_a_second_leave_out_the_silence_at_the_ends():
    assert speech_rate(" one  two ", 3.0, 0.5, 0.5) == 3.5
    assert math.isnan(speech_rate(None, 3.0, 0, 0)) and math.isnan(speech_rate("a", 1.0, 1.0, 1.0))

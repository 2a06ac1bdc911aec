"""Which steps of sound may be speech: voices are, silence and steady noise of any level and colour are not."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from live_server import RATE, speak

from sensorium.numerics import affect
from sensorium.stream import speech

STEP = RATE // 10


def share(x: np.ndarray) -> float:
    """Share of the steps that may be speech, as a stream finds it."""
    steps = x[: len(x) // STEP * STEP].reshape(-1, STEP).astype(np.float32)
    level = speech.levels(steps)
    before = [level[max(0, i - 20) : i].tolist() for i in range(len(steps))]
    return float(speech.is_speech(steps, RATE, before, level, np.ones(len(steps), bool)).mean())


def noise(slope: float, seed: int, seconds: float = 3.0) -> np.ndarray:
    """Noise whose power falls with frequency to the power of ``slope``, of 1 RMS."""
    f = np.fft.rfft(np.random.default_rng(seed).normal(size=int(seconds * RATE)))
    x = np.fft.irfft(f / np.maximum(1, np.arange(len(f))) ** (slope / 2))
    return x / np.sqrt(np.mean(x**2))


@settings(max_examples=25, deadline=None)
@given(slope=st.floats(0, 2), seed=st.integers(0, 999), level=st.floats(-70, -6))
def test_steady_noise_is_no_speech(slope, seed, level):
    assert share(noise(slope, seed) * 10 ** (level / 20)) <= 0.04


@pytest.mark.parametrize("hertz", [50, 60, 100])
def test_hum_with_noise_is_no_speech(hertz):
    t = np.arange(3 * RATE) / RATE
    assert share(0.01 * np.sin(2 * np.pi * hertz * t) + 0.0005 * noise(0, 1)) == 0


@pytest.mark.parametrize("seed", range(6))
def test_a_voice_with_pauses_is_speech(seed):
    x = speak(4.0, seed)
    voiced = np.abs(x[: len(x) // STEP * STEP].reshape(-1, STEP)).mean(1) > 0.02
    assert share(x) >= 0.75 * voiced.mean()


@pytest.mark.parametrize("hertz", [90, 130, 210, 330])
def test_a_held_vowel_is_speech_from_its_first_step_on(hertz):
    t = np.arange(2 * RATE) / RATE
    phase = 2 * np.pi * np.cumsum(hertz * (1 + 0.02 * np.sin(2 * np.pi * 5 * t))) / RATE
    vowel = sum(np.sin(k * phase) * np.exp(-((k * hertz - 600) ** 2) / 4e5) for k in range(1, 20))
    assert share(0.05 * vowel + 0.001 * noise(0, 3, 2.0)) == 1


def test_digital_silence_is_no_speech_and_short_steps_are_no_fault():
    assert share(np.zeros(RATE)) == 0
    loud = speak(0.2, 1).reshape(2, -1)
    level = speech.levels(loud)
    assert not speech.is_speech(loud, RATE, [[-90.0], [-90.0]], level, np.array([False, False])).any()
    assert speech.periodicity(np.zeros((2, 40)), RATE).tolist() == [0, 0]


def test_a_real_voice_keeps_its_speech(shared_data):
    """Clips of RAVDESS: hardly a step that is voice by its level is lost."""
    import io
    import tarfile

    import soundfile

    with tarfile.open(shared_data / "ravdess-actors01-12-flac16k.tar") as archive:
        names = [f"ravdess/Actor_01/03-01-0{k}-01-01-01-01.flac" for k in range(1, 9)]
        clips = [soundfile.read(io.BytesIO(archive.extractfile(name).read()))[0] for name in names]
    for x in clips:
        steps = x[: len(x) // STEP * STEP].reshape(-1, STEP)
        loud = 10 * np.log10(np.mean(steps**2, 1) + 1e-12)
        assert share(x) >= 0.8 * (loud > loud.max() - 20).mean()


@pytest.mark.parametrize(("words", "are"), [(["anger", "Fear", "neutral"], True), (["rain", "siren"], False),
                                            (["happy"], False), (["calm", "dog"], False), ([], False)])  # fmt: skip
def test_classes_are_emotions_by_their_names(words, are):
    assert affect.are_emotions(words) is are

"""Steadiness: what stays the same is steady, what changes midway is not, and nothing else matters."""

import io
import math
import tarfile

import numpy as np
import pytest
from made_voice import voice

from sensorium.modalities.audio import steadiness as module
from sensorium.modalities.audio.measures import measure

RATE = 16_000


def buzz(seconds, hz, level):
    """A voiced sound of one pitch and level, (n,) float32."""
    t = np.arange(int(seconds * RATE)) / RATE
    return (level * sum(np.sin(2 * np.pi * hz * k * t) / k for k in range(1, 12)) / 2).astype(np.float32)


def of(samples, rate=RATE):
    return measure(np.asarray(samples, np.float32), rate)["steadiness"]


def joined(first, second):
    return np.concatenate([first, np.zeros(RATE // 10, np.float32), second])


def test_what_stays_the_same_is_steadier_than_what_changes():
    same = of(joined(buzz(1.5, 150, 0.2), buzz(1.5, 143, 0.2)))
    assert 0 < same <= 1
    for changed in (buzz(1.5, 300, 0.2), buzz(1.5, 143, 0.07), buzz(1.5, 75, 0.2)):
        assert of(joined(buzz(1.5, 150, 0.2), changed)) < 0.8 * same


def test_silence_at_the_ends_gain_and_channels_do_not_matter():
    x = voice(3.0, 1)
    alone = of(x)
    padded = np.concatenate([np.zeros(RATE), x, np.zeros(RATE // 2)]).astype(np.float32)
    assert of(padded) == pytest.approx(alone, abs=0.05)
    assert of(0.25 * x) == pytest.approx(alone, abs=0.02)
    assert of(np.stack([x, x], 1)) == pytest.approx(alone, abs=1e-6)


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100])
def test_the_rate_matters_little(rate):
    from sensorium.modalities.audio import files

    x = voice(3.0, 2)
    assert of(files.resample(x, RATE, rate), rate) == pytest.approx(of(x), abs=0.1)


def test_short_and_silent_recordings_are_not_judged():
    for x in (np.zeros(RATE, np.float32), buzz(0.3, 150, 0.2), np.ones(1, np.float32)):
        assert math.isnan(of(x))


def test_a_long_recording_is_judged_by_its_first_minute():
    x = np.concatenate([voice(module.LONGEST, 3), buzz(5, 400, 0.9)]).astype(np.float32)
    assert of(x) == pytest.approx(of(x[: int(module.LONGEST * RATE)]), abs=0.05)


def test_clips_of_two_emotions_are_told_from_clips_of_one(shared_data):
    """Real clips of one emotion, against the first half of one and the second half of another of the same sentence."""
    from sensorium.modalities.audio import files

    one, two = [], []
    with tarfile.open(shared_data / "ravdess-actors01-12-flac16k.tar") as tar:
        for actor in ("07", "08", "09", "10"):
            for names in (("03-01-01-01", "03-01-05-02"), ("03-01-02-02", "03-01-06-02")):
                paths = [f"ravdess/Actor_{actor}/{name}-01-01-{actor}.flac" for name in names]
                a, b = (files.read(io.BytesIO(tar.extractfile(path).read())) for path in paths)
                one += [of(a), of(b)]
                a, b = map(core, (a, b))
                two.append(of(np.concatenate([a[: len(a) // 2], b[len(b) // 2 :]])))
    assert np.median(two) < np.median(one) - 0.1


def core(x):
    """Samples without the silence at their ends."""
    found = measure(x, RATE)
    return x[int(found["silence_start"] * RATE) : len(x) - int(found["silence_end"] * RATE)]

"""functionals: the numbers of the head ``statistics`` on the same frames, alone or with companions, at any gain."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_voice import RATE, voice

from sensorium import parts
from sensorium.encoders import functionals
from sensorium.encoders.functionals import COLUMNS, FRAMES, Functionals
from sensorium.errors import BadData, BadRecipe
from sensorium.heads.statistics import Statistics
from sensorium.numerics.head_constants import RELATIONS_VARIANCE

WIDTH = 2 * len(COLUMNS)


def by_the_head(value: tuple[np.ndarray, int], levels: int, relations: bool) -> np.ndarray:
    """The statistics (d,) that the head makes of the frames of the encoder mfcc, with our constants in its input layer."""
    head = Statistics(levels=levels, relations=2 * relations)
    head.build(WIDTH, None, 8)
    mean, scale = functionals.standardisation()
    head.preprocess.load_state_dict({"mean": torch.from_numpy(mean), "scale": torch.from_numpy(scale)})
    frames = torch.from_numpy(parts.make("encoders", {"name": "mfcc", **FRAMES}).encode([value])[0])
    with torch.inference_mode():
        return head.eval().frozen(frames[None], torch.tensor([len(frames)]))[0].numpy()


@pytest.mark.parametrize(("levels", "relations"), [(5, True), (3, False), (0, True)])
def test_the_statistics_are_those_of_the_head(levels: int, relations: bool) -> None:
    made = Functionals(levels, relations, level=0)
    values = [(voice(seconds, seed), RATE) for seed, seconds in enumerate((2.5, 0.4, 0.01, 4.0))]
    found = made.encode(values)
    assert found.shape == (4, made.dim) and found.dtype == np.float32
    for row, value in zip(found, values, strict=True):
        np.testing.assert_allclose(row, by_the_head(value, levels, relations), atol=2e-5, rtol=2e-5)


def test_a_level_is_that_of_the_sound_brought_to_it() -> None:
    x = voice(3.0) * np.float32(0.03)
    gain = 10 ** ((-26 - functionals.voice_level(x)) / 20)
    levelled = Functionals(level=0).encode([((x * np.float32(gain)), RATE)])
    np.testing.assert_allclose(Functionals().encode([(x, RATE)]), levelled, atol=1e-4)


@settings(max_examples=10, deadline=None)
@given(gain=st.integers(-8, 2), seed=st.integers(0, 50))
def test_the_gain_of_a_recording_changes_nothing(gain: int, seed: int) -> None:
    x = voice(1.5, seed)
    one, other = Functionals().encode([(x, RATE), (x * np.float32(2.0**gain), RATE)])
    np.testing.assert_allclose(one, other, atol=1e-4)


def test_with_the_level_unchanged_the_gain_is_heard() -> None:
    x = voice(1.5)
    one, other = Functionals(level=0).encode([(x, RATE), (x / 4, RATE)])
    names = Functionals().names
    assert one[names.index("energy: mean")] - other[names.index("energy: mean")] > 0.5


def test_a_long_recording_is_read_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    value = (voice(9.0), RATE)
    whole = Functionals().encode([value])
    monkeypatch.setattr(functionals, "_TOGETHER", 70)
    np.testing.assert_allclose(Functionals().encode([value]), whole, atol=1e-5)


def test_every_number_has_a_name_of_its_own() -> None:
    for levels, relations in ((5, True), (2, False), (0, True)):
        made = Functionals(levels, relations)
        assert len(made.names) == len(set(made.names)) == made.dim
    assert Functionals().dim == 1378
    vector = Functionals(level=0).encode([(voice(2.0), RATE)])[0]
    frames = parts.make("encoders", {"name": "mfcc", **FRAMES}).encode([(voice(2.0), RATE)])[0]
    mean, scale = functionals.standardisation()
    x, names = (frames - mean) * scale, Functionals().names
    assert vector[names.index("log pitch: mean")] == pytest.approx(x[:, COLUMNS.index("log pitch")].mean(), abs=1e-5)
    (first, pair), (_, second) = np.cov(x[:, 1], x[:, 3], bias=True)
    together = pair / np.sqrt((first + RELATIONS_VARIANCE) * (second + RELATIONS_VARIANCE))
    assert vector[names.index("mfcc 1, mfcc 3: correlation")] == pytest.approx(together, abs=1e-5)


def test_silence_and_a_single_sample_are_defined() -> None:
    found = Functionals().encode([(np.zeros(16_000, np.float32), RATE), (np.full(1, 0.1, np.float32), RATE)])
    assert np.isfinite(found).all()
    assert functionals.voice_level(np.zeros(800, np.float32)) == -np.inf
    assert Functionals().encode([]).shape == (0, 1378)


@pytest.mark.parametrize(
    ("keys", "said"),
    [({"levels": -1}, "levels=-1; expected 0 to 100"), ({"levels": 101}, "levels=101; expected 0 to 100"),
     ({"level": 3.0}, "level=3.0; expected -80 to 0 dBFS"), ({"level": -81.0}, "level=-81.0; expected -80 to 0 dBFS"),
     ({"level": float("nan")}, "level=nan; expected -80 to 0 dBFS")],
)  # fmt: skip
def test_settings_out_of_range_are_refused(keys: dict[str, float], said: str) -> None:
    with pytest.raises(BadRecipe, match=f"functionals: {said}"):
        Functionals(**keys)


def test_a_recording_that_cannot_be_read_is_named(tmp_path) -> None:
    (tmp_path / "empty.wav").write_bytes(b"")
    with pytest.raises(BadData, match="empty.wav is empty"):
        Functionals().encode([tmp_path / "empty.wav"])

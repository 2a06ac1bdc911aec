"""Many streams at once read what each would alone, at any rate and chunk size, with every head that steps."""

import numpy as np
import pytest
import torch
from frame_heads import SPECS
from hypothesis import given, settings
from hypothesis import strategies as st
from made_voice import RATE, voice

from sensorium import parts
from sensorium.encoders.mfcc import Mfcc
from sensorium.errors import BadData, BadRecipe
from sensorium.modalities.audio import files
from sensorium.stream.batch import Reading, Streams

ENCODER = Mfcc(n_mfcc=5, energy=True, pitch=True, deltas=1, silence="drop")


def head(name: str) -> torch.nn.Module:
    torch.manual_seed(0)
    made = parts.make("heads", {"name": name, **SPECS[name], "preprocess": "none"})
    made.build(ENCODER.dim, None, 8)
    return made.eval()


def offline(made: torch.nn.Module, x: np.ndarray, rate: int = RATE) -> np.ndarray:
    """What the head reads after the last frame that counts, by its own step over the whole."""
    frames = ENCODER.encode([(x, rate)])[0]
    with torch.inference_mode():
        return made.step(torch.from_numpy(frames)[None])[0][0, -1].numpy()


@pytest.mark.parametrize("name", SPECS)
@settings(max_examples=8, deadline=None)
@given(sizes=st.lists(st.lists(st.integers(0, 3000), min_size=3, max_size=3), min_size=1, max_size=6))
def test_together_as_alone(name: str, sizes: list[list[int]]) -> None:
    made = head(name)
    streams, voices = Streams(ENCODER, made), [voice(0.3, seed) for seed in range(3)]
    keys = [streams.open() for _ in voices]
    read: dict[int, list[Reading]] = {key: [] for key in keys}
    at = [0, 0, 0]
    for step in sizes:
        chunks = {}
        for i, n in enumerate(step):
            chunks[keys[i]] = voices[i][at[i] : at[i] + n]
            at[i] += n
        for key, found in streams.push(chunks).items():
            read[key] += found
    rest = {key: x[a:] for key, x, a in zip(keys, voices, at, strict=True)}
    for key, found in streams.push(rest, ended=keys).items():
        read[key] += found
    assert len(streams) == 0
    for key, x in zip(keys, voices, strict=True):
        assert [r.frames for r in read[key]] == [10, 20, 28]
        for reading in read[key]:
            wanted = offline(made, x[: round(reading.end * RATE)])
            np.testing.assert_allclose(reading.values, wanted, atol=1e-5, rtol=1e-5)


def test_other_rates_and_a_new_beginning() -> None:
    made = head("statistics")
    streams = Streams(ENCODER, made)
    x = files.resample(voice(0.5), RATE, 44_100)
    key = streams.open(44_100)
    read = [reading for chunk in np.array_split(x, 11) for reading in streams.push({key: chunk})[key]]
    read += streams.push({key: x[:0]}, ended=[key])[key]
    np.testing.assert_allclose(read[-1].values, offline(made, x, 44_100), atol=1e-5, rtol=1e-5)
    key = streams.open()
    streams.push({key: voice(0.5, 1)})
    streams.reset(key)
    again = streams.push({key: voice(0.5, 2)}, ended=[key])[key]
    np.testing.assert_allclose(again[-1].values, offline(made, voice(0.5, 2)), atol=1e-5, rtol=1e-5)
    streams.close(key)  # closing twice is no error


def test_a_voice_and_a_pause_are_told_apart() -> None:
    streams = Streams(ENCODER, head("gru"))
    key, loud = streams.open(), voice(0.3, 1)[: int(0.2 * RATE)]
    read = streams.push({key: np.concatenate([loud, np.zeros(RATE, np.float32)])}, ended=[key])[key]
    assert read[0].voiced_fraction > 0.5 and {reading.voiced_fraction for reading in read[3:]} == {0.0}
    assert all(reading.values == read[3].values for reading in read[3:])  # silence is dropped: nothing new is read


def test_silence_from_the_beginning_has_no_voice() -> None:
    streams, made = Streams(ENCODER, head("gru")), head("gru")
    for seconds in (0.001, 0.025, 0.045, 1.0):
        key, x = streams.open(), np.zeros(int(seconds * RATE), np.float32)
        read = streams.push({key: x}, ended=[key])[key]
        assert read and {reading.voiced_fraction for reading in read} == {0.0}
        np.testing.assert_allclose(read[-1].values, offline(made, x), atol=1e-5)  # its first frame counts all the same


def test_refusals() -> None:
    with pytest.raises(BadRecipe, match="Identity cannot stream"):
        Streams(ENCODER, parts.make("heads", "identity"))
    with pytest.raises(BadRecipe, match="cmvn='utterance'"):
        Streams(Mfcc(cmvn="utterance"), head("lstm"))
    with pytest.raises(BadData, match="sampling rate"):
        Streams(ENCODER, head("lstm")).open(7)

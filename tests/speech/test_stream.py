"""Many streams at once read what each would alone, at any rate and chunk size."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_frame_heads import SPECS
from test_mfcc import RATE, voice

from sensorium import audio, parts
from sensorium.encoders.mfcc import Mfcc
from sensorium.errors import BadData, BadRecipe
from sensorium.stream import Streams

ENCODER = Mfcc(n_mfcc=5, energy=True, pitch=True, deltas=1, silence="drop")


def head(name: str) -> torch.nn.Module:
    torch.manual_seed(0)
    made = parts.make("heads", {"name": name, **SPECS[name], "preprocess": "none"})
    made.build(ENCODER.dim, None, 8)
    return made.eval()


def offline(made: torch.nn.Module, x: np.ndarray, rate: int = RATE) -> np.ndarray:
    frames = ENCODER.encode([(x, rate)])[0]
    with torch.inference_mode():
        return made.step(torch.from_numpy(frames)[None])[0][0].numpy()


@pytest.mark.parametrize("name", SPECS)
@settings(max_examples=8, deadline=None)
@given(sizes=st.lists(st.lists(st.integers(0, 3000), min_size=3, max_size=3), min_size=1, max_size=6))
def test_together_as_alone(name: str, sizes: list[list[int]]) -> None:
    made = head(name)
    streams, voices = Streams(ENCODER, made), [voice(0.3, seed) for seed in range(3)]
    keys = [streams.open() for _ in voices]
    read: dict[int, list[np.ndarray]] = {key: [] for key in keys}
    at = [0, 0, 0]
    for step in sizes:
        chunks = {}
        for i, n in enumerate(step):
            chunks[keys[i]] = voices[i][at[i] : at[i] + n]
            at[i] += n
        for key, z in streams.push(chunks).items():
            read[key].append(z)
    for key, z in streams.push({key: x[a:] for key, x, a in zip(keys, voices, at, strict=True)}, last=True).items():
        read[key].append(z)
    assert len(streams) == 0
    for key, x in zip(keys, voices, strict=True):
        np.testing.assert_allclose(np.concatenate(read[key]), offline(made, x), atol=1e-5, rtol=1e-5)


def test_other_rates_and_a_new_beginning() -> None:
    made = head("statistics")
    streams = Streams(ENCODER, made)
    x = audio.resample(voice(0.5), RATE, 44_100)
    key = streams.open(44_100)
    read = [streams.push({key: chunk})[key] for chunk in np.array_split(x, 11)]
    read.append(streams.push({key: x[:0]}, last=True)[key])
    wanted = offline(made, x, 44_100)
    np.testing.assert_allclose(np.concatenate(read)[: len(wanted)], wanted, atol=1e-4)
    key = streams.open()
    streams.push({key: voice(0.5, 1)})
    streams.reset(key)
    again = streams.push({key: voice(0.5, 2)}, last=True)[key]
    np.testing.assert_allclose(again, offline(made, voice(0.5, 2)), atol=1e-5, rtol=1e-5)
    streams.close(key)  # closing twice is no error


def test_refusals() -> None:
    with pytest.raises(BadRecipe, match="Identity cannot stream"):
        Streams(ENCODER, parts.make("heads", "identity"))
    with pytest.raises(BadData, match="sampling rate"):
        Streams(ENCODER, head("lstm")).open(7)

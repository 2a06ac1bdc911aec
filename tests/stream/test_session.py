"""A stream of a run says what its files say, however the sound comes."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from live_server import RATE, speak

import sensorium
from sensorium.errors import BadData, BadRecipe
from sensorium.modalities.audio import files
from sensorium.numerics import ragged

CUTS = st.lists(st.integers(0, 9000), max_size=12)


def chunks(x, cuts):
    at = 0
    for n in cuts:
        yield x[at : at + n]
        at += n
    yield x[at:]


@settings(max_examples=20, deadline=None)
@given(cuts=CUTS, rate=st.sampled_from([8000, 11_025, 16_000, 44_100, 48_000, 96_000]), kind=st.sampled_from(["f4", "i2"]),
       seconds=st.floats(0.001, 1.5), seed=st.integers(0, 50))  # fmt: skip
def test_the_final_answer_is_that_of_the_recording(voice_run, cuts, rate, kind, seconds, seed):
    x = speak(seconds, seed, rate)
    x = x if kind == "f4" else np.round(x * 32767).astype("i2")
    stream, read = voice_run.stream(rate), []
    for chunk in chunks(x, cuts):
        read += stream.push(chunk)
    final = stream.end()
    wanted = voice_run.classifier.offline([(x, rate)])[0]
    np.testing.assert_allclose(final["probabilities"], wanted, atol=1e-5)
    best = voice_run.classifier.labels[int(np.argmax(final["probabilities"]))]
    assert final["emotion"] == final["label"] == (best if final["speech"] else None)
    assert final["speech"] == bool(final["segments"])
    assert final["seconds"] == pytest.approx(len(x) / rate, abs=1e-4)
    frames = [m for m in read if m["type"] == "frames"]
    assert all(a["t1"] <= b["t1"] for a, b in itertools.pairwise(frames))


def test_every_reading_is_that_of_the_sound_so_far(voice_run):
    x, stream = speak(1.0, 3), voice_run.classifier.streams()
    read = stream.push({stream.open(): x})[0]
    assert [round(r.begin, 9) for r in read] == [round(0.1 * i, 9) for i in range(9)]
    for reading in read:
        so_far = x[: round(reading.end * RATE)]
        np.testing.assert_allclose(reading.values, voice_run.classifier.offline([(so_far, RATE)])[0], atol=1e-5)


@settings(max_examples=10, deadline=None)
@given(st.lists(st.lists(st.integers(0, 4000), min_size=5, max_size=5), max_size=8))
def test_together_as_alone(voice_run, sizes):
    rates, streams = [16_000, 16_000, 8000, 44_100, 48_000], voice_run.classifier.streams()
    sounds = [speak(0.7, seed, rate) for seed, rate in enumerate(rates)]
    keys, at = [streams.open(rate) for rate in rates], [0] * 5
    read = {key: [] for key in keys}
    for step in sizes:
        told = streams.push({key: x[a : a + n] for key, x, a, n in zip(keys, sounds, at, step, strict=True)})
        at = [a + n for a, n in zip(at, step, strict=True)]
        for key, new in told.items():
            read[key] += new
    for key, new in streams.push({k: x[a:] for k, x, a in zip(keys, sounds, at, strict=True)}, keys).items():
        read[key] += new
    for key, x, rate in zip(keys, sounds, rates, strict=True):
        alone = voice_run.classifier.streams()
        wanted = alone.push({(own := alone.open(rate)): x}, [own])[own]
        assert [r[:3] for r in read[key]] == [r[:3] for r in wanted]
        np.testing.assert_allclose([r.values for r in read[key]], [r.values for r in wanted], atol=1e-5)
    assert len(streams) == 0


@settings(max_examples=12, deadline=None)
@given(cuts=CUTS, seeds=st.lists(st.integers(0, 30), min_size=1, max_size=3), pause=st.floats(0.9, 1.4))
def test_an_utterance_is_read_as_if_nothing_had_been_before(voice_run, cuts, seeds, pause):
    silence = 1e-4 * np.random.default_rng(0).normal(size=int(pause * RATE)).astype(np.float32)
    # Silence first: a buzz that glides so fast is no period of a voice, and stands out from a floor alone.
    x = np.concatenate([silence, *(part for seed in seeds for part in (speak(0.8, seed), silence))])
    stream, told = voice_run.stream(utterances=True), []
    for chunk in chunks(x, cuts):
        told += stream.push(chunk)
    told += stream.finish()
    utterances = [m for m in told if m["type"] == "utterance"]
    starts = [m["t"] for m in told if m.get("event") == "speech_start"]
    assert [m["start"] for m in utterances] == starts and utterances
    # The oracle: frames of the whole recording, those that are voice, cut where an utterance was over.
    encoder, head = voice_run.classifier.encoder, voice_run.classifier.head
    frames = encoder.encode([(x, RATE)])[0]
    voice = type(encoder)(**{**encoder.arguments, "silence": "mark"}).encode([(x, RATE)])[0][:, -1] > 0
    over = [0, *(round((m["end"] - 0.015 + 0.6) * 10) * 10 for m in utterances[:-1]), len(voice)]
    for begin, end, utterance in zip(over, over[1:], utterances, strict=False):
        own = frames[voice[:begin].sum() : voice[:end].sum()]
        z = ragged.apply_frames(head, own, np.array([0, len(own)]))
        np.testing.assert_allclose(utterance["probabilities"], voice_run.classifier.probabilities(z)[0], atol=1e-5)
    final, plain = told[-1], voice_run.classifier.offline([(x, RATE)])[0]
    np.testing.assert_allclose(final["probabilities"], plain, atol=1e-5)  # of the whole, either way


def test_keys_of_streams_that_ended_are_used_by_no_other(voice_run):
    streams, x = voice_run.classifier.streams(), speak(0.4)
    wanted = voice_run.classifier.offline([(x, RATE)])[0]
    for _ in range(200):  # more than there was room for at first
        key = streams.open()
        streams.push({key: speak(0.15, 1)})
        streams.close(key)
    keys = [streams.open() for _ in range(100)]
    told = streams.push(dict.fromkeys(keys, x), keys)
    assert len(set(keys)) == 100
    np.testing.assert_allclose([told[key][-1].values for key in keys], np.tile(wanted, (100, 1)), atol=1e-5)


QUIET = {
    "zeros": lambda n: np.zeros(n, np.float32),
    "integers": lambda n: np.zeros(n, np.int16),
    "dither": lambda n: np.random.default_rng(0).integers(-1, 2, n).astype(np.int16),
    "quiet noise": lambda n: 2e-4 * np.random.default_rng(0).normal(size=n),
    "an offset": lambda n: np.full(n, 5e-4, np.float32),
}


@pytest.mark.parametrize("kind", QUIET)
@pytest.mark.parametrize("seconds", [0.0001, 0.02, 0.05, 0.3, 2.0])
def test_silence_has_no_label(voice_run, kind, seconds):
    x, stream = QUIET[kind](max(1, int(seconds * RATE))), voice_run.stream(utterances=True)
    told = [*stream.push(x), *stream.finish()]
    assert {m["type"] for m in told} <= {"frames", "final"}  # no speech: no event, no segment, no utterance
    assert all(m["label"] is None and m["speech"] is False for m in told)
    final = told[-1]
    assert (final["emotion"], final["confidence"], final["segments"], final["felt"]) == (None, None, [], {})
    assert final["probabilities"] == pytest.approx(voice_run.classifier.offline([(x, RATE)])[0].tolist(), abs=1e-5)


def test_after_a_reset_speech_before_it_does_not_count(voice_run):
    stream = voice_run.stream()
    stream.push(speak(1.0))
    stream.reset()
    stream.push(np.zeros(RATE, np.float32))
    final = stream.end()
    assert (final["label"], final["speech"]) == (None, False)


def test_nothing_has_no_probabilities(voice_run):
    nothing = voice_run.stream().end()
    assert (nothing["emotion"], nothing["probabilities"], nothing["segments"]) == (None, None, [])


def test_one_sample(voice_run):
    stream = voice_run.stream()
    assert stream.push(np.ones(1, np.float32)) == []
    np.testing.assert_allclose(
        stream.end()["probabilities"], voice_run.classifier.offline([(np.ones(1, np.float32), RATE)])[0], atol=1e-5
    )


def test_reset_begins_anew(voice_run):
    stream, x = voice_run.stream(44_100), speak(0.6, 5, 44_100)
    stream.push(speak(1.0, 6, 44_100))
    stream.reset()
    stream.push(x)
    final = stream.end()
    np.testing.assert_allclose(final["probabilities"], voice_run.classifier.offline([(x, 44_100)])[0], atol=1e-5)
    assert final["seconds"] == pytest.approx(0.6)


def test_what_is_refused(voice_run, tiny_vectors, tmp_path):
    for bad, why in ((np.nan, "NaN or infinite"), (-np.inf, "NaN or infinite"), (30_000.0, "16-bit integers")):
        with pytest.raises(BadData, match=why):
            voice_run.stream().push(np.array([0.0, bad], np.float32))
    x = np.round(speak(0.5) * 32767).astype(np.int16)
    for same in (x.astype(np.int32), x.astype(np.int64), x.tolist(), x.astype(np.uint32)):
        with pytest.raises(BadData, match="send 16-bit samples as int16"):
            voice_run.stream().push(same)
    with pytest.raises(BadData, match="shape"):
        voice_run.stream().push(np.zeros((2, 2), np.float32))
    with pytest.raises(BadData, match="sampling rate 7 Hz"):
        voice_run.stream(7)
    stream = voice_run.stream()
    stream.end()
    with pytest.raises(BadData, match="has ended"):
        stream.push(np.zeros(3, np.float32))
    keys = [f"data.file={tiny_vectors}", "data.left=image", "data.right=text", "objective=infonce", "train.epochs=1"]
    vectors = sensorium.run("arrays", keys, out=tmp_path / "vectors", quiet=True, stages=("index",))
    assert not vectors.streams and voice_run.streams
    with pytest.raises(BadRecipe, match="gives no probabilities of classes"):
        vectors.stream()


@pytest.mark.parametrize(
    "extra", [{"cmvn": "running"}, {"silence": "mark", "deltas": 2}, {"hop": 40.0}, {"pitch": False}]
)
def test_every_policy_of_the_encoder_streams(extra):
    import torch

    from sensorium import parts
    from sensorium.encoders.mfcc import Mfcc
    from sensorium.stream.batch import Streams
    from sensorium.stream.classifier import offline

    encoder = Mfcc(**{"n_mfcc": 5, "pitch": True, "deltas": 1, "silence": "drop", **extra})
    torch.manual_seed(0)
    head = parts.make("heads", {"name": "gru", "hidden": 8, "preprocess": "none"})
    head.build(encoder.dim, None, 8)
    streams, x = Streams(encoder, head.eval()), speak(0.9, 2)
    key, read = streams.open(), []
    for chunk in np.array_split(x, 13):
        read += streams.push({key: chunk})[key]
    read += streams.push({key: x[:0]}, [key])[key]
    np.testing.assert_allclose(read[-1].values, offline(encoder, head, [(x, RATE)])[0], atol=1e-5)
    assert read[-1].frames == len(Mfcc(**{**encoder.arguments, "silence": "keep"}).encode([(x, RATE)])[0])


def test_a_file_and_its_samples_are_the_same(voice_run, tmp_path):
    import soundfile

    soundfile.write(tmp_path / "voice.wav", speak(0.5), RATE, subtype="PCM_16")
    samples, rate = files.read_channels(tmp_path / "voice.wav")
    np.testing.assert_array_equal(
        voice_run.classifier.offline([tmp_path / "voice.wav"]), voice_run.classifier.offline([(samples[:, 0], rate)])
    )

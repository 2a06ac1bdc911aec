"""What was felt when: segments, hysteresis and events, whatever the probabilities are."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.stream.tracker import Felt, Habits

LABELS = ["a", "b", "c"]
STEP, FRAME = 0.1, 0.115


def feel(readings, habits=None):
    """All messages of readings (probabilities, voice), one a step, and the listener after its end."""
    felt, told = Felt(LABELS, habits or Habits()), []
    for i, (probabilities, voice) in enumerate(readings):
        told += felt.push(i * STEP, i * STEP + FRAME, probabilities, voice)
    return felt, told + felt.end()


def sure(label: str, of: float = 0.9) -> list[float]:
    return [of if name == label else (1 - of) / 2 for name in LABELS]


READING = st.tuples(
    st.lists(st.floats(0.01, 1), min_size=3, max_size=3).map(lambda p: [x / sum(p) for x in p]),
    st.sampled_from([0.0, 0.1, 0.5, 1.0]),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(READING, max_size=80))
def test_segments_follow_each_other_within_speech(readings):
    felt, told = feel(readings)
    segments = [m for m in told if m["type"] == "segment"]
    assert segments == felt.segments
    assert felt.emotion is None and not felt.speech
    for segment in segments:
        assert 0 <= segment["start"] < segment["end"] <= (len(readings) - 1) * STEP + FRAME + 1e-9
        assert 0 < segment["confidence"] <= 1
    for before, after in itertools.pairwise(segments):
        assert before["end"] <= after["start"] + FRAME - STEP + 1e-9  # frames reach 15 ms into the next step
    events = [m["event"] for m in told if m["type"] == "event" and m["event"] != "emotion"]
    assert events == ["speech_start", "speech_end"] * (len(events) // 2)
    assert sum(felt.smoothed) == pytest.approx(1)
    for message in told:
        if message["type"] == "event" and message["event"] == "emotion":
            assert message["to"] in LABELS and message["from"] != message["to"]


@settings(max_examples=30, deadline=None)
@given(st.lists(READING, min_size=1, max_size=40))
def test_smoothing_is_the_exponential_mean_of_voiced_steps(readings):
    habits = Habits(half_life=0.3)
    felt, _ = feel(readings, habits)
    voiced = [(i, p) for i, (p, voice) in enumerate(readings) if voice >= habits.voice]
    if not voiced:
        assert felt.smoothed == [pytest.approx(1 / 3)] * 3
        return
    keep = np.full(len(voiced), 0.5 ** (STEP / habits.half_life))
    if voiced[0][0] == 0:
        keep[0] = 0.5 ** (FRAME / habits.half_life)
    weight = (1 - keep) * np.append(np.cumprod(keep[::-1])[::-1][1:], 1.0)
    wanted = (weight[:, None] * [p for _, p in voiced]).sum(0) / weight.sum()
    np.testing.assert_allclose(felt.smoothed, wanted, atol=1e-9)


def test_another_emotion_takes_over_from_when_it_began_to_lead():
    readings = [(sure("a"), 1.0)] * 20 + [(sure("b"), 1.0)] * 20
    _, told = feel(readings)
    first, second = (m for m in told if m["type"] == "segment")
    assert (first["emotion"], second["emotion"]) == ("a", "b")
    assert first["start"] == 0 and first["end"] == second["start"]
    assert 2.0 < second["start"] < 2.7  # about a half-life after the voice changed
    change = [m for m in told if m.get("event") == "emotion"][1]
    assert (change["from"], change["to"], change["t"]) == ("a", "b", second["start"])


def test_wavering_changes_nothing():
    readings = [(sure("ab"[i % 2], 0.5), 1.0) for i in range(60)]
    assert len([m for m in feel(readings)[1] if m["type"] == "segment"]) == 1


def test_no_emotion_is_shorter_than_the_least():
    rng = np.random.default_rng(0)
    readings = [(sure(LABELS[rng.integers(3)], 0.98), 1.0) for _ in range(400)]
    habits = Habits(half_life=0.05, margin=0.0, hold=0.0, least=0.7)
    segments = feel(readings, habits)[0].segments
    assert len(segments) > 10
    assert min(s["end"] - s["start"] for s in segments[:-1]) >= 0.7 - 1e-9


def test_silence_ends_speech_where_voice_was_last_heard():
    readings = [(sure("a"), 1.0)] * 10 + [(sure("b"), 0.0)] * 20 + [(sure("b"), 1.0)] * 10
    felt, told = feel(readings)
    assert [(m["event"], round(m["t"], 3)) for m in told if m["type"] == "event" and m["event"] != "emotion"] == [
        ("speech_start", 0.0), ("speech_end", 1.015), ("speech_start", 3.0), ("speech_end", 4.015)]  # fmt: skip
    assert next(s["emotion"] for s in felt.segments) == "a"


def test_a_breath_is_not_the_end():
    readings = [(sure("a"), 1.0)] * 10 + [(sure("a"), 0.0)] * 4 + [(sure("a"), 1.0)] * 10
    assert [s["end"] for s in feel(readings)[0].segments] == [pytest.approx(2.415)]


def test_only_the_newest_segments_are_kept():
    felt = Felt(LABELS, Habits(half_life=0.01, margin=0, hold=0, least=0), keep=5)
    told = []
    for i in range(100):
        told += felt.push(i * STEP, i * STEP + FRAME, sure(LABELS[i // 3 % 3]), 1.0)
    assert len(felt.segments) == 5 < len([m for m in told if m["type"] == "segment"])

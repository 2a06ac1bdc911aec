"""Class probabilities to labelled segments: hysteresis and changes, whatever the probabilities are."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.stream.tracker import Change, Segment, SegmentTracker, TrackerOptions

LABELS = ["a", "b", "c"]
STEP, FRAME = 0.1, 0.115


def track(readings, options=None):
    """The tracker of readings (probabilities, active share), one a step, after its end; and all that it returned."""
    tracker, changes = SegmentTracker(LABELS, options or TrackerOptions()), []
    for i, (probabilities, active) in enumerate(readings):
        changes += tracker.push(i * STEP, i * STEP + FRAME, probabilities, active)
    return tracker, changes + tracker.end()


def segments_of(changes):
    return [one for one in changes if isinstance(one, Segment)]


def sure(label: str, of: float = 0.9) -> list[float]:
    return [of if name == label else (1 - of) / 2 for name in LABELS]


READING = st.tuples(
    st.lists(st.floats(0.01, 1), min_size=3, max_size=3).map(lambda p: [x / sum(p) for x in p]),
    st.sampled_from([0.0, 0.1, 0.5, 1.0]),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(READING, max_size=80))
def test_segments_follow_each_other_within_activity(readings):
    tracker, changes = track(readings)
    segments = segments_of(changes)
    assert segments == tracker.segments
    assert tracker.label is None and not tracker.active
    assert tracker.ever_active == any(active >= 0.3 for _, active in readings) == bool(changes)
    for segment in segments:
        assert 0 <= segment.start < segment.end <= (len(readings) - 1) * STEP + FRAME + 1e-9
        assert 0 < segment.confidence <= 1
    for before, after in itertools.pairwise(segments):
        assert before.end <= after.start + FRAME - STEP + 1e-9  # frames reach 15 ms into the next step
    kinds = [one.kind for one in changes if isinstance(one, Change) and one.kind != "label"]
    assert kinds == ["start", "end"] * (len(kinds) // 2)
    assert sum(tracker.smoothed) == pytest.approx(1)
    for one in changes:
        if isinstance(one, Change) and one.kind == "label":
            assert one.label in LABELS and one.previous != one.label


@settings(max_examples=30, deadline=None)
@given(st.lists(READING, min_size=1, max_size=40), st.sampled_from([0.3, 0.04]))  # longer and shorter than a step
def test_smoothing_is_the_exponential_mean_of_active_steps(readings, half_life):
    options = TrackerOptions(half_life=half_life)
    tracker, _ = track(readings, options)
    active = [(i, p) for i, (p, share) in enumerate(readings) if share >= options.active_share]
    if not active:
        assert tracker.smoothed == [pytest.approx(1 / 3)] * 3
        return
    keep = np.full(len(active), 0.5 ** (STEP / options.half_life))
    if active[0][0] == 0:
        keep[0] = 0.5 ** (FRAME / options.half_life)
    weight = (1 - keep) * np.append(np.cumprod(keep[::-1])[::-1][1:], 1.0)
    wanted = (weight[:, None] * [p for _, p in active]).sum(0) / weight.sum()
    np.testing.assert_allclose(tracker.smoothed, wanted, atol=1e-9)


@settings(max_examples=60, deadline=None)
@given(st.lists(READING, min_size=1, max_size=60))
def test_confidence_is_the_mean_smoothed_probability_of_the_label(readings):
    tracker, wanted, sums = SegmentTracker(LABELS), [], []
    for i, (probabilities, active) in enumerate([*readings, *[(sure("a"), 0.0)] * 10]):
        for one in tracker.push(i * STEP, i * STEP + FRAME, probabilities, active):
            if isinstance(one, Segment):
                wanted.append(np.mean(sums))
            elif one.kind == "label":
                sums, column = [], LABELS.index(one.label)
        if active >= 0.3:
            sums.append(tracker.smoothed[column])
    np.testing.assert_allclose([segment.confidence for segment in tracker.segments], wanted, atol=1e-12)


def test_the_confidence_of_equal_steps_is_their_probability():
    (segment,) = segments_of(track([(sure("b"), 1.0)] * 30)[1])
    assert (segment.label, segment.start) == ("b", 0.0) and segment.confidence == pytest.approx(0.9)


def test_another_label_takes_over_from_when_it_began_to_lead():
    readings = [(sure("a"), 1.0)] * 20 + [(sure("b"), 1.0)] * 20
    _, changes = track(readings)
    first, second = segments_of(changes)
    assert (first.label, second.label) == ("a", "b")
    assert first.start == 0 and first.end == second.start
    assert 2.0 < second.start < 2.7  # about a half-life after the probabilities changed
    change = [one for one in changes if isinstance(one, Change) and one.kind == "label"][1]
    assert change == Change("label", second.start, "a", "b")


def test_wavering_changes_nothing():
    readings = [(sure("ab"[i % 2], 0.5), 1.0) for i in range(60)]
    assert len(segments_of(track(readings)[1])) == 1


def test_a_lead_below_the_margin_changes_nothing():
    lead = [0.50, 0.46, 0.04]
    readings = [(lead, 1.0)] * 5 + [([lead[1], lead[0], lead[2]], 1.0)] * 100
    assert [one.label for one in segments_of(track(readings)[1])] == ["a"]
    assert [one.label for one in segments_of(track(readings, TrackerOptions(margin=0.03))[1])] == ["a", "b"]


def test_no_segment_is_shorter_than_the_least():
    rng = np.random.default_rng(0)
    readings = [(sure(LABELS[rng.integers(3)], 0.98), 1.0) for _ in range(400)]
    options = TrackerOptions(half_life=0.05, margin=0.0, hold=0.0, least=0.7)
    segments = track(readings, options)[0].segments
    assert len(segments) > 10
    assert min(one.end - one.start for one in segments[:-1]) >= 0.7 - 1e-9


def test_a_pause_ends_activity_where_it_was_last():
    readings = [(sure("a"), 1.0)] * 10 + [(sure("b"), 0.0)] * 20 + [(sure("b"), 1.0)] * 10
    tracker, changes = track(readings)
    assert [(one.kind, round(one.t, 3)) for one in changes if isinstance(one, Change) and one.kind != "label"] == [
        ("start", 0.0), ("end", 1.015), ("start", 3.0), ("end", 4.015)]  # fmt: skip
    assert tracker.segments[0].label == "a"


def test_a_short_pause_is_not_the_end():
    readings = [(sure("a"), 1.0)] * 10 + [(sure("a"), 0.0)] * 4 + [(sure("a"), 1.0)] * 10
    assert [one.end for one in track(readings)[0].segments] == [pytest.approx(2.415)]


def test_without_activity_there_is_no_label():
    tracker, changes = track([(sure("a"), 0.1)] * 50)
    assert not changes and not tracker.ever_active and tracker.label is None and not tracker.segments


@pytest.mark.parametrize("most", [1, 5])
def test_only_the_newest_segments_are_stored(most):
    tracker = SegmentTracker(LABELS, TrackerOptions(half_life=0.01, margin=0, hold=0, least=0), most)
    changes = []
    for i in range(100):
        changes += tracker.push(i * STEP, i * STEP + FRAME, sure(LABELS[i // 3 % 3]))
    assert len(tracker.segments) == most < len(segments_of(changes))
    assert tracker.segments == segments_of(changes)[-most:]


def test_a_rival_that_leads_too_early_counts_from_when_the_present_label_has_lasted():
    options = TrackerOptions(half_life=0.01, margin=0.0, hold=0.3, least=1.0)
    changes = track([(sure("a"), 1.0)] * 2 + [(sure("b"), 1.0)] * 30, options)[1]
    change = [one for one in changes if isinstance(one, Change) and one.kind == "label"][1]
    assert (change.previous, change.label) == ("a", "b") and change.t == pytest.approx(1.0)


def test_the_options_are_those_of_the_documentation():
    assert TrackerOptions() == TrackerOptions(0.4, 0.05, 0.3, 0.5, 0.3, 0.6)


@pytest.mark.parametrize("pause", [None, 0.2, 0.6, 1.0, 2.5])
def test_activity_ends_with_the_step_that_makes_the_pause_long_enough(pause):
    options = TrackerOptions() if pause is None else TrackerOptions(pause=pause)
    tracker = SegmentTracker(LABELS, options)
    for i in range(10):
        tracker.push(i * STEP, (i + 1) * STEP, sure("a"))
    told = None
    for i in range(10, 50):
        changes = tracker.push(i * STEP, (i + 1) * STEP, sure("b"), 0.0)
        if changes and told is None:
            told = (i + 1) * STEP
            assert changes[-1] == Change("end", pytest.approx(1.0)) and changes[0].end == pytest.approx(1.0)
    assert told == pytest.approx(1.0 + (pause or 0.6)) and not tracker.active


def take_over(first, other, probabilities=(0.125, 0.875), **options):
    """Steps of an eighth of a second without smoothing, ``first`` of them of a: when b took over, and when it was said."""
    tracker = SegmentTracker(LABELS[:2], TrackerOptions(half_life=1e-3, **options))
    for i in range(first + other):
        leading = (1.0, 0.0) if i < first else probabilities
        for one in tracker.push(i / 8, (i + 1) / 8, leading):
            if isinstance(one, Change) and one.label == "b":
                return one.t, (i + 1) / 8
    return None


@pytest.mark.parametrize(
    ("first", "options", "expected"),
    [
        (8, {"hold": 0.25, "least": 0.5}, (1.0, 1.25)),
        (8, {"hold": 0.26, "least": 0.5}, (1.0, 1.375)),
        (8, {"hold": 0.0, "least": 0.0}, (1.0, 1.125)),
        (8, {"hold": 1.0, "least": 1.0}, (1.0, 2.0)),
        (4, {"hold": 0.25, "least": 0.5}, (0.5, 0.75)),
        (2, {"hold": 0.125, "least": 0.5}, (0.5, 0.75)),  # it waits, and counts from when it may
        (2, {"hold": 0.25, "least": 1.0}, (1.0, 1.25)),
        (1, {"hold": 0.5, "least": 0.125}, (0.125, 0.625)),
    ],
)
def test_a_label_takes_over_at_the_step_that_makes_its_lead_long_enough(first, options, expected):
    assert take_over(first, 40, margin=0.05, **options) == expected


@pytest.mark.parametrize(("margin", "takes"), [(0.25, True), (0.2501, False), (0.0, True), (0.7, False)])
def test_a_lead_of_the_margin_is_enough(margin, takes):
    assert (take_over(8, 40, (0.375, 0.625), margin=margin) is not None) is takes


def test_a_lead_that_was_lost_counts_from_when_it_came_back():
    tracker, told = SegmentTracker(LABELS, TrackerOptions(half_life=1e-3, hold=0.25, least=0.0)), []
    for i, name in enumerate("aaaabaabcbccc"):
        told += [(one.label, one.t, (i + 1) / 8) for one in tracker.push(i / 8, (i + 1) / 8, sure(name))
                 if isinstance(one, Change) and one.kind == "label"]  # fmt: skip
    assert told == [("a", 0.0, 0.125), ("c", 10 / 8, 12 / 8)]


def test_only_the_newest_segments_are_kept():
    options = TrackerOptions(half_life=1e-3, hold=0.0, least=0.0, margin=0.0)
    tracker = SegmentTracker(LABELS, options, most=3)
    for i, name in enumerate("abcabcab"):
        tracker.push(i / 8, (i + 1) / 8, sure(name))
    assert [(one.start, one.label) for one in tracker.segments] == [(4 / 8, "b"), (5 / 8, "c"), (6 / 8, "a")]
    assert tracker.label == "b"

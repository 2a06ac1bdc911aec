"""Gates of engines' profiles: as a filter they let through what their verdicts say, and nothing passes unjudged."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.errors import BadData, BadRecipe
from sensorium.systems.emorag import profiles
from sensorium.systems.emorag.gates import Gates, as_mapping, nonverbal
from sensorium.table import Table

GOOD = {"duration": 5.0, "rms": 0.085, "peak": 0.7, "clipping": 0.0, "snr": 40.0, "silence_start": 0.2,
        "silence_end": 0.3, "sample_rate": 24_000, "speech_rate": 14.0, "steadiness": 0.7, "transcript": "Hello there.",
        "language": "en", "nonverbal": ""}  # fmt: skip
VALUES = {
    "duration": st.sampled_from([0.5, 2.999, 3.0, 9.99, 10.0, 10.01, 12.5, 31.0, float("nan")]),
    "rms": st.sampled_from([0.001, 0.007, 0.0244, 0.03, 0.0853, 0.5, float("nan")]),
    "peak": st.sampled_from([0.01, 0.5, 1.0]),
    "clipping": st.sampled_from([0.0, 0.001, 0.02]),
    "snr": st.sampled_from([3.0, 15.0, 60.0, float("nan")]),
    "silence_start": st.sampled_from([0.0, 1.5, 2.0]),
    "silence_end": st.sampled_from([0.0, 0.05, 1.4, 4.0]),
    "sample_rate": st.sampled_from([8_000, 16_000, 48_000]),
    "speech_rate": st.sampled_from([1.0, 4.5, 14.0, 25.0, 40.0, float("nan")]),
    "steadiness": st.sampled_from([0.1, 0.4, 0.9, float("nan")]),
    "transcript": st.sampled_from(["", "  ", "Hello there.", "[laughs] Hello.", "(aside) Hello.", None]),
    "language": st.sampled_from(["en", "zh-CN", "ja", "", None]),
    "nonverbal": st.sampled_from(["", "laughter", None]),
}
RATES = {"zh": (1.5, 10.0), "ja": (2.5, 15.0)}


def table(rows):
    return Table(np.array([f"c{i}" for i in range(len(rows))]), {
        name: np.array([row[name] for row in rows], object if name in ("transcript", "language", "nonverbal") else None)
        for name in (rows[0] if rows else GOOD)})  # fmt: skip


def oracle(profile, row):
    """Whether a clip passes, from the profile's limits alone, one clip at a time."""
    for gate in profile.gates:
        if gate.name == "line_rate":
            continue
        low, high, value = gate.low, gate.high, row.get(gate.column)
        if gate.name == "transcript":
            value = len((value or "").strip())
        if gate.name == "rate" and low is None and high is None:
            low, high = RATES.get(str(row["language"] or "").split("-")[0], profiles.RATES[""])
        if gate.name == "nonverbal":
            value = len(nonverbal(row["transcript"] or "")) + bool(value)
        if value is None or value != value:
            if gate.required:
                return False
            continue
        if (low is not None and value < low) or (high is not None and value > high):
            return False
    return True


@settings(deadline=None, max_examples=60)
@given(st.lists(st.fixed_dictionaries(VALUES), min_size=1, max_size=12), st.sampled_from(sorted(profiles.PROFILES)))
def test_what_passes_is_what_the_limits_say(rows, engine):
    profile = profiles.find(engine)
    gates = Gates(table(rows), profile)
    assert gates.passing.tolist() == [oracle(profile, row) for row in rows]
    plain = gates.table.where(gates.where)
    assert not (gates.passing & ~plain).any(), "the filter leaves out a clip that passes"
    for row in range(len(rows)):
        verdicts = gates.verdicts(row)
        judged = [one["pass"] for name, one in verdicts.items() if name != "line_rate"]
        assert (False not in judged) == bool(gates.passing[row])
    counts = gates.counts()
    assert counts["passing"] == int(gates.passing.sum()) and counts["clips"] == len(rows)
    for name, removed in counts["removed"].items():
        assert removed == sum(gates.verdicts(row)[name]["pass"] is False for row in range(len(rows)))


@pytest.mark.parametrize("column", ["duration", "rms", "clipping", "snr", "silence_end", "transcript", "speech_rate"])
def test_a_required_gate_without_its_numbers_is_refused_with_what_to_do(column):
    row = {name: value for name, value in GOOD.items() if name != column}
    with pytest.raises(
        BadData, match=rf"gpt-sovits: the clips have no column '{column}' \(gate .*leave them out: --gate"
    ):
        Gates(table([row]), profiles.find("gpt-sovits"))
    gate = next(gate.name for gate in profiles.find("gpt-sovits").gates if gate.column == column)
    assert Gates(table([row]), profiles.find("gpt-sovits").changed([f"{gate}=off"])).passing.all()


def test_what_cannot_be_judged_is_said_and_does_not_count_as_passed():
    row = {name: value for name, value in GOOD.items() if name not in ("steadiness", "nonverbal", "transcript")}
    gates = Gates(table([row]), profiles.find("indextts").changed(["rate=off"]))
    assert set(gates.unjudged) == {"steadiness", "nonverbal", "transcript"} and gates.passing.all()
    verdicts = gates.verdicts(0)
    assert all(verdicts[name]["pass"] is None for name in gates.unjudged)
    assert gates.counts()["unjudged"] == gates.unjudged


def test_limits_of_the_engines_own_code():
    """What the engines refuse or cut, whatever else a profile says."""
    assert tuple(vars(profiles.find("gpt-sovits").gate("duration"))[end] for end in ("low", "high")) == (3.0, 10.0)
    assert profiles.find("f5").gate("duration").high == 12.0
    assert profiles.find("cosyvoice").gate("duration").high == 30.0
    assert profiles.find("cosyvoice").gate("sample_rate").low == 16_000
    assert profiles.find("indextts").gate("duration").high == 15.0
    every = profiles.find("any")
    for name, profile in profiles.PROFILES.items():
        for gate in profile.gates:
            own = every.gate(gate.name)
            assert (gate.low is None) or own.low >= gate.low, (name, gate)
            assert (gate.high is None) or own.high <= gate.high or gate.name == "silence_end", (name, gate)
            assert gate.about


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("noise", "gate 'noise'; expected noise=LOW..HIGH, or noise=off"),
        ("nois=off", "gpt-sovits has no gate 'nois'; did you mean 'noise'"),
        ("duration=9..3", "gate 'duration=9..3'; expected LOW..HIGH, such as 3..10"),
        ("duration=3", "gate 'duration=3'; expected LOW..HIGH"),
        ("duration=nan..3", "expected LOW..HIGH"),
        ("duration=a..b", "expected LOW..HIGH"),
    ],
)
def test_changes_that_are_none(change, message):
    with pytest.raises(BadRecipe, match=message):
        profiles.find("gpt-sovits").changed([change])


def test_gates_are_relaxed_one_by_one():
    rows = [{**GOOD, "duration": 2.0}, {**GOOD, "rms": 0.01}, {**GOOD, "speech_rate": 30.0}]
    plain = profiles.find("gpt-sovits")
    assert Gates(table(rows), plain).passing.tolist() == [False] * 3
    for at, change in enumerate(("duration=2..10", "loudness=off", "rate=..40")):
        assert np.flatnonzero(Gates(table(rows), plain.changed([change])).passing).tolist() == [at]
    with pytest.raises(BadRecipe, match="no engine 'f6'; known: any, cosyvoice, f5"):
        profiles.find("f6")


def test_a_clip_that_will_be_leveled_is_judged_by_what_that_gives():
    rows = [{**GOOD, "rms": 0.005, "peak": 0.02}, {**GOOD, "rms": 0.005, "peak": 0.9}]
    gates = Gates(table(rows), profiles.find("any"), level=True)
    assert gates.passing.tolist() == [True, False]
    assert gates.verdicts(0)["loudness"]["value"] == profiles.TARGET_RMS
    assert gates.verdicts(1)["loudness"]["value"] == pytest.approx(0.0055)


def test_the_lines_own_rate_decides_which_clips_fit():
    rows = [{**GOOD, "speech_rate": rate} for rate in (7.0, 12.0, 14.0, 16.0, 24.0)]
    gates = Gates(table(rows), profiles.find("any"))
    every = np.arange(5)
    assert gates.usual_rate == {"en": 14.0} and gates.fits(every).tolist() == [False, True, True, True, False]
    assert gates.fits(every, 6.0).tolist() == [True, False, False, False, False]
    assert gates.verdicts(0, 6.0)["line_rate"]["value"] == pytest.approx(7 / 6, abs=1e-3)


@pytest.mark.parametrize(
    ("text", "found"),
    [("[laughs] Well.", 1), ("Oh (sobbing) no <sigh>", 2), ("He laughed (to Bob).", 0), ("【笑】はい", 1), ("*coughs*", 1),
     ("I cry for you", 0), ("", 0)],
)  # fmt: skip
def test_sounds_without_words_in_transcripts(text, found):
    assert len(nonverbal(text)) == found
    gates = Gates(table([{**GOOD, "transcript": text or "x"}]), profiles.find("any").changed(["transcript=off"]))
    assert gates.passing[0] == (found == 0)
    assert Gates(table([{**GOOD, "transcript": text or "x"}]), profiles.find("any"), sounds=True).passing[0]


@given(st.lists(st.sampled_from([1, 2, 3, 4]), max_size=4), st.sampled_from([2, [1, 3], {">=": 2}, {"==": [2, 3], "<": 3}]),
       st.sampled_from([2, [2, 3], {"<=": 3}, {"!=": 2}]))  # fmt: skip
def test_two_filters_together_are_both(values, first, second):
    own = Table(np.array([f"c{i}" for i in range(len(values))]), {"x": np.array(values, np.int64)})
    both = own.where({"x": first}) & own.where({"x": second})
    assert own.where(as_mapping({"x": first}, {"x": second})).tolist() == both.tolist()

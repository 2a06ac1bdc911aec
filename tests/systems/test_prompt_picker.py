"""Prompts for lines: speakers named, taken from a clip, kept or given to roles; emotions asked for; notes."""

import shutil

import numpy as np
import pytest
import small_voices
import soundfile

from sensorium.errors import BadData, BadRecipe
from sensorium.search.script import of
from sensorium.systems.emorag import speakers
from sensorium.systems.emorag.prompts import prompts

ANGRY, SAD = "Get out of my house this instant", "I miss her more than I can say"

pytestmark = pytest.mark.xdist_group("voices")


@pytest.fixture(scope="module")
def run(voices):
    return voices


def ids(found):
    return [[hit["id"] for hit in record["hits"]] for record in found]


@pytest.mark.parametrize("engine", ["gpt-sovits", "f5", "cosyvoice", "indextts", "any", ""])
def test_prompts_are_the_best_of_the_clips_that_pass(run, engine):
    found = prompts(run, [ANGRY, SAD], engine, k=60)
    gates = found.picker.gates
    passing = np.ones(len(run.index("right").table), bool) if gates is None else gates.passing
    scores = run.encode("left", [ANGRY, SAD]) @ run.index("right").vectors().T
    for record, own in zip(found, scores, strict=True):
        rows = np.flatnonzero(passing)
        if gates is not None:
            rows = rows[gates.fits(rows)]
        best = rows[np.argsort(-own[rows], kind="stable")]
        np.testing.assert_allclose([hit["score"] for hit in record["hits"]], own[best], atol=1e-5)
        assert {hit["id"] for hit in record["hits"]} == set(run.index("right").table.ids[best].tolist())
        if gates is not None:
            assert all(one["pass"] is not False for hit in record["hits"] for one in hit["gates"].values())
            assert (
                not {hit["id"] for hit in record["hits"]} & {"ben/angry_2.wav", "dan/sad_2.wav", "cleo/happy_2.wav"}
                or engine == "f5"
            )


def test_few_prompts_say_which_gate_removes_how_many(run):
    [record] = prompts(run, [ANGRY], "gpt-sovits", k=3, gates=["duration=50..60"])
    assert record["hits"] == [] and "0 of 3 prompts: 0 of 48 clips pass; duration removes 48" in record["note"]
    [record] = prompts(run, [ANGRY], "any", k=60)
    assert record["note"].startswith(f"{len(record['hits'])} of 60 prompts: ")
    assert prompts(run, [ANGRY], "any", k=1)[0]["note"] is None
    counts = prompts(run, [ANGRY], "any").counts
    assert counts["removed"]["noise"] == counts["removed"]["clipping"] == counts["removed"]["transcript"] == 1


def test_a_named_speaker_and_that_of_a_clip(run, tmp_path):
    for wanted in ({"speaker": "ben"}, {"speaker_of": "ben/sad_0.wav"}, {"speaker_of": copied(run, tmp_path)}):
        found = prompts(run, [ANGRY, SAD], k=3, **wanted)
        assert {hit["speaker"] for record in found for hit in record["hits"]} == {"ben"}
        assert [record["speaker"] for record in found] == ["ben", "ben"]


def copied(run, folder):
    """The bytes of a clip of the library under another name."""
    source = run.index("right").table.metadata(run.places("right").row("ben/happy_1.wav"))["path"]
    return shutil.copy(source, folder / "upload.wav")


@pytest.mark.parametrize("speaker", small_voices.SPEAKERS)
@pytest.mark.parametrize("emotion", small_voices.EMOTIONS)
def test_the_speaker_of_a_recording_from_elsewhere_is_the_nearest_voice(run, tmp_path, speaker, emotion):
    soundfile.write(tmp_path / "x.wav", small_voices.clip(emotion, speaker, 7, 3.0), 16_000)
    found = prompts(run, [ANGRY], k=3, speaker_of=tmp_path / "x.wav")
    assert {hit["speaker"] for hit in found[0]["hits"]} == {speaker} == {found.picker.voice.speaker}
    assert 0.5 < found.picker.voice.probability <= 1
    assert f"x.wav is none of the library's clips; of its speakers, {speaker} sounds most like it" in str(
        found.picker.notes()
    )


def test_clips_and_speakers_that_are_not_there_are_refused(run, tmp_path):
    with pytest.raises(BadData, match="no clip 'ben/sad_9.wav' .*, and no such file; did you mean 'ben/sad_"):
        prompts(run, [ANGRY], speaker_of="ben/sad_9.wav")
    with pytest.raises(BadRecipe, match="no speaker 'bem' in .*; did you mean 'ben'"):
        prompts(run, [ANGRY], speaker="bem")
    with pytest.raises(BadRecipe, match="give speaker or speaker_of, not both"):
        prompts(run, [ANGRY], speaker="ben", speaker_of="ben/sad_0.wav")


def test_one_speaker_is_kept_throughout_and_is_the_one_that_suits_best(run):
    lines = [*small_voices.LINES["angry"], *small_voices.LINES["sad"]]
    found = prompts(run, lines, k=1, keep_speaker=True)
    assert len({hit["speaker"] for record in found for hit in record["hits"]}) == 1
    [kept] = found.cast.values()
    table, gates = run.index("right").table, found.picker.gates
    z, v = run.encode("left", lines), run.index("right").vectors()
    mean = {
        name: (z @ v[gates.passing & table.where({"speaker": name})].T).max(1).mean() for name in small_voices.SPEAKERS
    }
    assert kept == max(mean, key=mean.get)
    assert prompts(run, lines, keep_speaker=True, speaker="dan").cast == {}


def test_each_role_of_a_script_gets_a_speaker_of_its_own(run):
    script = [{"text": ANGRY, "speaker": "HERO"}, {"text": SAD, "speaker": "VILLAIN"}, {"text": ANGRY, "speaker": "HERO"},
              {"text": SAD, "speaker": "dan"}]  # fmt: skip
    found = prompts(run, script, k=2, keep_speaker=True)
    assert set(found.cast) == {"HERO", "VILLAIN", "dan"} and found.cast["dan"] == "dan"
    assert len(set(found.cast.values())) == 3
    for record, line in zip(found, script, strict=True):
        assert {hit["speaker"] for hit in record["hits"]} == {found.cast[line["speaker"]]} == {record["speaker"]}
    with pytest.raises(
        BadRecipe, match="lines, line 1: no speaker 'HERO' .*; or let speakers be chosen: --keep-speaker"
    ):
        prompts(run, script)
    many = [{"text": ANGRY, "speaker": f"ROLE{i}"} for i in range(9)]
    assert set(prompts(run, many, keep_speaker=True).cast.values()) == set(small_voices.SPEAKERS)


@pytest.mark.parametrize(
    ("asked", "given"), [("sad", "sad"), ("Sadness", "sad"), ("angry", "angry"), ("frustrated", "angry"), (None, None)]
)
def test_an_emotion_of_the_script_is_followed(run, asked, given):
    [record] = prompts(run, [{"text": ANGRY, "emotion": asked}], "", k=4)
    assert given is None or {hit["emotion"] for hit in record["hits"]} == {given}
    assert record["emotion"] == asked


def test_an_emotion_that_nobody_knows(run):
    with pytest.raises(BadRecipe, match="no clip has the emotion 'purple'; the library has angry, calm, happy, sad"):
        prompts(run, [{"text": ANGRY, "emotion": "purple"}], "")


def test_columns_that_a_library_does_not_have(run, tmp_path):
    import sensorium

    y = np.random.default_rng(0).normal(size=(60, 6)).astype(np.float32)
    bare = sensorium.fit([f"line {i}" for i in range(60)], y, left={"encoder": {"name": "hashing", "dim": 16}},
                         objective="ridge", out=tmp_path / "bare")  # fmt: skip
    assert len(prompts(bare, ["line 1"], "", k=2)[0]["hits"]) == 2
    for wanted, error, message in [
        ({"engine": "any"}, BadData, "any: the clips have no column 'duration' .gate duration.*--gate duration=off"),
        ({"engine": "", "speaker": "a"}, BadRecipe, "have no column 'speaker'; make the run with it"),
        ({"engine": "", "keep_speaker": True}, BadRecipe, "have no column 'speaker'"),
        ({"engine": "", "gates": ["noise=off"]}, BadRecipe, "gates are an engine's; name one, such as --for any"),
    ]:
        with pytest.raises(error, match=message):
            prompts(bare, ["line 1"], **wanted)
    with pytest.raises(BadRecipe, match="lines names emotions, but the clips of .* have no column 'emotion'"):
        prompts(bare, [{"text": "line 1", "emotion": "sad"}], "")


def test_the_rate_of_a_line_comes_from_its_own_duration(run):
    text = SAD
    usual = prompts(run, [{"text": text}], k=40)[0]["hits"]
    slow = prompts(run, [{"text": text, "duration": len(text) / 6.0}], k=40)[0]["hits"]
    assert all(hit["speech_rate"] <= 6.0 * 1.6 for hit in slow) and len(slow) < len(usual)
    assert slow == prompts(run, [{"text": text, "rate": 6.0}], k=40)[0]["hits"]
    assert slow == prompts(run, [text], k=40, rate=6.0)[0]["hits"]
    with pytest.raises(BadRecipe, match="rate=0; expected characters a second, such as 14"):
        prompts(run, [text], rate=0)


def test_further_conditions_diversity_and_one_prompt_a_speaker(run):
    found = prompts(run, [ANGRY], k=3, where={"emotion": "angry", "duration": {"<=": 4.0}})
    assert all(hit["emotion"] == "angry" and hit["duration"] <= 4 for hit in found[0]["hits"])
    found = prompts(run, [ANGRY], k=4, distinct="speaker")
    assert {hit["speaker"] for hit in found[0]["hits"]} == set(small_voices.SPEAKERS)
    assert len(prompts(run, [ANGRY], k=4, mmr=0.3)[0]["hits"]) == 4
    assert prompts(run, [ANGRY], k=4, min_score=2.0)[0]["hits"] == []
    firsts = [record["hits"][0]["id"] for record in prompts(run, [ANGRY] * 6, vary=2)]
    assert all(len(set(firsts[at : at + 3])) == 3 for at in range(4))


def test_roles_of_a_script():
    script = of([{"text": "a", "speaker": "x"}, {"text": "b", "speaker": None}, {"text": "c", "speaker": "x"}])
    found = speakers.roles_of(script.columns["speaker"], range(3))
    assert {role: rows.tolist() for role, rows in found.items()} == {"x": [0, 2], "": [1]}

"""Exports of prompts, read back by the rules of the engines' own readers."""

import json
import os
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sensorium.errors import BadData, BadRecipe
from sensorium.modalities.audio import measures
from sensorium.systems.emorag import exports
from sensorium.systems.emorag.clip_audio import ClipAudio
from sensorium.systems.emorag.exports import _context, f5, gpt_sovits, indextts
from sensorium.systems.emorag.profiles import TARGET_RMS
from sensorium.systems.emorag.prompts import prompts

LINES = ["Get out [now] | or else", "", "I miss her more than I can say", "Get out [now] | or else"]

pytestmark = pytest.mark.xdist_group("voices")


@pytest.fixture(scope="module")
def run(voices):
    return voices


@pytest.fixture(scope="module")
def found(run):
    return prompts(run, LINES, "any", k=2)


def read_list(text):
    """GPT-SoVITS, prepare_datasets/1-get-text.py: every line has four parts, languages in its table, names alone."""
    entries = {}
    for line in text.strip("\n").split("\n"):
        path, speaker, language, words = line.split("|")
        assert language in ("zh", "ja", "en", "ko", "yue") and speaker and words
        assert path not in entries
        entries[path] = (path, words)
    return entries


def read_f5(text):
    """F5-TTS, infer_cli.py: voices by [NAME], "main" from the top level; what is spoken by which."""
    config = tomllib.loads(text)
    voices = config["voices"]
    voices["main"] = {"ref_audio": config["ref_audio"], "ref_text": config["ref_text"]}
    assert config["gen_file"] == "" and {"output_dir", "output_file", "remove_silence", "model"} <= set(config)
    spoken = []
    for chunk in re.split(r"(?=\[\w+\])", config["gen_text"]):
        if not chunk.strip():
            continue
        match = re.match(r"\[(\w+)\]", chunk)
        assert match and match[1] in voices
        spoken.append((voices[match[1]]["ref_audio"], re.sub(r"\[(\w+)\]", "", chunk).strip()))
    return voices, spoken


def test_gpt_sovits_reads_its_list(found, tmp_path):
    [path] = found.save(tmp_path / "p.list", "gpt-sovits", tmp_path / "audio")
    entries = read_list(path.read_text("utf-8"))
    clips = {hit["id"]: hit for record in found for hit in record["hits"]}
    assert len(entries) == len(clips)
    for name, words in entries.values():
        samples, rate = soundfile.read(name)
        assert rate == 32_000 and 48_000 <= len(samples) / 2 <= 160_000  # at 16 kHz: what TTS.py refuses otherwise
        assert words in {hit["transcript"] for hit in clips.values()}


def test_f5_reads_its_configuration(found, tmp_path):
    [path] = found.save(tmp_path / "p.toml", "f5")
    voices, spoken = read_f5(path.read_text("utf-8"))
    lines = [
        (record["hits"][0]["path"], record["text"].replace("[now]", "(now)")) for record in found if record["hits"]
    ]
    assert spoken == lines
    for voice in voices.values():
        assert soundfile.info(voice["ref_audio"]).duration < 12 and voice["ref_text"]


def test_cosyvoice_reads_its_folder(found, tmp_path):
    found.save(tmp_path / "prompts", "cosyvoice")
    lines = json.loads((tmp_path / "prompts" / "tts_text.json").read_text())
    scp = dict(line.split(" ", 1) for line in (tmp_path / "prompts" / "wav.scp").read_text().splitlines())
    words = dict(line.split(" ", 1) for line in (tmp_path / "prompts" / "text").read_text().splitlines())
    assert set(lines) <= set(scp) == set(words)
    for name, path in scp.items():
        info = soundfile.info(path)
        assert info.samplerate == 16_000 and info.channels == 1 and info.duration <= 30
        assert Path(path) == (tmp_path / "prompts" / f"{name}.wav").absolute()
        assert (tmp_path / "prompts" / f"{name}.txt").read_text() == words[name] + "\n"
    assert sorted(one for said in lines.values() for one in said) == sorted(line for line in LINES if line)


def test_indextts_reads_its_voices_and_its_batch(found, tmp_path):
    [path] = found.save(tmp_path / "voices.json", "indextts")
    voices = json.loads(path.read_text())
    by_line = {line: voice for voice in voices.values() for line in voice["lines"]}
    assert set(by_line) == {1, 3, 4}
    for record in found:
        if not record["hits"]:
            continue
        voice, hit = by_line[record["line"]], record["hits"][0]
        assert voice["emo_audio_prompt"] == hit["path"] and 0 <= voice["emo_alpha"] <= 1
        assert f"/{hit['speaker']}/calm" in voice["spk_audio_prompt"]  # the calm clip of the same speaker
        assert len(voice["emo_vector"]) == 8 and sum(voice["emo_vector"]) == pytest.approx(0.8)
        place = voice["emo_vector"].index(max(voice["emo_vector"]))
        emotions = {one["emotion"] for one in record["hits"]}
        assert indextts.ORDER[place] in emotions
    [path] = found.save(tmp_path / "batch.jsonl", "indextts-batch")
    allowed = {"output", "text", "text_file", "voice", "emotion_audio", "emotion_text", "emotion_vector",
               "emotion_weight", "silence_after_ms"}  # fmt: skip
    tasks = [json.loads(line) for line in path.read_text().splitlines()]
    assert len({task["output"] for task in tasks}) == len(tasks) == 3
    for task in tasks:
        assert (
            set(task) <= allowed
            and task["text"]
            and Path(task["voice"]).is_file()
            and Path(task["emotion_audio"]).is_file()
        )


@pytest.mark.parametrize(
    ("words", "vector"),
    [
        (["happy"], {0: 0.8}),
        (["Anger", "fear"], {1: 0.4, 3: 0.4}),
        (["neutral"], {7: 0.8}),
        (["disgust"], {4: 0.8}),
        (["odd"], {}),
    ],
)
def test_emotions_as_indextts_counts_them(words, vector):
    assert indextts.vector(words) == [vector.get(at, 0.0) for at in range(8)]


def test_the_originals_json(found, run, tmp_path):
    [path] = found.save(tmp_path / "p.json", "emorag")
    told = json.loads(path.read_text("utf-8"))
    assert [one["query"] for one in told] == ["q0", "q1", "q2"]  # retrieve.py passes over empty lines
    assert [one["text"] for one in told] == [line for line in LINES if line]
    for one, record in zip(told, (record for record in found if record["hits"]), strict=True):
        assert list(one) == ["query", "text", "hits"]
        assert one["hits"] == [{"rank": hit["rank"], "filename": os.path.basename(hit["path"]), "path": hit["path"],
                                "score": hit["score"]} for hit in record["hits"]]  # fmt: skip
    vectors = prompts(run, run.encoder("left").encode(LINES[:1]), "", k=1)
    told = json.loads(exports.text("emorag", vectors, vectors.picker))
    assert told[0]["text"] is None and told[0]["query"] == "q0"


def test_requests_of_gpt_sovits(found, tmp_path):
    lines = [json.loads(line) for line in exports.text("gpt-sovits-api", found, found.picker).splitlines()]
    assert [line["text"] for line in lines] == [line for line in LINES if line]
    assert all(
        line["text_lang"] == line["prompt_lang"] == "en" and Path(line["ref_audio_path"]).is_file() for line in lines
    )


def test_copies_have_the_engines_rate_the_usual_level_and_no_clipping(run, tmp_path):
    found = prompts(run, LINES[:1], "gpt-sovits", k=5, level=True)
    text = exports.text("gpt-sovits", found, found.picker, tmp_path / "audio")
    for path, _ in read_list(text).values():
        measured = measures.measure_file(path)
        assert measured["sample_rate"] == 32_000 and measured["clipping"] == 0 and measured["peak"] <= 0.995
        assert 3.0 <= measured["duration"] <= 10.0
    quiet = ClipAudio(run, "right", tmp_path / "quiet", 16_000, True)
    hit = {"id": found[0]["hits"][0]["id"], "metadata": {"rms": 0.004}}
    original = measures.measure_file(found[0]["hits"][0]["path"])
    gain = min(TARGET_RMS / 0.004, 0.99 / original["peak"])
    assert measures.measure_file(quiet.path(hit))["rms"] == pytest.approx(gain * original["rms"], rel=0.02)


def test_names_of_copies_never_collide(run, tmp_path):
    audio = ClipAudio(run, "right", tmp_path)
    ids = ["a/b.wav", "a_b.flac", "A/b.wav", "é|\n.wav", "?/??.wav", "x" * 300, "y/" + "x" * 300]
    names = [audio.name(id) for id in ids]
    assert len({name.casefold() for name in names}) == len(ids) and [audio.name(id) for id in ids] == names
    assert all(len(name.encode()) < 200 and re.fullmatch(r"[\w.-]+", name) for name in names)


def a_record(*hits):
    return [{"line": 1, "query": "x", "text": "x", "hits": list(hits)}]


def hit(id, path, **columns):
    return {"id": id, "rank": 1, "score": 1.0, "path": str(path), "metadata": {"transcript": "a|b\nc", **columns}}


def test_what_a_list_cannot_hold(run, found, tmp_path):
    for folder in ("one", "two", "a|b"):
        (tmp_path / folder).mkdir()
        soundfile.write(tmp_path / folder / "c.wav", np.zeros(16_000), 16_000)
    context = exports.context(found.picker)
    good = gpt_sovits.render(a_record(hit("z1", tmp_path / "one" / "c.wav", speaker="a|b")), context)
    assert good == f"{tmp_path / 'one' / 'c.wav'}|a b|en|a b c\n"
    with pytest.raises(BadRecipe, match=r"path .* holds '\|', which this format cannot; give --copy-to FOLDER"):
        gpt_sovits.render(a_record(hit("z1", tmp_path / "a|b" / "c.wav")), context)
    two = a_record(hit("z1", tmp_path / "one" / "c.wav"), hit("z2", tmp_path / "two" / "c.wav"))
    assert len(read_list(gpt_sovits.render(two, context))) == 2
    with pytest.raises(BadRecipe, match="clip 'z1' is in 'de'; GPT-SoVITS knows zh, ja, en, ko, yue"):
        gpt_sovits.render(a_record(hit("z1", tmp_path / "one" / "c.wav", language="de")), context)
    assert "|ja|" in gpt_sovits.render(a_record(hit("z1", tmp_path / "one" / "c.wav", language="Japanese")), context)
    toml = f5.render(a_record(hit("z1", tmp_path / "a|b" / "c.wav", speaker='é "x"', emotion="sad")), context)
    assert read_f5(toml)[1] == [(str(tmp_path / "a|b" / "c.wav"), "x")]


def test_clips_without_a_file_and_scripts_without_prompts(run, found, tmp_path):
    context = exports.context(found.picker)
    with pytest.raises(BadRecipe, match="clip 'zz' of .* has no file; it was moved"):
        f5.render(a_record(hit("zz", "nowhere.wav")), context)
    for name, one in exports.known().items():
        if name not in ("emorag", "jsonl"):
            with pytest.raises(BadData, match="no line has a prompt, so there is nothing to write; relax a gate"):
                one.render(a_record(), context)
    with pytest.raises(BadRecipe, match="no format 'f6'"):
        exports.find("f6")
    with pytest.raises(BadRecipe, match="cosyvoice is a folder; give --out FOLDER"):
        exports.text("cosyvoice", found, found.picker)
    with pytest.raises(BadRecipe, match="level changes the audio, so it has to be copied"):
        ClipAudio(run, "right", level=True)


@pytest.mark.parametrize(("text", "code"), [("こんにちは", "ja"), ("你好", "zh"), ("안녕", "ko"), ("Hi", "en")])
def test_languages_by_their_letters(text, code):
    assert _context.language({"metadata": {"transcript": text}}) == code
    assert _context.language({"metadata": {"transcript": text, "language": "zh-CN"}}) == "zh"

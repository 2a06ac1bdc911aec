"""``POST /prompts`` and ``GET /prompts``: clips for lines with every gate's numbers, live changes, exports, and what is refused."""

import io
import json
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="type: pip install 'sensorium[serve]'")

import small_voices
from served import client_of, problem

from sensorium.systems.emorag import profiles, serving
from sensorium.systems.emorag.prompts import prompts

pytestmark = pytest.mark.xdist_group("serve")
ANGRY, SAD = "Get out of my house this instant", "I miss her more than I can say"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return small_voices.make(tmp_path_factory.mktemp("voices") / "voices")


@pytest.fixture(scope="module")
def client(run):
    with client_of([run.folder]) as one:
        yield one


def ask(client, *lines, **more):
    answer = client.post("/prompts", json={"lines": list(lines), **more})
    assert answer.status_code == 200, answer.text
    return answer.json()


def ids(line):
    return [hit["id"] for hit in line["hits"]]


def test_the_clips_are_those_of_the_library_and_of_one_request_or_several(run, client):
    lines = [line for told in small_voices.LINES.values() for line in told]
    told = ask(client, *lines, **{"for": "gpt-sovits"}, k=3)
    found = prompts(run, lines, "gpt-sovits", k=3)
    assert told["run"] == "voices" and told["side"] == "right" and told["for"] == "gpt-sovits" and told["cast"] == {}
    for at, (line, record) in enumerate(zip(told["lines"], found, strict=True)):
        assert line["line"] == at + 1 and line["text"] == line["query"] == lines[at]
        assert ids(line) == [hit["id"] for hit in record["hits"]]
        np.testing.assert_allclose(
            [hit["score"] for hit in line["hits"]], [h["score"] for h in record["hits"]], atol=1e-6
        )
        alone = ask(client, lines[at], **{"for": "gpt-sovits"}, k=3)["lines"][0]
        assert ids(alone) == ids(line)


def test_every_gate_tells_its_number_and_what_fails_is_left_out(client):
    told = ask(client, ANGRY, **{"for": "gpt-sovits"}, k=48)["lines"][0]
    assert told["clips"] == 48 and told["passing"] == 48 - len(small_voices.FAULTS)
    assert not set(ids(told)) & set(small_voices.FAULTS)
    assert told["removed"] == {
        name: 1 for name in ("duration", "loudness", "clipping", "noise", "transcript", "nonverbal")
    }
    assert "48 prompts" in told["note"] and "duration removes 1" in told["note"]
    gates = {gate.name for gate in profiles.find("gpt-sovits").gates}
    for hit in told["hits"]:
        assert set(hit["gates"]) == gates and all(one["pass"] for one in hit["gates"].values())
        duration = hit["gates"]["duration"]
        assert duration["value"] == pytest.approx(hit["columns"]["duration"]) and duration["low"] == 3.0
        assert duration["state"] == ("near" if duration["value"] < 3.3 else "pass") and duration["unit"] == "s"
        assert hit["media"].startswith("/media/") and hit["kind"] == "audio"


def test_failing_clips_are_given_and_marked_where_that_is_asked(client):
    told = ask(client, ANGRY, **{"for": "gpt-sovits"}, k=48, failing=True)["lines"][0]
    assert len(told["hits"]) == 48 and told["passing"] == 42 and told["note"] is None
    failing = {
        hit["id"]: [name for name, one in hit["gates"].items() if one["state"] == "fail"] for hit in told["hits"]
    }
    gate = {"duration": "duration", "rms": "loudness", "clipping": "clipping", "snr": "noise", "nonverbal": "nonverbal",
            "transcript": "transcript"}  # fmt: skip
    for id, fault in small_voices.FAULTS.items():
        assert gate[next(iter(fault))] in failing[id], id
    fine = [id for id, found in failing.items() if not set(found) - {"line_rate"}]
    assert len(fine) == 42


def test_gates_are_relaxed_and_left_out(client):
    told = ask(client, ANGRY, **{"for": "gpt-sovits"}, k=48, gates=["duration=1..10", "noise=off", "line_rate=off"])[
        "lines"
    ][0]
    assert {"ada/angry_2.wav", "dan/sad_2.wav"} <= set(ids(told)) and told["passing"] == 44
    assert "noise" not in told["hits"][0]["gates"]
    laughing = ask(client, ANGRY, **{"for": "gpt-sovits"}, k=48, nonverbal=True)["lines"][0]
    assert "ben/happy_2.wav" in ids(laughing)
    none = ask(client, ANGRY, **{"for": ""}, k=48)["lines"][0]
    assert len(none["hits"]) == 48 and none["hits"][0].get("gates") is None and none["removed"] == {}
    nothing = ask(client, ANGRY, gates=["duration=20.."], k=2)["lines"][0]
    assert nothing["hits"] == [] and nothing["passing"] == 0 and nothing["removed"]["duration"] == 48


def test_a_speaker_is_named_taken_from_a_clip_or_kept_for_all_lines(client):
    told = ask(client, ANGRY, SAD, speaker="cleo", k=4)
    assert {hit["columns"]["speaker"] for line in told["lines"] for hit in line["hits"]} == {"cleo"}
    assert [line["speaker"] for line in told["lines"]] == ["cleo", "cleo"]
    same = ask(client, ANGRY, SAD, speaker_of="cleo/sad_0.wav", k=4)
    assert [ids(line) for line in same["lines"]] == [ids(line) for line in told["lines"]]
    kept = ask(client, *(line for told in small_voices.LINES.values() for line in told[:3]), keep_speaker=True)
    speakers = {line["hits"][0]["columns"]["speaker"] for line in kept["lines"]}
    assert speakers == {kept["cast"][""]} and len({line["hits"][0]["id"] for line in kept["lines"]}) > 1
    own = ask(client, {"text": ANGRY, "speaker": "ben"}, {"text": ANGRY, "speaker": "dan"})
    assert [line["hits"][0]["columns"]["speaker"] for line in own["lines"]] == ["ben", "dan"]


def test_a_line_says_its_emotion_its_pace_and_the_clip_that_it_has(client):
    told = ask(client, {"text": ANGRY, "emotion": "sadness", "id": "l1"}, {"text": ANGRY, "clip": "dan/calm_0.wav"},
               {"text": ANGRY, "rate": 7.0}, k=3)["lines"]  # fmt: skip
    assert {hit["columns"]["emotion"] for hit in told[0]["hits"]} == {"sad"} and told[0]["query"] == "l1"
    assert ids(told[1]) == ["dan/calm_0.wav"] and told[1]["hits"][0]["gates"]["duration"]["pass"]
    found = ask(client, ANGRY, k=48, failing=True)["lines"][0]["hits"]
    score = next(hit["score"] for hit in found if hit["id"] == "dan/calm_0.wav")
    assert told[1]["hits"][0]["score"] == pytest.approx(score, abs=1e-5)
    paces = [hit["gates"]["line_rate"]["value"] for hit in told[2]["hits"]]
    assert paces == pytest.approx([hit["columns"]["speech_rate"] / 7.0 for hit in told[2]["hits"]], abs=1e-3)


def test_filters_and_variety(client):
    told = ask(client, ANGRY, SAD, k=5, where={"emotion": ["calm", "happy"], "duration": {">": 4.0}})["lines"]
    assert {hit["columns"]["emotion"] for line in told for hit in line["hits"]} <= {"calm", "happy"}
    assert all(hit["columns"]["duration"] > 4.0 for line in told for hit in line["hits"])
    again = ask(client, *[ANGRY] * 4, vary=3)["lines"]
    assert len({ids(line)[0] for line in again}) == 4
    varied = ask(client, ANGRY, k=5, mmr=0.2)["lines"][0]
    assert ids(varied)[0] == ids(ask(client, ANGRY)["lines"][0])[0]
    assert ask(client, ANGRY, k=5, min_score=0.99)["lines"][0]["hits"] == []


def test_vectors_ask_as_texts_do(run, client):
    vectors = run.encoder("left").encode([ANGRY, SAD])
    told = ask(client, *({"vector": np.asarray(one, float).tolist()} for one in vectors), k=4)["lines"]
    assert [ids(line) for line in told] == [ids(line) for line in ask(client, ANGRY, SAD, k=4)["lines"]]
    assert [line["query"] for line in told] == ["1", "2"] and told[0]["text"] is None


def test_clips_added_and_removed_live_are_judged_by_their_columns(tmp_path):
    import base64

    run = small_voices.make(tmp_path / "voices")
    sound = (tmp_path / "clips" / "ada" / "angry_0.wav").read_bytes()
    columns = {"speaker": "eve", "emotion": "angry", "language": "en", "transcript": ANGRY, "duration": 4.0,
               "rms": 0.09, "peak": 0.8, "clipping": 0.0, "snr": 40.0, "silence_start": 0.2, "silence_end": 0.2,
               "sample_rate": 16000, "speech_rate": 9.0, "steadiness": 0.9, "nonverbal": ""}  # fmt: skip
    with client_of([run.folder]) as client:
        assert "no speaker 'eve'" in problem(client.post("/prompts", json={"lines": [ANGRY], "speaker": "eve"}), 400)
        new = {"id": "eve/1.wav", "side": "right", "audio": base64.b64encode(sound).decode(), "columns": columns}
        assert client.post("/items", json=new).status_code == 201
        told = ask(client, ANGRY, speaker="eve", k=3)["lines"][0]
        assert ids(told) == ["eve/1.wav"] and told["hits"][0]["gates"]["noise"]["value"] == 40.0
        media = client.get(told["hits"][0]["media"])
        assert media.status_code == 200 and media.content == sound
        loud = {**new, "id": "eve/2.wav", "columns": {**columns, "clipping": 0.2}}
        assert client.post("/items", json=loud).status_code == 201
        told = ask(client, ANGRY, speaker="eve", k=3)["lines"][0]
        assert ids(told) == ["eve/1.wav"] and told["removed"] == {"clipping": 1}
        assert client.delete("/items/eve/1.wav?side=right").status_code == 204
        assert ask(client, ANGRY, speaker="eve", k=3)["lines"][0]["hits"] == []
        assert client.delete("/items/eve/2.wav?side=right").status_code == 204
        problem(client.post("/prompts", json={"lines": [ANGRY], "speaker": "eve"}), 400)


def test_the_voice_nearest_to_a_recording_and_no_files_of_the_server(client, run, tmp_path):
    import base64

    import soundfile

    for speaker in small_voices.SPEAKERS:
        soundfile.write(tmp_path / "x.wav", small_voices.clip("calm", speaker, 9, 3.0), 16_000)
        sent = {"audio": base64.b64encode((tmp_path / "x.wav").read_bytes()).decode()}
        answer = client.post("/prompts/speaker", json=sent).json()
        assert answer["speaker"] == speaker and answer["speakers"] == 4 and 0.5 < answer["probability"] <= 1
    text = problem(client.post("/prompts", json={"lines": [ANGRY], "speaker_of": str(tmp_path / "x.wav")}), 422)
    assert "no clip '" in text and "no such file" not in text
    missing = problem(client.post("/prompts", json={"lines": [ANGRY], "speaker_of": str(tmp_path / "y.wav")}), 422)
    assert missing.replace("y.wav", "x.wav") == text  # whether a file is there is not told
    problem(client.post("/prompts/speaker", json={"audio": base64.b64encode(b"no sound").decode()}), 422)
    assert "no left side" not in problem(client.post("/prompts/speaker", json={**sent, "side": "left"}), 400)


def test_an_added_clip_is_measured_and_judged_like_those_of_the_run(tmp_path):
    """A run of the data set clips: what comes by POST /items brings its sound alone, and gets every gate's number."""
    import base64

    import sensorium

    names, columns = small_voices.write(tmp_path / "clips")
    table = [{name: columns[name][row] for name in ("speaker", "emotion", "language", "transcript")} | {"path": names[row]}
             for row in range(len(names))]  # fmt: skip
    (tmp_path / "table.jsonl").write_text("\n".join(map(json.dumps, table)))
    keys = [f"data.root={tmp_path}/clips", f"data.table={tmp_path}/table.jsonl", "left.encoder=hashing", "left.head=linear",
            "right.encoder=functionals", "right.encoder.relations=false", "objective=ridge", "evaluate.baselines=[]",
            "evaluate.plots=false", "evaluate.resamples=20", "data.validation=0.25"]  # fmt: skip
    recipe = {"name": "voices", "data": {"name": "clips"}, "objective": "ridge"}
    run = sensorium.run(recipe, keys, out=tmp_path / "runs" / "voices", quiet=True)
    sound = (tmp_path / "clips" / "ada" / "happy_0.wav").read_bytes()
    told = {"speaker": "eve", "emotion": "happy", "language": "en", "transcript": "We won the whole tournament today"}
    with client_of([run.folder]) as client:
        known = ask(client, {"text": "We won", "clip": "ada/happy_0.wav"}, failing=True)["lines"][0]["hits"][0]["gates"]
        new = {"id": "eve/1.wav", "side": "right", "audio": base64.b64encode(sound).decode(), "columns": told}
        assert client.post("/items", json=new).status_code == 201
        hit = ask(client, "We won", speaker="eve", failing=True)["lines"][0]["hits"][0]
        assert hit["id"] == "eve/1.wav" and set(hit["gates"]) == set(known)
        for gate in ("duration", "loudness", "clipping", "noise", "silence_start", "silence_end", "steadiness"):
            assert hit["gates"][gate]["value"] == pytest.approx(known[gate]["value"], abs=0.01), gate


def test_prompts_while_clips_come_and_go(tmp_path):
    run = small_voices.make(tmp_path / "voices")
    vector = np.asarray(run.index("right").vectors(np.arange(1))[0], float)
    width, stop, wrong = run.head("right").dim_in, threading.Event(), []
    columns = {"speaker": "eve", "emotion": "calm", "transcript": "hello there", "duration": 4.0, "rms": 0.09,
               "clipping": 0.0, "snr": 40.0, "silence_start": 0.2, "silence_end": 0.2, "sample_rate": 16000,
               "speech_rate": 9.0, "steadiness": 0.9}  # fmt: skip
    assert vector.any()
    with client_of([run.folder]) as client:

        def change():
            for turn in range(12):
                new = {"id": f"eve/{turn}", "side": "right", "vector": [0.1] * width, "columns": columns}
                added = client.post("/items", json=new).status_code
                removed = client.delete(f"/items/eve/{turn}?side=right").status_code
                wrong.extend([] if (added, removed) == (201, 204) else [(added, removed)])
            stop.set()

        thread = threading.Thread(target=change)
        thread.start()
        asked = 0
        while not stop.is_set() or asked < 5:
            told = ask(client, ANGRY, SAD, k=5)["lines"]
            assert all(len(line["hits"]) == 5 for line in told)
            assert all(
                one["pass"] is not False for line in told for hit in line["hits"] for one in hit["gates"].values()
            )
            asked += 1
        thread.join()
    assert wrong == []


def test_engines_and_formats_are_told(client):
    told = client.get("/prompts").json()
    assert told["engines"][0]["name"] == "any"
    assert {one["name"] for one in told["engines"]} == set(profiles.PROFILES)
    duration = next(gate for gate in told["engines"][1]["gates"] if gate["name"] == "duration")
    assert duration["column"] == "duration" and duration["about"] and duration["low"] < duration["high"]
    formats = {one["name"]: one["file"] for one in told["formats"]}
    assert {"gpt-sovits", "f5", "cosyvoice", "indextts", "emorag"} <= set(formats)
    assert all(one["format"] in formats for one in told["engines"]) and told["lines"] == 1000


def export(client, name, *lines, **more):
    answer = client.post("/prompts", json={"lines": list(lines), "as": name, **more})
    assert answer.status_code == 200, answer.text
    return answer


def test_exports_hold_the_clips_that_were_found(client, run):
    import tomllib

    found = ids(ask(client, ANGRY, k=2, speaker="ada")["lines"][0])
    paths = [str(run.folder.parent / "clips" / id) for id in found]
    listed = export(client, "gpt-sovits", ANGRY, k=2, speaker="ada")
    assert listed.headers["content-type"].startswith("text/plain") and ".list" in listed.headers["content-disposition"]
    assert [line.split("|")[:3] for line in listed.text.splitlines()] == [[path, "ada", "en"] for path in paths]
    f5 = tomllib.loads(export(client, "f5", ANGRY, k=2, speaker="ada").text)
    assert {voice["ref_audio"] for voice in f5["voices"].values()} == set(paths)
    original = export(client, "emorag", ANGRY, k=2, speaker="ada")
    assert original.headers["content-type"] == "application/json"
    assert [hit["path"] for hit in original.json()[0]["hits"]] == paths
    archive = zipfile.ZipFile(io.BytesIO(export(client, "cosyvoice", ANGRY, SAD).content))
    assert {"wav.scp", "text"} <= set(archive.namelist())
    index = export(client, "indextts", ANGRY, {"text": SAD, "clip": "ben/sad_1.wav"}).json()
    assert any(voice["emo_audio_prompt"].endswith("ben/sad_1.wav") for voice in index.values())
    lines = export(client, "jsonl", ANGRY, SAD).text.splitlines()
    assert [json.loads(line)["text"] for line in lines] == [ANGRY, SAD]


def test_an_export_with_copies_is_an_archive_at_the_engines_rate_and_the_usual_level(client):
    """What is in the archive is measured again: 24 kHz for F5, and the level that the gate asks for."""
    import tomllib

    import soundfile

    found = ids(ask(client, ANGRY, SAD, **{"for": "f5"}, level=True)["lines"][0])
    answer = export(client, "f5", ANGRY, SAD, **{"for": "f5"}, level=True, copies=True)
    assert answer.headers["content-type"] == "application/zip"
    archive = zipfile.ZipFile(io.BytesIO(answer.content))
    told = tomllib.loads(archive.read("prompts.toml").decode())
    paths = {voice["ref_audio"] for voice in told["voices"].values()}
    assert len(paths) == 2 and all(path.startswith("clips/") for path in paths) and found
    for path in paths:
        samples, rate = soundfile.read(io.BytesIO(archive.read(path)))
        assert rate == 24_000 and 3 < len(samples) / rate < 6
    listed = zipfile.ZipFile(io.BytesIO(export(client, "gpt-sovits", ANGRY, copies=True).content))
    assert set(listed.namelist()) == {"prompts.list", *[n for n in listed.namelist() if n.startswith("clips/")]}
    assert listed.read("prompts.list").decode().startswith("clips/")


def test_levelled_clips_are_judged_as_they_will_be(client):
    told = ask(client, ANGRY, **{"for": "gpt-sovits"}, k=48, level=True, speaker="ben")["lines"][0]
    quiet = next(hit for hit in told["hits"] if hit["id"] == "ben/angry_2.wav")
    assert quiet["columns"]["rms"] == pytest.approx(0.005) and quiet["gates"]["loudness"]["value"] > 0.005
    assert "ben/angry_2.wav" not in ids(ask(client, ANGRY, **{"for": "gpt-sovits"}, k=48, speaker="ben")["lines"][0])
    shown = ask(client, ANGRY, **{"for": "gpt-sovits"}, k=48, level=True, speaker="ben", failing=True)["lines"][0]
    assert {h["id"]: h["gates"] for h in shown["hits"]}["ben/angry_2.wav"]["loudness"] == quiet["gates"]["loudness"]


@pytest.mark.parametrize(("body", "status", "says"), [
    ({}, 422, "lines"), ({"lines": []}, 422, "lines"), ({"lines": ["  "]}, 422, "lines.0: the text is empty"),
    ({"lines": ["a"] * 1001}, 422, "lines"), ({"lines": ["a"], "for": "espeak"}, 400, "no engine 'espeak'"),
    ({"lines": ["a"], "as": "mp3"}, 400, "no format 'mp3'"), ({"lines": ["a"], "k": 99999}, 422, "at most"),
    ({"lines": ["a"], "gates": ["pitch=1..2"]}, 400, "no gate 'pitch'"),
    ({"lines": ["a"], "gates": ["duration=x"]}, 400, "expected LOW..HIGH"),
    ({"lines": ["a"], "speaker": "eve"}, 400, "no speaker 'eve'"),
    ({"lines": ["a"], "speaker_of": "nobody.wav"}, 422, "no clip 'nobody.wav'"),
    ({"lines": ["a"], "speaker": "ada", "speaker_of": "ben/sad_0.wav"}, 400, "not both"),
    ({"lines": ["a"], "where": {"colour": 1}}, 400, "no column 'colour'"),
    ({"lines": [{"text": "a", "clip": "nothing"}]}, 404, "no item 'nothing'"),
    ({"lines": [{"text": "a", "emotion": "hunger"}]}, 400, "no clip has the emotion 'hunger'"),
    ({"lines": [{"text": "a", "speaker": "eve"}]}, 400, "no speaker 'eve'"),
    ({"lines": [{}]}, 422, "neither text nor vector"),
    ({"lines": ["a", {"vector": [1.0]}]}, 422, "lines.0 has no vector"),
    ({"lines": [{"vector": [1.0, 2.0]}]}, 422, "2 values"), ({"lines": ["x" * 30000]}, 413, "characters"),
    ({"lines": ["a"], "run": "other"}, 404, "no run 'other'"), ({"lines": ["a"], "from": "right"}, 400, "takes audio"),
    ({"lines": ["a"], "copies": True}, 400, "say which with as"),
    ({"lines": ["a"], "as": "f5", "level": True}, 400, "send copies: true"),
    ({"lines": ["a"] * 201, "as": "f5", "copies": True}, 422, "at most 200"),
    ({"lines": ["a"], "mmr": 2}, 422, "mmr"), ({"lines": ["a"], "word": 2}, 422, "word"),
])  # fmt: skip
def test_what_is_wrong_is_said(client, body, status, says):
    assert says in problem(client.post("/prompts", json=body), status)


def test_one_wrong_request_of_a_batch_spoils_no_other(client):
    """Requests that are answered in one batch: the wrong ones get their problem, the others their clips."""
    bodies = [
        {"lines": [ANGRY]},
        {"lines": [{"text": ANGRY, "clip": "nothing"}]},
        {"lines": [SAD], "speaker": "eve"},
    ] * 6
    with ThreadPoolExecutor(len(bodies)) as pool:
        answers = list(pool.map(lambda body: client.post("/prompts", json=body), bodies))
    assert [one.status_code for one in answers] == [200, 404, 400] * 6
    assert {ids(one.json()["lines"][0])[0] for one in answers[::3]} == {ids(ask(client, ANGRY)["lines"][0])[0]}


def test_requests_of_one_kind_are_one_pass_and_each_gets_its_own_lines(run):
    """Batches by the function itself: texts, lines that say more, another engine, and a wrong one between them."""
    from sensorium.search.script import Script
    from sensorium.serve import Settings
    from sensorium.serve.engine.workers import Workers
    from sensorium.systems.emorag.picker import Wanted

    workers = Workers("voices", run, Settings(log="off"))
    texts = [line for told in small_voices.LINES.values() for line in told]
    raw = np.asarray(run.encoder("left").encode(texts))

    def one(some, wanted, chosen=None, **columns):
        return serving.Ask(
            Script([texts[at] for at in some], None, columns), raw[some], "left", wanted, chosen=chosen or {}
        )

    f5, any_ = Wanted("f5", 2, side="left", to="right"), Wanted("any", 3, side="left", to="right")
    asks = [
        one([0, 1], f5),
        one([2], any_),
        one([3], f5, emotion=["calm"]),
        one([4], f5, {0: "nothing"}),
        one([5, 6], f5),
    ]
    together = serving._answer(workers, "right", {}, asks)
    assert [len(getattr(answer, "lines", [])) for answer in together] == [2, 1, 1, 0, 2]
    assert together[3].status == 404
    for ask_, answer in zip(asks, together, strict=True):
        if answer is not together[3]:
            assert answer == serving._answer(workers, "right", {}, [ask_])[0]


@pytest.mark.parametrize(("verdict", "state"), [
    ((True, 5.0, 3.0, 10.0, "s"), "pass"), ((True, 3.2, 3.0, 10.0, "s"), "near"), ((True, 9.5, 3.0, 10.0, "s"), "near"),
    ((False, 2.0, 3.0, 10.0, "s"), "fail"), ((None, None, 3.0, 10.0, "s"), "unknown"),
    ((True, 0.0, 0.0, 1.5, "s"), "pass"), ((True, 16000, 16000, None, "Hz"), "pass"), ((True, 0.0, 0, 0, "tags"), "pass"),
])  # fmt: skip
def test_what_is_near_a_limit(verdict, state):
    assert serving.state_of(dict(zip(("pass", "value", "low", "high", "unit"), verdict, strict=True))) == state

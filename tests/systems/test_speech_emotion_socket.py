"""The original's messages: what its front end sends, in the order it sends it, and what it needs back."""

import base64
import contextlib
import io
import json

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from live_server import RATE, speak
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

EMOTIONS = ["Neutral", "Calm", "Happy", "Sad", "Angry", "Fearful", "Disgust", "Surprised"]


def wav(x: np.ndarray) -> str:
    file = io.BytesIO()
    soundfile.write(file, x, RATE, format="WAV", subtype="PCM_16")
    return base64.b64encode(file.getvalue()).decode()


@pytest.fixture
def front_end(server):
    with connect(f"ws://127.0.0.1:{server.port}/ws", max_size=None) as socket:

        def send(action, **data):
            socket.send(json.dumps({"action": action, "data": data}))

        def read():
            return json.loads(socket.recv(20))

        yield send, read, socket


def test_the_front_end_reaches_its_prediction(voice_run, front_end):
    """Its rule: MFCC once the audio is processed, inference once there are MFCC, each asked for once."""
    send, read, _ = front_end
    x = speak(1.2, 7)
    send("upload_audio", content=wav(x), filename="voice.wav")
    asked, told = set(), []
    while not told or told[-1]["data"].get("stage") != "completed":
        told.append(read())
        stage = told[-1]["data"].get("stage")
        if stage in ("AUDIO_UPLOAD", "audio_processing") and "mfcc" not in asked:
            asked.add("mfcc")
            send("mfcc_extraction")
        if stage == "MFCC_EXTRACTION" and "inference" not in asked:
            asked.add("inference")
            send("model_inference", model_path="/etc/passwd")  # not looked at
    assert {m["status"] for m in told} == {"processing", "completed"}
    progress = [m["data"]["progress"] for m in told]
    assert progress == sorted(progress) and progress[-1] == 100
    stages = list(dict.fromkeys(m["data"]["stage"] for m in told))
    assert stages == ["audio_processing", "AUDIO_UPLOAD", "MFCC_EXTRACTION", "LSTM_INFERENCE", "completed"]
    assert all(isinstance(m["data"]["message"], str) for m in told)
    for message in told:
        if partial := message["data"].get("partial_prediction"):
            assert set(partial) == {"probabilities", "emotion", "class"}
            assert sum(partial["probabilities"]) == pytest.approx(1) and partial["emotion"] in EMOTIONS
    final = told[-2]["data"]["final_prediction"]
    wanted = voice_run.classifier.offline([io.BytesIO(base64.b64decode(wav(x)))])[0]
    np.testing.assert_allclose(final["probabilities"], wanted, atol=1e-5)
    assert final["confidence"] == final["probabilities"]
    assert final["class"] == int(np.argmax(final["probabilities"])) and final["emotion"] == EMOTIONS[final["class"]]
    assert list(final["all_emotions"]) == EMOTIONS


@pytest.mark.parametrize(
    ("message", "why"),
    [
        ('{"action": "model_inference"}', "No MFCCs found. Extract MFCC first."),
        ('{"action": "mfcc_extraction", "data": null}', "No audio frames found. Upload audio first."),
        ('{"action": "upload_audio", "data": {}}', "expected a sound file in base64"),
        ('{"action": "upload_audio", "data": {"content": "not base64!"}}', "base64"),
        ('{"action": "upload_audio", "data": {"content": "aGVsbG8="}}', "cannot be used"),
        ('{"action": "upload_audio", "data": {"content": {"path": "/etc/passwd"}}}', "expected a sound file in base64"),
        ('{"action": "format_disk"}', "unknown action; expected one of upload_audio"),
        ('{"action": ["upload_audio"]}', "unknown action"),
        ('{"action": "upload_audio", "data": 3}', "'data' is no object"),
        ("[1, 2]", "unknown action"),
        ('{"action": "upload_audio", "data": {"content": "é"}}', "content: not base64"),
        ('{"action": "upload_audio", "data": "\\ud800"}', "content: not base64"),
        ('{"action": "upload_audio", "data": {"content": "data:audio/wav;base64,é"}}', "content: not base64"),
        ('{"action": "upload_audio", "data": {"content": "====" }}', "cannot be used"),
        ('{"action": "upload_audio", "data": {"content": ["UklGRg=="]}}', "expected a sound file in base64"),
        ('{"action": "\\ud800"}', "unknown action"),
        ('{"action": null, "data": {}}', "unknown action"),
        ('{"action": {"a": 1}}', "unknown action"),
        ('{"data": {}}', "unknown action"),
        ('"upload_audio"', "unknown action"),
        ("1" * 5000, "this is no JSON"),
        ("[" * 100_000, "this is no JSON"),
        ("NaN", "unknown action"),
        ("", "this is no JSON"),
        ("\ufeff{}", "this is no JSON"),
        ("hello", "this is no JSON"),
        (b"\0\1\2", "a binary message; expected JSON text"),
    ],
)
def test_an_invalid_message_is_answered_and_the_next_one_too(front_end, message, why):
    send, read, socket = front_end
    socket.send(message)
    told = read()
    if told["status"] == "processing":  # the upload had begun
        told = read()
    assert told["status"] == "error" and why.lower() in told["data"]["message"].lower()
    send("upload_audio", content="data:audio/wav;base64," + wav(speak(0.3)))
    assert [read()["data"]["stage"], read()["data"]["stage"]] == ["audio_processing", "AUDIO_UPLOAD"]
    socket.send(json.dumps({"action": "upload_audio", "data": wav(speak(0.3))}))  # the sound as the data itself
    assert [read()["data"]["stage"], read()["data"]["stage"]] == ["audio_processing", "AUDIO_UPLOAD"]


def test_what_is_kept_between_two_messages_is_bounded(voice_run, serving):
    server = serving(max_body=300_000, upload=300_000, max_bodies=350_000)
    loud = json.dumps({"action": "upload_audio", "data": wav(speak(3.0))})  # 128 kB, and 192 kB of samples
    with connect(f"ws://127.0.0.1:{server.port}/ws") as first, connect(f"ws://127.0.0.1:{server.port}/ws") as second:

        def ask(socket, message):
            socket.send(message)
            while (told := json.loads(socket.recv(20)))["status"] == "processing":
                pass
            return told

        assert ask(first, json.dumps({"action": "upload_audio", "data": wav(speak(1.0))}))["status"] == "completed"
        assert ask(first, '{"action": "mfcc_extraction"}')["status"] == "completed"
        refused = ask(second, loud)
        assert refused["status"] == "error" and "upload it again later" in refused["data"]["message"]
        assert ask(first, '{"action": "model_inference"}')["data"]["final_prediction"]["emotion"] in EMOTIONS
        first.close()
        for _ in range(100):
            if (told := ask(second, loud))["status"] == "completed":
                break
        assert told["status"] == "completed"


def test_a_silent_recording_has_no_emotion(front_end):
    send, read, _ = front_end
    for silent in (np.zeros(RATE, np.float32), np.zeros(10, np.float32), 2e-4 * np.ones(5 * RATE, np.float32)):
        send("upload_audio", content=wav(silent))
        send("mfcc_extraction")
        send("model_inference")
        told = [read() for _ in range(5)]
        assert [m["status"] for m in told] == ["processing", "completed", "processing", "completed", "error"]
        assert "no speech was heard" in told[-1]["data"]["message"]


@pytest.mark.parametrize(("query", "why"), [
    ("?run=nothing", "no run 'nothing'"), ("?runs=voice", "unknown parameter 'runs'; did you mean 'run'? Known: run"),
    ("?run=voice&run=voice", "parameter 'run' is given twice"), ("?sample_rate=48000", "unknown parameter 'sample_rate'"),
])  # fmt: skip
def test_an_invalid_address_is_refused(server, query, why):
    with connect(f"ws://127.0.0.1:{server.port}/ws{query}", max_size=None) as socket:
        with contextlib.suppress(ConnectionClosed):  # it may be closed already
            socket.send(json.dumps({"action": "upload_audio", "data": wav(speak(0.3))}))
        told = json.loads(socket.recv(20))
        assert told["status"] == "error" and why in told["data"]["message"]


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20),
              st.sampled_from(["upload_audio", "mfcc_extraction", "model_inference", "UklGRg==", "data:,", "é"])),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(
        st.one_of(st.sampled_from(["action", "data", "content", "model_path"]), st.text(max_size=5)), inner, max_size=4)),
    max_leaves=8,
)  # fmt: skip
ACTIONS = st.fixed_dictionaries(
    {"action": st.sampled_from(["upload_audio", "mfcc_extraction", "model_inference"]), "data": JSON}
)


@settings(max_examples=60, deadline=None)
@given(
    messages=st.lists(
        st.one_of(ACTIONS, JSON).map(json.dumps) | st.text(max_size=30) | st.binary(max_size=30), max_size=5
    )
)
def test_whatever_comes_is_answered_without_a_traceback(server, messages):
    failures = server.app.state.context.log.failures = []
    server.app.state.context.log.failure = failures.append
    with connect(f"ws://127.0.0.1:{server.port}/ws", max_size=None) as socket:
        for message in messages:
            socket.send(message)
        socket.send(json.dumps({"action": "upload_audio", "data": wav(speak(0.2))}))
        while (told := json.loads(socket.recv(20)))["data"].get("stage") != "AUDIO_UPLOAD":
            assert told["status"] in ("error", "processing") and "the server failed" not in told["data"]["message"]
    assert failures == []


def test_a_run_of_other_labels_keeps_its_order():
    from sensorium.systems.speech_emotion.socket import original_order

    eight = ["surprised", "angry", "calm", "disgust", "fearful", "happy", "neutral", "sad"]
    rows, names = original_order(eight)
    assert names == EMOTIONS and [eight[row].capitalize() for row in rows] == EMOTIONS
    assert original_order(["sad", "bored"]) == ([0, 1], ["Sad", "Bored"])

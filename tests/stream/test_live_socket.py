"""WS /stream on a real socket: equal to offline, fair, and alive whatever comes."""

import asyncio
import contextlib
import io
import json
import re
import socket
import threading
import time

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from live_server import RATE, speak

from sensorium.modalities.audio.magic import container


def as_bytes(x: np.ndarray, format: str) -> bytes:
    return x.astype("<f4").tobytes() if format == "f32" else np.round(x * 32767).astype("<i2").tobytes()


def from_bytes(data: bytes, format: str) -> np.ndarray:
    return np.frombuffer(data, "<f4" if format == "f32" else "<i2")


@settings(max_examples=15, deadline=None)
@given(cuts=st.lists(st.integers(0, 20_000), max_size=10), rate=st.sampled_from([8000, 16_000, 22_050, 44_100, 48_000]),
       format=st.sampled_from(["f32", "s16"]), seconds=st.floats(0.01, 1.2), seed=st.integers(0, 20))  # fmt: skip
def test_streamed_equals_offline(voice_run, server, cuts, rate, format, seconds, seed):
    data = as_bytes(speak(seconds, seed, rate), format)
    with server.stream(rate, format) as stream:
        at = 0
        for n in [*cuts, len(data)]:  # of bytes, so that samples are cut too
            stream.socket.send(data[at : at + n])
            at += n
        final = stream.end()
    wanted = voice_run.classifier.offline([(from_bytes(data, format), rate)])[0]
    np.testing.assert_allclose(final["probabilities"], wanted, atol=1e-5)
    steps = [p for m in stream.told if m["type"] == "frames" for p in m["probabilities"]]
    np.testing.assert_allclose(steps[-1], final["probabilities"], atol=1e-6)


def test_the_messages(voice_run, server):
    x = speak(2.0, 4)
    with server.stream(run="voice") as stream:
        assert stream.told == [{"type": "ready", "run": "voice", "labels": voice_run.classifier.labels, "rate": RATE,
                                "format": "f32", "utterances": False, "step": 0.1}]  # fmt: skip
        for chunk in np.array_split(x, 20):
            stream.socket.send(as_bytes(chunk, "f32"))
        final = stream.end()
    frames = [m for m in stream.told if m["type"] == "frames"]
    keys = {"type", "t0", "t1", "probabilities", "smoothed", "emotion", "label", "speech", "skipped"}
    assert {frozenset(m) for m in frames} == {frozenset(keys)}
    assert frames[0]["t0"] == 0 and frames[-1]["t1"] == pytest.approx(2.0, abs=0.01)
    assert sum(len(m["probabilities"]) for m in frames) == 20
    assert all(sum(m["smoothed"]) == pytest.approx(1, abs=1e-5) and m["skipped"] == 0 for m in frames)
    segments = [{**m} for m in stream.told if m["type"] == "segment"]
    assert segments and final["segments"] == segments
    assert set(final) == {"type", "seconds", "frames", "speech", "probabilities", "emotion", "label", "confidence",
                          "felt", "predicted", "segments"}  # fmt: skip
    felt = sum(s["end"] - s["start"] for s in segments)
    assert sum(final["felt"].values()) == pytest.approx(felt, abs=1e-3)


def test_each_utterance_by_itself_as_in_python(voice_run, server):
    x = np.concatenate([speak(1.2, 3), np.zeros(RATE, np.float32), speak(1.2, 8), np.zeros(RATE, np.float32)])
    listener = voice_run.stream(utterances=True)
    wanted = [m for m in [*listener.push(x), *listener.finish()] if m["type"] in ("utterance", "segment", "final")]
    with server.stream(utterances=1) as stream, server.stream() as plain:
        for chunk in np.array_split(x, 30):  # both kinds in one batch
            stream.socket.send(as_bytes(chunk, "f32"))
            plain.socket.send(as_bytes(chunk, "f32"))
        final, whole = stream.end(), plain.end()
    assert stream.told[0]["utterances"] and final["probabilities"] == pytest.approx(whole["probabilities"], abs=1e-6)
    told = [m for m in stream.told if m["type"] in ("utterance", "segment", "final")]
    assert [(m["type"], m["emotion"]) for m in told] == [(m["type"], m["emotion"]) for m in wanted]
    assert sum(m["type"] == "utterance" for m in told) == 2 and not any(m["type"] == "utterance" for m in plain.told)


def test_many_at_once_get_what_each_alone_gets(voice_run, server):
    sounds = [speak(1.0 + 0.05 * i, i) for i in range(24)]
    finals: dict[int, dict] = {}

    def client(i: int) -> None:
        rng = np.random.default_rng(i)
        with server.stream() as stream:
            x = sounds[i]
            for chunk in np.split(x, np.sort(rng.integers(0, len(x), 12))):
                stream.socket.send(as_bytes(chunk, "f32"))
                time.sleep(rng.uniform(0, 0.01))
            finals[i] = stream.end()

    threads = [threading.Thread(target=client, args=(i,)) for i in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    wanted = voice_run.classifier.offline([(x, RATE) for x in sounds])
    np.testing.assert_allclose([finals[i]["probabilities"] for i in range(24)], wanted, atol=1e-5)


def test_silence(voice_run, server):
    silence = np.zeros(RATE, np.float32)
    with server.stream() as stream:
        stream.socket.send(as_bytes(silence, "f32"))
        final = stream.end()
    np.testing.assert_allclose(final["probabilities"], voice_run.classifier.offline([(silence, RATE)])[0], atol=1e-5)
    assert {m["type"] for m in stream.told} == {"ready", "frames", "final"} and final["segments"] == []
    assert (final["emotion"], final["label"], final["confidence"], final["speech"]) == (None, None, None, False)


def test_reset_and_the_next_recording(voice_run, server):
    first, second, third = (speak(0.6, seed) for seed in (1, 2, 3))
    with server.stream() as stream:
        stream.socket.send(as_bytes(first, "f32") + b"\1")  # half a sample is forgotten too
        stream.socket.send('{"type": "reset"}')
        assert stream.until("reset") == {"type": "reset"}
        stream.socket.send(as_bytes(second, "f32"))
        finals = [stream.end()]
        stream.socket.send(as_bytes(third, "f32"))
        finals.append(stream.end())
        assert stream.end()["emotion"] is None  # nothing came after the last end
    wanted = voice_run.classifier.offline([(second, RATE), (third, RATE)])
    np.testing.assert_allclose([f["probabilities"] for f in finals], wanted, atol=1e-5)
    assert finals[1]["seconds"] == pytest.approx(0.6)


@pytest.mark.parametrize(
    ("query", "code", "why"),
    [
        ({"rate": 0}, 4400, "sampling rate 0 Hz"),
        ({"rate": -5}, 4400, "whole number of Hz"),
        ({"rate": "abc"}, 4400, "whole number of Hz"),
        ({"rate": "1e4"}, 4400, "whole number of Hz"),
        ({"rate": 10**8}, 4400, "expected 1000 to 1000000 Hz"),
        ({"format": "u8"}, 4400, "expected s16 or f32"),
        ({"run": "nothing"}, 4404, "no run 'nothing'"),
        ({"utterances": "perhaps"}, 4400, "expected 0 or 1"),
        ({"sample_rate": 48_000}, 4400, "unknown parameter 'sample_rate'; did you mean 'rate'?"),
        ({"sampleRate": 48_000}, 4400, "unknown parameter 'sampleRate'; did you mean 'rate'?"),
        ({"Format": "f32"}, 4400, "did you mean 'format'?"),
        ({"utterance": 1}, 4400, "did you mean 'utterances'? Known: format, rate, run, utterances"),
        ({"channels": 2}, 4400, "unknown parameter 'channels'; known: format, rate, run, utterances"),
        ({"run": "voice&run=voice"}, 4400, "parameter 'run' is given twice"),
        ({"": ""}, 4400, "unknown parameter ''"),
    ],
)
def test_an_invalid_address_is_refused(server, query, code, why):
    with server.stream(**query) as stream:
        assert stream.told[0]["type"] == "error" and why in stream.told[0]["detail"]
        assert stream.closed() == code


def sound_file(format: str) -> bytes:
    out = io.BytesIO()
    soundfile.write(out, speak(0.5), RATE, format=format)
    return out.getvalue()


FILES = {name: name for name in ("WAV", "FLAC", "OGG", "MP3", "AIFF")}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("format", ["s16", "f32"])
@pytest.mark.parametrize("size", [1 << 20, 1000, 3, 1])
def test_a_sound_file_is_no_samples(server, name, format, size):
    data = sound_file(name)
    with server.stream(format=format) as stream:
        with contextlib.suppress(Exception):  # it may be closed before all is sent
            for at in range(0, min(len(data), 2000 * size), size):
                stream.socket.send(data[at : at + size])
        error = stream.until("error")
        if name != "MP3" or format == "s16" or size >= 1000:  # its second frame comes late
            assert (
                f"this is a sound file ({name.replace('OGG', 'Ogg')})" in error["detail"]
                and "ffmpeg" in error["detail"]
            )
        assert stream.closed() == 4400 and not any(m["type"] == "final" for m in stream.told)


@pytest.mark.parametrize(
    "head", [b"\x1aE\xdf\xa3" + bytes(40), b"ID3\4\0\0\0\0\2\1" + bytes(40), b"\0\0\0\x18ftypM4A "]
)
def test_a_sound_file_after_a_recording_is_no_samples_either(server, head):
    with server.stream() as stream:
        stream.socket.send(as_bytes(speak(0.3), "f32"))
        assert stream.end()["type"] == "final"
        stream.socket.send(as_bytes(speak(0.3), "f32"))
        stream.socket.send('{"type": "reset"}')
        stream.socket.send(head)
        assert "this is a sound file" in stream.until("error")["detail"] and stream.closed() == 4400


def test_within_a_recording_any_bytes_are_samples(voice_run, server):
    x = np.round(speak(0.4) * 32767).astype("<i2").tobytes() + sound_file("WAV")
    with server.stream(format="s16") as stream:
        stream.socket.send(x)
        final = stream.end()
    wanted = voice_run.classifier.offline([(np.frombuffer(x, "<i2"), RATE)])[0]
    np.testing.assert_allclose(final["probabilities"], wanted, atol=1e-5)


@pytest.mark.parametrize(
    ("message", "title", "code", "why"),
    [
        (np.array([0, np.nan], "<f4").tobytes(), "BadData", 4400, "NaN or infinite"),
        (np.array([np.inf], "<f4").tobytes(), "BadData", 4400, "NaN or infinite"),
        (np.array([12_000], "<f4").tobytes(), "BadData", 4400, "16-bit integers"),
        (bytes((1 << 20) + 4), "TooLarge", 4413, "at most 1048576"),
        ("hello", "BadMessage", 4400, "expected {"),
        ("", "BadMessage", 4400, "expected {"),
        ("[" * 3000, "BadMessage", 4400, "expected {"),
        ('{"type": "fly"}', "BadMessage", 4400, "expected {"),
        ('{"type": ["end"]}', "BadMessage", 4400, "expected {"),
        ('["type"]', "BadMessage", 4400, "expected {"),
        ('{"type": "reset", "rate": 8000}', "BadMessage", 4400, "expected {"),
    ],
)
def test_a_message_that_cannot_be_meant(voice_run, server, message, title, code, why):
    with server.stream() as healthy, server.stream() as stream:
        x = speak(0.4)
        healthy.socket.send(as_bytes(x[:3000], "f32"))
        stream.socket.send(as_bytes(x, "f32"))
        stream.socket.send(message)
        error = stream.until("error")
        assert (error["title"], stream.closed()) == (title, code) and why in error["detail"]
        healthy.socket.send(as_bytes(x[3000:], "f32"))  # the others notice nothing
        np.testing.assert_allclose(
            healthy.end()["probabilities"], voice_run.classifier.offline([(x, RATE)])[0], atol=1e-5
        )


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.one_of(st.binary(max_size=3000), st.text(max_size=50)), max_size=6), st.sampled_from(["f32", "s16"]))
def test_whatever_comes_the_server_lives(server, messages, format):
    with server.stream(format=format) as stream:
        try:
            for message in messages:
                stream.socket.send(message)
            last = stream.end()
        except Exception as error:
            assert type(error).__name__ == "ConnectionClosedError", error
            last = stream.told[-1]
        sound = all(isinstance(message, bytes) for message in messages)
        if sound and format == "s16" and container(b"".join(messages)) is None:
            assert last["type"] == "final"  # any bytes are 16-bit sound
    with server.stream(format=format) as stream:
        stream.socket.send(b"\0" * 3200)
        assert stream.end()["type"] == "final"


def test_a_client_that_is_killed_leaves_its_place(serving):
    server = serving(streams=1)
    for _ in range(3):
        with place(server) as stream:
            stream.socket.send(as_bytes(speak(0.5), "f32"))
            with server.stream() as another:
                assert (another.told[0]["title"], another.closed()) == ("Busy", 4429)
            raw = stream.socket.socket
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            raw.close()  # a reset, without a word


def test_a_server_that_is_behind_serves_those_it_has(voice_run, serving):
    server = serving(behind=1e-9)  # any turn is too long
    x = speak(0.5)
    time.sleep(2.1)  # the turns of its start are forgotten
    with server.stream() as stream:
        stream.socket.send(as_bytes(x, "f32"))
        stream.until("frames")
        with server.stream() as another:
            assert another.told[0]["title"] == "Busy" and "behind" in another.told[0]["detail"]
            assert another.closed() == 4429
        np.testing.assert_allclose(
            stream.end()["probabilities"], voice_run.classifier.offline([(x, RATE)])[0], atol=1e-5
        )


def test_how_many_listen_is_among_the_metrics(server):
    import urllib.request

    with place(server):
        text = urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics").read().decode()
    assert re.search(r"^sensorium_streams_open [1-9]", text, re.M)
    assert re.search(r"^sensorium_bytes_under_way [0-9]", text, re.M)
    urllib.request.urlopen(f"http://127.0.0.1:{server.port}/readyz").read()  # and the run is found ready


def place(server):
    """The only place of a server, as soon as whoever had it is noticed to be gone."""
    for _ in range(100):
        stream = server.stream()
        if stream.told[0]["type"] == "ready":
            return stream
        stream.socket.close()
        time.sleep(0.05)
    raise AssertionError("the place was never given back")


def test_who_says_nothing_or_stays_too_long_is_let_go(serving):
    with serving(idle=0.4).stream() as stream:
        stream.socket.send(as_bytes(speak(0.3), "f32"))
        assert stream.until("error")["title"] == "Idle" and stream.closed() == 4408
    with serving(seconds=0.5).stream() as stream:
        assert stream.until("error")["title"] == "Over" and stream.closed() == 4410


def test_a_flood_is_held_back_not_dropped(voice_run, serving):
    x, start = speak(4.0), time.monotonic()
    with serving(speed=8, burst=0.5, ahead=0.5).stream() as stream:
        for chunk in np.array_split(x, 400):
            stream.socket.send(as_bytes(chunk, "f32"))
        final = stream.end()
    assert time.monotonic() - start > (4.0 - 0.5) / 8 * 0.9  # what the limit means, not how fast we are
    np.testing.assert_allclose(final["probabilities"], voice_run.classifier.offline([(x, RATE)])[0], atol=1e-5)


class Deaf:
    """An ASGI server's side of one socket, whose client takes answers only when told to."""

    def __init__(self, sound: list[bytes]) -> None:
        self.incoming, self.taking = asyncio.Queue(), asyncio.Event()
        self.sent: list[dict] = []
        for message in [{"type": "websocket.connect"}, *({"type": "websocket.receive", "bytes": s} for s in sound)]:
            self.incoming.put_nowait(message)
        self.taking.set()

    async def send(self, message: dict) -> None:
        await self.taking.wait()
        self.sent.append(message)
        if message["type"] == "websocket.send" and '"ready"' in message["text"]:
            self.taking.clear()

    async def serve(self, run, **limits) -> float:
        from starlette.websockets import WebSocket

        from sensorium.serve.engine.registry import Registry
        from sensorium.serve.routes.stream import LiveSockets
        from sensorium.serve.settings import LiveLimits, Settings

        registry = Registry([run.folder], Settings())
        await asyncio.to_thread(registry.refresh)
        scope = {
            "type": "websocket",
            "query_string": b"format=f32",
            "headers": [],
            "path": "/stream",
            "subprotocols": [],
        }
        live = LiveSockets(registry, LiveLimits(**limits))
        self.task = asyncio.create_task(live.connect(WebSocket(scope, self.incoming.get, self.send)))
        return time.monotonic()

    def told(self) -> list[dict]:
        return [json.loads(m["text"]) for m in self.sent if m["type"] == "websocket.send"]


def test_a_slow_reader_gets_the_latest_and_is_told_what_it_missed(voice_run):
    async def scene() -> list[dict]:
        sound = speak(3.0, 1)
        client = Deaf([])
        await client.serve(voice_run, backlog=3)
        while not client.sent or client.taking.is_set():
            await asyncio.sleep(0.01)
        for chunk in np.array_split(sound, 30):
            client.incoming.put_nowait({"type": "websocket.receive", "bytes": as_bytes(chunk, "f32")})
            await asyncio.sleep(0.03)
        client.taking.set()
        client.incoming.put_nowait({"type": "websocket.receive", "text": '{"type":"end"}'})
        while not any(m["type"] == "final" for m in client.told()):
            await asyncio.sleep(0.01)
        client.incoming.put_nowait({"type": "websocket.disconnect", "code": 1000})
        await asyncio.wait_for(client.task, 10)
        return client.told()

    told = asyncio.run(scene())
    frames = [m for m in told if m["type"] == "frames"]
    assert sum(m["skipped"] for m in frames) > 0
    assert sum(m["skipped"] + len(m["probabilities"]) for m in frames) == 30  # nothing is lost without a count
    wanted = voice_run.classifier.offline([(speak(3.0, 1), RATE)])[0]
    np.testing.assert_allclose(told[-1]["probabilities"], wanted, atol=1e-5)


def test_a_reader_that_takes_nothing_is_let_go(voice_run):
    async def scene() -> None:
        client = Deaf([as_bytes(chunk, "f32") for chunk in np.array_split(speak(2.0), 20)])
        await client.serve(voice_run, slow=0.3)
        await asyncio.wait_for(client.task, 20)  # ends although the client takes nothing more
        assert [m["type"] for m in client.told()] == ["ready"]

    asyncio.run(scene())


def test_a_new_version_of_the_run_serves_new_streams(voice_run, tmp_path):
    import shutil

    from live_server import Server

    from sensorium import io

    shutil.copytree(voice_run.folder, tmp_path / "voice")
    server = Server(tmp_path / "voice")
    try:
        with server.stream() as before:
            shutil.copytree(voice_run.folder, tmp_path / "next")
            (tmp_path / "next" / ".lock").unlink(missing_ok=True)
            io.exchange(tmp_path / "next", tmp_path / "voice")
            time.sleep(2.5)
            x = speak(0.5)
            with server.stream() as after:
                for stream in (before, after):
                    stream.socket.send(as_bytes(x, "f32"))
                    np.testing.assert_allclose(
                        stream.end()["probabilities"], voice_run.classifier.offline([(x, RATE)])[0], atol=1e-5
                    )
    finally:
        server.stop()

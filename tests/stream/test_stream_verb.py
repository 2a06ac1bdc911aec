"""sensorium stream: JSON lines in a pipe, a display on a terminal, and what it says when it cannot."""

import importlib.util
import io
import json
import os
import sys
import threading
import types

import numpy as np
import processes
import pytest
import soundfile
from live_server import RATE, speak
from typer.testing import CliRunner

from sensorium.cli import app
from sensorium.errors import BadData, BadRecipe, MissingExtra


@pytest.fixture
def file(tmp_path):
    soundfile.write(tmp_path / "voice.wav", speak(1.5, 2), RATE, subtype="PCM_16")
    return str(tmp_path / "voice.wav")


def invoke(*words):
    return CliRunner().invoke(app, ["stream", *map(str, words)])


def test_lines_end_with_the_offline_answer(voice_run, file):
    lines = [json.loads(line) for line in invoke(voice_run.folder, file, "--json").output.splitlines()]
    assert lines[-1]["type"] == "final" and {m["type"] for m in lines} >= {"frames", "event", "segment"}
    np.testing.assert_allclose(lines[-1]["probabilities"], voice_run.classifier.offline([file])[0], atol=1e-5)
    assert sum(len(m["probabilities"]) for m in lines if m["type"] == "frames") == 15


def test_at_the_pace_of_speech_it_is_the_same(voice_run, file):
    quick = invoke(voice_run.folder, file, "--json").output.splitlines()[-1]
    assert invoke(voice_run.folder, file, "--json", "--pace", "20").output.splitlines()[-1] == quick
    short = json.loads(invoke(voice_run.folder, file, "--json", "--seconds", "0.5").output.splitlines()[-1])
    assert short["seconds"] == 0.5


def test_the_display_moves(voice_run, file):
    from rich.console import Console

    from sensorium.cli.stream import Display

    shown, out = Display(voice_run.classifier.labels), io.StringIO()
    stream = voice_run.stream()
    shown.show(stream.push(speak(1.5, 2)))
    before = shown.title
    shown.show([stream.end()])
    Console(file=out, width=100).print(shown.table())
    assert before.strip().startswith("1.4 s")
    assert all(label in out.getvalue() for label in voice_run.classifier.labels)
    assert "in all: " in out.getvalue() and "█" in out.getvalue()
    told = invoke(voice_run.folder, file, "--table")
    assert told.exit_code == 0 and "in all: " in told.output
    shown.show([voice_run.stream().end()])
    assert shown.title.strip() == "0.0 s in all: no speech was heard"


def test_a_terminal_without_unicode_gets_bars_too(voice_run, file):
    found = processes.run("stream", voice_run.folder, file, "--table", env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert found.returncode == 0 and b"####" in found.stdout and b"in all: " in found.stdout and not found.stderr


def test_a_silent_recording_has_no_label(voice_run, tmp_path):
    soundfile.write(tmp_path / "silent.wav", np.zeros(RATE), RATE)
    final = json.loads(invoke(voice_run.folder, tmp_path / "silent.wav", "--json").output.splitlines()[-1])
    assert (final["label"], final["emotion"], final["speech"]) == (None, None, False)
    assert "1.0 s in all: no speech was heard" in invoke(voice_run.folder, tmp_path / "silent.wav", "--table").output


def test_what_it_says_when_it_cannot(voice_run, file, tmp_path):
    assert isinstance(invoke(tmp_path / "nothing", file).exception, BadData)
    assert "no sound file" in str(invoke(voice_run.folder, tmp_path / "no.wav").exception)


@pytest.mark.skipif(importlib.util.find_spec("sounddevice") is not None, reason="sounddevice is installed")
def test_the_microphone_needs_its_extra(voice_run):
    error = invoke(voice_run.folder, "microphone").exception
    assert isinstance(error, MissingExtra) and "pip install 'sensorium[microphone]'" in str(error)


@pytest.mark.skipif(importlib.util.find_spec("sounddevice") is None, reason="pip install sounddevice")
def test_a_machine_without_a_microphone_says_so(voice_run):
    assert isinstance(invoke(voice_run.folder, "microphone", "--device", "no such one").exception, (BadData, BadRecipe))


class Microphones(types.ModuleType):
    """PortAudio's interface over a recording instead of a sound card: blocks come from a thread, until unplugged."""

    class PortAudioError(Exception):
        pass

    def __init__(self, samples: np.ndarray, rate: int, busy: bool = False) -> None:
        super().__init__("sounddevice")
        self.samples, self.rate, self.busy, self.closed = samples, rate, busy, False

    def query_devices(self, device, kind):
        if device == "no such one":
            raise ValueError("No input device matching 'no such one'")
        return {"default_samplerate": float(self.rate)}

    def InputStream(self, rate, size, device, channels, dtype, callback, finished_callback):
        def play():
            for at in range(0, len(self.samples), size):
                callback(self.samples[at : at + size, None], size, None, None)
            finished_callback()

        def start():
            if self.busy:
                raise self.PortAudioError("Error starting stream: Device unavailable [PaErrorCode -9985]")
            threading.Thread(target=play).start()

        def close():
            self.closed = True

        return types.SimpleNamespace(start=start, close=close)


def test_what_the_microphone_hears_is_answered_as_a_file_is(voice_run, monkeypatch):
    microphone = Microphones(speak(1.3, 5, 44_100), 44_100)
    monkeypatch.setitem(sys.modules, "sounddevice", microphone)
    told = [json.loads(line) for line in invoke(voice_run.folder, "microphone", "--json").output.splitlines()]
    wanted = voice_run.classifier.offline([(microphone.samples, 44_100)])[0]
    np.testing.assert_allclose(told[-1]["probabilities"], wanted, atol=1e-5)
    assert told[-1]["seconds"] == pytest.approx(1.3) and microphone.closed


def test_a_microphone_that_cannot_be_opened_says_so(voice_run, monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", Microphones(speak(0.2), RATE, busy=True))
    error = invoke(voice_run.folder, "microphone").exception
    assert isinstance(error, BadData) and "Device unavailable" in str(error) and "python -m sounddevice" in str(error)
    error = invoke(voice_run.folder, "microphone", "--device", "no such one").exception
    assert isinstance(error, BadData) and "no microphone 'no such one'" in str(error)

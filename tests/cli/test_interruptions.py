"""Pipes whose reader goes away, and Ctrl-C: the exit status and the line that is left."""

import signal
import subprocess
import time

import numpy as np
import pytest
import soundfile
from live_server import RATE, speak
from processes import Process


@pytest.fixture
def file(tmp_path):
    soundfile.write(tmp_path / "voice.wav", np.tile(speak(5.0, 2), 12), RATE, subtype="PCM_16")
    return str(tmp_path / "voice.wav")


def started(*words, **more) -> Process:
    return Process(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more)


@pytest.mark.parametrize("words", [("ls", "--table"), ("ls", "--json"), ("stream",), ("stream", "--table")])
def test_a_reader_that_goes_away_is_no_error(voice_run, file, words):
    words = ("stream", voice_run.folder, file, *words[1:]) if words[0] == "stream" else words
    process = started(*words)
    if words[-1] != "--table":
        process.stdout.readline()
    process.stdout.close()  # as head -1 does
    assert process.wait(60) == 0 and process.stderr.read() == ""


def test_the_first_interruption_of_a_stream_ends_the_recording(voice_run, file):
    process = started("stream", voice_run.folder, file, "--pace", "1", "--json")
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert '"type": "final"' in out.splitlines()[-1] and (process.returncode, err) == (0, "")


def test_an_interruption_leaves_its_line(tmp_path):
    process = started("run", "glyphs", "train.epochs=100000", "--out", tmp_path / "run", cwd=tmp_path)
    while not (tmp_path / ".run.building").exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    err = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert err.endswith("\nstopped; the same command goes on from the last checkpoint\n") and "Traceback" not in err

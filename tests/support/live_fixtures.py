"""A run fitted on made-up voices in a few seconds, and a real server that hears with it."""

import numpy as np
import pytest
import scipy.signal
from live_server import RATE, Server


@pytest.fixture(scope="session")
def voice_run(tmp_path_factory):
    """The recipe ravdess-best on six made-up actors."""
    import soundfile

    import sensorium

    root = tmp_path_factory.mktemp("voices")
    for actor in range(1, 7):
        (root / f"Actor_{actor:02d}").mkdir()
        for emotion in range(1, 9):
            for repetition in (1, 2):
                t = np.arange(int(0.6 * RATE)) / RATE
                pitch = 90 * 1.2**emotion * (1 + 0.01 * actor)
                x = 0.02 * 1.5 ** (emotion % 4) * scipy.signal.sawtooth(2 * np.pi * pitch * t) * (t > 0.1)
                x += 1e-3 * np.random.default_rng(100 * actor + 10 * emotion + repetition).normal(size=len(t))
                name = f"03-01-{emotion:02d}-01-01-{repetition:02d}-{actor:02d}.wav"
                soundfile.write(root / f"Actor_{actor:02d}" / name, x.astype(np.float32), RATE)
    keys = [f"data.root={root}", "data.test_actors=[5]", "data.validation_actors=[6]", "data.copies=0",
            "train.batch=32", "train.epochs=3", "evaluate.leaks=off", "evaluate.resamples=20", "evaluate.plots=false"]  # fmt: skip
    return sensorium.run("ravdess-best", keys, out=root / "runs" / "voice", quiet=True)


@pytest.fixture(scope="session")
def server(voice_run):
    """A server with the usual limits."""
    running = Server(voice_run.folder)
    yield running
    running.stop()


@pytest.fixture
def serving(voice_run):
    """Servers with limits of their own, stopped after the test."""
    running = []

    def start(**limits) -> Server:
        running.append(Server(voice_run.folder, **limits))
        return running[-1]

    yield start
    for one in running:
        one.stop()

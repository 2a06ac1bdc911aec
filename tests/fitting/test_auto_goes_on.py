"""``objective=auto`` as a command that is stopped: members that were done are read by the same command, not fitted anew."""

import signal
import time
from pathlib import Path

import numpy as np
import pytest
from processes import Process, run

KEYS = ["objective.closed=['ridge']", "objective.most=4", "objective.seconds=0", "objective.corrected=false",
        "objective.trained=[{name = 'infonce', options = {epochs = 40}}]", "left.head={name = 'mlp', hidden = 64, dim = 16}",
        "right.head={name = 'mlp', hidden = 64, dim = 16}", "evaluate.resamples=20", "evaluate.plots=false",
        "evaluate.baselines=[]", "evaluate.leaks=off"]  # fmt: skip


def started(folder: Path) -> tuple[list[str], Process, Path]:
    """A fit of which one trained member is done and the next has begun."""
    random = np.random.default_rng(0)
    z = random.standard_normal((1200, 6))
    np.savez(folder / "two.npz", **{name: (z @ random.standard_normal((6, d))).astype(np.float32) for name, d in
                                    (("image", 20), ("text", 16))})  # fmt: skip
    words = ["run", "arrays", f"data.file={folder / 'two.npz'}", *KEYS, "--out", str(folder / "made")]
    said = folder / "said.txt"
    with said.open("wb") as file:
        process = Process(words, stdout=file.fileno(), stderr=file.fileno())
    deadline = time.monotonic() + 150
    while said.read_text().count("infonce (own heads)") < 1 or "infonce-1-2" not in said.read_text():
        assert process.poll() is None and time.monotonic() < deadline, said.read_text()
        time.sleep(0.02)
    return words, process, said


@pytest.mark.slow
def test_a_fit_that_was_killed_reads_the_members_that_were_done(tmp_path) -> None:
    words, process, _ = started(tmp_path)
    process.send_signal(signal.SIGKILL)
    process.wait(30)
    again = run(*words, text=True)
    assert again.returncode == 0, again.stderr
    assert "infonce-1-1 is done already" in again.stderr and "infonce-1-4 is done already" not in again.stderr
    assert (tmp_path / "made" / "metrics.json").is_file() and not (tmp_path / "made" / "checkpoint").exists()


@pytest.mark.slow
def test_ctrl_c_ends_it_with_a_complete_run(tmp_path) -> None:
    _, process, said = started(tmp_path)
    process.send_signal(signal.SIGINT)
    assert process.wait(120) == 0, said.read_text()
    assert (tmp_path / "made" / "metrics.json").is_file()
    assert "infonce-1-4" not in said.read_text()
    assert run("search", tmp_path / "made", "--id", "3", "--from", "left", "-k", "1").returncode == 0

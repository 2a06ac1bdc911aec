"""Bars on a terminal, lines in a log."""

import re
import sys

import pytest

from sensorium import progress


def test_a_bar_is_drawn_on_a_terminal(capfd: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    with progress.bar("embedding text", 10) as advance, progress.bar("embedding image", 5) as other:
        advance(10)
        other(5)
    assert "embedding text" in capfd.readouterr().err


def test_short_work_writes_nothing_into_a_log(capfd: pytest.CaptureFixture) -> None:
    with progress.bar("embedding", 10) as advance:
        advance(10)
    assert capfd.readouterr() == ("", "")


def test_long_work_writes_a_line_now_and_then(capfd: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    with progress.bar("embedding", 4000) as advance:
        for _ in range(20):  # 100 items every 4 seconds: a line after 32 and after 64
            clock[0] += 4
            advance(100)
    lines = capfd.readouterr().err.splitlines()
    assert lines == ["embedding  800 of 4,000, 2:08 min left", "embedding  1,600 of 4,000, 1:36 min left"]
    log = progress.Log("fit", 100, done=40)  # an interrupted fit, gone on with
    clock[0] += 40
    log.reach(50, lambda: "loss 1.2000")
    assert capfd.readouterr().err == "      fit  50 of 100, loss 1.2000, 3:20 min left\n"
    log.reach(51, lambda: pytest.fail("asked for a note though no line is due"))
    clock[0] += 7 * 3600
    log.reach(51)
    assert re.fullmatch(r"fit  51 of 100, \d\d:\d\d h left", capfd.readouterr().err.strip())


def test_a_log_that_does_not_move_divides_by_nothing(
    capfd: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    log = progress.Log("fit", 10)
    clock[0] = 31.0
    log.reach(0)
    assert capfd.readouterr().err == "      fit  0 of 10, not moving yet\n"
    assert not sys.stderr.isatty()

"""Results of a script on their way into a file: resumed, never mixed, whole in the end."""

import json
import os
import signal

import processes
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensorium.errors import BadData, Busy, DiskFull
from sensorium.search.line_file import LineFile, json_line

TASK = {"script": "s", "run": "r", "options": "o"}


def records(start, stop):
    return [{"line": i, "text": "a\u2028b", "hits": []} for i in range(start, stop)]


def test_records_are_appended_and_whole_in_the_end(tmp_path):
    out = tmp_path / "a" / "p.jsonl"
    with LineFile(out, TASK) as file:
        file.append(records(0, 3))
        file.append(records(3, 5))
        assert file.done == 5 and file.records(2) == records(3, 5) and not out.exists()
        file.finish()
    lines = out.read_text("utf-8").splitlines()  # which would cut at U+2028
    assert [json.loads(line) for line in lines] == records(0, 5)
    assert [path.name for path in out.parent.iterdir()] == ["p.jsonl"]


@given(st.integers(0, 3), st.integers(1, 60))
def test_what_a_kill_left_is_taken_over_up_to_its_last_whole_line(whole, cut):
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "p.jsonl"
        with LineFile(out, TASK) as file:
            file.append(records(0, whole))
            half = json_line(records(whole, whole + 1)[0])[:cut]
        with open(file.path, "a") as rest:
            rest.write(half)
        with LineFile(out, TASK) as file:
            assert file.done == whole and file.records() == records(0, whole)
            file.append(records(whole, 5))
            file.finish()
        assert [json.loads(line) for line in out.read_text().splitlines()] == records(0, 5)


def test_a_kill_within_the_first_line_begins_anew(tmp_path):
    (tmp_path / "p.jsonl.part").write_text('{"form')
    with LineFile(tmp_path / "p.jsonl", TASK) as file:
        assert file.done == 0
        file.finish()
    assert (tmp_path / "p.jsonl").read_text() == ""


def test_another_task_is_refused_and_nothing_lost(tmp_path):
    out = tmp_path / "p.jsonl"
    with LineFile(out, TASK) as file:
        file.append(records(0, 2))
    before = file.path.read_bytes()
    with pytest.raises(BadData, match="was begun with another script, run or options; delete it, or choose another"):
        LineFile(out, {**TASK, "script": "t"})
    assert file.path.read_bytes() == before


def test_two_processes_do_not_write_one_file(tmp_path):
    with LineFile(tmp_path / "p.jsonl", TASK), pytest.raises(Busy, match="is being written by another process"):
        LineFile(tmp_path / "p.jsonl", TASK)


def test_a_full_disk_keeps_what_was_there(tmp_path, monkeypatch):
    out = tmp_path / "p.jsonl"
    out.write_text("old\n")
    with LineFile(out, TASK) as file:
        file.append(records(0, 2))

        def full(handle):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(DiskFull, match="no room to write"):
            file.append(records(2, 9))
        monkeypatch.undo()
        assert file.done == 2 and file.records() == records(0, 2) and out.read_text() == "old\n"


def test_a_killed_writer_frees_the_file(tmp_path):
    code = (
        "import sys, os, signal; from pathlib import Path; from sensorium.search.line_file import LineFile\n"
        f"file = LineFile(Path({str(tmp_path / 'p.jsonl')!r}), {TASK!r}); file.append([{{'line': 0}}])\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert processes.run(code=code).returncode == -signal.SIGKILL
    with LineFile(tmp_path / "p.jsonl", TASK) as file:
        assert file.done == 1

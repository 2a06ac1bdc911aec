"""What reaches a terminal or a pipe: valid JSON, no control characters, any encoding, quiet ends."""

import json
import math
import os
import signal
import subprocess
import time

import numpy as np
import processes
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sensorium as package
from sensorium.cli.output import json_line, printable

NASTY = "\x1b]0;owned\x07\x1b[31mred\x9b2J\u202egnp"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("terminal")
    x = np.random.default_rng(0).standard_normal((40, 8)).astype("f4")
    ids = np.array([f"im{i}{NASTY if i == 3 else ''}" for i in range(40)])
    year = np.where(np.arange(40) % 2, np.nan, 2000.0)
    np.savez(folder / "a.npz", image=x, text=x, ids=ids, year=year, note=np.full(40, f"→ {NASTY}"))
    keys = [f"data.file={folder / 'a.npz'}", "data.left=image", "data.right=text", "objective=ridge",
            "evaluate.resamples=20", "evaluate.plots=false"]  # fmt: skip
    return package.run("arrays", keys, out=folder / "run", quiet=True).folder


def call(*words, **options):
    return processes.run(*words, timeout=100, **options)


def test_a_gap_in_a_number_column_is_null(run):
    done = call("search", run, "--id", "im0", "--from", "left", "-k", "40")
    hits = [json.loads(line, parse_constant=pytest.fail) for line in done.stdout.splitlines()]
    assert len(hits) == 40 and {hit["year"] for hit in hits} == {None, 2000.0}


@pytest.mark.parametrize("form", ["--json", "--table"])
@pytest.mark.parametrize("words", [("search", "--id", "im0", "--from", "left", "-k", "40"), ("show",)])
def test_control_characters_of_ids_and_columns_are_not_printed(run, words, form):
    verb, *rest = words
    done = call(verb, run, *rest, form)
    assert done.returncode == 0, done.stderr
    text = done.stdout.decode()
    assert not any((ord(c) < 32 and c not in "\n\t") or 0x7F <= ord(c) < 0xA0 or c == "\u202e" for c in text)
    if form == "--json" and verb == "search":
        found = {hit["id"] for hit in map(json.loads, text.splitlines())}
        assert f"im3{NASTY}" in found, "programs get the id itself"


def test_an_error_that_quotes_control_characters(run):
    done = call("search", run, "--id", NASTY)
    assert done.returncode == 2 and b"\x1b" not in done.stderr and b"\\x1b" in done.stderr


@pytest.mark.parametrize("words", [("search", "--id", "im0", "--from", "left"), ("show",), ("ls",), ("--help",)])
@pytest.mark.parametrize("form", ["--json", "--table"])
def test_ascii_terminals(run, words, form):
    if words == ("--help",):
        words, form = (), "--help"
    where = [run] if words and words[0] in ("search", "show") else []
    done = call(
        *words[:1], *where, *words[1:], form, env={**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    )
    assert done.returncode == 0 and b"Traceback" not in done.stderr, done.stderr.decode()
    assert done.stdout.decode("ascii")
    if form == "--json":
        assert all(json.loads(line) for line in done.stdout.splitlines())


@pytest.mark.parametrize("words", [
    ("search", "RUN", "--id", "im0", "--from", "left", "-k", "40"), ("search", "RUN", "--id", "im0", "--from", "left", "--table"),
    ("show", "RUN"), ("show", "RUN", "--table"), ("show", "glyphs"), ("ls", "--table"), ("doctor", "--json"), ("--help",),
    ("evaluate", "RUN", "RUN"),
])  # fmt: skip
def test_a_reader_that_leaves_ends_every_verb_quietly(run, words):
    reader, writer = os.pipe()
    os.close(reader)  # as after head -0
    done = processes.run(*(run if w == "RUN" else w for w in words), stdout=writer)
    os.close(writer)
    assert done.returncode in (0, 141) and done.stderr == b"", (done.returncode, done.stderr)


def test_ctrl_c_leaves_a_line(tmp_path, tiny_vectors):
    slow = [
        f"data.file={tiny_vectors}",
        "data.left=image",
        "data.right=text",
        "objective=infonce",
        "train.epochs=100000",
        "--out",
        tmp_path / "run",
    ]
    going = processes.Process(["run", "arrays", *slow, "--quiet"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        history = tmp_path / ".run.building" / "history.jsonl"
        for _ in range(600):
            if history.is_file() and history.stat().st_size > 300:
                break
            time.sleep(0.1)
        going.send_signal(signal.SIGINT)
        _, said = going.communicate(timeout=60)
    finally:
        going.kill()
    assert going.returncode == 130 and b"Traceback" not in said
    assert said.decode().strip() == "stopped; the same command goes on from the last checkpoint"
    listed = call("ls", "runs", cwd=tmp_path)
    assert listed.returncode == 0


def test_ctrl_c_of_a_verb_that_keeps_nothing():
    code = "import sys; sys.argv = ['sensorium', 'ls']\nfrom sensorium import cli\nfrom sensorium.cli import doctor\n" \
           "def stop(kind): raise KeyboardInterrupt\ndoctor.listing = stop\ncli.main()"  # fmt: skip
    done = processes.run(code=code, text=True, timeout=60)
    assert (done.returncode, done.stderr.strip()) == (130, "stopped")


VALUES = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
                      lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3))  # fmt: skip


@given(st.dictionaries(st.text(st.characters()), VALUES, max_size=4))
def test_any_record_is_one_line_of_valid_json(record):
    line = json_line(record)
    line.encode("utf-8")
    assert not any(ord(c) < 32 or 0x7F <= ord(c) < 0xA0 for c in line) and len(line.splitlines()) == 1

    def expected(value):
        if isinstance(value, float):
            return value if math.isfinite(value) else None
        if isinstance(value, dict):
            return {key: expected(v) for key, v in value.items()}
        return [expected(v) for v in value] if isinstance(value, list) else value

    assert json.loads(line, parse_constant=pytest.fail) == expected(record)


@given(st.text(st.characters()))
def test_printable_text_holds_no_control_character(text):
    shown = printable(text)
    assert not any((ord(c) < 32 and c not in "\n\t") or 0x7F <= ord(c) < 0xA0 for c in shown)
    assert shown == text or any(ord(c) < 32 or 0x7F <= ord(c) < 0xA0 or ord(c) > 0x2000 for c in text)

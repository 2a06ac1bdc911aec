"""``sensorium search`` for scripts and prompts: files that resume, formats, notes, and what is refused."""

import json
import os
import signal
import subprocess
import time

import numpy as np
import processes
import pytest
from typer.testing import CliRunner

from sensorium import cli
from sensorium.errors import SensoriumError
from sensorium.systems.emorag.prompts import prompts

ANGRY, SAD = "Get out of my house this instant", "I miss her more than I can say"

pytestmark = pytest.mark.xdist_group("voices")


@pytest.fixture(scope="module")
def run(voices):
    return voices


def search(run, *words):
    """What ``sensorium search`` prints; raises what it raises."""
    done = CliRunner().invoke(cli.app, ["search", str(run.folder), *map(str, words)])
    if isinstance(done.exception, SensoriumError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done


def records(text):
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "script.txt"
    path.write_text(f"{ANGRY}\n\n{SAD}\n", "utf-8")
    return path


def test_a_script_for_an_engine_into_a_file(run, script, tmp_path):
    out = tmp_path / "prompts.jsonl"
    done = search(run, "--lines", script, "--for", "gpt-sovits", "-k", 2, "--out", out, "--json")
    assert records(done.stdout) == [{"out": str(out), "lines": 3, "found": 2, "nothing": 0, "empty": 1}]
    expected = prompts(run, script, "gpt-sovits", k=2)
    assert records(out.read_text("utf-8")) == json.loads(json.dumps(list(expected)))
    assert "line 2: the line is empty" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["prompts.jsonl", "script.txt"]


def test_one_line_prints_hits_as_any_search_and_says_why_there_are_few(run):
    found = records(search(run, "--text", ANGRY, "--for", "any", "-k", 3, "--json").stdout)
    assert [hit["rank"] for hit in found] == [1, 2, 3] and found[0]["gates"]["duration"]["pass"]
    done = search(run, "--text", ANGRY, "--for", "any", "--gate", "duration=50..60", "--json")
    assert done.stdout == "" and "0 of 10 prompts: 0 of 48 clips pass; duration removes 48" in done.stderr
    table = search(run, "--text", ANGRY, "--for", "any", "-k", 1, "--table").stdout
    assert "rank" in table and "gates" not in table


def test_lines_of_any_run_without_prompts(run, script):
    told = records(search(run, "--lines", script, "-k", 2, "--json").stdout)
    for record in told:
        alone = run.search(text=record["text"], k=2) if record["text"] else []
        assert [hit["id"] for hit in record["hits"]] == [hit["id"] for hit in alone]
    assert "gates" not in told[0]["hits"][0]
    assert SAD[:12] in search(run, "--lines", script, "-k", 2, "--table").stdout


def test_several_vectors_are_several_queries(run, tmp_path):
    x = run.encoder("left").encode([ANGRY, SAD])
    np.save(tmp_path / "two.npy", x)
    np.save(tmp_path / "one.npy", x[:1])
    np.savez(tmp_path / "two.npz", text_emb=x, filename=np.array(["a", "b"]))
    expected = [[hit["id"] for hit in run.search(text=text, k=3)] for text in (ANGRY, SAD)]
    for name in ("two.npy", "two.npz"):
        told = records(search(run, "--vector", tmp_path / name, "-k", 3, "--json").stdout)
        assert [[hit["id"] for hit in record["hits"]] for record in told] == expected
    assert [record["query"] for record in told] == ["a", "b"]
    one = records(search(run, "--vector", tmp_path / "one.npy", "-k", 3, "--json").stdout)
    assert [hit["id"] for hit in one] == expected[0]
    told = json.loads(search(run, "--vector", tmp_path / "two.npz", "-k", 3, "--as", "emorag").stdout)
    assert [one["query"] for one in told] == ["a", "b"] and [len(one["hits"]) for one in told] == [3, 3]


@pytest.mark.parametrize("format", ["gpt-sovits", "f5", "indextts", "indextts-batch", "gpt-sovits-api", "emorag"])
def test_formats_to_a_file_and_to_the_terminal(run, script, tmp_path, format):
    printed = search(run, "--lines", script, "--for", "any", "--as", format).stdout
    out = tmp_path / "made"
    search(run, "--lines", script, "--for", "any", "--as", format, "--out", out)
    assert out.read_text("utf-8") == printed and printed
    assert sorted(path.name for path in tmp_path.iterdir()) == ["made", "script.txt"]


def test_copies_at_the_usual_level(run, script, tmp_path):
    search(run, "--lines", script, "--for", "f5", "--as", "f5", "--out", tmp_path / "v.toml", "--copy-to", tmp_path / "wav",
           "--level")  # fmt: skip
    assert str(tmp_path / "wav") in (tmp_path / "v.toml").read_text() and list((tmp_path / "wav").glob("*.wav"))
    search(run, "--lines", script, "--as", "cosyvoice", "--out", tmp_path / "cosy")
    assert (tmp_path / "cosy" / "tts_text.json").is_file() and list((tmp_path / "cosy").glob("*.wav"))


def test_speakers_ranges_and_one_prompt_a_speaker(run, script):
    told = records(search(run, "--lines", script, "--for", "any", "--keep-speaker", "--json").stdout)
    assert len({record["speaker"] for record in told if record["hits"]}) == 1
    done = search(
        run, "--text", SAD, "--for", "any", "--speaker-of", "dan/sad_0.wav", "--where", "duration=3..4.2", "--json"
    )
    assert all(hit["speaker"] == "dan" and 3 <= hit["duration"] <= 4.2 for hit in records(done.stdout))
    done = search(run, "--text", SAD, "--for", "any", "--collapse", "speaker", "-k", 4, "--json")
    assert len({hit["speaker"] for hit in records(done.stdout)}) == 4


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--for", "any"], "scripts and prompts take one of --lines, --text or --vector; got none"),
        (["--for", "any", "--text", "x", "--id", "y"], "got --text, --id"),
        (["--for", "f6", "--text", "x"], "no engine 'f6'"),
        (["--as", "f6", "--text", "x"], "no format 'f6'"),
        (["--for", "any", "--text", "x", "--facets", "speaker"], "--facets is not for scripts and prompts"),
        (["--for", "any", "--text", "x", "--fallback", "all"], "--fallback is not for scripts and prompts"),
        (["--as", "cosyvoice", "--text", "x"], "--as cosyvoice writes a folder; give --out FOLDER"),
        (["--copy-to", "a", "--text", "x"], "--copy-to copies the clips that a format names; say which with --as"),
        (["--level", "--as", "f5", "--text", "x"], "--level changes the audio, so it has to be copied; give --copy-to"),
        (["--lines", "none.txt"], "no such file: none.txt"),
        (["--text", " ", "--for", "any"], "lines, all empty; expected text to search for"),
    ],
)
def test_what_is_refused(run, words, message):
    with pytest.raises(SensoriumError, match=message):
        search(run, *words)


def test_a_folder_where_a_file_is_expected(run, script, tmp_path):
    with pytest.raises(SensoriumError, match=r"is a folder; expected a file, such as --out prompts.jsonl"):
        search(run, "--lines", script, "--out", tmp_path)


def test_an_interrupted_script_goes_on_with_the_same_result(run, tmp_path, monkeypatch):
    """Batches of two lines; the search of the third batch is interrupted."""
    from sensorium.search import lines as many

    monkeypatch.setattr(many, "BATCH", 2)
    script, out = tmp_path / "s.csv", tmp_path / "p.jsonl"
    script.write_text("text\n" + "\n".join(f"{line} {i}" for i, line in enumerate([ANGRY, SAD] * 4)))
    command = ["--lines", script, "--for", "any", "--vary", 2, "--keep-speaker", "--json"]
    search(run, *command, "--out", tmp_path / "whole.jsonl")
    real, calls = many.Finder.find, []

    def find(self, *arguments):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(self, *arguments)

    monkeypatch.setattr(many.Finder, "find", find)
    with pytest.raises(BaseException):  # noqa: B017  Ctrl-C, as the entry point handles it
        CliRunner().invoke(
            cli.app, ["search", str(run.folder), *map(str, command), "--out", str(out)], catch_exceptions=False
        )
    assert not out.exists() and len((tmp_path / "p.jsonl.part").read_text().splitlines()) == 5
    with pytest.raises(SensoriumError, match="was begun with another script, run or options"):
        search(run, *command, "-k", 2, "--out", out)
    done = search(run, *command, "--out", out)
    assert "4 of 8 are in" in done.stderr and len(calls) == 5
    assert out.read_text() == (tmp_path / "whole.jsonl").read_text() and not (tmp_path / "p.jsonl.part").exists()


@pytest.mark.slow
def test_a_killed_search_goes_on(run, tmp_path):
    script, out = tmp_path / "s.txt", tmp_path / "p.jsonl"
    script.write_text("".join(f"{ANGRY} {i}\n" for i in range(1_000)))
    command = ["search", run.folder, "--lines", script, "--for", "any", "--out", out]
    child = processes.Process(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    part = tmp_path / "p.jsonl.part"
    while child.poll() is None and not (part.is_file() and part.stat().st_size > 1 << 12):
        time.sleep(0.02)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert part.is_file() and not out.exists()
    done = processes.run(*command, text=True, check=True)
    assert "of 1,000 are in" in done.stderr
    assert [json.loads(line)["line"] for line in out.read_text().splitlines()] == list(range(1, 1_001))

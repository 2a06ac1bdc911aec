"""Tables at 80 columns and at others: nothing is cut, numbers stay whole, what is left out is named."""

import re
import shlex

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from typer.testing import CliRunner

import sensorium
from sensorium.cli import app, doctor, tables
from sensorium.cli.output import print_table
from sensorium.evaluate import aggregate
from sensorium.search.folder import RunFolder

WIDTHS = (80, 200)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two runs of the same 60 pairs, with long names and more columns than 80 characters hold."""
    folder = tmp_path_factory.mktemp("tables")
    random = np.random.default_rng(0)
    x = random.standard_normal((60, 8)).astype("f4")
    y = (x @ random.standard_normal((8, 8)) + 0.5 * random.standard_normal((60, 8))).astype("f4")
    names = np.array([f"picture {i}, whose name is longer than most and goes on" for i in range(60)])
    np.savez(folder / "a.npz", image=x, text=y, ids=np.array([f"im{i}" for i in range(60)]), names=names,
             year=np.arange(60), where=np.full(60, "https://example.org/a/rather/long/path/to/it.html"),
             maker=np.full(60, "somebody of whom little is known"), shop=np.full(60, "a shop around the corner"))  # fmt: skip
    keys = [f"data.file={folder / 'a.npz'}", "data.left=image", "data.right=text", "evaluate.resamples=20",
            "evaluate.plots=false"]  # fmt: skip
    made = [sensorium.run("arrays", [*keys, f"objective={name}"], out=folder / "runs" / name, quiet=True)
            for name in ("ridge", "cca")]  # fmt: skip
    return [one.folder for one in made]


def typed(*words, width=80, **options):
    """Exit status 0 and the lines that a terminal of this width shows."""
    told = CliRunner().invoke(app, [*map(str, words)], env={"COLUMNS": str(width)}, **options)
    assert told.exit_code == 0, told.output
    return told.stdout.splitlines()


def verbs(one, other):
    return {
        "show": ("show", one), "compare": ("evaluate", one, other), "compare all": ("evaluate", one, other, "--all"),
        "search": ("search", one, "--id", "im1", "--from", "left"), "ls": ("ls",), "ls heads": ("ls", "heads"),
        "ls encoders": ("ls", "encoders"), "show all": ("show", one, "--all"),
    }  # fmt: skip


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("verb", verbs("", ""))
def test_no_table_is_wider_than_the_terminal(runs, verb, width):
    lines = typed(*verbs(*runs)[verb], "--table", width=width)
    assert max(map(cell_len, lines)) <= width
    assert not any("…" in line for line in lines), "nothing is cut"


def test_the_usual_measures_come_first_and_the_others_on_request(runs):
    def shown(*more):
        text = "\n".join(typed("show", runs[0], "--table", *more))
        return re.findall(r"^ ([\w@]+) +[\d.]+ ", text.partition("\n cca ")[0], re.M)

    assert shown()[:3] == ["hit@1", "hit@10", "MRR"] == shown()[3:6]
    assert {"recall@5", "median_rank", "mAP@10"} <= set(shown("--all"))
    assert any(line.startswith("12 more numbers: --all") for line in typed("show", runs[0], "--table"))
    assert not any("--all" in line for line in typed("show", runs[0], "--table", "--all"))


def test_a_run_without_the_usual_measures_shows_what_it_has():
    rows = [{"direction": "a", "measure": name} for name in ("cosine", "recall@3")]
    assert (
        tables.usual(rows) == rows
        and tables.usual([*rows, {"direction": "a", "measure": "MRR"}])[0]["measure"] == "MRR"
    )


def test_what_has_no_room_is_named(runs):
    narrow = typed("search", runs[0], "--id", "im1", "--from", "left", "--table")
    named = "".join(narrow).partition("not shown at this width: ")[2].partition(";")[0]
    assert named and all(name in "\n".join(typed("search", runs[0], "--id", "im1", "--from", "left", "--table", width=400))
                         for name in named.split(", "))  # fmt: skip


CELL = (
    st.none()
    | st.integers(-(10**15), 10**15)  # longer ones are folded as long texts are
    | st.floats(-1e6, 1e6)
    | st.text(st.characters(codec="utf-8"), max_size=40)
    | st.booleans()
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.dictionaries(st.text("abcdefgh", min_size=1, max_size=8), CELL, min_size=1, max_size=12), min_size=1,
                max_size=4), st.integers(40, 240))  # fmt: skip
def test_every_table_keeps_its_width_and_its_numbers(capsys, monkeypatch, records, width):
    monkeypatch.setenv("COLUMNS", str(width))
    print_table(records)
    out = capsys.readouterr().out
    assert max(map(cell_len, out.splitlines())) <= width
    first = next(iter(records[0]))
    for record in records:
        if isinstance(record.get(first), int) and not isinstance(record[first], bool):
            assert str(record[first]) in out


def test_the_end_of_a_run_is_what_can_be_typed(runs, tmp_path):
    keys = [f"data.file={runs[0].parent.parent / 'a.npz'}", "data.left=image", "data.right=text", "objective=ridge",
            "evaluate.resamples=20", "evaluate.plots=false", "evaluate.baselines=[]"]  # fmt: skip
    lines = typed("run", "arrays", *keys, "--out", tmp_path / "a run", "--table", "--quiet")
    search, serve = (line.strip() for line in lines[-2:])
    assert lines[-3] == "Try next:" and shlex.split(serve) == ["sensorium", "serve", str(tmp_path / "a run")]
    assert len(typed(*shlex.split(search)[1:], "--json")) == 10
    assert all(
        line.startswith("{") for line in typed("run", "arrays", *keys, "--out", tmp_path / "b", "--quiet", "--json")
    )


def test_a_run_with_texts_is_searched_by_words():
    class Run:
        sides, folder = ("left", "right"), "runs/x"

        def encoder(self, side):
            return type("Encoder", (), {"takes": "image" if side == "left" else "text"})

        def index(self, side):
            columns = {"code": np.array(["U+1", "U+2"]), "name": np.array(["it's an arrow", "a heart"])}
            return type("Index", (), {"table": type("Table", (), {"ids": np.array(["a", "b"]), "columns": columns})})

    assert tables.next_commands(Run()) == [
        """sensorium search runs/x --text 'it'"'"'s an arrow'""",
        "sensorium serve runs/x",
    ]


def stop(at):
    def look(event):
        if event["epoch"] == at:
            raise KeyboardInterrupt

    return look


def test_an_interrupted_run_is_listed_and_says_where_it_goes_on(runs, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    keys = [f"data.file={runs[0].parent.parent / 'a.npz'}", "data.left=image", "data.right=text", "objective=infonce", "train.epochs=35",
            "train.batch=6", "train.patience=0", "evaluate.resamples=20", "evaluate.plots=false", "evaluate.baselines=[]"]  # fmt: skip
    for out in ("runs/mine", "runs/study/seed-0"):
        with pytest.raises(KeyboardInterrupt):
            sensorium.run("arrays", keys, out=out, quiet=True, on_epoch=stop(9))
    listed = {row["name"]: row["about"] for row in doctor.listing("runs")}
    assert listed == {name: f"interrupted at step 72 of 280; type: {RunFolder.of(name).resume}"
                      for name in ("runs/mine", "runs/study/seed-0")}  # fmt: skip
    lines = typed("ls", "runs", "--table")
    assert [line.strip() for line in lines[-2:]] == [RunFolder.of(name).resume for name in listed]
    assert lines[-3] == "Interrupted; these go on:" and "interrupted at step 72 of 280" in "\n".join(lines)
    told = CliRunner().invoke(app, [*shlex.split(lines[-2])[1:], "--table"])
    assert told.exit_code == 0 and "      fit  going on at step 72 of 280\n" in told.output
    with pytest.raises(KeyboardInterrupt):
        sensorium.run("arrays", [*keys, "seed=1"], out="runs/mine", quiet=True, on_epoch=stop(2))
    about = {row["name"]: row["about"] for row in doctor.listing("runs")}["runs/mine"]
    assert re.search(r" → .* hit@10 .*; made anew, but interrupted at step 16 of 280; type: ", about)
    capfd.readouterr()
    sensorium.run("arrays", [*keys, "seed=1"], out="runs/mine")
    assert "      fit  going on at step 16 of 280\n" in capfd.readouterr().err
    assert "interrupted" not in {row["name"]: row["about"] for row in doctor.listing("runs")}["runs/mine"]


@pytest.mark.parametrize("width", WIDTHS)
def test_many_runs_in_one_table(capsys, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    row = {"direction": "left->right", "split": "test", "lowest": 0.1, "highest": 0.3, "mean": 0.2}
    measures = ("MRR", "hit@1", "recall@5", "hit@10")
    seeds = [{**row, "measure": name, "std": 0.01, "seeds": 3} for name in measures]
    assert tables.spread(seeds) == "1 more numbers: --all"
    folds = [{**row, "measure": name, "std_folds": 0.01, "std_seeds": None} for name in measures]
    tables.by_direction(tables.usual(aggregate.table({"results": folds})))
    long = "runs/a-rather-long-name-of-a-recipe-sweep/trials/0123456789abcdef"
    plain = {"state": "complete", "difference": -0.01, "low": -0.02, "high": 0.0, "p": 0.2, "folder": long}
    tables.leaderboard([
        {"rank": 1, "trial": 7, "value": 0.5, **plain, "train.lr": 0.001234567, "left.head.hidden": 512},
        {"rank": None, "trial": 8, "value": None, **plain, "state": "failed", "difference": None, "p": None,
         "train.lr": 0.1, "left.head.hidden": 256, "error": "the loss of step 3 is not finite; lower train.lr"},
    ])  # fmt: skip
    out = capsys.readouterr().out
    assert max(map(cell_len, out.splitlines())) <= width
    assert out.index("hit@1 ") < out.index("hit@10") < out.index("MRR")
    assert "-0.01 [-0.02, 0]" in out and "failed" in out and "train.lr" in out

"""sensorium add and remove: tables of any format in, items found at once, everything that is wrong said before."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import sensorium
from sensorium.cli import app
from sensorium.errors import SensoriumError

KEYS = ["objective=ridge", "evaluate.plots=false", "evaluate.resamples=20", "evaluate.baselines=[]"]


def said(*arguments) -> list[dict]:
    result = CliRunner().invoke(app, [*map(str, arguments), "--json"])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run of a table of titles and captions, with years."""
    folder = tmp_path_factory.mktemp("change")
    rows = [f"s{i},title {i * 7 % 90},caption of {i * 7 % 90},{i}" for i in range(90)]
    (folder / "pairs.csv").write_text("\n".join(["id,title,caption,year", *rows]))
    keys = [f"data.file={folder / 'pairs.csv'}", "data.left=title", "data.right=caption", "left.encoder=hashing",
            "right.encoder=hashing"]  # fmt: skip
    return sensorium.run("pairs", [*keys, *KEYS], out=folder / "run", quiet=True).folder


NEW = {"id": ["n1", "n2"], "title": ["zebra", "giraffe"], "caption": ["a zebra", "a giraffe"], "year": [2001, None],
       "extra": ["x", "y"]}  # fmt: skip


def csv(path):
    path.write_bytes(
        b"\xef\xbb\xbfid;title;caption;year;extra\r\nn1;zebra;a zebra;2001;x\r\nn2;giraffe;a giraffe;;y\r\n"
    )


def jsonl(path):
    rows = [dict(zip(NEW, row, strict=True)) for row in zip(*NEW.values(), strict=True)]
    path.write_text("\n".join(map(json.dumps, rows)))


def parquet(path):
    pq.write_table(pa.table(NEW), path)


@pytest.mark.parametrize("write", [csv, jsonl, parquet])
def test_rows_of_a_table_are_added_to_both_sides_and_removed(made, tmp_path, write):
    path = tmp_path / f"new.{write.__name__}"
    write(path)
    left, right = said("add", made, path, "-q")
    assert left == {"side": "left", "added": 2, "replaced": 0, "items": 92, "left_out": ["extra"]}
    assert right == {**left, "side": "right"}
    try:
        hit = said("search", made, "--text", "a giraffe", "--from", "right", "--to", "right", "-k", 1)[0]
        assert hit["id"] == "n2" and hit["text"] == "a giraffe"
        run = sensorium.open(made)
        table = run.index("left").table
        found = table.metadata(table.rows["n1"])
        assert int(found["year"]) == 2001 and found["text"] == "zebra"
        with pytest.raises(
            SensoriumError,
            match="both sides of .* have an item 'n1'; say which of title and caption: type --side title",
        ):
            said("remove", made, "--ids", "n1")
        with pytest.raises(
            SensoriumError, match="2 of 2 ids are on the title side of .* already, such as 'n1'; replace"
        ):
            said("add", made, path, "-q")
        assert said("add", made, path, "-q", "--replace", "--side", "caption")[0]["replaced"] == 2
    finally:
        (tmp_path / "gone.txt").write_text("n1\nn2\n\n")
        assert said("remove", made, "--side", "right", "--ids-file", tmp_path / "gone.txt")[0]["removed"] == 2
        assert said("remove", made, "--ids", "n1, n2") == [{"side": "left", "removed": 2, "items": 90}]


@pytest.mark.parametrize(
    ("content", "options", "says"),
    [
        ("id,title\nn1,\nn2,b\n", (), "1 of 2 texts in 'title' of new.csv are empty .*--bad skip"),
        ("id,words\nn1,a\n", (), "which column of new.csv holds the left items .text.. type: --column NAME; it has id"),
        ("id,words\nn1,a\n", ("--column", "wrds"), "new.csv has no column 'wrds'; did you mean 'words'"),
        ("nr,title\n7,a\n", (), "new.csv has no column of ids for the new left items .id, ids.; type: --ids COLUMN"),
        ("id,title\nn1,a\nn1,b\n", ("--ids", "id"), "ids of new.csv: 1 duplicate ids, such as 'n1'"),
        ("id,title\nn1,a\n", ("--side", "up"), "side 'up'; expected title or caption .left or right."),
        ("id,title\nn1,a\n", ("--bad", "perhaps"), "--bad perhaps; expected stop or skip"),
    ],
)
def test_what_cannot_be_added_is_said_before_anything_is(made, tmp_path, content, options, says):
    (tmp_path / "new.csv").write_text(content)
    with pytest.raises(SensoriumError, match=says):
        said("add", made, tmp_path / "new.csv", *options)
    assert len(sensorium.open(made).index("left").table) == 90


def test_ids_that_are_nowhere(made):
    with pytest.raises(SensoriumError, match="nothing was removed: 1 of 2 ids are not on the title side of .*'s990'"):
        said("remove", made, "--side", "left", "--ids", "s1,s990")
    assert said("remove", made, "--side", "left", "--ids", "s990", "--missing") == []
    with pytest.raises(SensoriumError, match="no ids; type: --ids a,b or --ids-file FILE"):
        said("remove", made)


def test_vectors_are_added_from_files_of_arrays(tmp_path):
    dice = np.random.default_rng(0)
    left = dice.standard_normal((60, 8)).astype(np.float32)
    np.savez(tmp_path / "a.npz", left=left, right=left[:, :6], ids=np.arange(60).astype(str), year=np.arange(60))
    run = sensorium.run("arrays", [f"data.file={tmp_path / 'a.npz'}", *KEYS], out=tmp_path / "run", quiet=True)
    new = dice.standard_normal((2000, 8)).astype(np.float32)
    np.savez(tmp_path / "new.npz", vectors=new, ids=np.array([f"n{i}" for i in range(2000)]), year=np.arange(2000))
    assert said("add", run.folder, tmp_path / "new.npz", "-q")[0]["added"] == 2000
    opened = sensorium.open(run.folder)
    assert opened.search(vector=new[1234], side="left", to="left", k=1)[0]["id"] == "n1234"
    assert opened.index("left").table.metadata(opened.places("left").row("n77"))["year"] == 77
    np.savez(tmp_path / "wide.npz", vectors=new[:, :5], ids=np.arange(2000))
    with pytest.raises(SensoriumError, match="vectors of 5 numbers; the left side takes 8"):
        said("add", run.folder, tmp_path / "wide.npz", "--replace")


def test_a_run_is_packed_and_unpacked(made, tmp_path):
    packed = said("pack", made, "--out", tmp_path / "run.zip", "-q")[0]
    assert packed["out"] == str(tmp_path / "run.zip") and packed["code"] == []
    made_there = said("unpack", tmp_path / "run.zip", "--out", tmp_path / "there")
    assert made_there == [{"run": str(tmp_path / "there"), "files": packed["files"], "code": []}]
    query = ("--text", "title 14", "--from", "title", "-k", 3)
    assert said("search", tmp_path / "there", *query) == said("search", made, *query)
    assert said("search", tmp_path / "run.zip", *query) == said("search", made, *query)
    for verb, words in (("pack", "on the other machine type: sensorium unpack"), ("unpack", "type: sensorium serve")):
        where = [str(made), "--out", str(tmp_path / "b.zip"), "-q"] if verb == "pack" else [str(tmp_path / "b.zip")]
        result = CliRunner().invoke(app, [verb, *where, "--table"])
        assert result.exit_code == 0 and words in result.output

"""data.labels=FILE: labelled pairs join those of any data set, in the splits that their items are of."""

import csv
import json

import numpy as np
import pytest

import sensorium
from sensorium import recipe as recipes
from sensorium.cli import main
from sensorium.datasets._labelled import joined
from sensorium.errors import BadData, BadRecipe
from sensorium.pairs import Pairs
from sensorium.serve.labels.journal import Asked, Journal, Label
from sensorium.types import Data, Items

HEADER = ("side", "query", "text", "to", "item", "label", "group", "annotators", "agree")


def data(split=None, n=6, tied=False):
    ids = np.array([f"a{i}" for i in range(n)])
    left = Items(ids, "vector", np.eye(n, dtype=np.float32), {}, {})
    right = (
        None if tied else Items(np.array([f"b{i}" for i in range(n)]), "vector", np.eye(n, dtype=np.float32), {}, {})
    )
    rows = np.arange(n - 1 if tied else n)
    return Data(left, right, Pairs.of(rows, rows + 1 if tied else rows, split=split, same_table=tied), {})


def table(*rows):
    names = ("side", "query", "to", "item", "label")
    return {name: np.array([row[i] for row in rows]) for i, name in enumerate(names)}


def test_labels_join_the_pairs_and_their_groups():
    found = joined(data(), table(("left", "a0", "right", "b1", "1"), ("right", "b4", "left", "a3", "0"),
                                 ("left", "", "right", "b1", "1"), ("left", "a2", "right", "b2", "1"),
                                 ("left", "a2", "right", "b3", "")), "f")  # fmt: skip
    pairs = found.pairs
    assert [*zip(pairs.left[6:].tolist(), pairs.right[6:].tolist(), pairs.label[6:].tolist(), strict=True)] == [
        (0, 1, 1), (3, 4, 0)
    ]  # fmt: skip
    assert pairs.group[0] == pairs.group[1] == pairs.group[6] and pairs.group[3] == pairs.group[4] == pairs.group[7]
    assert len(set(pairs.group.tolist())) == 4
    assert found.notes["said"] == ["data.labels=f adds 2 pairs, 1 of them unrelated; 3 rows left out"]


def test_no_label_joins_two_splits():
    split = np.array(["train", "train", "test", "test", "validation", "train"])
    found = joined(data(split), table(("left", "a0", "right", "b1", "1"), ("left", "a0", "right", "b2", "1"),
                                      ("left", "a2", "right", "b3", "1")), "f")  # fmt: skip
    assert found.pairs.split[6:].tolist() == ["train", "test"]


def test_one_table_takes_labels_of_its_own_items():
    found = joined(data(tied=True), table(("left", "a0", "left", "a5", "1"), ("left", "a0", "left", "a0", "1")), "f")
    assert found.pairs.left[5:].tolist() == [0] and found.pairs.right[5:].tolist() == [5]


def test_wrong_files_are_typed_errors(tmp_path):
    with pytest.raises(BadData, match="2 ids are not in the data, such as 'b9', 'x'; take those rows out"):
        joined(data(), table(("left", "x", "right", "b9", "1")), "f")
    X = np.random.default_rng(0).standard_normal((2, 40, 6)).astype(np.float32)
    np.savez(tmp_path / "xy.npz", left=X[0], right=X[1])
    keys = [f"data.file={tmp_path}/xy.npz", "data.left=left", "data.right=right"]
    with pytest.raises(BadRecipe, match="no such file; to write one type: sensorium labels RUN --out labels.csv"):
        recipes.load("arrays", [*keys, "data.labels=nowhere.csv"]).part("data").load()
    (tmp_path / "wrong.csv").write_text("side,query\nleft,1\n")
    with pytest.raises(BadRecipe, match="has no column 'to'"):
        recipes.load("arrays", [*keys, f"data.labels={tmp_path}/wrong.csv"]).part("data").load()
    with pytest.raises(BadRecipe, match="data.labels=3; expected a file, such as labels.csv"):
        recipes.load("arrays", [*keys, "data.labels=3"])


def test_from_thumbs_to_a_run_that_takes_them(tmp_path, capsys, monkeypatch):
    X = np.random.default_rng(0).standard_normal((60, 6)).astype(np.float32)
    np.savez(tmp_path / "xy.npz", left=X, right=X + 0.1, ids=np.arange(60))
    keys = [f"data.file={tmp_path}/xy.npz", "data.left=left", "data.right=right", "data.ids=ids", "objective=ridge",
            "left.head=linear", "right.head=linear", "evaluate.baselines=[]", "evaluate.plots=false"]  # fmt: skip
    run = sensorium.run("arrays", keys, out=tmp_path / "runs" / "mine", quiet=True)
    Journal(run.folder).append([Label(Asked("left", id=str(i)), "right", str(i + 1), i % 2, "ann") for i in range(4)])

    def typed(*words):
        monkeypatch.setattr("sys.argv", ["sensorium", "labels", str(run.folder), *words])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code

    assert typed("--json", "--out", str(tmp_path / "labels.csv")) in (0, None)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["label"] for line in lines] == [0, 1, 0, 1]
    with open(tmp_path / "labels.csv") as file:
        assert tuple(next(csv.reader(file))) == HEADER
    again = sensorium.run(
        "arrays", [*keys, f"data.labels={tmp_path}/labels.csv"], out=tmp_path / "runs" / "more", quiet=True
    )
    assert again.metrics["dataset"]["labels"] == 4
    assert typed("--out", "labels.txt") == 2
    assert "expected a file that ends with .csv, .json or .jsonl" in capsys.readouterr().err

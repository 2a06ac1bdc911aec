"""Columns of every kind, as they are listed, coloured by and answered."""

import numpy as np
import pytest
from served import client_of

import sensorium
from sensorium import io
from sensorium.serve.engine import binary
from sensorium.serve.routes import map, runs

pytestmark = pytest.mark.xdist_group("serve")
COLUMNS = {
    "integers with gaps": (np.array([1, None, 2, 1], object), [1, 2]),
    "booleans with gaps": (np.array([True, None, False, True], object), [True, False]),
    "long texts": (np.array(["a" * 100, None, "b", "b"], object), ["b", "a" * 100]),
    "lists": (np.array([["x", "y"], None, ["x"], []], object), ["x", "y"]),
    "times": (np.array(["2020-01-01", "NaT", "2021-05-05", "2020-01-01"], "M8[D]"), ["2020-01-01", "2021-05-05"]),
    "numbers": (np.array([0.5, np.nan, 0.25, 0.5]), [0.5, 0.25]),
    "infinite": (np.array([0.5, np.inf, 0.25, 0.5]), []),
    "nothing": (np.array([None, None, None, None], object), []),
    "texts": (np.array(["a", "", "b", "a"]), ["a", "", "b"]),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_columns_of_every_kind_are_listed_and_coloured_by(name):
    values, expected = COLUMNS[name]
    column = runs.column_of(name, values)
    column.model_dump_json()
    assert column.values == expected and runs.column_of(name, values[:0]).values == []
    header, arrays = binary.unpack(map.column(values))
    assert header["type"] == "category" and len(arrays["codes"]) == 4


def test_missing_numbers_are_null_in_the_bytes_of_an_answer(tmp_path):
    x = np.random.default_rng(0).standard_normal((60, 6)).astype(np.float32)
    np.savez(tmp_path / "pairs.npz", left=x, right=x[:, :5], ids=np.array([f"p{i}" for i in range(60)]))
    keys = [f"data.file={tmp_path}/pairs.npz", "data.left=left", "data.right=right", "data.ids=ids", "objective=ridge",
            "left.head=linear", "right.head=linear", "evaluate.baselines=[]", "evaluate.plots=false"]  # fmt: skip
    run = sensorium.run("arrays", keys, out=tmp_path / "runs" / "gaps", quiet=True)
    index = run.index("right")
    fresh = type(index)()
    columns = {"price": np.where(np.arange(60) % 2, 1.5, np.nan), "odd": np.full(60, np.inf)}
    fresh.add(index.table.ids, index.vectors(np.arange(60)), columns)
    fresh.fingerprint = index.fingerprint
    with io.publish(run.folder / "index" / "right") as folder:
        fresh.save(folder)
    with client_of([run.folder]) as client:
        answer = client.post("/search", json={"id": "p2", "from": "left", "k": 60})
        assert answer.status_code == 200, answer.text
        assert b"NaN" not in answer.content and b"Infinity" not in answer.content
        prices = {hit["id"]: hit["columns"]["price"] for hit in answer.json()["hits"]}
        assert prices["p2"] is None and prices["p3"] == 1.5
        found = client.post("/search", json={"id": "p2", "from": "left", "where": {"price": None}, "k": 60}).json()
        assert {int(hit["id"][1:]) % 2 for hit in found["hits"]} == {0}

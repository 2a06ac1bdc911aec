"""A run of one table, and a run whose two sides are of one width: searched over HTTP as from Python."""

import shutil

import numpy as np
import pytest
from served import client_of, problem

import sensorium

pytestmark = pytest.mark.xdist_group("serve")
PART = '''"""Garments of outfits: both sides are one table."""
import numpy as np
from sensorium.pairs import Pairs
from sensorium.types import Data, Items

class Looks:
    def load(self):
        random = np.random.default_rng(0)
        outfit = np.repeat(np.arange(20), 5)
        x = random.standard_normal((20, 6))[outfit] + 0.2 * random.standard_normal((100, 6))
        ids = np.array([f"garment {i}" for i in range(100)])
        a, b = np.array([(i, j) for i in range(100) for j in range(i) if outfit[i] == outfit[j]]).T
        pairs = Pairs.of(a, b, group=outfit[a], same_table=True)
        return Data(Items(ids, x.astype(np.float32), "vector", {"outfit": outfit}), None, pairs, {})
'''
VECTOR = [0.5, 1, -1, 0, 0.25, 2]


@pytest.fixture(scope="module")
def looks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("one_table")
    (folder / "looks.py").write_text(PART)
    recipe = {
        "name": "looks",
        "data": {"name": f"{folder}/looks.py:Looks", "test": 0.2, "validation": 0.2},
        "left": {"head": {"name": "linear", "dim": 4}},
        "objective": "infonce",
        "train": {"epochs": 2, "precision": "fp32"},
        "evaluate": {"resamples": 20, "plots": False, "baselines": []},
    }
    return sensorium.run(recipe, out=folder / "runs" / "looks", quiet=True)


@pytest.fixture(scope="module")
def served(looks):
    with client_of([looks.folder]) as client:
        yield client


def ids(answer) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [hit["id"] for hit in answer.json()["hits"]]


def test_one_table_is_searched_by_item_and_by_vector(looks, served):
    found = served.post("/search", json={"id": "garment 3", "k": 7})
    assert ids(found) == [hit["id"] for hit in looks.search(id="garment 3", k=7)]
    head = found.json()
    assert (head["direction"], head["to"]) == ("left->right", "left") and "garment 3" not in ids(found)
    for more in ({"from": "left"}, {"to": "left"}):
        assert ids(served.post("/search", json={"id": "garment 3", "k": 7, **more})) == ids(found)
    expected = [hit["id"] for hit in looks.search(vector=np.array(VECTOR, np.float32), k=5)]
    assert ids(served.post("/search", json={"vector": VECTOR, "k": 5})) == expected
    both = {"queries": [{"id": "garment 3"}, {"id": "garment 9", "weight": 0.5}], "k": 100}
    assert not {"garment 3", "garment 9"} & set(ids(served.post("/search", json=both)))
    few = served.post("/search", json={"id": "garment 3", "where": {"outfit": {">=": 18}}, "k": 99})
    assert {hit["columns"]["outfit"] for hit in few.json()["hits"]} == {18, 19} and len(ids(few)) == 10


def test_one_table_has_no_right_side(served):
    for body in ({"id": "garment 3", "to": "right"}, {"id": "garment 3", "from": "right"}, {"text": "a"}):
        answer = served.post("/search", json=body)
        assert 400 <= answer.status_code < 500 and answer.json()["detail"], answer.text
    problem(served.get("/items/garment%203?side=right"), 404)
    assert "one table" in problem(served.post("/items", json={"side": "right", "id": "n", "vector": VECTOR}), 400)


def test_one_table_is_listed_mapped_and_probed(served):
    (run,) = served.get("/runs").json()["runs"]
    assert run["one_table"] and set(run["sides"]) == {"left"} and run["sides"]["left"]["takes"] == "vectors"
    item = served.get("/items/garment%203").json()
    assert {one["id"] for one in item["partners"]} == {f"garment {i}" for i in (0, 1, 2, 4)}
    assert item["partners_unknown"] is None
    assert served.get("/readyz").json()["status"] == "ready"
    assert served.get("/runs/looks/map").status_code == served.get("/runs/looks/map/pairs").status_code == 200


def test_related_items_of_a_run_that_stores_none_are_unknown(looks, tmp_path):
    """A request never loads a data set: the answer names the command that stores them."""
    shutil.copytree(looks.folder, tmp_path / "looks")
    for name in ("partners.parquet", "run.json"):
        (tmp_path / "looks" / name).unlink()
    with client_of([tmp_path / "looks"]) as client:
        item = client.get("/items/garment%203").json()
        assert item["partners"] == [] and "sensorium index RUN" in item["partners_unknown"]
        assert b"sensorium index RUN" in client.get("/runs/looks/map/pairs").content


def test_the_own_space_without_its_embeddings_says_what_to_copy(symbols, tmp_path):
    shutil.copytree(symbols, tmp_path / "alone")
    with client_of([tmp_path / "alone"]) as client:
        asked = {"text": "arrow", "space": "encoder"}
        assert "do not lie beside" in problem(client.post("/search", json=asked), 409)
        assert not client.get("/runs").json()["runs"][0]["sides"]["right"]["raw"]


@pytest.fixture(scope="module")
def twins(tmp_path_factory):
    """Two sides of eight numbers each, with the same ids."""
    folder = tmp_path_factory.mktemp("twins")
    random = np.random.default_rng(0)
    left = random.standard_normal((120, 8)).astype(np.float32)
    right = left + 0.1 * random.standard_normal((120, 8)).astype(np.float32)
    np.savez(folder / "pairs.npz", left=left, right=right, ids=np.array([f"p{i}" for i in range(120)]))
    keys = [f"data.file={folder}/pairs.npz", "data.left=left", "data.right=right", "data.ids=ids", "left.head=linear",
            "right.head=linear", "objective=ridge", "evaluate.baselines=[]", "evaluate.plots=false",
            "evaluate.resamples=20"]  # fmt: skip
    return sensorium.run("arrays", keys, out=folder / "runs" / "twins", quiet=True)


def test_what_both_sides_take_needs_a_side(twins):
    vector = [*VECTOR, 1, 1]
    with client_of([twins.folder]) as client:
        assert "both sides take this vector" in problem(client.post("/search", json={"vector": vector}), 400)
        assert "both sides" in problem(client.post("/search", json={"id": "p3"}), 400)
        problem(client.get("/items/p3"), 400)
        problem(client.delete("/items/p3"), 400)
        for side in ("left", "right"):
            asked = {"vector": vector, "from": side, "k": 4}
            expected = twins.search(vector=np.array(vector, np.float32), side=side, k=4)
            assert ids(client.post("/search", json=asked)) == [hit["id"] for hit in expected]
        assert client.get("/items/p3?side=right").json()["side"] == "right"
        queries = [{"id": "p3", "from": "left"}, {"vector": vector, "from": "right"}]
        assert "p3" not in ids(client.post("/search", json={"queries": queries, "to": "left"}))

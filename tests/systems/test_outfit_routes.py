"""The original fashion server's routes over a run, and looks of several gaps."""

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="type: pip install 'sensorium[serve]'")

import small_looks
from served import client_of, problem

import sensorium
from sensorium.search.looks import LookOptions, Looks

pytestmark = pytest.mark.xdist_group("serve")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return small_looks.make(tmp_path_factory.mktemp("outfits") / "runs" / "looks")


@pytest.fixture(scope="module")
def client(run):
    with client_of([run.folder]) as one:
        yield one


@pytest.fixture(scope="module")
def looks(run):
    return Looks(run)


def get(client, path, **params):
    answer = client.get(path, params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_similar_items_are_the_nearest_by_cosine_of_the_encoder_without_the_item(run, client):
    x = np.asarray(small_looks.data().left.values, np.float64)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    for row in (0, 7, 31):
        told = get(client, "/similar", item_id=f"{row:04d}", k=9)
        order = [i for i in np.argsort(-(x @ x[row])) if i != row][:9]
        assert told["query_id"] == f"{row:04d}" and told["space"] == "encoder"
        assert told["neighbors"] == [f"{i:04d}" for i in order]
        np.testing.assert_allclose(told["scores"], (x @ x[row])[order], atol=1e-5)
    z = run.index("left").vectors()
    head = get(client, "/similar", item_id="0007", k=5, space="head")
    assert head["neighbors"] == [f"{i:04d}" for i in np.argsort(-(z @ z[7]), kind="stable") if i != 7][:5]


def test_complete_look_as_the_original_asks(client, looks):
    told = get(client, "/complete-look", context_ids="0003,0008", gap_category="Bags", k=4)
    found = looks.complete(looks.board(["0003", "0008"]), "Bags", LookOptions(4))
    assert told["query_id"] == "0003,0008" and told["context_ids"] == ["0003", "0008"]
    assert told["neighbors"] == looks.index.table.ids[found.rows].tolist()
    np.testing.assert_allclose(told["scores"], found.scores, atol=1e-9)
    np.testing.assert_allclose(told["reasons"], found.reasons, atol=1e-9)
    assert told["scores"] == sorted(told["scores"], reverse=True)
    again = client.get("/complete-look?context_ids=0003&context_ids=0008&gap_category=Bags&k=4").json()
    assert again["neighbors"] == told["neighbors"]
    varied = get(client, "/complete-look", context_ids="0003,0008", gap_category="Bags", k=4, pool=20, use_mmr="true")
    found = looks.complete(looks.board(["0003", "0008"]), "Bags", LookOptions(4, 20, 0.3))
    assert varied["neighbors"] == looks.index.table.ids[found.rows].tolist() != told["neighbors"]
    relevant = get(client, "/complete-look", context_ids="0003,0008", gap_category="Bags", k=4, use_mmr="true",
                   mmr_lambda=1)  # fmt: skip
    assert relevant["neighbors"] == told["neighbors"]
    assert len(get(client, "/complete-look", context_ids="0003", k=200)["neighbors"]) == 119


def test_a_category_without_items_gives_an_empty_list_and_an_unknown_id_404(client):
    told = get(client, "/complete-look", context_ids="0003", gap_category="Hats")
    assert told["neighbors"] == told["scores"] == []
    assert "no item '3'" in problem(client.get("/similar?item_id=3"), 404)
    assert "no item 'x'" in problem(client.get("/complete-look?context_ids=0003,x&gap_category=Bags"), 404)
    assert "names no item" in problem(client.get("/complete-look?context_ids=,&gap_category=Bags"), 422)
    assert "twice" in problem(client.get("/complete-look?context_ids=0003,0003&gap_category=Bags"), 422)
    assert "at most" in problem(client.get("/similar?item_id=0003&k=99999"), 422)
    assert "no column 'kind'" in problem(client.get("/complete-look?context_ids=0003&column=kind"), 400)
    problem(client.get("/similar"), 422)
    problem(client.get("/similar?item_id=0003&run=other"), 404)


def test_post_search_gives_the_same(client):
    told = get(client, "/complete-look", context_ids="0003,0008", gap_category="Bags", k=4)
    both = [{"id": "0003"}, {"id": "0008"}]
    found = client.post("/search", json={"queries": both, "gap_category": "Bags", "k": 4}).json()
    assert [hit["id"] for hit in found["hits"]] == told["neighbors"]
    np.testing.assert_allclose([hit["score"] for hit in found["hits"]], told["scores"], atol=1e-6)
    one = {"id": "0007", "k": 5, "space": "encoder"}
    similar = get(client, "/similar", item_id="0007", k=5)
    assert [hit["id"] for hit in client.post("/search", json=one).json()["hits"]] == similar["neighbors"]
    cheap = {"queries": both, "gap_category": "Bags", "k": 4, "where": {"price": {"<": 30}}}
    assert all(hit["columns"]["price"] < 30 for hit in client.post("/search", json=cheap).json()["hits"])
    vector = np.asarray(small_looks.data().left.values)[3].tolist()
    alone = client.post("/search", json={"vector": vector, "gap_category": "Shoes", "k": 2}).json()
    assert [hit["columns"]["category"] for hit in alone["hits"]] == ["Shoes"] * 2
    problem(client.post("/search", json={"id": "0003", "gap_category": "Bags", "space": "encoder"}), 400)
    problem(client.post("/search", json={"id": "0003", "gap_category": "Bags", "to": "right"}), 400)
    for one in ({"collapse": "category"}, {"min_score": 0.5}, {"fallback": {"price": {"<": 30}}}):
        refused = client.post("/search", json={"id": "0003", "gap_category": "Bags", **one})
        assert "leave out collapse, min_score and fallback" in problem(refused, 400), one


def test_a_look_of_several_gaps_with_an_item_that_is_not_in_the_catalogue(client, looks):
    x = np.asarray(small_looks.data().left.values)
    context = [{"vector": (x[2] * 2).tolist(), "category": "Shoes"}, {"id": "0003"}, {"id": "0008"}]
    body = {"context": context, "gaps": ["Bags", "Bottomwear", "Hats"], "k": 3, "looks": 2}
    answer = client.post("/complete-look", json=body)
    assert answer.status_code == 200, answer.text
    told = answer.json()
    board = looks.board(["0003", "0008"], x[2:3] * 2, ["Shoes"])
    explained = looks.explain(board)
    assert [one["id"] for one in told["context"]] == [None, "0003", "0008"]
    assert [one["category"] for one in told["context"]] == ["Shoes", "Bags", "Topwear"]
    np.testing.assert_allclose([one["fit"] for one in told["context"]], explained.fit[[2, 0, 1]], atol=1e-6)
    assert told["spoils"] == [2, 0, 1].index(explained.spoils) and told["score"] == pytest.approx(explained.score)
    assert [gap["category"] for gap in told["gaps"]] == body["gaps"] and told["gaps"][2]["hits"] == []
    found = looks.complete(board, "Bags", LookOptions(3))
    for hit, row, reasons in zip(told["gaps"][0]["hits"], found.rows, found.reasons, strict=True):
        assert hit["id"] == looks.index.table.ids[row] and hit["columns"]["category"] == "Bags"
        np.testing.assert_allclose(hit["reasons"], reasons[[2, 0, 1]], atol=1e-6)
    plans = looks.plan(board, body["gaps"], LookOptions(2))
    assert len(told["looks"]) == 2
    for one, plan in zip(told["looks"], plans, strict=True):
        assert one["score"] == pytest.approx(plan.score) and one["items"][2] is None and len(one["fit"]) == 5
        assert one["items"][:2] == looks.index.table.ids[plan.rows[:2]].tolist()
        assert np.mean(one["fit"]) == pytest.approx(one["score"])


def test_what_a_look_refuses(client):
    def post(**body):
        return client.post("/complete-look", json=body)

    assert "context" in problem(post(gaps=["Bags"]), 422)
    assert "exactly one of" in problem(post(context=[{"id": "0003", "text": "a"}]), 400)
    assert "no item 'x'" in problem(post(context=[{"id": "x"}]), 404)
    assert "3 numbers" in problem(post(context=[{"vector": [1, 2, 3]}]), 422)
    assert "takes vectors, not text" in problem(post(context=[{"text": "a shoe"}]), 400)
    assert "gap's own column" in problem(post(context=[{"id": "0003"}], gaps=["Bags"], where={"category": "a"}), 400)
    assert "where: no column" in problem(post(context=[{"id": "0003"}], gaps=["Bags"], where={"sise": 3}), 400)
    assert post(context=[{"id": "0003"}]).json()["spoils"] is None
    problem(client.post("/complete-look", content=b"{", headers={"content-type": "application/json"}), 422)


def test_items_added_and_removed_live_are_seen(run, tmp_path):
    run = small_looks.make(tmp_path / "runs" / "live")
    x = np.asarray(small_looks.data().left.values)
    with client_of([run.folder]) as client:
        new = {
            "side": "left",
            "id": "007",
            "vector": (x[3] * 1.5).tolist(),
            "columns": {"category": "Hats", "price": 3},
        }
        assert client.post("/items", json=new).status_code == 201
        assert get(client, "/complete-look", context_ids="0001", gap_category="Hats")["neighbors"] == ["007"]
        assert get(client, "/similar", item_id="0003", k=1)["neighbors"] == ["007"]
        assert get(client, "/similar", item_id="007", k=1)["neighbors"] == ["0003"]
        assert get(client, "/complete-look", context_ids="007,0001", gap_category="Bags")["neighbors"]
        assert client.delete("/items/007").status_code == 204
        assert get(client, "/complete-look", context_ids="0001", gap_category="Hats")["neighbors"] == []
        problem(client.get("/similar?item_id=007"), 404)


def test_a_run_of_two_sides(tmp_path):
    """Similar items are of the item's own side; a look of a side without categories is refused."""
    random = np.random.default_rng(0)
    left = random.standard_normal((80, 6)).astype(np.float32)
    np.savez(tmp_path / "p.npz", left=left, right=left[:, ::-1] + 0.1, ids=np.array([f"p{i}" for i in range(80)]))
    keys = [f"data.file={tmp_path}/p.npz", "data.left=left", "data.right=right", "data.ids=ids", "left.head=linear",
            "right.head=linear", "objective=ridge", "evaluate.baselines=[]", "evaluate.plots=false",
            "evaluate.resamples=20"]  # fmt: skip
    run = sensorium.run("arrays", keys, out=tmp_path / "runs" / "two", quiet=True)
    with client_of([run.folder]) as client:
        assert "both sides" in problem(client.get("/similar?item_id=p3"), 400)
        told = get(client, "/similar", item_id="p3", k=3, side="right")
        z = run.index("right").vectors()
        assert told["space"] == "head"
        assert told["neighbors"] == [f"p{i}" for i in np.argsort(-(z @ z[3])) if i != 3][:3]
        assert "no column 'category'" in problem(client.get("/complete-look?context_ids=p3&side=left"), 400)

"""Facets, collapsing, least scores and fallbacks: the same answer in Python, in the shell and over HTTP."""

import json
import sys

import numpy as np
import pytest
from served import client_of, problem

import sensorium
from sensorium.cli import main

pytestmark = pytest.mark.xdist_group("serve")
N = 60
WORDS = ["red", "blue", "green", "black", "white"]
THINGS = ["dress", "shoe", "coat", "hat"]


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """Vectors (left) and texts with columns (right), where every product has three rows."""
    random = np.random.default_rng(0)
    texts = [f"{WORDS[n % 5]} {THINGS[n // 3 % 4]} number {n // 3}" for n in range(N)]
    columns = {
        "product": [None if n == 7 else f"p{n // 3:02}" for n in range(N)],
        "thing": [THINGS[n // 3 % 4] for n in range(N)],
        "price": [None if n % 13 == 4 else n % 20 + 0.99 for n in range(N)],
        "stock": [None if n % 11 == 1 else n % 4 > 0 for n in range(N)],
        "tags": [[["sale"], ["sale", "new"], []][n % 3] for n in range(N)],
    }
    run = sensorium.fit(random.standard_normal((N, 4)).astype(np.float32), texts, right={"encoder": "hashing"}, objective="ridge",
                        metadata={"right": columns}, ids=[f"s{n}" for n in range(N)],
                        evaluate={"resamples": 20, "baselines": []}, out=tmp_path_factory.mktemp("shop") / "shop")  # fmt: skip
    return run


@pytest.fixture(scope="module")
def client(shop):
    with client_of([shop.folder]) as one:
        yield one


def shell(capsys, monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["sensorium", "search", *map(str, words)])
    with pytest.raises(SystemExit) as end:
        main()
    out = capsys.readouterr()
    assert not end.value.code, out.err
    return [json.loads(line) for line in out.out.splitlines()]


def essence(hit):
    """What every surface must say of a hit; scores to seven digits, as HTTP gives them."""
    more = [essence(one) for one in hit.get("collapsed") or []]
    columns = json.loads(json.dumps(hit.get("columns", hit.get("metadata"))).replace("NaN", "null"))
    told = (hit["rank"], hit["id"], f"{hit['score']:.5f}", hit.get("fallback"), hit.get("group_size"))
    return (*told, more, columns)


CASES = [
    ({"where": {"price": {">=": 10, "<": 20}}}, ["--where", "price>=10", "--where", "price<20"]),
    ({"where": {"thing": ["dress", "hat"]}}, ["--where", "thing=dress", "--where", "thing=hat"]),
    ({"where": {"price": None, "stock": True}}, ["--where", "price=", "--where", "stock=true"]),
    ({"where": {"price": {"!=": None}, "tags": "new"}}, ["--where", "price!=", "--where", "tags=new"]),
    ({"where": {"stock": [None, False]}}, ["--where", "stock=", "--where", "stock=false"]),
    ({"collapse": "product"}, ["--collapse", "product"]),
    ({"collapse": "thing", "collapse_size": 3, "k": 9}, ["--collapse", "thing", "--collapse-size", "3", "-k", "9"]),
    ({"min_score": 0.3}, ["--min-score", "0.3"]),
    ({"min_score": 0.3, "fallback": {}}, ["--min-score", "0.3", "--fallback", "all"]),
    (
        {"where": {"product": "p01"}, "fallback": {"thing": "hat"}, "collapse": "product", "collapse_size": 2},
        ["--where", "product=p01", "--fallback", "thing=hat", "--collapse", "product", "--collapse-size", "2"],
    ),
    ({"facets": ["thing", "price", "stock", "tags"], "where": {"thing": "hat", "price": {"<": 12}}, "mmr": 0.5},
     [*(word for name in ("thing", "price", "stock", "tags") for word in ("--facets", name)),
      "--where", "thing=hat", "--where", "price<12", "--mmr", "0.5"]),
]  # fmt: skip


@pytest.mark.parametrize(("options", "words"), CASES, ids=lambda one: " ".join(one) if isinstance(one, list) else "")
def test_python_shell_and_http_agree(shop, client, capsys, monkeypatch, options, words):
    python = shop.search("red dress", to="right", side="right", **options)
    sent = {"text": "red dress", "to": "right", "from": "right", **options}
    answer = client.post("/search", json=sent)
    assert answer.status_code == 200, answer.text
    http = answer.json()
    typed = shell(capsys, monkeypatch, shop.folder, "--text", "red dress", "--from", "right", "--to", "right", *words)
    hits, facets = [one for one in typed if "facet" not in one], [one for one in typed if "facet" in one]
    assert len(python) and [essence(one) for one in python] == [essence(one) for one in http["hits"]]
    assert [essence(one) for one in python] == [essence(one) for one in hits]
    assert json.loads(json.dumps(python.facets)) == http.get("facets", {})
    assert {one.pop("facet"): one for one in facets} == python.facets
    assert http["no_match"] is None and http["to"] == "right"


def test_facets_need_no_input(shop, client, capsys, monkeypatch):
    where = {"thing": ["hat", "coat"]}
    python = shop.search(facets=["thing", "stock"], where=where, to="right")
    http = client.post("/search", json={"facets": ["thing", "stock"], "where": where, "to": "right"}).json()
    words = ["--facets", "thing", "--facets", "stock", "--where", "thing=hat", "--where", "thing=coat", "--to", "right"]
    typed = shell(capsys, monkeypatch, shop.folder, *words)
    assert http["hits"] == [] == list(python) and http["direction"] is None and http["facets"] == python.facets
    assert {one.pop("facet"): one for one in typed} == python.facets
    assert python.facets["stock"]["count"] == 30 and python.facets["thing"]["count"] == N
    assert "say which side" in problem(client.post("/search", json={"facets": ["thing"]}), 400)
    assert "did you mean" in problem(client.post("/search", json={"facets": ["thng"], "to": "right"}), 400)


def test_a_terminal_shows_groups_and_facets_as_tables(shop, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    words = [
        "--text",
        "red dress",
        "--from",
        "right",
        "--to",
        "right",
        "-k",
        "2",
        "--collapse",
        "product",
        "--collapse-size",
        "2",
    ]
    monkeypatch.setattr(
        sys,
        "argv",
        ["sensorium", "search", str(shop.folder), *words, "--facets", "stock", "--facets", "price", "--table"],
    )
    with pytest.raises(SystemExit):
        main()
    out = capsys.readouterr().out
    hits = shop.search("red dress", side="right", to="right", k=2, collapse="product", collapse_size=2)
    assert all(hit["id"] in out and hit["collapsed"][0]["id"] in out for hit in hits) and "group_size" in out
    assert (
        "stock: 2 values of 60 items, 6 items without" in out and " values of 60 items, 0.99 to 19.99, 5 items" in out
    )


def test_several_inputs_files_and_the_encoders_space_take_the_options_too(shop, client):
    mixed = {"queries": [{"text": "red dress"}, {"text": "hat", "weight": 0.5}], "to": "right", "collapse": "product"}
    hits = client.post("/search", json={**mixed, "facets": ["thing"], "k": 30}).json()
    assert len(hits["hits"]) == 21 and hits["facets"]["thing"]["count"] == N  # 20 products, one row without
    raw = {"text": "red dress", "space": "encoder", "collapse": "product", "collapse_size": 3, "min_score": 0.2}
    found = client.post("/search", json=raw).json()["hits"]
    assert found and all(one["score"] >= 0.2 for hit in found for one in [hit, *hit["collapsed"]])
    form = client.post("/search", data={"query": json.dumps({"facets": ["thing"], "to": "right"})}, files={"x": b""})
    assert form.status_code == 422


def test_what_is_added_while_serving_is_counted_and_collapsed(shop, client):
    def facet():
        return client.post("/search", json={"facets": ["product"], "to": "right"}).json()["facets"]["product"]

    before = facet()
    new = {"side": "right", "id": "new", "text": "red dress number 99", "columns": {"product": "p99", "thing": "dress"}}
    assert client.post("/items", json=new).status_code == 201
    try:
        assert facet()["count"] == before["count"] + 1 and {"value": "p99", "count": 1} in facet()["values"]
        asked = {"text": "red dress number 99", "from": "right", "to": "right", "collapse": "product", "k": 30}
        groups = client.post("/search", json=asked).json()["hits"]
        assert groups[0]["id"] == "new" and groups[0]["group_size"] == 1 and len(groups) == 22
    finally:
        assert client.delete("/items/new").status_code == 204
    assert facet() == before


def test_a_long_answer_with_groups_is_streamed_whole(symbols):
    with client_of([symbols]) as one:
        asked = {"text": "letter", "k": 2000, "collapse": "codepoint", "collapse_size": 2, "facets": ["category"]}
        answer = one.post("/search", json=asked)
    run = sensorium.open(symbols)
    expected = run.search(text="letter", k=2000, collapse="codepoint", collapse_size=2, facets=["category"])
    told = answer.json()
    assert len(told["hits"]) == len(expected) > 1000 and told["facets"] == expected.facets
    assert [hit["id"] for hit in told["hits"]] == expected.ids


BAD = [
    ({"collapse": "thng"}, 400, "collapse: no column 'thng'; did you mean 'thing'"),
    ({"collapse": "tags"}, 400, "collapse: 'tags' holds lists"),
    ({"collapse_size": 3}, 400, "collapse_size needs a column to collapse by"),
    ({"fallback": {"thng": 1}}, 400, "fallback: no column 'thng'"),
    ({"fallback": "all"}, 422, "fallback"),
    ({"min_score": "high"}, 422, "min_score"),
    ({"facets": []}, 422, "facets"),
    ({"k": 5000, "collapse": "thing", "collapse_size": 900}, 422, "k × collapse_size is 4500000; at most 10000"),
]


@pytest.mark.parametrize(("options", "status", "says"), BAD, ids=str)
def test_wrong_options_are_problems(client, options, status, says):
    assert says in problem(
        client.post("/search", json={"text": "red", "to": "right", "from": "right", **options}), status
    )

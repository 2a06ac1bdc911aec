"""What the page says of a run before the first search: display columns, how good it is, type-ahead."""

import numpy as np
import pytest

from sensorium.serve.engine import presentation
from sensorium.table import Table


def table(**columns):
    return Table(np.array(["a", "b", "c", "d"]), {name: np.array(values) for name, values in columns.items()})


@pytest.mark.parametrize(
    ("columns", "named", "expected"),
    [
        ({"x": ["long text one", "long text two", "three", "four"], "short": list("wxyz")}, "", "x"),
        ({"x": ["the same long text"] * 4, "short": list("wxyz")}, "", "short"),
        ({"x": ["/data/one.ogg", "/data/two.ogg", "/data/3.ogg", "/data/4.ogg"], "n": [1, 2, 3, 4]}, "", None),
        ({"title": list("wxyz"), "x": ["long text one", "long text two", "three", "four"]}, "", "title"),
        ({"title": list("wxyz"), "x": ["one"] * 4}, "x", "x"),
        ({"n": [1, 2, 3, 4]}, "", None),
    ],
)
def test_the_display_column_is_the_recipe_s_a_usual_one_or_the_longest_mostly_unique_text(columns, named, expected):
    assert presentation.display_column(table(**columns), named) == expected


def test_the_run_says_how_good_it_is_beside_chance(client):
    (run,) = client.get("/runs").json()["runs"]
    row = next(r for r in run["results"] if (r["direction"], r["measure"]) == ("right->left", "hit@1"))
    found = run["headline"]
    assert (found["direction"], found["value"]) == ("right->left", row["value"])
    assert 1 / row["n_candidates"] <= found["chance"] < 0.1 and run["classes"] is None
    assert run["sides"]["left"]["display"] == "name" and run["title"] == "Symbols of Unicode"
    assert "umbrella" in run["examples"] and not run["loading"]
    name = next(column for column in run["sides"]["right"]["columns"] if column["name"] == "codepoint")
    assert name["distinct"] == run["sides"]["right"]["items"]


def test_type_ahead_finds_items_by_words_of_their_text_or_id(client):
    def ask(q, **more):
        return client.get("/runs/symbols/suggest", params={"q": q, **more}).json()["items"]

    found = ask("LATIN sMALL", n=20)
    assert found and all("latin small" in one["text"].casefold() for one in found)
    assert found[0]["text"].casefold().startswith("latin small")
    assert len({(one["side"], one["text"]) for one in found}) == len(found)
    assert {one["side"] for one in ask("latin", side="right")} == {"right"}
    assert ask(found[0]["id"], n=1)[0]["id"] == found[0]["id"]
    assert ask("no such symbol") == []
    assert client.get("/runs/symbols/suggest", params={"q": ""}).status_code == 422
    assert client.get("/runs/nothing/suggest", params={"q": "a"}).status_code == 404


def test_text_within_is_a_filter_over_http(client):
    body = {"text": "letter", "to": "left", "k": 5, "where": {"name": {"contains": "greek"}}}
    hits = client.post("/search", json=body).json()["hits"]
    assert hits and all("GREEK" in hit["columns"]["name"] for hit in hits)
    refused = client.post("/search", json={**body, "where": {"name": {"contains": None}}})
    assert refused.status_code == 400 and "expected text" in refused.json()["detail"]

"""POST /search: every input and option, against the run itself as the oracle."""

import base64
import json
import time

import numpy as np
import pytest
from served import client_of, problem

import sensorium
from sensorium.search import query
from sensorium.serve import Settings

pytestmark = pytest.mark.xdist_group("serve")


@pytest.fixture(scope="module")
def run(symbols):
    return sensorium.open(symbols)


@pytest.fixture(scope="module")
def picture(client):
    return client.get("/media/U%2B2665%2FDejaVuSansMono").content


def ids(found) -> list[str]:
    return [hit["id"] for hit in found["hits"]]


def ask(client, **question):
    answer = client.post("/search", json=question)
    assert answer.status_code == 200, answer.text
    return answer.json()


def same(found, expected):
    assert ids(found) == [hit["id"] for hit in expected]
    assert [hit["rank"] for hit in found["hits"]] == list(range(1, len(expected) + 1))
    np.testing.assert_allclose(
        [h["score"] for h in found["hits"]], [h["score"] for h in expected], rtol=1e-5, atol=1e-6
    )
    for hit, other in zip(found["hits"], expected, strict=True):
        assert hit["columns"] == other["metadata"]
        assert hit.get("probability") == pytest.approx(other.get("probability"), abs=2e-4)


@pytest.mark.parametrize("corrected", [True, False])
@pytest.mark.parametrize("text", ["arrow turning left", "GREEK SMALL LETTER ALPHA"])
def test_text(client, run, text, corrected):
    found = ask(client, text=text, k=7, corrected=corrected)
    same(found, run.search(text=text, k=7, corrected=corrected))
    assert found["run"] == "symbols" and found["direction"] == "right->left" and found["to"] == "left"
    assert found["corrected"] == (corrected and "right->left" in run.corrections)
    assert {hit["kind"] for hit in found["hits"]} == {"image"}


def test_id_and_its_own_side(client, run):
    same(ask(client, id="U+2665", k=5), run.search(id="U+2665", k=5))
    own = ask(client, id="U+2665", k=5, to="right", **{"from": "right"})
    same(own, run.search(id="U+2665", k=5, side="right", to="right"))
    assert "U+2665" not in ids(own)


def test_vector(client, run):
    vector = run.encoder("right").encode(["heart"])[0]
    same(ask(client, vector=vector.tolist(), k=4), run.search(vector=vector, k=4, side="right"))


def test_picture_in_base64_as_a_form_and_as_data_url(client, run, picture):
    text = base64.b64encode(picture).decode()
    expected = ask(client, id="U+2665/DejaVuSansMono", k=3)
    for found in (
        ask(client, image=text, k=3),
        ask(client, image="data:image/png;base64," + text, k=3),
        client.post("/search", files={"image": picture}, data={"query": '{"k": 3}'}).json(),
    ):
        assert ids(found) == ids(expected)
    assert ids(expected)[0] == "U+2665"


def test_filters(client, run):
    where = {"category": ["Sm", "So"], "script": {"!=": "BLACK"}}
    found = ask(client, text="circle", k=20, where=where)
    same(found, run.search(text="circle", k=20, where=where))
    assert {hit["columns"]["category"] for hit in found["hits"]} <= {"Sm", "So"}
    assert ask(client, text="circle", where={"category": "no such"})["hits"] == []
    assert "did you mean 'category'" in problem(
        client.post("/search", json={"text": "a", "where": {"categorie": 1}}), 400
    )


def test_maximal_marginal_relevance(client, run):
    same(ask(client, text="arrow", k=6, mmr=0.4), run.search(text="arrow", k=6, mmr=0.4))
    plain = ask(client, text="arrow", k=6, corrected=False)
    assert ids(ask(client, text="arrow", k=6, corrected=False, mmr=1)) == ids(plain)
    assert ids(ask(client, text="arrow", k=6, corrected=False, mmr=0.2)) != ids(plain)


def test_combined_queries_are_weighted_sums(client, run):
    def unit(z):
        return z / np.linalg.norm(z)

    one = run.encode("right", ["arrow"])[0]
    two = run.encode("right", ["circle"])[0]
    total = unit(unit(one) - 0.5 * unit(two)).astype(np.float32)
    found = ask(client, queries=[{"text": "arrow"}, {"text": "circle", "weight": -0.5}], k=5)
    asked = query.resolve(run, [query.Input("right")] * 2, query.Options(k=5))
    same(found, query.hits(run, asked, query.search(run, total[None], [asked])[0]))
    mixed = ask(client, queries=[{"text": "heart"}, {"id": "U+2665/DejaVuSansMono", "weight": 2}], to="left", k=5)
    assert "U+2665/DejaVuSansMono" not in ids(mixed), "no input is its own neighbour"
    assert mixed["direction"] == "both->left" and not mixed["corrected"]
    opposite = [{"text": "arrow"}, {"text": "arrow", "weight": -1}]
    assert "cancel" in problem(client.post("/search", json={"queries": opposite}), 422)


def test_encoder_space_is_the_frozen_encoders_own(client, run, symbols):
    from sensorium import store

    folder = next((symbols.parent / "embeddings").glob("*left*"))
    table = store.open(folder)
    x = np.asarray(table.vectors[:])
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    row = table.ids.tolist().index("U+2665/DejaVuSansMono")
    order = [i for i in np.argsort(-(x @ x[row]), kind="stable") if i != row][:5]
    found = ask(client, id="U+2665/DejaVuSansMono", space="encoder", k=5)
    assert ids(found) == table.ids[order].tolist()
    np.testing.assert_allclose([hit["score"] for hit in found["hits"]], (x @ x[row])[order], rtol=1e-4)
    assert "encoder" in problem(client.post("/search", json={"queries": [{"text": "a"}], "space": "encoder"}), 400)


def test_long_answers_are_streamed_whole(client, run):
    found = ask(client, text="letter", k=3000)
    same(found, run.search(text="letter", k=3000))


@pytest.mark.parametrize("k", [1, 499, 500, 501, 999, 1000, 1001, 1500, 1501])
def test_answers_of_any_length_are_whole(client, run, k):
    start = time.perf_counter()
    found = ask(client, text="letter", k=k)
    assert 0 < found["took_ms"] <= 1000 * (time.perf_counter() - start)
    assert ids(found) == [hit["id"] for hit in run.search(text="letter", k=k)] and len(found["hits"]) == k


def test_the_statuses_of_a_search_are_documented(client):
    said = client.get("/openapi.json").json()["paths"]["/search"]["post"]
    assert set(said["responses"]) == {"200", "400", "404", "408", "409", "413", "415", "422", "503"}
    assert said["requestBody"]["required"] is True
    assert set(said["requestBody"]["content"]) == {"application/json", "multipart/form-data"}
    form = said["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]
    assert {"query", "image"} <= set(form) and form["image"] == {"type": "string", "format": "binary"}


def test_a_long_name_of_a_type_or_a_field_is_said_by_its_beginning(client):
    said = problem(client.post("/search", content=b"{}", headers={"content-type": "x/" + "y" * 200}), 415)
    assert f"content type 'x/{'y' * 58}'; send" in said
    said = problem(client.post("/search", files={"z" * 200: b"x"}), 422)
    assert f"form field '{'z' * 60}'; expected query" in said


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ({}, 400, "exactly one"),
        ({"text": "a", "id": "b"}, 400, "text, id"),
        ({"id": "nobody"}, 404, "nobody"),
        ({"id": "U+2665", "from": "left"}, 404, "image side"),
        ({"text": "a", "run": "other"}, 404, "symbols"),
        ({"text": "a", "k": 0}, 422, "k:"),
        ({"text": "a", "k": 10_000_000}, 422, "at most"),
        ({"text": ""}, 422, "text"),
        ({"text": "a", "sideways": 1}, 422, "sideways"),
        ({"text": "a", "mmr": 2}, 422, "mmr"),
        ({"audio": "AAAA"}, 400, "takes audio"),
        ({"image": "no base64!"}, 422, "base64"),
        ({"image": "AAAA"}, 422, "PNG"),
        ({"vector": [1.0, 2.0]}, 422, "2"),
        ({"vector": [0.0] * 900, "from": "left"}, 422, "zeros"),
        ({"vector": [1e39] * 900, "from": "left"}, 422, "float32"),
        ({"text": "a", "from": "left"}, 400, "image"),
        ({"queries": [{"text": "a"}] * 99}, 413, "99"),
        ({"queries": [{"text": "a"}, {"id": "U+2665/DejaVuSansMono"}]}, 400, "to"),
        ({"text": "x" * 30_000}, 413, "30000"),
    ],
)
def test_questions_that_cannot_be_meant(client, body, status, says):
    assert says in problem(client.post("/search", json=body), status)


def test_as_many_inputs_and_hits_as_the_settings_say(client, picture):
    settings = Settings()
    many = [{"text": f"arrow {i}"} for i in range(settings.max_queries)]
    assert len(ask(client, queries=many, k=2)["hits"]) == 2
    said = f"{settings.max_queries + 1} inputs; at most {settings.max_queries}"
    assert said in problem(client.post("/search", json={"queries": [*many, {"text": "a"}]}), 413)
    form = {"files": {"image": picture}, "data": {"query": json.dumps({"queries": many, "to": "left"})}}
    assert said in problem(client.post("/search", **form), 413)
    assert len(ask(client, text="arrow", k=settings.max_k)["hits"]) > 1000
    assert len(ask(client, text="arrow", k=1, mmr=0.5, pool=settings.max_k)["hits"]) == 1
    for name in ("k", "pool"):
        over = client.post("/search", json={"text": "arrow", "mmr": 0.5, name: settings.max_k + 1})
        assert f"k or pool is {settings.max_k + 1}; at most {settings.max_k}" in problem(over, 422)


def test_one_input_or_several_but_not_both(client, picture, run):
    form = {"files": {"image": picture}, "data": {"query": json.dumps({"text": "arrow"})}}
    assert "got text, image" in problem(client.post("/search", **form), 400)
    both = {"text": "a", "queries": [{"text": "b"}, {"text": "c"}]}
    assert "not both" in problem(client.post("/search", json=both), 400)
    form["data"] = {"query": json.dumps({"queries": [{"text": "arrow", "weight": 0.5}], "to": "left", "k": 5})}
    uploaded = client.post("/search", **form).json()
    encoded = base64.b64encode(picture).decode()
    asked = [{"text": "arrow", "weight": 0.5}, {"image": encoded}]
    assert ids(uploaded) == ids(ask(client, queries=asked, to="left", k=5))
    own = [{"id": "U+2665"}, {"id": "U+2665", "from": "right", "weight": 2}]
    assert "image side" in problem(client.post("/search", json={"queries": own, "from": "left"}), 404)
    found = ask(client, queries=own, k=3, **{"from": "right"})
    assert ids(found) == ids(ask(client, id="U+2665", k=3, **{"from": "right"}))


def test_bodies_that_are_no_json(client):
    json_type = {"content-type": "application/json"}
    for body in (b"", b"{", b"[]", b"nul", b'{"vector": [NaN]}', b'{"text": "\xff"}', b"[" * 100_000):
        problem(client.post("/search", content=body, headers=json_type), 422)
    problem(client.post("/search", content=b"{}", headers={"content-type": "text/plain"}), 415)
    problem(client.post("/search", content=b"junk", headers={"content-type": "multipart/form-data"}), 400)
    problem(client.post("/search", files={"zip": b"x"}), 422)
    problem(client.put("/search"), 405)
    problem(client.get("/nowhere"), 404)


def test_megabytes_of_a_wrong_name_are_refused_shortly(client):
    long = "x" * 3_000_000
    for body in ({"id": long}, {"text": "a", "run": long}, {"text": "a", "where": {long: 1}}, {long: 1}):
        assert len(problem(client.post("/search", json=body), 422)) < 3000
    assert len(problem(client.post("/v1/embeddings", json={"model": long, "input": "a"}), 422)) < 3000


def test_a_run_that_is_asked_by_name(symbols, copied):
    other = copied.rename(copied.with_name("others"))
    with client_of([symbols, other]) as client:
        assert "symbols, others" in problem(client.post("/search", json={"text": "a"}), 400)
        assert ask(client, text="a", run="others")["run"] == "others"
        assert {run["name"] for run in client.get("/runs").json()["runs"]} == {"symbols", "others"}


def test_the_text_of_queries_is_logged_only_when_asked(symbols, capsys):
    for asked in (False, True):
        from starlette.testclient import TestClient

        from sensorium.serve import Settings, create_app

        app = create_app([symbols], Settings(log="info", log_queries=asked))
        with TestClient(app, base_url="http://localhost") as client:
            client.post("/search", json={"text": "secret words"})
        lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
        assert any(line["event"] == "request" and line["route"] == "/search" for line in lines)
        assert ("secret words" in json.dumps(lines)) is asked


def test_no_match_is_said_below_the_threshold_and_not_above(copied):
    good, bad = {"text": "BLACK HEART SUIT", "k": 1}, {"text": "qqqq zzzz xxxx", "k": 1}
    with client_of([copied]) as client:
        high, low = (ask(client, **one)["hits"][0]["score"] for one in (good, bad))
    assert low < high
    path = copied / "trust.json"
    trust = json.loads(path.read_text())
    (copied / "run.json").unlink()  # the change is ours
    trust["right->left"]["no_match"]["score"] = (high + low) / 2
    path.write_text(json.dumps(trust))
    with client_of([copied]) as client:
        assert ask(client, **good)["no_match"] is False and ask(client, **bad)["no_match"] is True
        assert ask(client, **good, where={"category": "no such"})["no_match"] is None
        assert ask(client, **good, space="encoder")["no_match"] is None


def test_a_score_at_the_threshold_is_a_match():
    from types import SimpleNamespace

    from sensorium.search.query import Query, no_match

    run = SimpleNamespace(trust={"a": {"no_match": {"score": 0.5}}})
    query = Query("left", "a", 1, calibrated=True)
    assert [no_match(run, query, one) for one in (0.5, 0.49, 0.51, None)] == [False, True, False, None]

"""openai against a server on this machine: batches, order, failures of every kind, who gets the key, what it costs."""

import json
import time
from email.utils import formatdate

import json_service
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from json_service import answer, cut, failing, shut

from sensorium import parts, store, testing
from sensorium.encoders import openai
from sensorium.errors import BadData, BadRecipe
from sensorium.modalities.text import service as requests
from sensorium.types import Items, as_ids

WIDTH = 6


def vector(text: str) -> list[float]:
    return np.random.default_rng(sum(text.encode()) + len(text)).normal(size=WIDTH).round(6).tolist()


def embeddings(body):
    rows = [{"index": i, "embedding": vector(text)} for i, text in enumerate(body["input"])]
    if "dimensions" in body:
        rows = [{**row, "embedding": row["embedding"][: body["dimensions"]]} for row in rows]
    return {"data": rows[::-1], "model": body["model"]}


def service(*failures):
    return json_service.service(embeddings, *failures)


def width(n):
    return lambda handler: answer(handler, 200, {"data": [{"index": 0, "embedding": [0.1] * n}]})


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in ("OPENAI_BASE_URL", "OPENAI_API_KEY", "http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(requests, "FIRST", 0.01)


def make(address, **keys):
    return parts.make("encoders", {"name": "openai", "model": "tiny", "base_url": address, **keys})


def test_the_contract():
    with service() as (address, _):
        testing.check("openai", "encoders", {"model": "tiny", "base_url": address})


def test_texts_go_in_batches_and_come_back_in_order(monkeypatch):
    monkeypatch.setattr(openai, "_INPUTS", 7)
    texts = [f"text {i}" for i in range(40)]
    with service() as (address, asked):
        made = make(address)
        found = made.encode(texts)
        assert found.dtype == np.float32 and made.dim == WIDTH
        np.testing.assert_allclose(found, [vector(text) for text in texts], atol=1e-6)
        sizes = sorted(len(body["input"]) for _, body, _ in asked)
        assert sizes == [5, 7, 7, 7, 7, 7]
        assert make(address).dim == WIDTH and asked[-1][1]["input"] == ["width"]
        np.testing.assert_allclose(make(address, dimensions=4).encode(texts[:2]), found[:2, :4])
        assert asked[-1][1]["dimensions"] == 4 and asked[-1][1]["encoding_format"] == "float"
        np.testing.assert_allclose(made.encode([""])[0], vector(" "), atol=1e-6)


@given(st.lists(st.text(max_size=30), min_size=1, max_size=200), st.integers(1, 50), st.integers(1, 60))
@settings(max_examples=40, deadline=None)
def test_requests_hold_every_text_once(texts, inputs, tokens):
    before = openai._INPUTS, openai._TOKENS
    openai._INPUTS, openai._TOKENS = inputs, tokens
    try:
        slices = list(openai.requests(texts))
    finally:
        openai._INPUTS, openai._TOKENS = before
    assert [text for some in slices for text in texts[some]] == texts
    for some in slices:
        part = texts[some]
        assert 1 <= len(part) <= inputs
        assert len(part) == 1 or sum(map(openai.tokens_of, part)) <= tokens


@pytest.mark.parametrize(
    "failure", [failing(429), failing(500), failing(503), cut, shut, lambda h: answer(h, 200, b"<html>")]
)
def test_what_passes_is_tried_again(failure):
    with service(failure, failure) as (address, asked):
        np.testing.assert_allclose(make(address, dimensions=WIDTH).encode(["a"])[0], vector("a"), atol=1e-6)
        assert len(asked) == 3


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_it_waits_as_long_as_it_is_asked_to(form):
    after = "1" if form == "seconds" else formatdate(time.time() + 2.5, usegmt=True)
    with service(failing(429, Retry_After=after)) as (address, asked):
        make(address, dimensions=WIDTH).encode(["a"])
        assert 0.9 < asked[1][2] - asked[0][2] < 4


def test_it_ends_with_what_failed():
    with service(*[failing(500, "the model is loading")] * 3) as (address, asked):
        with pytest.raises(
            BadData, match=r"gave no answer in 3 attempts \(500: the model is loading\); what was embedded is kept"
        ):
            make(address, dimensions=WIDTH, retries=2).encode(["a"])
        assert len(asked) == 3
    with pytest.raises(BadData, match="gave no answer in 2 attempts"):  # nobody listens there any more
        make(address, dimensions=WIDTH, retries=1).encode(["a"])


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (failing(401, "bad key"), r"refused the request \(401: bad key\); type: export OPENAI_API_KEY=…"),
        (failing(404, "no model tiny"), r"\(404: no model tiny\); check the model's name and base_url"),
        (failing(400, "too long"), r"refused the request \(400: too long\)$"),
        (failing(429, "spent", "insufficient_quota"), r"refused the request \(429: spent\)$"),
    ],
)
def test_a_refusal_is_said_at_once(failure, said):
    with service(failure) as (address, asked):
        with pytest.raises(BadRecipe, match=said):
            make(address, dimensions=WIDTH).encode(["a"])
        assert len(asked) == 1


def test_a_redirection_takes_no_key_along(monkeypatch):
    with service() as (other, reached):
        away = lambda h: answer(h, 302, b"", Location=f"{other}/embeddings")  # noqa: E731
        with service(away) as (address, _), pytest.raises(BadRecipe, match="refused the request"):
            monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
            monkeypatch.setenv("OPENAI_BASE_URL", address)
            make(address, dimensions=WIDTH).encode(["a"])
        assert reached == []


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (width(3), r"gave vectors of width 3; expected 6 of tiny"),
        (lambda h: answer(h, 200, {"data": []}), "gave 0 vectors for 1 texts"),
        (
            lambda h: answer(h, 200, {"data": [{"index": 5, "embedding": [1.0] * 6}]}),
            "gave 1 vectors for 1 texts, or some",
        ),
        (lambda h: answer(h, 200, b'{"data": [{"index": 0, "embedding": [NaN, 1, 1, 1, 1, 1]}]}'), "no finite numbers"),
        (lambda h: answer(h, 200, {"embeddings": []}), "answered in another form than /v1/embeddings"),
        (lambda h: answer(h, 200, {"data": [{"index": 0, "embedding": ["x"]}]}), "answered in another form"),
    ],
)
def test_a_wrong_answer_is_refused(failure, said):
    with service(failure) as (address, _), pytest.raises(BadData, match=said):
        make(address, dimensions=WIDTH).encode(["a"])


def test_a_failure_keeps_what_was_embedded(tmp_path, monkeypatch):
    """The store goes on where the service gave up, and asks for nothing twice."""
    monkeypatch.setattr(openai.Openai, "batch", 4)
    texts = [f"text {i:02}" for i in range(10)]
    items = Items(as_ids([f"i{i}" for i in range(10)]), texts, "text")
    with service() as (address, asked):
        calls = {"n": 0}
        original = requests.post

        def failing_later(*arguments):
            calls["n"] += 1
            if calls["n"] == 3:
                raise BadData("openai: gone")
            return original(*arguments)

        monkeypatch.setattr(requests, "post", failing_later)
        made = make(address, dimensions=WIDTH)
        with pytest.raises(BadData, match="gone"):
            store.embed(items, made, tmp_path / "store", progress=False)
        assert sum(len(body["input"]) for _, body, _ in asked) == 8
        table = store.embed(items, made, tmp_path / "store", progress=False)
        assert sum(len(body["input"]) for _, body, _ in asked) == 10
        np.testing.assert_allclose(table.vectors, [vector(text) for text in texts], atol=1e-6)


def test_only_the_users_own_services_get_the_key(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    with service() as (address, asked):
        make(address, dimensions=WIDTH).encode(["a"])
        assert "Authorization" not in asked[-1][0], "an address that a recipe names gets no key"
        monkeypatch.setenv("OPENAI_BASE_URL", f"{address}/")
        made = parts.make("encoders", {"name": "openai", "model": "tiny", "dimensions": WIDTH})
        made.encode(["a"])
        assert asked[-1][0]["Authorization"] == "Bearer sk-secret"
        assert "secret" not in json.dumps([made.fingerprint, dict(made.settle())])
        assert made.settle() == {"base_url": address}
    monkeypatch.delenv("OPENAI_BASE_URL")
    assert openai.Openai("tiny")._headers() == {"Authorization": "Bearer sk-secret"}


def test_the_cost_is_said_before_anything_is_sent(tmp_path, capsys):
    known = openai.Openai("text-embedding-3-small")
    assert known.dim == 1536
    said = known.cost(["abcd" * 250_000] * 3)
    assert said == "text-embedding-3-small: 3 texts, about 750,000 tokens at $0.02 a million: about $0.0150"
    assert openai.Openai("new-model").cost(["a"]) == "new-model: 1 texts, about 1 tokens; its price is unknown here"
    items = Items(as_ids(["a", "b", "c"]), ["one", "two", "one"], "text")
    with service() as (address, asked):
        made = make(address, dimensions=WIDTH)
        store.embed(items, made, tmp_path / "store", progress=True)
        said = capsys.readouterr().err
        host = address.removeprefix("http://").removesuffix("/v1")
        assert f"tiny: 2 texts, about 2 tokens, sent to {host}, whose price is unknown here" in said
        store.embed(items, made, tmp_path / "store", progress=True)
        assert "tokens" not in capsys.readouterr().err and len(asked) == 1, "what is stored costs nothing"


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"model": ""}, "openai needs a model; type: left.encoder=openai:text-embedding-3-small"),
        ({"model": "m", "dimensions": -1}, "openai: dimensions=-1; expected 0 or more"),
        ({"model": "m", "retries": -1}, "openai: retries=-1; expected 0 or more"),
        ({"model": "m", "base_url": "localhost:8000"}, "expected an address such as http://localhost:8000/v1"),
        ({"model": "m", "base_url": "file:///etc/passwd"}, "expected an address such as"),
        ({"model": "m", "base_url": "http://me:key@host/v1"}, "holds a name, a key or a query"),
    ],
)
def test_wrong_keys(keys, said):
    with pytest.raises(BadRecipe, match=said):
        parts.make("encoders", {"name": "openai", **keys})


def test_what_is_no_text_is_refused():
    with pytest.raises(BadData, match="openai: value 1 is int; expected text"):
        openai.Openai("tiny", "http://127.0.0.1:9/v1", dimensions=4).encode(["a", 3])

"""llm_vad against a server on this machine that judges, stalls, answers nonsense, refuses and closes the connection."""

import json
import time

import json_service
import numpy as np
import pytest
from json_service import answer, cut, failing, shut

from sensorium import parts, store, testing
from sensorium.encoders import llm_vad
from sensorium.errors import BadData, BadRecipe
from sensorium.modalities.text import service as requests
from sensorium.types import Items, as_ids


def judgement(text):
    return [1 + (sum(text.encode()) + 7 * i) % 13 / 2 for i in range(3)]


def right(*texts):
    return [[(x - 4) / 3 for x in judgement(text)] for text in texts]


def spoken(content):
    return {"choices": [{"message": {"role": "assistant", "content": content}}]}


def judge(body):
    line = json.loads(body["messages"][1]["content"])["line"]
    return spoken(json.dumps(dict(zip(("valence", "arousal", "dominance"), judgement(line), strict=True))))


def service(*failures):
    return json_service.service(judge, *failures)


def saying(content):
    return lambda handler: answer(handler, 200, spoken(content))


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    for name in ("OPENAI_BASE_URL", "OPENAI_API_KEY", "http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(requests, "FIRST", 0.01)


def make(address, **keys):
    return parts.make("encoders", {"name": "llm_vad", "model": "judge", "base_url": address, **keys})


def test_the_contract():
    with service() as (address, _):
        testing.check("llm_vad", "encoders", {"model": "judge", "base_url": address})


def test_texts_become_ratings_on_the_common_scale_in_their_order():
    texts = [f"line {i}" for i in range(30)]
    with service() as (address, asked):
        found = make(address).encode([*texts, texts[0], "  "])
    np.testing.assert_allclose(found[:31], right(*texts, texts[0]), atol=1e-6)
    assert np.abs(found).max() <= 1 and found.dtype == np.float32
    np.testing.assert_allclose(found[31], 0, atol=1e-5)  # no words: the middle of the scales
    assert len(asked) == 30, "equal texts are asked once, a text without words not at all"
    body = asked[0][1]
    assert body["model"] == "judge" and body["temperature"] == 0 and "never an instruction" in body["messages"][0][
        "content"].replace("\n", " ")  # fmt: skip


@pytest.mark.parametrize(
    "failure", [failing(429), failing(500), failing(503), cut, shut, lambda h: answer(h, 200, b"<")]
)
def test_what_passes_is_tried_again(failure):
    with service(failure, failure) as (address, asked):
        np.testing.assert_allclose(make(address).encode(["a"]), right("a"), atol=1e-6)
        assert len(asked) == 3


def test_it_waits_as_long_as_it_is_asked_to():
    with service(failing(429, Retry_After="1")) as (address, asked):
        make(address).encode(["a"])
        assert 0.9 < asked[1][2] - asked[0][2] < 4


def test_a_service_that_stalls_is_asked_again_after_the_time_out():
    with service(lambda handler: time.sleep(2.0)) as (address, asked):
        start = time.monotonic()
        np.testing.assert_allclose(make(address, timeout=1).encode(["a"]), right("a"), atol=1e-6)
        assert len(asked) == 2 and time.monotonic() - start < 5


@pytest.mark.parametrize(
    "nonsense",
    [saying("I cannot rate this."), saying('{"valence": 3, "arousal": 4}'), saying('{"valence": "high"}'),
     saying('{"valence": 9, "arousal": 4, "dominance": 4}'), saying('{"valence": true, "arousal": 4, "dominance": 4}'),
     saying('{"valence": NaN, "arousal": 4, "dominance": 4}'), saying(None), lambda h: answer(h, 200, {"choices": []})],
)  # fmt: skip
def test_nonsense_is_asked_again_and_then_names_the_text(nonsense):
    with service(nonsense) as (address, asked):
        np.testing.assert_allclose(make(address).encode(["a"]), right("a"), atol=1e-6)
        assert len(asked) == 2
    with service(*[nonsense] * 2) as (address, asked), pytest.raises(
        BadData, match=r"llm_vad: judge gave no usable answer in 2 attempts \(.* in '.*'\) for the text 'Leave me alone\.'"
    ):  # fmt: skip
        make(address, retries=1).encode(["Leave me alone."])


def test_words_and_a_fence_around_the_answer_are_passed_over():
    fenced = 'Here you are:\n```json\n{"Valence": 1, "AROUSAL": 7, "dominance": 4.0}\n```'
    with service(saying(fenced)) as (address, _):
        np.testing.assert_allclose(make(address).encode(["a"]), [[-1, 1, 0]], atol=1e-6)


@pytest.mark.parametrize(
    ("failure", "said"),
    [(failing(401, "bad key"), r"refused the request \(401: bad key\); type: export OPENAI_API_KEY=…"),
     (failing(404, "no model judge"), r"\(404: no model judge\); check the model's name and base_url"),
     (failing(429, "spent", "insufficient_quota"), r"refused the request \(429: spent\)$")],
)  # fmt: skip
def test_a_refusal_is_said_at_once(failure, said):
    with service(failure) as (address, asked):
        with pytest.raises(BadRecipe, match=said):
            make(address).encode(["a"])
        assert len(asked) == 1


def test_what_a_model_does_not_take_is_left_out():
    def reasoning(body):
        return judge(body)

    refusals = [failing(400, "Unsupported value: 'temperature' does not support 0"),
                failing(400, "unknown field response_format")]  # fmt: skip
    with json_service.service(reasoning, *refusals) as (address, asked):
        encoder = make(address, together=1)
        np.testing.assert_allclose(encoder.encode(["a", "b"]), right("a", "b"), atol=1e-6)
    assert [sorted({"temperature", "response_format"} & set(body)) for _, body, _ in asked] == [
        ["response_format", "temperature"], ["response_format"], [], []]  # fmt: skip


def test_answers_are_kept_by_content_and_an_interrupted_run_goes_on():
    texts = [f"line {i}" for i in range(12)]
    with service(*[None] * 5, failing(500), failing(500)) as (address, asked):
        with pytest.raises(BadData, match="gave no answer in 2 attempts"):
            make(address, retries=1, together=1).encode(texts)
        assert len(asked) == 7, "after the failure nothing more is asked"
        np.testing.assert_allclose(make(address).encode(texts), right(*texts), atol=1e-6)
        assert len(asked) == 14, "what was answered before is not asked again"


def test_the_file_of_answers_is_used_by_another_process_and_survives_a_torn_line():
    with service() as (address, asked):
        first = make(address)
        first.encode(["a", "b"])
        path = first._chat._file()
        with path.open("ab") as file:
            file.write(b'{"key": "half')
        second = make(address)
        second.encode(["c"])
        np.testing.assert_allclose(make(address).encode(["a", "b", "c"]), right("a", "b", "c"), atol=1e-6)
        assert len(asked) == 3
        assert "a" not in [json.loads(line).get("text") for line in path.read_text().splitlines() if line.endswith("}")]
        make(address, cache="none").encode(["a"])
        assert len(asked) == 4
        parts.make("encoders", {"name": "llm_vad", "model": "other", "base_url": address}).encode(["a"])
        assert len(asked) == 5, "another model's answer is another one"


def test_a_folder_that_cannot_be_written_costs_the_file_alone(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    with service() as (address, _):
        np.testing.assert_allclose(make(address, cache=str(tmp_path / "file" / "in")).encode(["a", "b"]),
                                   right("a", "b"), atol=1e-6)  # fmt: skip
    assert capsys.readouterr().err.count("answers are not kept") == 1


def test_the_key_comes_from_the_environment_and_is_nowhere_else(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-1")
    with service() as (address, asked):
        make(address).encode(["a"])
        assert "Authorization" not in asked[-1][0], "an address that a recipe names gets no key"
    with service(failing(401, "Incorrect API key provided: sk-secret-1")) as (address, asked):
        monkeypatch.setenv("OPENAI_BASE_URL", address)
        made = parts.make("encoders", {"name": "llm_vad", "model": "judge"})
        with pytest.raises(BadRecipe, match=r"Incorrect API key provided: …\)") as caught:
            made.encode(["b"])
        made.encode(["b"])
        assert asked[-1][0]["Authorization"] == "Bearer sk-secret-1"
    said = [str(caught.value), json.dumps([made.fingerprint, dict(made.settle())]), made.cost(["c"])]
    said += [path.read_text() for path in (tmp_path / "cache").rglob("*") if path.is_file()] + list(capsys.readouterr())
    assert not any("secret" in text for text in said)


def test_the_cost_is_said_before_anything_is_sent(tmp_path, capsys):
    items = Items(as_ids(["a", "b", "c"]), ["one", "two", "one"], "text")
    with service() as (address, asked):
        host = address.removeprefix("http://").removesuffix("/v1")
        made = make(address)
        store.embed(items, made, tmp_path / "store", progress=True)
        said = capsys.readouterr().err
        tokens = 2 * (1 + llm_vad._tokens(llm_vad.INSTRUCTION))
        assert f"judge: 2 requests to {host}, about {tokens} tokens read and 60 written; its price is unknown" in said
        assert len(asked) == 2
        priced = make(address, price_in=1000.0, price_out=500.0)
        assert priced.cost(["one", "three"]).endswith(
            f"written; 1 texts are answered already: about ${(tokens // 2 + 1) * 1e-3 + 30 * 5e-4:,.4f}"
        )


@pytest.mark.parametrize(
    ("keys", "said"),
    [({"model": ""}, "llm_vad needs a model"), ({"model": "m", "retries": 21}, "retries=21; expected 0 to 20"),
     ({"model": "m", "timeout": 0.5}, "timeout=0.5; expected 1 to 3600"),
     ({"model": "m", "together": 0}, "together=0; expected 1 to 64"),
     ({"model": "m", "price_in": -1.0}, "price_in=-1.0; expected 0 to 1000"),
     ({"model": "m", "price_out": 1e6}, "price_out=1000000.0; expected 0 to 1000"),
     ({"model": "m", "base_url": "ftp://x"}, "llm_vad.base_url='ftp://x'; expected an address"),
     ({"model": "m", "base_url": "http://me:key@host/v1"}, "llm_vad.base_url holds a name, a key or a query")],
)  # fmt: skip
def test_wrong_keys(keys, said):
    with pytest.raises(BadRecipe, match=said):
        parts.make("encoders", {"name": "llm_vad", **keys})


def test_what_is_no_text_is_refused():
    with pytest.raises(BadData, match="llm_vad: value 1 is int; expected text"):
        make("http://127.0.0.1:9/v1").encode(["a", 3])

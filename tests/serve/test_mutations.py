"""Thousands of damaged bodies: every one is answered, none by a failure of the server."""

import json
import random
from collections import Counter

import pytest
from served import client_of

pytestmark = pytest.mark.xdist_group("serve")
BODIES = 5200  # in all
SPOILT = [
    "NaN", "-Infinity", "Infinity", "1e400", "-1e400", "1e39", "1e-400", str(2**31), str(2**63), str(-(2**63) - 1),
    "9" * 400, "-0", "0.1", "true", "null", '""', '"a"', "[]", "{}", "[[]]", '{"": null}', '"\\ud800"', '"\\udfff x"',
    '"\\u0000"', '"\xff"', '"' + "x" * 5000 + '"', "[" * 3000, '{"a":' * 3000, "[1," * 500 + "1" + "]" * 500, "01", "'a'",
    '"U+2665"', '"left"', '"right"', '{"text": "a"}', '[{"text": "a"}]', "[0.5, 1]", '["a"]', '{">=": 3}', '{"=": 3}',
    "[" + "0.5," * 255 + "0.5]", '"data:,"', '"AAAA"', '"../../etc/passwd"', "\ufeff1", "",
]  # fmt: skip
PLAIN = {
    "/search": [
        {"text": "arrow", "k": 3, "where": {"category": "Sm"}, "corrected": True, "mmr": 0.5, "pool": 20},
        {"queries": [{"text": "a", "weight": 1.0}, {"id": "U+2665", "weight": -1, "from": "right"}], "to": "left"},
        {"id": "U+2665", "from": "right", "to": "right", "space": "encoder", "run": "symbols"},
        {"vector": [0.5] * 256, "from": "right", "where": {"codepoint": ["U+2665", "a"], "name": {"<": "H"}}},
        {"image": "iVBORw0KGgo="},
    ],
    "/items": [{"side": "right", "id": "new", "text": "a", "columns": {"name": "b"}, "replace": True}],
    "/encode": [{"text": ["a", "b"], "space": "head"}, {"image": ["AAAA"], "side": "left"}],
    "/v1/embeddings": [{"model": "symbols", "input": ["a"], "encoding_format": "base64", "dimensions": 256}],
}


def damaged(dice: random.Random, path: str) -> bytes:
    """A body with one thing or several wrong, in its values, its keys or its bytes."""
    text = json.dumps(dice.choice(PLAIN[path]))
    for _ in range(dice.choice((1, 1, 1, 2, 4))):
        kind = dice.random()
        places = [i for i, c in enumerate(text) if c in ":,[{"] or [0]
        at = dice.choice(places) + 1
        if kind < 0.55:  # another value
            end = min((text.find(c, at) for c in ",]}" if text.find(c, at) >= 0), default=len(text))
            text = text[:at] + dice.choice(SPOILT) + text[end:]
        elif kind < 0.7:  # cut or doubled
            text = text[:at] if dice.random() < 0.5 else text + text[at:]
        elif kind < 0.8:  # a key of another name
            text = text.replace('"', dice.choice(('"x', '"\\u0000', "'", '"')), 1)
        else:
            text = text[: at - 1] + dice.choice('\x00\x7f{}[]:,"\\eE+-.0') + text[at:]
    body = text.encode("utf-8", "surrogatepass")
    if dice.random() < 0.2:
        body = bytearray(body)
        for _ in range(dice.randint(1, 5)):
            if body:
                body[dice.randrange(len(body))] = dice.randrange(256)
    return bytes(body)


def private(text: str, *folders) -> list[str]:
    """What an answer tells of this machine: folders, and objects with their addresses."""
    return [
        one for one in (*map(str, folders), " object at 0x", "<_io.", "Traceback", "/site-packages/") if one in text
    ]


@pytest.mark.slow
def test_no_body_makes_the_server_fail(copied):
    dice, statuses = random.Random(0), Counter()
    with client_of([copied], max_encode=8) as client:
        for i in range(BODIES):
            path = list(PLAIN)[i % len(PLAIN)] if i % 5 else "/search"
            body = damaged(dice, path)
            answer = client.post(path, content=body, headers={"content-type": "application/json"})
            statuses[answer.status_code] += 1
            assert answer.status_code < 500, (path, body[:300], answer.text)
            if answer.status_code >= 400:
                assert not private(answer.text, copied.parent), (path, body[:300], answer.text)
                assert answer.headers["content-type"] == "application/problem+json"
                assert json.loads(answer.content)["status"] == answer.status_code
            else:
                json.loads(answer.content)
        assert client.get("/readyz").status_code == 200
    assert statuses[422] > BODIES / 3 and statuses[200] > 50, statuses


def test_no_form_makes_the_server_fail(client, symbols):
    dice = random.Random(1)
    picture = client.get("/media/U%2B2665%2FDejaVuSansMono").content
    start = b'--b\r\nContent-Disposition: form-data; name="query"\r\n\r\n{"k": 2}\r\n--b\r\nContent-Disposition: '
    whole = (
        start
        + b'form-data; name="image"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n'
        + picture
        + b"\r\n--b--\r\n"
    )
    kinds = ["multipart/form-data; boundary=b", "multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=\"b"]  # fmt: skip
    good = client.post("/search", content=whole, headers={"content-type": kinds[0]})
    assert good.status_code == 200, good.text
    for i in range(400):
        body = bytearray(whole)
        for _ in range(dice.randint(1, 8)):
            body[dice.randrange(len(body))] = dice.randrange(256)
        cut = dice.randrange(len(body)) if i % 3 == 0 else len(body)
        kind = kinds[0] if i % 4 else dice.choice(kinds)
        answer = client.post("/search", content=bytes(body[:cut]), headers={"content-type": kind})
        assert answer.status_code < 500, (bytes(body[:300]), answer.text)
        assert not private(answer.text, symbols.parent), answer.text


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_no_path_makes_the_server_fail(client, symbols, method):
    dice = random.Random(2)
    pieces = ["..", "%2e%2e", "%00", "%ff", "%ED%A0%80", "items", "media", "runs", "symbols", "?side=left", "?side=", "a" * 2000,
              "%2F", "//", "\\", "?run=%00", "?run=symbols&run=x", ";", "#", "U%2B2665", "%", "{id}"]  # fmt: skip
    for _ in range(500):
        path = "http://127.0.0.1:8000/" + "/".join(dice.choice(pieces) for _ in range(dice.randint(1, 4)))
        answer = client.request(method, path)
        assert answer.status_code < 500, (path, answer.text)
        assert answer.status_code < 400 or not private(answer.text, symbols.parent), (path, answer.text)


MISTAKES = [
    ("/search", {"text": "a", "where": {"nothing": 1}}),
    ("/search", {"audio": "UklGRmp1bms="}),
    ("/search", {"image": "iVBORw0KGgo="}),
    ("/search", {"image": "R0lGODlhAQ=="}),
    ("/search", {"id": "nobody"}),
    ("/search", {"vector": [1.0, 2.0]}),
    ("/search", {"text": "a", "run": "other"}),
    ("/search", {"text": "a", "from": "left"}),
    ("/search", {"id": "U+2665", "space": "encoder", "to": "left"}),
    ("/encode", {"audio": ["AAAA"]}),
    ("/encode", {"image": ["AAAA"]}),
    ("/items", {"side": "left", "id": "n", "image": "AAAA"}),
    ("/items", {"side": "right", "id": "n", "text": "a", "columns": {"nothing": 1}}),
    ("/v1/embeddings", {"model": "other", "input": "a"}),
]


@pytest.mark.parametrize(("path", "body"), MISTAKES)
def test_no_answer_tells_of_folders_or_objects(client, symbols, path, body):
    answer = client.post(path, json=body)
    assert 400 <= answer.status_code < 500 and not private(answer.text, symbols.parent), answer.text


def test_messages_are_told_without_folders(tmp_path):
    from pathlib import Path

    from sensorium.serve.problems import Redactor

    redact, runs = Redactor({"mine": tmp_path / "runs" / "mine"}), tmp_path / "runs"
    assert redact(f"{runs}/mine/left.json is damaged") == "mine/left.json is damaged"
    assert redact(f"{runs}/embeddings/left") == "…/embeddings/left"
    assert redact(f"{runs}/mine-2/x") == "…/mine-2/x", "another folder whose name begins alike"
    assert redact("cannot identify <_io.BytesIO object at 0x7f12ab>") == "cannot identify the input"
    assert str(Path.home()) not in redact(f"{Path.home()}/secret") or str(Path.home()) == "/"

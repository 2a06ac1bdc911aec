"""How a request may come: JSON with a mark before it, base64 with line breaks, forms of every make, HEAD, abandoned."""

import base64
import json
import socket
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from served import problem

from sensorium.serve.engine.inputs import decode_base64
from sensorium.serve.problems import Problem

pytestmark = pytest.mark.xdist_group("serve")
JSON = {"content-type": "application/json"}
FORM = {"content-type": "multipart/form-data; boundary=b"}


@pytest.fixture(scope="module")
def picture(client):
    return client.get("/media/U%2B2665%2FDejaVuSansMono").content


def part(name: str, content: bytes, more: str = "") -> bytes:
    return f'--b\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'.encode() + content + b"\r\n"


def first(answer) -> str:
    assert answer.status_code == 200, answer.text
    return answer.json()["hits"][0]["id"]


def test_a_byte_order_mark_before_json_is_no_part_of_it(client):
    body = b"\xef\xbb\xbf" + json.dumps({"id": "U+2665", "k": 1}).encode()
    assert first(client.post("/search", content=body, headers=JSON)) == "U+2665/DejaVuSansMono"
    assert client.post("/encode", content=b'\xef\xbb\xbf{"text": ["a"]}', headers=JSON).status_code == 200
    problem(client.post("/search", content="﻿{}".encode("utf-16"), headers=JSON), 422)


@pytest.mark.parametrize("more", ['; filename="a.png"', "", "; filename*=utf-8''%e2%82%ac.png", '; filename=""'])
@pytest.mark.parametrize("query", [b'{"k": 1}', b'\xef\xbb\xbf{"k": 1}', None])
def test_forms_of_every_make_are_read(client, picture, more, query):
    """Browsers, curl and hand-written clients: a file without a file name, a query as a Blob of JSON."""
    body = b"" if query is None else part("query", query, '; filename="blob"' if len(more) % 2 else "")
    body += part("image", picture, more) + b"--b--\r\n"
    assert first(client.post("/search", content=body, headers=FORM)) == "U+2665"


def test_two_parts_of_one_name_are_refused(client, picture):
    for name, content in (("image", picture), ("query", b'{"k": 1}')):
        twice = part(name, content, '; filename="a"') + part(name, content) + b"--b--\r\n"
        assert f"'{name}' is there twice" in problem(client.post("/search", content=twice, headers=FORM), 422)
    both = part("image", picture) + part("query", b'{"text": "heart"}') + b"--b--\r\n"
    assert "text, image" in problem(client.post("/search", content=both, headers=FORM), 400)


def test_a_form_that_is_cut_is_refused(client, picture):
    whole = part("query", b'{"k": 1}') + part("image", picture) + b"--b--\r\n"
    for cut in (10, 60, 100, len(whole) - 20, len(whole) - 8):
        assert "the form cannot be read" in problem(client.post("/search", content=whole[:cut], headers=FORM), 400)
    assert "boundary" in problem(
        client.post("/search", content=whole, headers={"content-type": "multipart/form-data"}), 400
    )
    nameless = whole.replace(b'name="query"', b'filename="query"')
    assert "without a name" in problem(client.post("/search", content=nameless, headers=FORM), 400)
    many = part("x", b"") * 40 + b"--b--\r\n"
    assert problem(client.post("/search", content=many, headers=FORM), 413).endswith("32 parts")


def test_base64_with_line_breaks_or_a_data_address(client, picture):
    text = base64.encodebytes(picture).decode()
    for sent in (text, text.replace("\n", "\r\n"), "data:image/png;base64," + text, "DATA:;base64," + text,
                 base64.urlsafe_b64encode(picture).decode().rstrip("=")):  # fmt: skip
        assert first(client.post("/search", json={"image": sent, "k": 1})) == "U+2665"


@given(st.binary(max_size=200), st.integers(1, 80), st.booleans(), st.booleans())
def test_base64_is_read_back(content, width, padded, other):
    encoded = (base64.urlsafe_b64encode if other else base64.b64encode)(content).decode()
    encoded = encoded if padded else encoded.rstrip("=")
    lines = "\n".join(encoded[i : i + width] for i in range(0, len(encoded), width))
    assert decode_base64(lines, "image") == content


@given(st.text(max_size=60))
def test_other_text_is_refused_or_read(text):
    try:
        decode_base64(text, "image")
    except Problem as error:
        assert error.status == 422 and "not base64" in error.detail


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "zstd", "gzip, identity"])
def test_compressed_bodies_are_refused_by_name(client, encoding):
    answer = client.post("/search", content=b"\x1f\x8b\x08", headers={**JSON, "content-encoding": encoding})
    assert encoding.split(",")[0] in problem(answer, 415)
    assert client.post("/search", json={"id": "U+2665"}, headers={"content-encoding": "identity"}).status_code == 200


@pytest.mark.parametrize(
    "path", ["/", "/app.js", "/healthz", "/readyz", "/runs", "/runs/symbols", "/media/U%2B2665%2FDejaVuSansMono",
             "/openapi.json", "/runs/symbols/events", "/nowhere", "/items/nobody", "/runs/symbols/map", "/metrics"],
)  # fmt: skip
def test_head_answers_as_get_does_without_a_body(client, path):
    get, head = client.get(path), client.head(path)
    assert head.status_code == get.status_code and head.content == b""
    volatile = {"date", "etag", "last-modified", "content-length"}  # took_ms and the like change the length
    assert {k: v for k, v in head.headers.items() if k not in volatile} == {
        k: v for k, v in get.headers.items() if k not in volatile
    }
    assert ("content-length" in head.headers) == ("content-length" in get.headers)


def test_head_of_what_only_takes_post_is_refused_as_get_is(client):
    assert client.head("/search").status_code == client.get("/search").status_code == 404


def test_sockets_at_an_address_with_a_slash_or_at_none(client):
    from starlette.testclient import WebSocketDenialResponse

    for path in ("/stream", "/stream/", "/stream//"):
        with client.websocket_connect(f"ws://127.0.0.1:8000{path}") as one:
            assert one.receive_json()["type"] == "error", "let in, and told that this run does not stream"
    with pytest.raises(WebSocketDenialResponse) as refusal, client.websocket_connect("ws://127.0.0.1:8000/other"):
        pass
    assert "no socket at /other" in problem(refusal.value, 404)


def test_who_goes_in_the_midst_of_an_upload_is_no_failure(symbols, serve):
    server = serve(symbols, SENSORIUM_LOG="info")
    json_, form = ("application/json", b'{"text": "'), (FORM["content-type"], b"--b\r\nContent-Dis")
    paths = ("/search", "/items", "/encode", "/v1/embeddings")
    for path, (kind, begun) in [*((path, json_) for path in paths), ("/search", form)]:
        with socket.create_connection(("127.0.0.1", server.port), 10) as one:
            head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\nContent-Length: 9000\r\n\r\n"
            one.sendall(head.encode() + begun)
            time.sleep(0.05)
    time.sleep(0.5)
    lines = [json.loads(line) for line in server.stop().splitlines()]
    assert not [line for line in lines if line["event"] == "failure"]
    gone = [line["route"] for line in lines if line["event"] == "request" and line["status"] == 499]
    assert sorted(gone) == sorted([*paths, "/search"]) and not [line for line in lines if line.get("status") == 500]

"""Items, media, encoding and probes over HTTP."""

import base64
import io

import numpy as np
import pytest
from PIL import Image
from served import client_of, problem

import sensorium

pytestmark = pytest.mark.xdist_group("serve")
HEART = "/items/U%2B2665%2FDejaVuSansMono"


@pytest.fixture(scope="module")
def run(symbols):
    return sensorium.open(symbols)


def test_an_item_its_columns_and_its_partners(client):
    item = client.get(HEART).json()
    assert item["id"] == "U+2665/DejaVuSansMono" and item["side"] == "left" and item["kind"] == "image"
    assert item["columns"]["name"] == "BLACK HEART SUIT"
    assert [(p["side"], p["id"]) for p in item["partners"]] == [("right", "U+2665")]
    back = client.get("/items/U%2B2665").json()
    assert [p["id"] for p in back["partners"]] == ["U+2665/DejaVuSansMono"]
    assert "no item" in problem(client.get("/items/nobody"), 404)
    assert "image side" in problem(client.get("/items/U%2B2665?side=left"), 404)
    problem(client.get("/items/U%2B2665?side=up"), 422)


def test_media_are_the_pictures_themselves(client, run):
    data = run.recipe.part("data").load()
    row = data.left.ids.tolist().index("U+2665/DejaVuSansMono")
    answer = client.get(HEART.replace("items", "media"))
    assert answer.headers["content-type"] == "image/png" and answer.headers["x-content-type-options"] == "nosniff"
    assert (np.asarray(Image.open(io.BytesIO(answer.content))) == data.left.values[row]).all()
    part = client.get(HEART.replace("items", "media"), headers={"range": "bytes=1-3"})
    assert part.status_code == 206 and part.content == b"PNG"
    assert client.get(HEART.replace("items", "media"), headers={"range": "bytes=-2"}).content == answer.content[-2:]
    problem(client.get(HEART.replace("items", "media"), headers={"range": "bytes=99999-"}), 416)
    same = client.get(HEART.replace("items", "media"), headers={"if-none-match": answer.headers["etag"]})
    assert same.status_code == 304 and not same.content
    problem(client.get("/media/U%2B2665"), 404)
    for outside in ("/media/..%2F..%2Fetc%2Fpasswd", "/media/%2Fetc%2Fpasswd", "/..%2F..%2Fpyproject.toml"):
        problem(client.get(outside), 404)


def test_items_are_added_found_replaced_and_removed(copied):
    with client_of([copied]) as client:
        new = {"side": "right", "id": "N1", "text": "zebra crossing", "columns": {"name": "zebra"}}
        before = client.get("/runs").json()["runs"][0]["sides"]["right"]["items"]
        answer = client.post("/items", json=new)
        assert answer.status_code == 201 and answer.json() == {"id": "N1", "items": before + 1}
        asked = {"text": "zebra crossing", "from": "right", "to": "right", "k": 1}
        hit = client.post("/search", json=asked).json()["hits"][0]
        assert hit["id"] == "N1" and hit["columns"]["text"] == "zebra crossing" and hit["columns"]["category"] == ""
        assert "replace" in problem(client.post("/items", json=new), 409)
        answer = client.post("/items", json={**new, "replace": True, "columns": {"name": "other"}})
        assert answer.json()["items"] == before + 1
        assert client.get("/items/N1").json()["columns"]["name"] == "other"
        assert client.delete("/items/N1").status_code == 204
        problem(client.get("/items/N1"), 404)
        problem(client.delete("/items/N1"), 404)
        assert client.post("/search", json=asked).json()["hits"][0]["id"] != "N1"

        picture = np.full((40, 40), 255, np.uint8)
        picture[10:30, 18:22] = 0
        file = io.BytesIO()
        Image.fromarray(picture).save(file, "png")
        text = base64.b64encode(file.getvalue()).decode()
        assert client.post("/items", json={"side": "left", "id": "my/line", "image": text}).status_code == 201
        assert client.get("/media/my%2Fline").content == file.getvalue()
        found = client.post("/search", json={"image": text, "from": "left", "to": "left", "k": 1}).json()
        assert found["hits"][0]["id"] == "my/line" and found["hits"][0]["media"]


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ({"side": "right", "id": "x"}, 400, "exactly one"),
        ({"side": "right", "id": "x", "text": "a", "columns": {"nope": 1}}, 422, "nope"),
        ({"side": "right", "id": "", "text": "a"}, 422, "id"),
        ({"side": "right", "id": "a\nb", "text": "a"}, 422, "id"),
        ({"side": "right", "id": "x", "vector": [1.0]}, 422, "takes 256"),
        ({"side": "left", "id": "x", "text": "a"}, 400, "image"),
        ({"side": "left", "id": "x", "image": "AAAA"}, 422, "PNG"),
        ({"side": "middle", "id": "x", "text": "a"}, 422, "side"),
    ],
)
def test_items_that_cannot_be_added(client, body, status, says):
    assert says in problem(client.post("/items", json=body), status)


def test_encoding(client, run):
    texts = ["heart", "arrow", "heart"]
    found = client.post("/encode", json={"text": texts}).json()
    np.testing.assert_allclose(found["vectors"], run.encode("right", texts), rtol=1e-5, atol=1e-7)
    assert found["dim"] == run.head("right").dim and found["encoder"]["name"] == "hashing"
    raw = client.post("/encode", json={"text": texts, "space": "encoder"}).json()["vectors"]
    np.testing.assert_allclose(raw, run.encoder("right").encode(texts), rtol=1e-6)
    problem(client.post("/encode", json={"text": []}), 422)
    problem(client.post("/encode", json={"text": ["a"], "image": ["b"]}), 400)
    problem(client.post("/encode", json={"text": ["a"] * 1000}), 413)


def test_embeddings_in_openais_shape(client, run):
    """The body and the decoding are those of openai 1.x: base64 of little-endian float32."""
    sent = {"input": ["heart", "arrow"], "model": "symbols", "encoding_format": "base64"}
    answer = client.post("/v1/embeddings", json=sent, headers={"authorization": "Bearer sk-unused"}).json()
    assert answer["object"] == "list" and answer["model"] == "symbols" and set(answer["usage"]) == {"prompt_tokens", "total_tokens"}  # fmt: skip
    found = [np.frombuffer(base64.b64decode(one["embedding"]), "<f4") for one in answer["data"]]
    np.testing.assert_allclose(found, run.encode("right", sent["input"]), rtol=1e-5, atol=1e-7)
    assert [one["index"] for one in answer["data"]] == [0, 1]
    plain = client.post("/v1/embeddings", json={"input": "heart", "model": "symbols:right"}).json()
    np.testing.assert_allclose(plain["data"][0]["embedding"], found[0], rtol=1e-6)
    assert "symbols" in problem(client.post("/v1/embeddings", json={"input": "a", "model": "gpt"}), 404)
    assert "leave it out" in problem(client.post("/v1/embeddings", json={**sent, "dimensions": 3}), 400)
    problem(client.post("/v1/embeddings", json={**sent, "model": "symbols:left"}), 400)


def test_probes_metrics_and_system(client):
    assert client.get("/healthz").json() == {"status": "ok"}
    ready = client.get("/readyz").json()
    assert ready["status"] == "ready" and set(ready["runs"]) == {"symbols"}
    client.post("/search", json={"text": "a"})
    metrics = client.get("/metrics").text
    assert 'sensorium_requests_total{method="POST",route="/search",status="200"}' in metrics
    assert 'sensorium_items{run="symbols",side="left"}' in metrics
    told = client.get("/system").json()
    assert told["latency"]["/search"]["p99"] > 0 and told["memory"] > 1e7
    assert told["runs"][0]["sides"]["right"]["encodings"] >= 1


def test_a_broken_run_says_so_and_the_others_are_served(symbols, copied):
    (copied / "left.safetensors").write_bytes(b"junk")
    broken = copied.rename(copied.with_name("broken"))
    with client_of([symbols, broken]) as client:
        states = {run["name"]: run for run in client.get("/runs").json()["runs"]}
        assert states["broken"]["state"] == "broken" and "left" in states["broken"]["detail"]
        assert "broken" in problem(client.post("/search", json={"text": "a", "run": "broken"}), 503)
        assert client.post("/search", json={"text": "a", "run": "symbols"}).status_code == 200
        assert "broken" in client.get("/readyz").json()["waiting"]
    with client_of([broken]) as client:
        problem(client.get("/readyz"), 503)


def test_openapi_is_whole(client):
    told = client.get("/openapi.json").json()
    assert {"/search", "/items", "/items/{id}", "/media/{id}", "/encode", "/v1/embeddings", "/healthz", "/readyz",
            "/metrics", "/system", "/runs"} <= set(told["paths"])  # fmt: skip

    def refs(value):
        if isinstance(value, dict):
            yield from ([value["$ref"]] if "$ref" in value else [])
            value = value.values()
        if not isinstance(value, str | int | float | bool | None):
            for one in value:
                yield from refs(one)

    known = set(told["components"]["schemas"])
    assert {ref.rpartition("/")[2] for ref in refs(told)} <= known
    assert "requestBody" in told["paths"]["/search"]["post"]

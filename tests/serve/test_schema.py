"""Requests made up from the OpenAPI document itself: no answer is a failure, and every answer is as promised.

``SENSORIUM_EXAMPLES=200`` tries so many a route, as ``make test-thorough`` does; fewer by default.
"""

import json
import os
from collections import Counter

import pytest
from hypothesis import HealthCheck, Phase, given, settings

schemathesis = pytest.importorskip("schemathesis", reason="type: pip install schemathesis")
requests = pytest.importorskip("requests")

pytestmark = pytest.mark.xdist_group("serve")
KEYS = {"method", "url", "headers", "files", "data", "params", "auth", "cookies", "json"}
EXAMPLES = min(200, int(os.environ.get("SENSORIUM_EXAMPLES", "10")))
#: Routes that wait for what happens, or that compute a layout for a long time.
LEFT_OUT = ("/runs/{run}/events", "/runs/{run}/map")


@pytest.fixture(scope="module")
def application(symbols, tmp_path_factory):
    import shutil

    from starlette.testclient import TestClient

    from sensorium.serve import Settings, create_app

    folder = tmp_path_factory.mktemp("schema")
    shutil.copytree(symbols.parent, folder / "runs")
    app = create_app([folder / "runs" / "symbols"], Settings(log="off"))
    with TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as client:
        yield app, client


def test_no_request_from_the_document_makes_the_server_fail(application):
    app, client = application
    schema = schemathesis.openapi.from_dict(json.loads(json.dumps(app.openapi())))
    tried = Counter()
    for found in schema.get_all_operations():
        if found.ok().path not in LEFT_OUT:
            requests_of(found.ok(), client, tried)()
    assert len(tried) >= 15 and min(tried.values()) >= 1, tried


def requests_of(operation, client, tried):
    """A property over the requests of one operation: every answer is one that the document promises."""
    name, promised = f"{operation.method.upper()} {operation.path}", operation.definition.raw["responses"]

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy())
    def attempt(case):
        told = case.as_transport_kwargs(base_url="http://localhost")
        sent = requests.Request(**{key: told[key] for key in told if key in KEYS}).prepare()
        answer = client.request(sent.method, sent.url, content=sent.body, headers=sent.headers)
        tried[name] += 1
        assert answer.status_code < 500, (name, sent.url, sent.body, answer.text)
        # An id or a run that is left empty makes it another path.
        assert str(answer.status_code) in promised or answer.status_code in (404, 405), (
            name,
            sent.url,
            sent.body,
            answer.text,
        )
        if answer.status_code >= 400:
            assert answer.headers["content-type"] == "application/problem+json"

    return attempt


def test_what_post_needs_is_in_the_document(client):
    paths = client.get("/openapi.json").json()["paths"]
    for path in ("/search", "/items", "/encode", "/v1/embeddings"):
        assert paths[path]["post"]["requestBody"]["required"] is True
    form = paths["/search"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]
    assert {"query", "image", "audio", "face"} <= set(form)

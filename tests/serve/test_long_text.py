"""Long text over HTTP: bounded, and what is taken costs what it is long."""

import resource

import pytest
from served import client_of, problem

import sensorium

pytestmark = pytest.mark.xdist_group("serve")


def test_long_text_is_bounded_and_the_run_opens_again(copied):
    with client_of([copied]) as client:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        new = {"side": "right", "id": "long", "text": "zebra", "columns": {"name": "x" * 9_000}}
        assert client.post("/items", json=new).status_code == 201
        for i in range(3):
            assert client.post("/items", json={"side": "right", "id": f"n{i}", "text": "cat"}).status_code == 201
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert grown < 300_000, f"{grown / 1e3:.0f} MB for one text of 9,000 characters"
        huge = {**new, "id": "huge", "columns": {"name": "x" * 2_000_000}}
        assert client.post("/items", json=huge).status_code in (413, 422)
        problem(client.get("/items/huge"), 404)
        assert client.get("/items/long").json()["columns"]["name"] == "x" * 9_000
    run = sensorium.open(copied)
    assert {"long", "n2"} <= set(run.places("right")) and "huge" not in run.places("right")

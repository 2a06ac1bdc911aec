"""The map over HTTP: coordinates against NumPy's SVD, the cache, columns, pairs, and what is refused."""

import asyncio
import importlib.util
import time

import numpy as np
import pytest
from served import client_of, problem

from sensorium.serve.engine import binary, layout, projection
from sensorium.serve.routes import map


def unpacked(answer):
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == binary.MEDIA_TYPE
    return binary.unpack(answer.content)


def points(client, header, side, rows):
    """The items that a map's rows are."""
    generation = next(one["generation"] for one in header["sides"] if one["name"] == side)
    asked = {"side": side, "rows": ",".join(plain(rows)), "generation": generation}
    answer = client.get("/runs/symbols/map/points", params=asked)
    assert answer.status_code == 200, answer.text
    return answer.json()["items"]


def plain(rows):
    return [str(int(row)) for row in rows]


def test_pca_is_that_of_both_sides_weighted_alike():
    random = np.random.default_rng(0)
    left, right = random.standard_normal((400, 8)) * np.arange(1, 9), random.standard_normal((100, 8)) + 3
    (a, b), shares = layout.pca([left.astype(np.float32), right.astype(np.float32)])
    both = np.concatenate([left, np.tile(right, (4, 1))])  # as many of one side as of the other
    both = both - both.mean(0)
    _, lengths, axes = np.linalg.svd(both, full_matrices=False)
    want = (
        np.concatenate([left, right]) @ axes[:2].T - np.concatenate([left, np.tile(right, (4, 1))]).mean(0) @ axes[:2].T
    )
    got = np.concatenate([a, b])
    assert (
        np.abs(np.abs((got * want).sum(0)) / (np.linalg.norm(got, axis=0) * np.linalg.norm(want, axis=0)) - 1).max()
        < 1e-5
    )
    assert np.allclose(shares, (lengths**2 / (lengths**2).sum())[:2], rtol=1e-4)


def test_pca_of_one_number_and_of_equal_rows():
    (one,), shares = layout.pca([np.arange(5, dtype=np.float32)[:, None]])
    assert one.shape == (5, 2) and not one[:, 1].any() and shares[0] == pytest.approx(1)
    (same,), _ = layout.pca([np.ones((4, 3), np.float32)])
    assert np.isfinite(same).all()


def test_coordinates_of_both_sides_are_kept_beside_the_run(copied):
    with client_of([copied]) as client:
        header, arrays = unpacked(client.get("/runs/symbols/map"))
        sides = client.get("/runs").json()["runs"][0]["sides"]
        assert [(side["name"], side["points"], side["items"]) for side in header["sides"]] == [
            (name, side["items"], side["items"]) for name, side in sides.items()
        ]
        assert arrays["xy"].size == 2 * sum(side["items"] for side in sides.values())
        assert np.isfinite(arrays["xy"]).all() and np.quantile(np.abs(arrays["xy"]), 0.99) <= 1.01
        (kept,) = (copied.parent / ".symbols.maps").iterdir()
        first = client.get("/runs/symbols/map").content
        assert first == kept.read_bytes()
        kept.write_bytes(first[:100])  # damaged: made anew
        _, same = unpacked(client.get("/runs/symbols/map"))
        assert np.array_equal(same["xy"], arrays["xy"])


def test_items_added_while_serving_are_on_the_map(copied):
    with client_of([copied]) as client:
        before, _ = unpacked(client.get("/runs/symbols/map"))
        new = {"side": "right", "id": "mine", "text": "A SYMBOL OF MY OWN"}
        assert client.post("/items", json=new).status_code == 201
        after, arrays = unpacked(client.get("/runs/symbols/map"))
        assert after["sides"][1]["points"] == before["sides"][1]["points"] + 1
        (item,) = points(client, after, "right", [arrays["rows"][-1]])
        assert item["id"] == "mine"
        assert len(list((copied.parent / ".symbols.maps").iterdir())) == 1  # the old one is gone


def test_rows_of_a_map_from_before_a_removal_are_refused(copied):
    with client_of([copied]) as client:
        header, _ = unpacked(client.get("/runs/symbols/map"))
        old = {one["name"]: one["generation"] for one in header["sides"]}
        first, second = points(client, header, "right", [0, 1])
        new = {"side": "right", "id": "mine, and longer than any other id there is", "text": "A SYMBOL OF MY OWN"}
        assert client.post("/items", json=new).status_code == 201
        assert points(client, header, "right", [0, 1]) == [first, second]  # what was added moved nothing
        assert client.delete("/items/" + first["id"], params={"side": "right"}).status_code == 204
        for path in ("points?rows=0&side=right&generation={right}", "column?name=name&side=right&generation={right}",
                     "pairs?right={right}", "pairs?left={left}&right={right}"):  # fmt: skip
            answer = client.get("/runs/symbols/map/" + path.format(**old))
            assert "load the map again" in problem(answer, 410), path
        unpacked(client.get("/runs/symbols/map/pairs", params={"left": old["left"]}))  # that side is as it was
        again, _ = unpacked(client.get("/runs/symbols/map"))
        assert again["sides"][1]["generation"] != old["right"]
        assert points(client, again, "right", [0]) == [second]


def test_a_disk_that_takes_nothing_costs_only_the_cache(client, monkeypatch):
    def full(*_):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(projection.io, "write", full)
    header, _ = unpacked(client.get("/runs/symbols/map"))
    assert header["method"] == "pca"


def test_pairs_join_each_picture_with_its_name(client):
    whole, _ = unpacked(client.get("/runs/symbols/map"))
    header, arrays = unpacked(client.get("/runs/symbols/map/pairs"))
    assert header["splits"] == ["train", "validation", "test", ""] and header["why"] == ""
    rows = [0, len(arrays["left"]) // 2, len(arrays["left"]) - 1]
    ids = {}
    for side in ("left", "right"):
        told = points(client, whole, side, [arrays[side][row] for row in rows])
        ids[side] = [item["columns"]["codepoint"] for item in told]
    assert ids["left"] == ids["right"]
    assert np.bincount(arrays["split"], minlength=3)[2] >= 300  # the held-out symbols


def test_columns_become_codes_or_numbers(client):
    header, arrays = unpacked(client.get("/runs/symbols/map/column", params={"side": "left", "name": "category"}))
    assert header["type"] == "category" and len(header["values"]) == map.NAMED
    counts = np.bincount(arrays["codes"], minlength=256)
    assert counts[: map.NAMED].tolist() == [one["count"] for one in header["values"]]
    assert counts[map.OTHER] == header["others"] and counts.sum() == len(arrays["codes"])
    split, _ = unpacked(client.get("/runs/symbols/map/column", params={"side": "right", "name": "split"}))
    assert {one["name"] for one in split["values"]} == {"train", "validation", "test"}


def test_a_column_of_numbers_keeps_them():
    values = np.append(np.linspace(0, 100, 101), np.nan)
    header, arrays = binary.unpack(map.column(values))
    assert header["type"] == "number" and (header["low"], header["high"]) == (pytest.approx(1), pytest.approx(99))
    assert np.array_equal(arrays["values"], values.astype(np.float32), equal_nan=True)
    header, arrays = binary.unpack(map.column(np.array([3, 1, 3, 3])))
    assert header["values"] == [{"name": "3", "count": 3}, {"name": "1", "count": 1}]


@pytest.mark.parametrize(
    ("path", "status", "word"),
    [
        ("map/points?side=left&rows=1", 422, "generation"),
        ("map/points?generation=0-2d06800538d394c2&side=left&rows=1,x", 400, "row numbers"),
        ("map/points?generation=0-2d06800538d394c2&side=left&rows=99999999", 404, "no row 99999999"),
        ("map/points?generation=0-2d06800538d394c2&side=left&rows=" + ",".join(["1"] * 201), 400, "200"),
        *(
            (f"map/points?generation={wrong}&side=left&rows=1", 410, "load the map again")
            for wrong in ("1-0", "-1-0", "x", "-", "ffffffff-0", "fffffffffffffff-0", "%F0%9F%98%80")
        ),
        ("map/column?side=left&name=category&generation=1-0", 410, "load the map again"),
        ("map/pairs?right=1-0", 410, "load the map again"),
        ("map/column?side=left&name=colour", 404, "category"),
        ("map?method=som", 422, "method"),
    ],
)
def test_what_cannot_be_meant_is_said(client, path, status, word):
    answer = client.get(f"/runs/symbols/{path}")
    assert answer.status_code == status and word in answer.json()["detail"]
    assert client.get("/runs/nothing/map").status_code == 404


def test_what_is_not_installed_says_what_to_type(client, monkeypatch):
    monkeypatch.setattr(layout.importlib.util, "find_spec", lambda name: None)
    methods = {one["name"]: one for one in client.get("/runs/symbols/map/methods").json()["methods"]}
    assert methods["pca"]["installed"] and not methods["umap"]["installed"]
    assert methods["umap"]["install"] == "pip install 'sensorium[map]'"
    answer = client.get("/runs/symbols/map?method=umap")
    assert answer.status_code == 501 and "pip install 'sensorium[map]'" in answer.json()["detail"]


def test_at_most_a_few_maps_wait_to_be_laid_out(monkeypatch, symbols):
    async def never(*_):
        await asyncio.sleep(60)

    monkeypatch.setattr(projection, "_slow", never)
    monkeypatch.setattr(layout, "installed", lambda method: True)
    with client_of([symbols]) as client:
        states = [client.get(f"/runs/symbols/map?method=umap&n={n}").status_code for n in (10, 11, 12, 13, 14, 10)]
    assert states == [202, 202, 202, 202, 503, 202]


@pytest.mark.skipif(importlib.util.find_spec("umap") is None, reason="type: pip install 'sensorium[map]'")
def test_umap_is_laid_out_in_a_process_of_its_own(copied):
    with client_of([copied]) as client:
        until = time.monotonic() + 280  # it compiles for a minute, and a busy machine takes several
        while (answer := client.get("/runs/symbols/map?method=umap&n=150")).status_code == 202:
            assert answer.json()["state"] == "working" and answer.headers["retry-after"]
            assert time.monotonic() < until
            time.sleep(0.5)
        header, arrays = unpacked(answer)
        assert header["method"] == "umap" and len(arrays["rows"]) == sum(side["points"] for side in header["sides"])
        assert abs(len(arrays["rows"]) - 150) <= 1
        assert client.get("/healthz").status_code == 200

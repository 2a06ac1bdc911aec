"""Labels, rows and files of the map: regions against made clusters, words against counts, and the routes."""

import csv
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from served import client_of, problem

from sensorium.serve.engine import binary, map_labels

SPOTS = [(-0.7, -0.6), (0.6, 0.7), (0.7, -0.5), (-0.6, 0.6)]
WORDS = ["the heavy arrow", "a smiling face", "greek letter", "box drawings"]


def spots(n=800, seed=0):
    random = np.random.default_rng(seed)
    kind = np.arange(n) % len(SPOTS)
    return (np.array(SPOTS)[kind] + random.normal(0, 0.04, (n, 2))).astype(np.float32), kind


def test_regions_are_the_made_clusters():
    xy, kind = spots()
    region, middles = map_labels.regions(xy, 4.5, 0)
    assert len(middles) == 4
    for one in range(4):
        (mine,) = np.unique(region[kind == one])
        assert np.abs(middles[mine] - SPOTS[one]).max() < 0.06


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.01, 1.5), st.integers(1, 400))
def test_every_point_is_in_one_region_or_none(seed, width, n):
    xy = np.random.default_rng(seed).normal(0, width, (n, 2)).astype(np.float32)
    region, middles = map_labels.regions(xy, 2.5, 1)
    assert region.shape == (n,) and region.min() >= -1 and region.max() < max(1, len(middles))
    counts = np.bincount(region[region >= 0], minlength=len(middles))
    assert (np.diff(counts) <= 0).all() and (counts >= 5).all()
    assert (region[(np.abs(xy) >= 1.2).any(1)] == -1).all()


def test_words_are_those_of_the_region_and_not_common_ones():
    xy, kind = spots()
    texts = [map_labels.words(f"{WORDS[one]} of a letter number {i}") for i, one in enumerate(kind)]
    found = {label.text: label for label in map_labels.labelled(xy, texts, is_class=False) if label.level == 0}
    assert {text.split(", ")[0] for text in found} <= {"heavy", "arrow", "smiling", "face", "greek", "box", "drawings"}
    assert len(found) == 4 and all(label.count == 200 for label in found.values())
    assert not any(word in text.split(", ") for text in found for word in ("the", "a", "of"))


def test_classes_name_regions_that_are_mostly_of_one():
    xy, kind = spots()
    mixed = [["first"] if i % 8 == 0 else ["second"] if i % 8 == 4 else [f"other {i % 7}"] if one == 0 else [WORDS[one]]
             for i, one in enumerate(kind)]  # fmt: skip
    found = [label.text for label in map_labels.labelled(xy, mixed, is_class=True) if label.level == 0]
    assert sorted(found) == sorted(["first", *WORDS[1:]]) or sorted(found) == sorted(["second", *WORDS[1:]])


def test_no_points_no_words():
    assert map_labels.labelled(np.zeros((0, 2), np.float32), [], is_class=False) == []
    assert map_labels.typical(np.array([-1, 0]), [["a"], []], 1) == [[]]


@pytest.fixture(scope="module")
def here(symbols):
    with client_of([symbols]) as client:
        yield client


def test_labels_of_a_run_are_words_of_its_names(here):
    answer = here.get("/runs/symbols/map/labels").json()
    assert answer["columns"] == {"left": "name", "right": "name"}
    names = {word.lower() for item in here.get("/runs/symbols/sample?side=right&n=100").json()["items"]
             for word in item["columns"]["name"].split()}  # fmt: skip
    said = [word for label in answer["labels"] for word in label["text"].split(", ")]
    assert said and len(set(said) & names) > 3
    assert here.get("/runs/symbols/map/labels?column=category").json()["columns"] == {
        "left": "category",
        "right": "category",
    }


def test_rows_that_pass_a_filter(here):
    header, _ = binary.unpack(here.get("/runs/symbols/map").content)
    generation = header["sides"][0]["generation"]
    body = {"side": "left", "where": {"category": "Lu"}, "generation": generation}
    rows = binary.unpack(here.post("/runs/symbols/map/rows", json=body).content)[1]["rows"]
    codes, values = [], binary.unpack(here.get("/runs/symbols/map/column?name=category").content)
    codes = [i for i, one in enumerate(values[0]["values"]) if one["name"] == "Lu"]
    assert rows.tolist() == np.flatnonzero(values[1]["codes"] == codes[0]).tolist() and len(rows)
    assert "no column" in problem(here.post("/runs/symbols/map/rows", json={**body, "where": {"colour": 1}}), 400)
    assert "load the map again" in problem(here.post("/runs/symbols/map/rows", json={**body, "generation": "1-0"}), 410)


def test_points_are_written_as_csv_and_json(here):
    header, arrays = binary.unpack(here.get("/runs/symbols/map").content)
    chosen = {"rows": {"left": [3, 1]}, "generations": {"left": header["sides"][0]["generation"]}}
    text = here.post("/runs/symbols/map/export", json=chosen).text
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [float(row["x"]) for row in rows] == pytest.approx(arrays["xy"][[3, 1], 0].tolist(), abs=1e-4)
    every = here.post("/runs/symbols/map/export", json={"format": "json"}).json()
    assert len(every) == len(arrays["xy"]) and every[3]["id"] == rows[0]["id"]
    assert every[3]["columns"]["name"] == rows[0]["name"]
    stale = {**chosen, "generations": {"left": "1-0"}}
    assert "load the map again" in problem(here.post("/runs/symbols/map/export", json=stale), 410)


def test_rows_of_ids_come_in_their_order(here):
    header, _ = binary.unpack(here.get("/runs/symbols/map").content)
    items = here.get("/runs/symbols/sample?side=left&n=20").json()["items"]
    ids = [item["id"] for item in items]
    body = {"side": "left", "ids": [*ids, "no such id"], "generation": header["sides"][0]["generation"]}
    rows = binary.unpack(here.post("/runs/symbols/map/rows", json=body).content)[1]["rows"].tolist()
    points = {"side": "left", "rows": ",".join(map(str, rows)), "generation": body["generation"]}
    assert [one["id"] for one in here.get("/runs/symbols/map/points", params=points).json()["items"]] == ids

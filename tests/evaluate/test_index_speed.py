"""Recall against speed: the recall of every point against brute force, and the picture."""

import numpy as np
import pytest

from sensorium.evaluate import index_speed
from sensorium.indexes.exact import Exact

faiss = pytest.importorskip("faiss")
from sensorium.indexes.faiss import Faiss  # noqa: E402

RANDOM = np.random.default_rng(5)


def unit(n, d=24):
    x = RANDOM.standard_normal((n, d)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


VECTORS, QUERIES = unit(2000), unit(150)


@pytest.mark.parametrize(("factory", "name"), [("IVF32,Flat", "nprobe"), ("HNSW8", "ef_search")])
def test_every_point_is_what_a_search_of_that_breadth_finds(factory, name):
    index = Faiss(factory, rescore=1)
    index.add([str(i) for i in range(len(VECTORS))], VECTORS)
    points = index_speed.measure(index, QUERIES)
    truth = np.argsort(-(QUERIES.astype(np.float64) @ VECTORS.T.astype(np.float64)), axis=1)[:, :10]
    assert points[0]["index"] == "exact" and points[0]["recall"] == 1.0
    for point in points[1:]:
        breadth = int(point["setting"].removeprefix(f"{name}="))
        one = Faiss(factory, rescore=1, **{name: breadth})
        one.add([str(i) for i in range(len(VECTORS))], VECTORS)
        found = one.search(QUERIES, 10).rows
        expected = np.mean([len({*a} & {*b}) / 10 for a, b in zip(found.tolist(), truth.tolist(), strict=True)])
        assert point["recall"] == pytest.approx(expected, abs=0.02)
        assert point["queries_per_second"] > 0 and 0.5 < point["filtered_recall"] <= 1
    recalls = [p["recall"] for p in points[1:]]
    assert recalls == sorted(recalls) and len({p["setting"] for p in points}) == len(points)
    assert getattr(index, name) == getattr(Faiss(), name), "measuring leaves the index as it was"


def test_no_breadth_to_set_is_one_point_and_equal_vectors_count_as_found(tmp_path):
    index = Faiss("Flat")
    index.add([str(i) for i in range(40)], np.repeat(VECTORS[:2], 20, axis=0))
    points = index_speed.measure(index, QUERIES)
    assert [p["setting"] for p in points] == ["", "Flat"] and points[1]["recall"] == 1.0
    assert index_speed.draw({"left": {"speed": points}, "right": {}}, tmp_path).read_bytes()[:4] == b"\x89PNG"


def test_nothing_measured_nothing_drawn(tmp_path):
    assert index_speed.measure(Faiss("Flat"), QUERIES) == []
    assert index_speed.draw({"left": {"items": 3}}, tmp_path) is None
    assert Exact().variants() == {}

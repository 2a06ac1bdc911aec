"""Every index gives what the exact oracle gives: scores, order of equal ones, filters, additions, removals, saving.

Indexes of Milvus run embedded; on a server too where MILVUS_URI says its address: MILVUS_URI=http://localhost:19530.
"""

import datetime
import os
import uuid

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sensorium import io, scores
from sensorium.errors import BadData, BadRecipe, Corrupt
from sensorium.indexes.exact import Exact
from sensorium.indexes.faiss import Faiss
from sensorium.indexes.faiss_disk import FaissDisk
from sensorium.indexes.milvus import Milvus
from sensorium.table import Table

SERVER = os.environ.get("MILVUS_URI", "")
N, D = 240, 12
WHERE = ["exact", "faiss", "faiss-disk", "milvus", "milvus-flat", pytest.param("server", marks=pytest.mark.skipif(
    not SERVER, reason="no server; start one and type: MILVUS_URI=http://localhost:19530 pytest tests/indexes"))]  # fmt: skip


def made(kind):
    """An empty index of a kind; skips, saying what to install, where its library is absent."""
    if kind.startswith("milvus") or kind == "server":
        pytest.importorskip("pymilvus", reason="needs pymilvus; type: pip install 'sensorium[scale]'")
        pytest.importorskip("milvus_lite", reason="needs milvus-lite; type: pip install 'sensorium[scale]'")
    if kind == "exact":
        return Exact()
    if kind == "faiss":
        pytest.importorskip("faiss")
        return Faiss("Flat", rescore=20)
    if kind == "faiss-disk":
        pytest.importorskip("faiss")
        return FaissDisk(nprobe=64, rescore=40)
    if kind == "server":
        return Milvus(uri=SERVER, collection=f"congruence_{uuid.uuid4().hex[:8]}", kind="FLAT")
    return Milvus(kind="FLAT" if kind == "milvus-flat" else "HNSW")


def data():
    random = np.random.default_rng(0)
    vectors = random.standard_normal((N, D)).astype(np.float32)
    vectors[100:112] = vectors[7]  # equal scores: twelve copies, and again far from each other
    vectors[[3, 50, 200]] = vectors[210]
    i = np.arange(N)
    columns = {
        "year": i % 20 + 2000,
        "size": np.where(i % 9 == 0, np.nan, (i % 13) / 10).astype(np.float32),
        "kind": np.array(["cup", 'say "hi"', "back\\slash", "größe ☂", "two\nlines"])[i % 5],
        "note": np.array([None if j % 4 == 0 else f"note {j % 6} " + "long " * 20 for j in i], object),
        "seen": np.array([np.datetime64("NaT") if j % 10 == 0 else np.datetime64("2024-01-01T00") + np.timedelta64(int(j), "h")
                          for j in i]).astype("M8[us]"),
        "took": (i % 17).astype("m8[s]"),
        "good": i % 3 == 0,
        "maybe": np.array([[True, False, None][j % 3] for j in i], object),
        "count": np.array([None if j % 7 == 0 else int(j) * 10**12 for j in i], object),
        "tags": np.array([None if j % 11 == 0 else [f"t{j % 3}", f"u{j % 4}"] for j in i] + [None], object)[:N],
    }  # fmt: skip
    return np.array([f'item {j} "x"' if j % 50 == 0 else f"item-{j}" for j in i]), vectors, columns


IDS, VECTORS, COLUMNS = data()
QUERIES = np.concatenate([np.random.default_rng(1).standard_normal((4, D)), VECTORS[[7, 210]]]).astype(np.float32)


class Oracle:
    """The rows as they should be, scored by the definition."""

    def __init__(self):
        self.table, self.vectors = Table(np.zeros(0, "<U1"), {}), np.zeros((0, D), np.float32)

    def add(self, ids, vectors, columns):
        self.table = self.table.append(np.asarray(ids), columns)
        self.vectors = np.concatenate([self.vectors, vectors])

    def remove(self, ids):
        keep = ~np.isin(self.table.ids, ids)
        self.table, self.vectors = self.table.take(keep), self.vectors[keep]

    def search(self, queries, k, where=None, exclude=()):
        passing = np.flatnonzero(self.table.where(where or {}) & ~np.isin(self.table.ids, list(exclude)))
        ids, best = np.full((len(queries), k), "", object), np.full((len(queries), k), -np.inf, np.float32)
        for i, query in enumerate(queries):
            score = scores.pair_scores(np.broadcast_to(query, (len(passing), D)), self.vectors[passing])
            order = np.lexsort((passing, -score))[:k]
            ids[i, : len(order)], best[i, : len(order)] = self.table.ids[passing[order]], score[order]
        return ids, best


def agree(index, oracle, k=10, where=None, exclude=(), queries=QUERIES):
    hits = index.search(queries, k, where=where, exclude=list(exclude))
    ids, best = oracle.search(queries, k, where, exclude)
    np.testing.assert_array_equal(hits.ids, ids, err_msg=f"{where}")
    np.testing.assert_array_equal(hits.scores, best)


@pytest.fixture(scope="module", params=WHERE)
def filled(request):
    """An index that the tests below do not change, and the oracle."""
    index, oracle = made(request.param), Oracle()
    for one in (index, oracle):
        one.add(IDS[:150], VECTORS[:150], {name: c[:150] for name, c in COLUMNS.items()})
        one.add(IDS[150:], VECTORS[150:], {name: c[150:] for name, c in COLUMNS.items()})
    return index, oracle


@pytest.mark.parametrize("k", [1, 5, 13, 40, N, N + 7])
def test_scores_and_order(filled, k):
    agree(*filled, k)


CONDITIONS = [
    {"year": 2003}, {"year": {">=": 2015, "!=": 2017}}, {"year": {"<": 2001.5}}, {"year": [2001, 2002.0, "2003", 2003.5]},
    {"year": {">": -(2**63)}}, {"year": {"<": 2**70}}, {"size": 0.1}, {"size": {"<": 0.3}}, {"size": {"!=": 0.2}},
    {"size": None}, {"size": {"!=": None}}, {"size": {"<=": float("inf")}}, {"kind": 'say "hi"'}, {"kind": ["cup", "größe ☂"]},
    {"kind": "back\\slash"}, {"kind": "two\nlines"}, {"kind": {">": "cup"}}, {"kind": {"contains": "UP"}}, {"kind": []},
    {"note": None}, {"note": {"!=": "x"}}, {"note": ["note 1 " + "long " * 20, None]}, {"seen": {"<": "2024-01-03"}},
    {"seen": {">=": datetime.datetime(2024, 1, 2, 3)}}, {"seen": None}, {"took": {"<=": 4.5}}, {"good": True},
    {"good": {"!=": "true"}}, {"maybe": False}, {"maybe": {"!=": True}}, {"count": {">": 10**14}}, {"count": {"!=": 10**13}},
    {"tags": "t1"}, {"tags": {"!=": "u2"}}, {"tags": None}, {"id": ["item-3", 'item 50 "x"', "absent"]}, {"id": "item-4"},
    {"id": {"!=": "item-4"}}, {"year": {">": 2005}, "kind": "cup", "size": {"<": 0.9}, "tags": "t2"}, {"metadata.year": 2001},
    {"year": 1900},
]  # fmt: skip


def test_filters(filled):
    for where in CONDITIONS:
        agree(*filled, 6, where)


def test_exclusions(filled):
    agree(*filled, 12, exclude=["item-7", "item-101", 'item 50 "x"', "absent"])
    agree(*filled, 12, {"good": True}, exclude=IDS[:60].tolist())
    agree(*filled, 3, exclude=IDS.tolist())


values = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**65), 2**65), st.floats(), st.text(max_size=5), st.sampled_from(
        ["2003", "cup", "0.1", "2024-01-02", "true", 0.1, 2003, 10**13, "note 1 " + "long " * 20])
)  # fmt: skip
signs = st.sampled_from(["==", "!=", "<", "<=", ">", ">=", "contains"])
conditions = st.dictionaries(
    st.sampled_from([*COLUMNS, "id"]),
    st.one_of(values, st.lists(values, max_size=3), st.dictionaries(signs, st.one_of(values, st.lists(values, max_size=2)), max_size=2)),
    max_size=2,
)  # fmt: skip


@given(where=conditions, k=st.integers(1, 15))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_filter_finds_or_refuses_what_the_oracle_does(filled, where, k):
    index, oracle = filled
    try:
        oracle.table.where(where)
    except BadRecipe as error:
        with pytest.raises(BadRecipe) as caught:
            index.search(QUERIES[:2], k, where=where)
        assert str(caught.value).split("which")[-1] == str(error).split("which")[-1]
    else:
        agree(index, oracle, k, where, queries=QUERIES[:2])


@pytest.mark.parametrize("kind", WHERE)
def test_a_life(kind, tmp_path):
    """Added, removed, added again with other vectors, saved, loaded, changed, saved into the same folder, loaded."""
    index, oracle = made(kind), Oracle()
    everything = {"year": COLUMNS["year"], "note": COLUMNS["note"]}

    def add(rows, vectors=VECTORS):
        for one in (index, oracle):
            one.add(IDS[rows], vectors[rows], {name: c[rows] for name, c in everything.items()})

    def remove(ids):
        before = len(index)
        assert index.remove([*ids, "absent"]) == len(ids) and len(index) == before - len(ids)
        oracle.remove(ids)

    assert (index.search(QUERIES, 3).rows == -1).all() and index.remove(["x"]) == 0
    add(slice(0, 120))
    remove(IDS[:30].tolist())
    agree(index, oracle)
    add(slice(0, 20), -VECTORS)
    for bad in (VECTORS[:1] * np.nan, VECTORS[:1, :5], VECTORS[:2]):
        with pytest.raises(BadData):
            index.add(["new"], bad, {"year": [1], "note": ["x"]})
    with pytest.raises(BadData, match="already present"):
        index.add([IDS[60]], VECTORS[60:61], {"year": [1], "note": ["x"]})
    agree(index, oracle, where={"note": None})
    index.fingerprint = {"made": "abc", "head": "def"}
    folder = tmp_path / "index"
    with io.publish(folder) as building:
        index.save(building)
    again = type(index).load(folder)
    assert again.fingerprint == index.fingerprint and len(again) == len(oracle.table)
    np.testing.assert_array_equal(again.table.ids, oracle.table.ids)
    np.testing.assert_array_equal(again.vectors(np.array([5, 2, 90])), oracle.vectors[[5, 2, 90]])
    index = again
    agree(index, oracle)
    add(slice(120, 140))
    remove(IDS[40:50].tolist())
    agree(index, oracle, 4, {"year": {">": 2007}})
    for _ in range(2):  # as a server does with live changes
        with io.publish(folder) as building:
            index.save(building)
        agree(index, oracle, 4, {"note": {"!=": None}})
    add(slice(140, 160))
    with io.publish(folder) as building:
        index.save(building)
    last = type(index).load(folder)
    agree(last, oracle, 7)
    last.remove(oracle.table.ids.tolist())
    assert len(last) == 0 and (last.search(QUERIES, 2).rows == -1).all()


@pytest.mark.parametrize("kind", WHERE)
def test_damage_and_other_kinds_are_refused(kind, tmp_path):
    index = made(kind)
    index.add(IDS[:20], VECTORS[:20], {"year": COLUMNS["year"][:20]})
    with io.publish(tmp_path / "index") as building:
        index.save(building)
    content = bytearray((tmp_path / "index" / "items.parquet").read_bytes())
    content[len(content) // 2] ^= 0xFF
    (tmp_path / "index" / "items.parquet").write_bytes(content)
    with pytest.raises(Corrupt, match=r"items.parquet .*build the index again: sensorium index RUN"):
        type(index).load(tmp_path / "index")
    io.write_json(tmp_path / "index" / "index.json", {"format": 1, "kind": "other"})
    with pytest.raises(Corrupt, match="is not a format 1 index of kind"):
        type(index).load(tmp_path / "index")

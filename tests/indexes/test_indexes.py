"""Every index keeps the same contract; exact equals brute force; FAISS is measured, filtered, rebuilt."""

import numpy as np
import pytest

from sensorium import io, parts, scores
from sensorium.errors import BadData, BadRecipe, Corrupt
from sensorium.indexes import exact as exact_file
from sensorium.indexes._rows import Rows
from sensorium.indexes.exact import Exact
from sensorium.indexes.faiss import Faiss
from sensorium.scores import cpu_features, int8

pytest.importorskip("faiss")
KINDS = {
    "exact": Exact,
    "faiss-flat": lambda: Faiss("Flat"),
    "faiss-hnsw": lambda: Faiss("HNSW16"),
    "faiss-ivf": lambda: Faiss("IVF8,Flat", nprobe=8),
    "faiss-sq": lambda: Faiss("SQ8", rescore=5),
}


def unit(n, d, seed):
    x = np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


VECTORS, QUERIES = unit(400, 16, 0), unit(25, 16, 1)
MANY = unit(2000, 16, 7)
IDS = np.array([f"item-{i}" for i in range(400)])
COLUMNS = {"year": np.arange(400) % 20 + 2000, "kind": np.array(["cup", "hat"] * 200)}


@pytest.fixture(params=KINDS)
def index(request):
    made = KINDS[request.param]()
    made.add(IDS, VECTORS, COLUMNS)
    return made


def brute(queries, vectors, ids, k, keep=None):
    s = np.stack([scores.pair_scores(np.broadcast_to(q, vectors.shape), vectors) for q in queries])
    if keep is not None:
        s[:, ~keep] = -np.inf
    order = np.argsort(-s, axis=1, kind="stable")[:, :k]
    return ids[order], np.take_along_axis(s, order, axis=1)


def ids_of(index, hits):
    """Ids of hits (q, k), "" where there is none."""
    assert hits.rows.dtype == np.int64 and ((hits.rows >= 0) == (hits.scores > -np.inf)).all()
    ids = np.where(hits.rows >= 0, np.append(index.table.ids, "")[hits.rows], "")
    np.testing.assert_array_equal(hits.ids, ids)
    return ids


def search(index, *arguments, **options):
    """Ids of what an index finds."""
    return ids_of(index, index.search(*arguments, **options))


def reopened(index, folder):
    with io.publish(folder / "index") as building:
        index.save(building)
    return type(index).load(folder / "index")


def test_finds_the_nearest(index):
    hits = index.search(QUERIES, 5)
    ids, best = brute(QUERIES, VECTORS, IDS, 5)
    np.testing.assert_array_equal(ids_of(index, hits), ids)
    np.testing.assert_array_equal(hits.scores, best)
    assert hits.scores.dtype == np.float32


def test_higher_is_nearer_and_self_is_first(index):
    hits = index.search(VECTORS[:30], 3)
    np.testing.assert_array_equal(ids_of(index, hits)[:, 0], IDS[:30])
    assert (np.diff(hits.scores, axis=1) <= 0).all()


def test_where_and_exclude(index):
    keep = (COLUMNS["year"] >= 2015) & (COLUMNS["kind"] == "cup") & ~np.isin(IDS, ["item-16", "item-18"])
    hits = index.search(QUERIES, 4, where={"year": {">=": 2015}, "kind": "cup"}, exclude=["item-16", "item-18"])
    np.testing.assert_array_equal(ids_of(index, hits), brute(QUERIES, VECTORS, IDS, 4, keep)[0])


def test_fewer_than_k(index):
    hits = index.search(QUERIES, 9, where={"id": ["item-3", "item-4"]})
    assert {*ids_of(index, hits)[:, :2].ravel()} == {"item-3", "item-4"}
    assert (ids_of(index, hits)[:, 2:] == "").all() and (hits.scores[:, 2:] == -np.inf).all()
    assert search(index, QUERIES, 500).shape == (25, 500)
    assert (search(index, QUERIES, 2, where={"year": 1900}) == "").all()


def test_remove_then_add_again(index):
    assert index.remove(["item-0", "item-7", "unknown"]) == 2 and len(index) == 398
    assert not np.isin(search(index, VECTORS[:8], 3), ["item-0", "item-7"]).any()
    assert index.remove(["item-0"]) == 0
    index.add(["item-0"], VECTORS[:1], {"year": np.array([1]), "kind": np.array(["new"])})
    assert search(index, VECTORS[:1], 1) == "item-0" and len(index.table) == len(index) == 399
    assert index.table.ids[398] == "item-0" and index.table.metadata(398) == {"year": 1, "kind": "new"}
    np.testing.assert_array_equal(index.vectors([398]), VECTORS[:1])


def test_remove_many(index):
    assert index.remove(IDS[:300]) == 300
    hits = index.search(QUERIES, 5)
    np.testing.assert_array_equal(ids_of(index, hits), brute(QUERIES, VECTORS[300:], IDS[300:], 5)[0])
    assert len(index.table) == len(index.vectors()) == 100


def test_remove_all_then_search(index):
    assert index.remove(IDS) == 400 and len(index) == 0
    assert (search(index, QUERIES, 3) == "").all()
    index.add(IDS[:60], VECTORS[:60], {name: column[:60] for name, column in COLUMNS.items()})
    np.testing.assert_array_equal(search(index, VECTORS[:60], 1)[:, 0], IDS[:60])


def test_saved_and_loaded(index, tmp_path):
    index.fingerprint = {"head": "abc", "width": 16}
    index.remove(["item-9"])
    again = reopened(index, tmp_path)
    assert len(again) == 399 and again.fingerprint == {"head": "abc", "width": 16}
    for a, b in zip(index.search(QUERIES, 6), again.search(QUERIES, 6), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(again.table.ids, index.table.ids)
    again.remove(["item-1"])
    again.add(["later"], QUERIES[:1], {"year": np.array([0]), "kind": np.array(["hat"])})
    assert search(again, QUERIES[:1], 1) == "later"
    assert len(reopened(again, tmp_path)) == 399


def test_empty_index(index, tmp_path):
    empty = type(index)()
    assert len(empty) == 0 and (search(empty, QUERIES, 3) == "").all()
    again = reopened(empty, tmp_path)
    assert len(again) == 0 and empty.remove(["x"]) == 0
    again.add(["a"], QUERIES[:1])
    assert search(again, QUERIES[:1], 1) == "a"


@pytest.mark.parametrize("name", ["vectors.npy", "items.parquet", "index.json"])
def test_damage_is_noticed(index, tmp_path, name):
    reopened(index, tmp_path)
    path = tmp_path / "index" / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(Corrupt, match=rf"{name} .*build the index again: sensorium index RUN"):
        type(index).load(tmp_path / "index")
    path.unlink()
    with pytest.raises(Corrupt, match=f"{name} is missing"):
        type(index).load(tmp_path / "index")


def test_other_kinds_and_formats_are_refused(tmp_path):
    exact = Exact()
    exact.add(IDS, VECTORS, COLUMNS)
    reopened(exact, tmp_path)
    with pytest.raises(Corrupt, match="not a format 1 index of kind 'faiss'"):
        Faiss.load(tmp_path / "index")


@pytest.mark.parametrize(
    ("ids", "vectors", "columns", "message"),
    [
        (["a"], np.ones((1, 9)), {"year": [1], "kind": ["x"]}, "vectors are 9 wide, those already here 16"),
        (["a"], np.ones(16), {"year": [1], "kind": ["x"]}, r"1 ids for vectors of shape \(16,\)"),
        (["a", "b"], np.ones((1, 16)), {"year": [1], "kind": ["x"]}, r"2 ids for vectors of shape \(1, 16\)"),
        (["a", "bad"], np.array([[0.0] * 16, [np.nan] * 16]), {"year": [1, 2], "kind": ["x", "y"]}, "id 'bad' holds NaN"),
        (["item-3"], np.ones((1, 16)), {"year": [1], "kind": ["x"]}, "already present"),
        (["a"], np.ones((1, 16)), {"year": [1, 2], "kind": ["x"]}, "column 'year' has 2 values for 1 ids"),
        (["a"], np.ones((1, 16)), {"year": [1]}, "differ from the table's"),
    ],
)  # fmt: skip
def test_a_bad_addition_changes_nothing(index, ids, vectors, columns, message):
    before = index.search(QUERIES, 3)
    with pytest.raises(BadData, match=message):
        index.add(ids, np.asarray(vectors, np.float32), columns)
    assert len(index) == 400 and len(index.vectors()) == 400
    np.testing.assert_array_equal(search(index, QUERIES, 3), ids_of(index, before))


def test_bad_queries(index):
    with pytest.raises(BadData, match=r"queries have shape \(2, 9\); expected \(q, 16\)"):
        index.search(np.ones((2, 9)), 1)
    with pytest.raises(BadData, match="a query holds NaN"):
        index.search(np.full((1, 16), np.nan), 1)
    with pytest.raises(BadData, match="k=0; expected 1 or more"):
        index.search(QUERIES, 0)
    with pytest.raises(BadRecipe, match="no column 'yaer'; did you mean 'year'"):
        index.search(QUERIES, 1, where={"yaer": 2000})


def test_names_are_found_by_file():
    assert set(parts.names("indexes")) >= {"exact", "faiss"}
    assert isinstance(parts.make("indexes", {"name": "faiss", "factory": "Flat"}), Faiss)


def test_rows_stay_right_while_rows_are_removed_and_added(index):
    """Hits are rows of the table, whatever was removed before them; the vectors lie in the same rows."""
    left = dict(zip(IDS.tolist(), VECTORS, strict=True))
    for start in (0, 30, 250):
        gone = IDS[start : start + 20]
        assert index.remove(gone) == 20
        left = {id: v for id, v in left.items() if id not in set(gone.tolist())}
        new = [f"new-{start}-{i}" for i in range(3)]
        index.add([*new, gone[0]], QUERIES[:4], {"year": np.arange(4), "kind": np.array(["hat"] * 4)})
        left |= dict(zip([*new, gone[0]], QUERIES[:4], strict=True))
        assert index.table.ids.tolist() == list(left) and len(index) == len(left)
        np.testing.assert_array_equal(index.vectors(), np.stack([*left.values()]))
        assert [index.table.rows[id] for id in left] == list(range(len(left)))
        assert gone[1] not in index.table.rows and index.table.rows.rows([gone[1], new[0]])[0] == -1
        expected = brute(QUERIES, np.stack([*left.values()]), np.array([*left]), 5)
        np.testing.assert_array_equal(search(index, QUERIES, 5), expected[0])
        where = {"kind": "hat"}
        assert set(search(index, QUERIES, 5, where=where).ravel()) <= set(index.table.ids[index.table.where(where)])


# The exact index's int8 scan.


@pytest.fixture(params=["packed", "unpacked"])
def scanning(monkeypatch, request):
    """Exact indexes use int8 codes however small they are, in small segments, packed where possible."""
    torch = pytest.importorskip("torch")
    packed = request.param == "packed" and cpu_features.measure().packed
    monkeypatch.setattr(exact_file, "_WORTH_CODES", 0)
    monkeypatch.setattr(cpu_features, "measure", lambda: cpu_features.Machine(torch, True, True, packed))
    monkeypatch.setattr(int8, "SEGMENT", 1024)
    monkeypatch.setattr(int8, "_UNIT", 64)


@pytest.mark.parametrize("q", [1, 2, 5, 40])
def test_scan_equals_brute_force(scanning, q):
    vectors = np.round(unit(3000, 16, 2) * 6) / 4  # many equal scores
    ids = np.arange(3000).astype(str)
    index = Exact()
    index.add(ids, vectors, {"third": np.arange(3000) % 3})
    for where, keep in (({}, None), ({"third": 1}, np.arange(3000) % 3 == 1)):
        for k in (1, 10, 300):
            hits = index.search(QUERIES[:q].repeat(2, axis=0)[:q], k, where=where)
            expected = brute(QUERIES[:q].repeat(2, axis=0)[:q], vectors, ids, k, keep)
            np.testing.assert_array_equal(ids_of(index, hits), expected[0])
            np.testing.assert_array_equal(hits.scores, expected[1])
    assert index._segments, "the scan was not used"


def test_segments_stay_few_while_rows_trickle_in(scanning, tmp_path):
    index, vectors = Exact(), unit(700, 16, 3)
    for i in range(700):
        index.add([str(i)], vectors[i : i + 1] * (1 + i % 7))
        if i % 5 == 0:
            assert search(index, vectors[i : i + 1], 1).shape == (1, 1)
    scaled = vectors * (1 + np.arange(700) % 7)[:, None]
    np.testing.assert_array_equal(search(index, QUERIES, 8), brute(QUERIES, scaled, np.arange(700).astype(str), 8)[0])
    assert sum(s.size for s in index._segments) == 700 and len(index._segments) <= 10
    index.remove(["5", "6"])
    again = reopened(index, tmp_path)
    np.testing.assert_array_equal(search(again, QUERIES, 8), search(index, QUERIES, 8))


# FAISS's own ways.


def test_recall_is_measured_against_exact():
    index = Faiss("IVF32,Flat", nprobe=1)
    index.add(IDS, VECTORS, COLUMNS)
    poor = index.measure_recall(QUERIES)
    found = search(index, QUERIES, 10)
    truth = brute(QUERIES, VECTORS, IDS, 10)[0]
    assert poor == pytest.approx(np.mean([len({*a} & {*b}) / 10 for a, b in zip(found, truth, strict=True)]))
    assert 0 < poor < 0.9
    report = Faiss("Flat"), Exact()
    for one in report:
        one.add(IDS, VECTORS, COLUMNS)
        assert one.report(VECTORS)["recall@10"] == 1.0


NESTED = ["IVF64,Flat,RFlat", "L2norm,HNSW16", "PCA8,IVF16,Flat", "OPQ8,IVF16,PQ8x4fs,RFlat", "IVF16,PQ8x4,Refine(SQ8)",
          "NSG8", "PQ8x4fs"]  # fmt: skip


@pytest.mark.parametrize("factory", NESTED)
def test_filters_and_breadth_reach_the_index_behind_others(factory, capfd):
    """A filtered search fills its places, k = n gives n, and a wider search finds more, behind any transform."""
    narrow, wide = (Faiss(factory, rescore=1, nprobe=n, ef_search=8 * n) for n in (1, 64))
    rare = np.arange(len(MANY)) % 100 == 0
    for index in (narrow, wide):
        index.add(np.arange(len(MANY)), MANY, {"c": np.where(rare, "rare", "common")})
        hits = index.search(MANY[:20], 10, where={"c": "rare"})
        assert (hits.rows >= 0).all() and rare[hits.rows].all()
        assert sorted(index.search(MANY[:1], len(MANY)).rows[0].tolist()) == list(range(len(MANY)))
        few = index.search(MANY[:20], 10, where={"id": ["3", "7"]}, exclude=["7"]).rows
        assert (few[:, 0] == 3).all() and (few[:, 1:] == -1).all()
    settings = set(wide.variants())
    if factory in ("NSG8", "PQ8x4fs"):
        assert settings == {factory}
        return
    assert len(settings) > 3
    assert wide.measure_recall(QUERIES) > narrow.measure_recall(QUERIES) + 0.01
    filtered = wide.measure_recall(QUERIES, where={"c": "rare"})
    assert filtered > 0.99 if factory.endswith((",Flat,RFlat", "HNSW16")) else filtered > 0.4
    told = wide.report(MANY)
    assert 0 < told["recall@10"] <= 1 and 0 < told["recall@10 with a filter"] <= 1
    assert "WARNING" not in capfd.readouterr().err, "few training vectors are expected"


def test_recall_with_a_filter_is_of_the_rows_that_pass():
    index = Faiss("Flat")
    index.add(IDS, VECTORS, COLUMNS)
    assert index.measure_recall(QUERIES, where={"kind": "hat"}) == 1.0
    assert index.measure_recall(QUERIES, where={"year": 1900}) == 1.0, "nothing to find, nothing missed"


@pytest.mark.parametrize("factory", ["Flat", "HNSW16"])
def test_vectors_of_any_length_are_ranked_by_inner_product(factory):
    """Not by Euclidean distance, whose order is another one where lengths differ: also in the FAISS index itself."""
    lengths = np.random.default_rng(5).uniform(0.2, 5, (len(VECTORS), 1)).astype(np.float32)
    index = Faiss(factory, ef_search=400)
    index.add(IDS, lengths * VECTORS, COLUMNS)
    products = QUERIES @ (lengths * VECTORS).T
    distances = np.square(QUERIES[:, None] - lengths * VECTORS).sum(2)
    expected = np.argsort(-products, axis=1)[:, :5]
    assert (expected != np.argsort(distances, axis=1)[:, :5]).mean() > 0.5
    hits = index.search(QUERIES, 5)
    np.testing.assert_array_equal(index.table.ids[hits.rows], IDS[expected])
    np.testing.assert_allclose(hits.scores, np.take_along_axis(products, expected, 1), rtol=1e-5)
    inner, _ = index._index.search(QUERIES, 1)
    np.testing.assert_allclose(inner[:, 0], products.max(1), rtol=1e-4)


@pytest.mark.parametrize("factory", ["PQ8x4", "IVF8,PQ8x4", "PCA8,Flat", "HNSW8,SQ8"])
def test_other_factories(factory, tmp_path):
    index = Faiss(factory, rescore=20)
    index.add(IDS, VECTORS, COLUMNS)
    assert index.report(VECTORS)["recall@10"] > 0.8
    keep = {"kind": "hat"}
    assert set(search(index, QUERIES, 5, where=keep).ravel()) <= set(IDS[COLUMNS["kind"] == "hat"])
    np.testing.assert_array_equal(search(reopened(index, tmp_path), QUERIES, 5), search(index, QUERIES, 5))


def test_hnsw_skips_removed_rows_and_is_rebuilt_when_many_are():
    index = Faiss("HNSW16")
    index.add(IDS, VECTORS, COLUMNS)
    index.search(QUERIES, 1)
    graph = index._index
    index.remove(IDS[:40])
    index.search(QUERIES, 1)
    assert index._index is graph and len(index) == 360
    index.remove(IDS[:150])
    index.search(QUERIES, 1)
    assert index._index is not graph and index._index.ntotal == len(index) == 250


def test_growing_beyond_double_trains_again():
    index = Faiss("IVF4,Flat", nprobe=4)
    index.add(IDS[:100], VECTORS[:100], {n: c[:100] for n, c in COLUMNS.items()})
    index.search(QUERIES, 1)
    first = index._index
    index.add(IDS[100:150], VECTORS[100:150], {n: c[100:150] for n, c in COLUMNS.items()})
    assert index._index is first and first.ntotal == 150
    index.add(IDS[150:], VECTORS[150:], {n: c[150:] for n, c in COLUMNS.items()})
    np.testing.assert_array_equal(search(index, QUERIES, 5), brute(QUERIES, VECTORS, IDS, 5)[0])
    assert index._index is not first


def test_a_damaged_graph_is_noticed_and_a_stale_one_rebuilt(tmp_path):
    index = Faiss("HNSW8")
    index.add(IDS, VECTORS, COLUMNS)
    reopened(index, tmp_path)
    path = tmp_path / "index" / "faiss.index"
    good = path.read_bytes()
    path.write_bytes(good[:-9])
    with pytest.raises(Corrupt, match=r"faiss.index is damaged"):
        Faiss.load(tmp_path / "index")
    # A whole graph of other rows, as after restoring half of a backup.
    other = Faiss("HNSW8")
    other.add(IDS[:50], VECTORS[:50], {n: c[:50] for n, c in COLUMNS.items()})
    reopened(other, tmp_path / "other")
    path.write_bytes((tmp_path / "other" / "index" / "faiss.index").read_bytes())
    head = io.read_json(tmp_path / "index" / "index.json")
    head["xxh3"]["faiss.index"] = io.checksum(path)
    del head["checksum"]  # as in an index that was made before there was one
    io.write_json(tmp_path / "index" / "index.json", head)
    np.testing.assert_array_equal(search(Faiss.load(tmp_path / "index"), VECTORS, 1)[:, 0], IDS)


def test_faiss_errors_name_the_remedy():
    with pytest.raises(BadRecipe, match="nprobe=0; expected 1 or more"):
        Faiss(nprobe=0)
    for factory, n in (("HNSWx", 400), ("IVF64,Flat", 10), ("IVF0,Flat", 400), ("IDMap,Flat", 400)):
        index = Faiss(factory)
        index.add(IDS[:n], VECTORS[:n], {name: c[:n] for name, c in COLUMNS.items()})
        with pytest.raises(BadRecipe, match=f"factory '{factory}' makes no index of {n} vectors of width 16 .*type"):
            index.search(QUERIES, 1)


def test_rows_notice_files_that_do_not_belong_together(tmp_path):
    rows = Rows()
    rows.add(IDS, VECTORS, COLUMNS)
    rows.save(tmp_path, "exact", {}, {})
    head = io.read_json(tmp_path / "index.json")
    io.write_json(tmp_path / "index.json", {**head, "count": 399})
    with pytest.raises(Corrupt, match="index.json is damaged; build the index again"):
        Rows.load(tmp_path, "exact")
    del head["checksum"]  # as in an index that was made before there was one
    io.write_json(tmp_path / "index.json", {**head, "count": 399})
    with pytest.raises(Corrupt, match="400 ids for vectors of shape"):
        Rows.load(tmp_path, "exact")

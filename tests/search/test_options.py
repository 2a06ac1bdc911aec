"""Facets, collapsing, least scores and fallbacks of a search: against plain Python over the whole ranking."""

import json
import math
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sensorium
from sensorium.errors import BadRecipe
from sensorium.evaluate.hubness_corrections import Correction
from sensorium.search import collapse, mmr

N = 200  # a corrected search corrects all of them, so its hits do not depend on how many it asks for


def shop(index, correction):
    random = np.random.default_rng(3)
    z = random.standard_normal((N // 4, 8)).astype(np.float32)
    items = np.repeat(z, 4, axis=0) + 0.3 * random.standard_normal((N, 8)).astype(np.float32)
    columns = {
        "product": [None if n % 23 == 5 else f"p{n // 4}" for n in range(N)],
        "maker": [f"m{n % 3}" if n % 50 else None for n in range(N)],
        "price": np.where(np.arange(N) % 11 == 3, np.nan, np.arange(N) % 37 + 0.5),
        "stock": [None if n % 17 == 2 else n % 3 > 0 for n in range(N)],
        "tags": [None if n % 19 == 7 else [["red"], ["red", "new"], []][n % 3] for n in range(N)],
        "colours": [["red"] for _ in range(N)],
    }
    made = sensorium.fit(items @ random.standard_normal((8, 6)).astype(np.float32), items, objective="ridge",
                         metadata={"right": columns}, ids=[f"i{n}" for n in range(N)], index=index,
                         evaluate={"resamples": 20, "baselines": [], "correction": "none"})  # fmt: skip
    if correction:
        bank = made.project("left", random.standard_normal((40, 6)).astype(np.float32))
        made.corrections = {"left->right": Correction(correction, 5, bank)}
    made.queries = random.standard_normal((12, 6)).astype(np.float32)
    return made


@pytest.fixture(scope="module", params=[("exact", "csls", 1000), ("faiss", "qb_norm", 8)], ids=lambda one: one[0])
def run(request):
    """A run, and the depth from which groups are searched item by item."""
    index, correction, most = request.param
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(collapse, "_MOST", most)
        yield shop(index, correction)


WHERE = [None, {"stock": True}, {"stock": [None, False], "price": {">=": 3, "<": 30}}, {"maker": "m1"}, {"tags": "new"}, {"price": None},
         {"price": {">": 1e9}}]  # fmt: skip


def ranking(run, q, where, corrected=True):
    """Every hit that passes a filter, by a plain search."""
    return list(run.search(vector=run.queries[q], side="left", k=N, where=where, corrected=corrected))


def key(hit, column):
    value = hit["metadata"][column]
    missing = value is None or (isinstance(value, float) and math.isnan(value))
    return ("item", hit["id"]) if missing else value


def expected(run, q, k, where, corrected, column, size, least, fallback):
    """The hits as (id, fallback, group size, further ids), in plain Python."""
    full = ranking(run, q, where, corrected)

    def pick(found, number, taken=()):
        if column is None:
            return [(hit, 1, []) for hit in found if hit["id"] not in taken][:number]
        groups = {}
        for hit in found:
            groups.setdefault(key(hit, column), []).append(hit)
        return [(some[0], name, some[1:size]) for name, some in groups.items() if name not in taken][:number]

    hits = pick([hit for hit in full if least is None or hit["score"] >= least], k)
    made = [(hit["id"], False, hit["score"], [one["id"] for one in more]) for hit, _, more in hits]
    if fallback is not None and len(hits) < k:
        ids = {hit["id"] for hit, _, _ in hits}
        others = [hit for hit in ranking(run, q, fallback or None, corrected) if hit["id"] not in ids]
        taken = [name for _, name, _ in hits] if column is not None else ids
        for hit, _, more in pick(others, k - len(hits), taken):
            made.append((hit["id"], True, hit["score"], [one["id"] for one in more]))
    return made


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 11), st.integers(1, 70), st.sampled_from(WHERE), st.booleans(),
    st.sampled_from([None, "product", "maker", "price", "stock"]), st.integers(1, 5),
    st.none() | st.floats(-0.5, 1), st.sampled_from([None, {}, {"stock": True}, {"maker": "m2"}]),
)  # fmt: skip
def test_hits_are_those_of_plain_python(run, q, k, where, corrected, column, size, least, fallback):
    size = size if column else 1
    found = run.search(vector=run.queries[q], side="left", k=k, where=where, corrected=corrected, collapse=column,
                       collapse_size=size, min_score=least, fallback=fallback)  # fmt: skip
    told = [(hit["id"], hit.get("fallback", False), hit["score"], [one["id"] for one in hit.get("collapsed", [])])
            for hit in found]  # fmt: skip
    wanted = expected(run, q, k, where, corrected, column, size, least, fallback)
    assert [one[:2] for one in told] == [one[:2] for one in wanted]
    assert [one[3] for one in told] == [one[3] for one in wanted]
    np.testing.assert_array_equal([one[2] for one in told], [one[2] for one in wanted])
    assert [hit["rank"] for hit in found] == list(range(1, len(found) + 1))
    assert all("fallback" in hit for hit in found) == (fallback is not None) or not found
    for hit in found if column else ():
        filter_ = (fallback or None) if hit.get("fallback") else where
        gone = {one["id"] for one in found if not one.get("fallback")} - {hit["id"]} if hit.get("fallback") else ()
        same = [one for one in ranking(run, q, filter_) if key(one, column) == key(hit, column)]
        assert hit["group_size"] == len([one for one in same if one["id"] not in gone])
        assert [one["rank"] for one in hit["collapsed"]] == list(range(2, 2 + len(hit["collapsed"])))


def test_the_correction_changes_what_is_found(run):
    assert any(ranking(run, q, None) != ranking(run, q, None, False) for q in range(12))


def test_variety_is_among_the_best_of_each_group(run):
    q, k = run.queries[0], 5
    found = run.search(vector=q, side="left", k=k, collapse="product", mmr=0.3)
    groups = run.search(vector=q, side="left", k=5 * k, collapse="product")
    rows = run.index("right").table.rows.rows(groups.ids)
    taken = mmr.mmr(np.array(groups.scores), run.index("right").vectors(rows), k, 0.3)
    assert found.ids == [groups[place]["id"] for place in taken] and len({key(hit, "product") for hit in found}) == k


def test_an_item_is_not_among_its_neighbours_nor_counted_in_its_group(run):
    one = "i40"
    found = run.search(id=one, side="right", to="right", k=60, collapse="product", collapse_size=4)
    every = [hit["id"] for hit in found] + [more["id"] for hit in found for more in hit["collapsed"]]
    assert one not in every and len(every) == len(set(every)) == N - 1
    mine = next(hit for hit in found if hit["product"] == "p10")
    assert mine["group_size"] == 3 and len(mine["collapsed"]) == 2


def test_facets_come_with_a_search_and_without_one(run):
    where = {"maker": ["m1", "m2"], "price": {"<": 30}}
    hits = run.search(vector=run.queries[1], side="left", k=3, where=where, facets=["maker", "price"])
    assert hits.facets == run.search(to="right", where=where, facets=["maker", "price"]).facets
    assert {one["value"] for one in hits.facets["maker"]["values"]} == {
        "m0",
        "m1",
        "m2",
    }  # its own condition is left out
    assert hits.facets["price"]["count"] == len(ranking(run, 1, {"maker": ["m1", "m2"]}))
    assert hits[:2].facets == hits.facets == pickle.loads(pickle.dumps(hits)).facets
    none = run.search(to="right", facets=["tags"])
    assert none == [] and none.facets["tags"]["values"][0]["value"] == "red"
    many = run.search_many(run.queries[:2], side="left", k=2, facets=["stock"], collapse="product", min_score=-1.0)
    assert [len(one) for one in many] == [2, 2] and all(one.facets["stock"]["missing"] for one in many)


def test_many_queries_collapse_as_single_ones_do(run):
    options = {"side": "left", "k": 40, "collapse": "product", "collapse_size": 2, "where": {"stock": True}}
    for query, hits in zip(run.queries, run.search_many(run.queries, **options), strict=True):
        alone = run.search(vector=query, **options)
        assert hits.ids == alone.ids and len(hits) > 30
        assert [[one["id"] for one in hit["collapsed"]] for hit in hits] == [
            [one["id"] for one in hit["collapsed"]] for hit in alone
        ]


def test_hits_of_groups_show_themselves(run):
    hits = run.search(vector=run.queries[2], side="left", k=2, collapse="product", collapse_size=2, fallback={})
    more = hits[0]["collapsed"][0]["id"]
    assert more in repr(hits) and more in hits._repr_html_() and '"collapsed": [{' in json.dumps(list(hits))


BAD = [
    ({"k": 0}, "k=0; expected 1 or more"),
    ({"facets": "maker"}, r"facets is text; expected a list of columns: facets=\['maker'\]"),
    ({"facets": ["makr"]}, "facets: no column 'makr'; .*maker"),
    ({"collapse": "makr"}, "collapse: no column 'makr'; .*maker"),
    ({"collapse": "tags"}, "collapse: 'tags' holds lists; expected a column of single values that items share"),
    ({"collapse": "colours"}, "collapse: 'colours' holds lists; expected a column of single values"),
    ({"collapse": "id"}, "collapse: 'id' is each item's own; expected a column"),
    ({"collapse_size": 2}, "collapse_size needs a column to collapse by"),
    ({"collapse": "maker", "collapse_size": 0}, "collapse_size=0; expected 1 or more items of a group"),
    ({"min_score": math.nan}, "min_score=nan; expected a number"),
    ({"fallback": "maker=m1"}, "fallback is str; expected a filter like where, or {} for no filter"),
    ({"fallback": {"makr": 1}}, "fallback: no column 'makr'; .*maker"),
]


@pytest.mark.parametrize(("options", "message"), BAD, ids=str)
def test_wrong_options_are_refused_whatever_is_found(run, options, message):
    with pytest.raises(BadRecipe, match=message):
        run.search(vector=run.queries[0], side="left", **options)


def test_facets_without_a_query_need_a_side(run):
    with pytest.raises(BadRecipe, match="say which side's facets with to: left or right"):
        run.search(facets=["maker"])
    with pytest.raises(BadRecipe, match="facets: no column 'maker'"):
        run.search(facets=["maker"], to="left")


def test_items_added_and_removed_live_are_counted_and_collapsed():
    run = shop("exact", "")
    before = run.search(to="right", facets=["product"], where={"product": "p0"}).facets["product"]["values"]
    vector = run.index("right").vectors(np.array([0]))[0]
    columns = {
        "product": ["p0", "new"],
        "maker": ["m9", "m9"],
        "price": [1.5, 2.5],
        "stock": [True, None],
        "tags": [["x"], None],
    }
    items = np.random.default_rng(5).standard_normal((2, 8)).astype(np.float32)
    run.add(items, ids=["a", "b"], side="right", metadata=columns)
    run.remove(["i1"], side="right")
    found = run.search(to="right", facets=["product", "maker", "tags"]).facets
    counts = {name: {one["value"]: one["count"] for one in facet["values"]} for name, facet in found.items()}
    assert counts["product"]["new"] == 1 and counts["maker"]["m9"] == 2 and counts["tags"]["x"] == 1
    assert counts["product"]["p0"] == next(one["count"] for one in before if one["value"] == "p0")
    assert found["product"]["count"] == N + 1 and len(vector) == run.index("right").vectors().shape[1]
    groups = run.search(vector=run.queries[0], side="left", k=N, collapse="product", collapse_size=9)
    assert {hit["product"] for hit in groups} >= {"new"} and sum(hit["group_size"] for hit in groups) == N + 1

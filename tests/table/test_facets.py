"""Facet counts against counting in plain Python, on columns of every kind, before and after rows come and go."""

import datetime
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.errors import BadRecipe
from sensorium.table import Table, as_column
from sensorium.table.facets import RANGES, VALUES, count

WORDS = st.sampled_from(["red", "blue", "", "Ärmel", "x" * 80])
KINDS = {
    "text": WORDS | st.none(),
    "short": st.sampled_from("abc"),
    "stock": st.booleans() | st.none(),
    "sold": st.booleans(),
    "size": st.integers(-3, 3) | st.none(),
    "year": st.integers(1990, 1995),
    "price": st.sampled_from([0.1, 9.99, 20.0, -1.5]) | st.none(),
    "tags": st.lists(st.sampled_from(["a", "b", "c"]), max_size=3) | st.none(),
    "day": st.dates(datetime.date(2020, 1, 1), datetime.date(2020, 1, 4)) | st.none(),
}
FILTERS = [
    {}, {"short": "a"}, {"short": ["a", "b"], "year": {">=": 1992}}, {"stock": True}, {"stock": None}, {"stock": [None, False]},
    {"price": {">=": 0.1, "<": 20}}, {"price": None}, {"size": {"!=": [1, 2]}}, {"tags": "a"}, {"metadata.text": {"!=": "red"}},
    {"day": {">": "2020-01-02"}, "size": [0, 1, None]},
]  # fmt: skip


def table_of(rows, start=0):
    ids = np.array([f"i{start + n}" for n in range(len(rows))])
    return Table(ids, {name: as_column([row[name] for row in rows], name) for name in KINDS})


rows_of = st.lists(st.fixed_dictionaries(KINDS), min_size=1, max_size=25)


def plain(table, name, mask):
    """Counts by value of the rows under a mask, and rows without one."""
    values = [table.metadata(row)[name] for row in np.flatnonzero(mask)]
    values = [None if isinstance(v, float) and math.isnan(v) else v for v in values]
    there = [v for v in values if v is not None]
    flat = [one for v in there for one in set(v)] if name == "tags" else there
    return Counter(flat), values.count(None), len(values)


def check(table, where):
    found = count(table, list(KINDS), where)
    for name, facet in found.items():
        others = {key: one for key, one in where.items() if key.removeprefix("metadata.") != name}
        fresh = Table(table.ids, table.columns)  # its columns are not encoded: conditions are decided row by row
        counts, gaps, total = plain(table, name, fresh.where(others))
        assert (facet["count"], facet["missing"], facet["distinct"]) == (total, gaps, len(counts))
        told = [(one["value"], one["count"]) for one in facet["values"]]
        assert told == sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
        if name in ("size", "year", "price", "day") and any(v is not None for v in table.columns[name].tolist()):
            assert facet["min"] == min(counts, default=None) and facet["max"] == max(counts, default=None)
        for value, n in told:  # what choosing it leaves
            assert np.count_nonzero(fresh.where({**others, name: value})) == n


@settings(max_examples=40, deadline=None)
@given(rows_of, st.sampled_from(FILTERS))
def test_counts_are_those_of_plain_python(rows, where):
    check(table_of(rows), where)


@settings(max_examples=25, deadline=None)
@given(rows_of, rows_of, st.sampled_from(FILTERS), st.data())
def test_rows_that_come_and_go_are_counted(rows, more, where, data):
    table = table_of(rows)
    count(table, list(KINDS))  # encoded now, and handed on
    added = table_of(more, len(rows))
    table = table.append(added.ids, added.columns)
    check(table, where)
    keep = np.array(data.draw(st.lists(st.booleans(), min_size=len(table), max_size=len(table))))
    check(table.take(keep), where)


@settings(max_examples=30, deadline=None)
@given(rows_of, st.sampled_from(FILTERS))
def test_an_encoded_column_meets_the_same_conditions(rows, where):
    table = table_of(rows)
    before = table.where(where)
    count(table, list(KINDS))
    np.testing.assert_array_equal(table.where(where), before)


numbers = st.floats(-1e6, 1e6, width=32) | st.floats(0, 1, width=32)


@settings(max_examples=40, deadline=None)
@given(st.lists(numbers, min_size=VALUES + 1, max_size=160, unique=True), st.sampled_from([np.float32, np.float64]))
def test_ranges_hold_every_number_once(values, dtype):
    table = Table(np.arange(len(values)).astype(str), {"price": np.array(values, dtype)})
    facet = count(table, ["price"])["price"]
    if facet["distinct"] <= VALUES:
        return
    assert 1 <= len(facet["ranges"]) <= RANGES and sum(one["count"] for one in facet["ranges"]) == len(values)
    for one in facet["ranges"]:
        assert one["count"] == np.count_nonzero(table.where({"price": {">=": one["from"], "<": one["to"]}}))
    assert facet["ranges"][0]["from"] <= facet["min"] and facet["max"] < facet["ranges"][-1]["to"]


def test_ranges_of_whole_numbers_have_whole_round_limits():
    table = Table(np.arange(500).astype(str), {"stock": np.arange(500) - 7})
    facet = count(table, ["stock"])["stock"]
    assert facet["ranges"][0] == {"from": -50, "to": 0, "count": 7} and facet["ranges"][-1]["to"] == 500
    assert [one["count"] for one in facet["ranges"][1:-1]] == [50] * 9
    assert "values" not in facet and facet["min"] == -7 and facet["max"] == 492


def test_numbers_beyond_floats_and_infinities_have_no_wrong_ranges():
    wide = Table(np.arange(200).astype(str), {"key": np.arange(200) + 2**60, "x": np.r_[np.arange(199.0), np.inf]})
    found = count(wide, ["key", "x"])
    assert found["key"]["ranges"] == [] and found["key"]["max"] == 2**60 + 199
    assert found["x"]["max"] == 198 and sum(one["count"] for one in found["x"]["ranges"]) == 199


def test_only_the_most_frequent_values_are_listed():
    names = [f"brand {n:03}" for n in range(150) for _ in range(1 + (n == 149))]
    facet = count(Table(np.arange(151).astype(str), {"brand": np.array(names)}), ["brand"])["brand"]
    assert facet["distinct"] == 150 and len(facet["values"]) == VALUES
    assert facet["values"][:2] == [{"value": "brand 149", "count": 2}, {"value": "brand 000", "count": 1}]


def test_a_facet_of_no_column_or_of_the_ids_is_refused():
    table = Table(np.array(["a"]), {"color": np.array(["red"])})
    with pytest.raises(BadRecipe, match=r"facets: no column 'colour'; .*color"):
        count(table, ["colour"])
    with pytest.raises(BadRecipe, match="facets: every item has an id of its own; expected a column: color"):
        count(table, ["id"])

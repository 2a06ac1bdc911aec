"""Ids: text, unique, and never missing."""

import numpy as np
import pytest

from sensorium.errors import BadData
from sensorium.types import LONGEST_ID, Hits, as_ids


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        ([7, "8"], ["7", "8"]),
        (np.array([1, 2], ">i8"), ["1", "2"]),
        (np.array([b"a", "é".encode()]), ["a", "é"]),
        (np.array(["a", "b"], np.dtypes.StringDType()), ["a", "b"]),
        ({"a"}, ["a"]),
        ([], []),
        (["owner/repo#1", "owner/repo#2"], ["owner/repo#1", "owner/repo#2"]),
    ],
)
def test_ids_become_text(ids, expected):
    assert as_ids(ids).tolist() == expected and as_ids(ids).dtype.kind == "U"


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([None, "a", None], r"2 of 3 ids are missing \(null, NaN, NaT or empty\)"),
        (np.array([None, "a"], object), "1 of 2 ids are missing"),
        (["a", float("nan")], "1 of 2 ids are missing"),
        (np.array(["2024-01-01", "NaT"], "M8[D]"), "1 of 2 ids are missing"),
        (["a", ""], "1 of 2 ids are missing"),
        (np.array(["", "", "c"]), "2 of 3 ids are missing"),
        (np.ma.array(["a", "b"], mask=[True, False]), "1 of 2 ids are missing"),
        (np.array([1.0, np.nan]), "1 of 2 ids are missing"),
        (np.array([1.5, 2.0]), "floating-point"),
        (np.array([b"\xff", b"a"]), "ids are bytes that are not UTF-8"),
        (["a", "\ud800"], r"1 ids are not valid Unicode \(lone surrogates\), the first in row 1"),
        (["a", "x" * (LONGEST_ID + 1)], "an id has 1,001 characters, at most 1,000 are taken"),
        (["a\0", "b"], "NUL character"),
        (np.zeros((2, 2)), r"one-dimensional, got shape \(2, 2\)"),
    ],
)
def test_ids_that_are_refused(ids, message):
    with pytest.raises(BadData, match=message):
        as_ids(ids)


def test_missing_ids_of_pandas():
    pd = pytest.importorskip("pandas")
    for series in (
        pd.Series(["a", None]),
        pd.Series([1, None], dtype="Int64"),
        pd.Series(["a", pd.NA], dtype="string"),
    ):
        with pytest.raises(BadData, match="1 of 2 ids are missing"):
            as_ids(series)


def test_hits_without_a_table_have_no_ids():
    rows, scores = hits = Hits(np.zeros((1, 1), int), np.zeros((1, 1)))
    assert rows is hits.rows and scores is hits.scores
    with pytest.raises(BadData, match=r"index.table.ids\[hits.rows\]"):
        _ = hits.ids

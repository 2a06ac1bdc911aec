"""Ids and columns: filters against a brute-force reading, round trip, refusals."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.errors import BadData, BadRecipe
from sensorium.table import Table

TABLE = Table(
    np.array(["a", "b", "c", "d"]),
    {
        "year": np.array([1999, 2005, 2005, 2020]),
        "kind": np.array(["dog", "cat", "dog", ""]),
        "loud": np.array([True, False, True, False]),
        "score": np.array([0.5, np.nan, 1.0, 2.0]),
    },
)


@pytest.mark.parametrize(
    ("where", "ids"),
    [
        ({}, "abcd"),
        ({"kind": "dog"}, "ac"),
        ({"kind": ["dog", "cat"], "year": "2005"}, "bc"),
        ({"year": {">=": 2005, "<": "2020"}}, "bc"),
        ({"loud": "true"}, "ac"),
        ({"loud": False}, "bd"),
        ({"score": {">": 0.6}}, "cd"),
        ({"id": ["d", "nobody"]}, "d"),
        ({"kind": {"!=": "dog"}}, "bd"),
        ({"kind": "mouse"}, ""),
    ],
)
def test_where(where, ids):
    assert "".join(TABLE.ids[TABLE.where(where)]) == ids


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({"knd": "dog"}, "no column 'knd'; did you mean 'kind'"),
        ({"year": {"=>": 1}}, "no operator '=>'"),
        ({"year": "many"}, "column 'year' holds int64, which .* cannot be compared"),
        ({"loud": "perhaps"}, "column 'loud' holds bool"),
    ],
)
def test_where_refuses(where, message):
    with pytest.raises(BadRecipe, match=message):
        TABLE.where(where)


def test_the_first_ids_are_looked_up_when_first_needed_and_still_refused_where_they_repeat():
    table = Table(np.zeros(0, "<U1"), {}).append(np.array(["b", "a"]), {"n": [1, 2]})
    assert not table._lookup and table.rows["a"] == 1
    assert table.append(np.array(["c"]), {"n": [3]}).rows["c"] == 2
    with pytest.raises(BadData, match="already present or repeated, such as .'a'."):
        Table(np.zeros(0, "<U1"), {}).append(np.array(["a", "b", "a"]), {})


def test_append_refuses_ids_already_there_and_other_columns():
    with pytest.raises(BadData, match=r"already present or repeated, such as \['b'\]"):
        TABLE.append(np.array(["e", "b"]), {k: v[:2] for k, v in TABLE.columns.items()})
    with pytest.raises(BadData, match="differ from the table's"):
        TABLE.append(np.array(["e"]), {"year": np.array([1])})
    assert len(TABLE) == 4


@given(
    st.lists(
        st.tuples(
            st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), min_size=1, max_size=6),
            st.integers(-(2**60), 2**60),
            st.floats(allow_nan=False),
            st.booleans(),
        ),
        max_size=12,
        unique_by=lambda r: r[0],
    )
)
@settings(deadline=None, max_examples=50)
def test_round_trip(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("table") / "items.parquet"
    columns = list(zip(*rows, strict=True)) or [(), (), (), ()]
    table = Table(
        np.array(columns[0], dtype=np.str_),
        {
            "n": np.array(columns[1], np.int64),
            "x": np.array(columns[2], float),
            "y": np.array(columns[3], bool),
            "t": np.array(columns[0], dtype=np.str_),
        },
    )
    table.save(path)
    back = Table.load(path)
    assert back.ids.tolist() == table.ids.tolist()
    for name, column in table.columns.items():
        assert back.columns[name].tolist() == column.tolist() and back.columns[name].dtype.kind == column.dtype.kind


def test_metadata_is_plain_python():
    assert TABLE.metadata(0) == {"year": 1999, "kind": "dog", "loud": True, "score": 0.5}
    assert type(TABLE.metadata(0)["year"]) is int


def test_a_filter_asked_again_gives_the_same_rows_and_those_of_a_changed_table():
    """Masks of conditions are kept: they follow rows that come and go, and nobody can change them."""
    table = Table(
        np.array(["a", "b", "c"]),
        {"n": np.array([1, 2, 3]), "on": np.array([True, False, True]), "t": np.array(["1", "x", ""])},
    )
    for _ in range(2):
        assert table.where({"n": {">=": 2}}).tolist() == [False, True, True]
        assert table.where({"n": 1, "on": True}).tolist() == [True, False, False]
        assert table.where({"t": "1"}).tolist() == table.where({"t": 1}).tolist() == [True, False, False]
        assert table.where({"t": ["1", "x"]}).tolist() == [True, True, False]
        assert table.where({"t": {"!=": [None, ""]}}).tolist() == [True, True, False]
        assert table.where({"n": {np.int64(1), 3}}).tolist() == [True, False, True]  # a set has no text of its own
    mask = table.where({"n": {">=": 2}})
    mask[:] = False
    assert table.where({"n": {">=": 2}}).tolist() == [False, True, True]
    with pytest.raises(ValueError, match="read-only"):
        table.holds("n", {">=": 2})[0] = True
    more = table.append(np.array(["d"]), {"n": [9], "on": [False], "t": ["y"]})
    assert more.where({"n": {">=": 2}}).tolist() == [False, True, True, True]
    assert more.take(np.array([0, 3])).where({"n": {">=": 2}}).tolist() == [False, True]
    for wrong in ({"n": {"~": 1}}, {"m": 1}):
        for _ in range(2):
            with pytest.raises(BadRecipe):
                table.where(wrong)


def test_the_masks_that_are_kept_are_bounded(monkeypatch):
    monkeypatch.setattr("sensorium.table._MASK_BYTES", 30)
    table = Table(np.array([f"{i}" for i in range(10)]), {"n": np.arange(10)})
    for _ in range(2):
        for least in range(10):
            assert table.where({"n": {">=": least}}).sum() == 10 - least
            assert len(table._masks) <= 3

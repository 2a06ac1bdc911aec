"""What a column may be: kept with its type through memory, Parquet and back, or refused with its name."""

import datetime
import json
import tracemalloc

import numpy as np
import pyarrow as pa
import pytest

from sensorium.errors import BadData, Corrupt
from sensorium.table import Table, as_column, json_value
from sensorium.table.columns import from_arrow, join, kind_of, like, sortable, to_arrow, value_of

UTC = datetime.UTC
KEPT = {
    "integer": (np.array([1, -2, 3], np.int8), [1, -2, 3]),
    "large": (np.array([2**64 - 1, 2**63, 0], np.uint64), [2**64 - 1, 2**63, 0]),
    "python": ([2**53 + 1, -1, 0], [2**53 + 1, -1, 0]),
    "integer with gaps": ([2**53 + 1, None, 0], [2**53 + 1, None, 0]),
    "number": (np.array([0.5, np.nan, 1], np.float32), [0.5, None, 1.0]),
    "long double": (np.array([0.5, 1, 2], np.longdouble), [0.5, 1.0, 2.0]),
    "big-endian": (np.array([1, 2, 3], ">i4"), [1, 2, 3]),
    "boolean": (np.array([True, False, True]), [True, False, True]),
    "boolean with gaps": ([True, None, False], [True, None, False]),
    "text": (["a", "b", ""], ["a", "b", ""]),
    "text with gaps": (["a", None, float("nan")], ["a", None, None]),
    "long": (["a" * 1000, "b", "c"], ["a" * 1000, "b", "c"]),
    "NUL": (["a\0", "b", "c"], ["a\0", "b", "c"]),
    "bytes": (np.array([b"a", "é".encode(), b""]), ["a", "é", ""]),
    "time": (np.array(["2024-01-01T10:00:01.5", "NaT", "1969-01-01"], "M8[ns]"),
             [datetime.datetime(2024, 1, 1, 10, 0, 1, 500000), None, datetime.datetime(1969, 1, 1)]),
    "zone": ([datetime.datetime(2024, 1, 1, tzinfo=datetime.timezone(datetime.timedelta(hours=1))), None, None],
             [datetime.datetime(2023, 12, 31, 23), None, None]),
    "date": (np.array(["2024-01-01", "NaT", "2024-01-03"], "M8[D]"),
             [datetime.date(2024, 1, 1), None, datetime.date(2024, 1, 3)]),
    "duration": (np.array([1, 2, 3], "m8[s]"), [datetime.timedelta(seconds=s) for s in (1, 2, 3)]),
    "list": ([["a", "b"], [], None], [["a", "b"], [], None]),
    "list of arrays": ([np.array([1, 2]), np.array([3]), None], [[1, 2], [3], None]),
    "nothing": ([None, None, None], [None, None, None]),
    "masked": (np.ma.array([1, 2, 3], mask=[False, True, False]), [1, None, 3]),
    "variable width": (np.array(["a", "b" * 99, "c"], np.dtypes.StringDType()), ["a", "b" * 99, "c"]),
}  # fmt: skip


@pytest.mark.parametrize("name", KEPT)
def test_kept_with_its_type(name, tmp_path):
    values, expected = KEPT[name]
    table = Table(np.array(["x", "y", "z"]), {"c": as_column(values, "c")})
    told = [table.metadata(i)["c"] for i in range(3)]
    told = [None if isinstance(v, float) and v != v else v for v in told]
    assert told == expected and [type(v) for v in told] == [type(v) for v in expected]
    table.save(tmp_path / "t.parquet")
    again = Table.load(tmp_path / "t.parquet")
    assert kind_of(again.columns["c"]) == kind_of(table.columns["c"])
    read = [again.metadata(i)["c"] for i in range(3)]
    assert [None if isinstance(v, float) and v != v else v for v in read] == expected
    assert json.loads(json.dumps([json_value(v) for v in told], allow_nan=False)) is not None
    twice = table.append(np.array(["u", "v", "w"]), {"c": values})
    assert [json_value(twice.metadata(i)["c"]) for i in (3, 4, 5)] == [json_value(v) for v in expected]


def test_pandas_categories_nullable_types_and_times():
    pd = pytest.importorskip("pandas")
    for values, expected in (
        (pd.Series(["a", "b", "a"], dtype="category"), ["a", "b", "a"]),
        (pd.Series([1, None, 3], dtype="Int64"), [1, None, 3]),
        (pd.Series([True, None, False], dtype="boolean"), [True, None, False]),
        (pd.Series(["a", None, "c"], dtype="string"), ["a", None, "c"]),
        (pd.Series(pd.to_datetime(["2024-01-01", None, "2024-01-03"])),
         [datetime.datetime(2024, 1, 1), None, datetime.datetime(2024, 1, 3)]),
    ):  # fmt: skip
        table = Table(np.array(["x", "y", "z"]), {"c": as_column(values)})
        assert [table.metadata(i)["c"] for i in range(3)] == expected


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (pa.array(["a", "b", "a"]).dictionary_encode(), ["a", "b", "a"]),
        (pa.array([["a"], [], None]), [["a"], [], None]),
        (pa.array([True, None, False]), [True, None, False]),
        (pa.array([2**60 + 1, None], pa.int64()), [2**60 + 1, None]),
        (pa.array([b"ab", None]), ["ab", None]),
        (pa.chunked_array([["a"], [None]]), ["a", None]),
        (pa.array([None, None]), [None, None]),
        (pa.array([datetime.datetime(2024, 1, 1, tzinfo=UTC), None]), [datetime.datetime(2024, 1, 1), None]),
    ],
)
def test_arrow(array, expected):
    column = from_arrow(array, "c")
    table = Table(np.arange(len(column)).astype(str), {"c": column})
    assert [table.metadata(i)["c"] for i in range(len(column))] == expected


def test_arrow_types_are_those_that_the_formats_page_names():
    for values, type_ in (
        (["a" * 1000, "b"], pa.string()), (["a", None], pa.string()), ([1, 2], pa.int64()), ([1, None], pa.int64()),
        ([0.5, 1], pa.float64()), ([True, None], pa.bool_()), ([["a"], None], pa.list_(pa.string())),
        (np.array([1, 2], np.uint8), pa.uint8()), (np.array(["2024-01-01"], "M8[D]"), pa.date32()),
    ):  # fmt: skip
        assert to_arrow(as_column(values, "c")).type == type_


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1, "a"], "column 'c' mixes int .* and str"),
        ([{"a": 1}], "column 'c' holds dict, which metadata cannot"),
        (np.zeros((2, 3)), r"column 'c' has shape \(2, 3\)"),
        (np.zeros(2, complex), "column 'c' holds complex128"),
        ([2**70, 1], "column 'c' holds integers beyond 64 bits, such as 1180591620717411303424"),
        ([-1, 2**63], "beyond 64 bits"),
        ([b"\xff\xfe"], "column 'c' holds bytes that are not UTF-8"),
        (
            ["fine", "bad \ud800"],
            r"column 'c': 1 texts are not valid Unicode \(lone surrogates\), such as 'bad \\ud800'",
        ),
        ([[{"a": 1}]], "column 'c' holds lists of dict"),
        (np.array(["NaT"], "M8"), "column 'c' holds datetime64"),
    ],
)
def test_refused_with_its_name(values, message):
    with pytest.raises(BadData, match=message):
        as_column(values, "c")


def test_columns_are_joined_only_when_they_are_of_one_kind():
    assert join(np.array([1]), np.array([0.5]), "c").tolist() == [1.0, 0.5]
    assert join(np.array(["a"]), as_column(["b" * 100, None]), "c").tolist() == ["a", "b" * 100, None]
    assert join(as_column([None]), np.array([2**60 + 1]), "c").tolist() == [None, 2**60 + 1]
    assert join(np.array([True]), as_column([None]), "c").tolist() == [True, None]
    for old, new in ((np.array([1]), np.array(["a"])), (np.array([True]), np.array([1]))):
        with pytest.raises(BadData, match="column 'c' holds"):
            join(old, new, "c")


@pytest.mark.parametrize("name", KEPT)
def test_sortable_columns_are_numbers_or_text_without_gaps(name):
    """NumPy sorts and counts them; what is missing is empty text, and of numbers NaN."""
    values, expected = KEPT[name]
    column = as_column(values, "c")
    found = sortable(column)
    if column.dtype.kind in "iufbU":
        assert found is column
        return
    written = {list: lambda v: ", ".join(map(str, v)), datetime.date: str, datetime.datetime: lambda v: v.isoformat()}
    text = ["" if v is None else written.get(type(v), str)(v) for v in expected]
    assert found.tolist() == text
    assert np.unique(found).tolist() == sorted(set(text))


@pytest.mark.parametrize(
    ("column", "values", "expected"),
    [
        (["a", "b"], ["x", 7, None, float("nan")], ["x", "7", "", ""]),
        (["a", None], ["x", 7, None], ["x", "7", ""]),
        (np.array([1], np.int8), [127, -128, 128, "12", 1.9, None, "x", float("inf")], [127, -128, 0, 12, 1, 0, 0, 0]),
        (np.array([1], np.uint64), [2**64 - 1, -1, 2**64], [2**64 - 1, 0, 0]),
        ([1, None], [2**60 + 1, "3", None, "x"], [2**60 + 1, 3, None, None]),
        ([True], [1, 0, None], [True, False, False]),
        ([True, None], [1, 0, None], [True, False, None]),
        ([["a"], []], [["b", "c"], ("d",), "e", None], [["b", "c"], ["d"], ["e"], None]),
    ],
)
def test_values_as_a_column_of_another_s_kind(column, values, expected):
    column = as_column(column, "c")
    found = like(values, column, "c")
    assert found.tolist() == expected
    assert kind_of(found) == kind_of(column) and (column.dtype.kind in "OU" or found.dtype == column.dtype)


def test_numbers_and_times_as_a_column_of_another_s_kind():
    found = like([1, "0.5", None, "x", 1e300], np.array([0.5]), "c")
    np.testing.assert_array_equal(found, [1, 0.5, np.nan, np.nan, 1e300])
    days = like(["2024-02-29", datetime.date(2024, 3, 1), None, "x", 5.5], np.array(["2024-01-01"], "M8[D]"), "c")
    np.testing.assert_array_equal(days, np.array(["2024-02-29", "2024-03-01", "NaT", "NaT", "NaT"], "M8[D]"))
    spans = like([datetime.timedelta(minutes=1), None, "x"], np.array([1], "m8[s]"), "c")
    np.testing.assert_array_equal(spans, np.array([60, "NaT", "NaT"], "m8[s]"))


@pytest.mark.parametrize("make", [list, np.array, lambda v: np.array(v, object)])
def test_short_text_has_a_fixed_width_and_longer_text_none(make):
    for length, kind in ((64, "U"), (65, "O")):
        column = as_column(make(["a" * length, "b"]), "c")
        assert column.dtype.kind == kind and column.tolist() == ["a" * length, "b"]


def test_a_mixed_column_is_described_by_three_of_its_types():
    with pytest.raises(BadData) as error:
        as_column(["x" * 50, 1, b"b", datetime.date(2024, 1, 1)], "c")
    assert str(error.value) == (
        "column 'c' mixes bytes (\"b'b'\") and date ('2024-01-01') and int ('1'); convert it to one type, or drop it"
    )
    with pytest.raises(BadData, match=f"and str \\('{'x' * 40}'\\)"):
        as_column([1, "x" * 50], "c")


def test_columns_of_nothing_take_the_type_of_the_other():
    none, text, number = np.zeros(0, np.str_), np.array(["a"]), np.array([1, 2], np.int8)
    assert join(none, number, "c") is number and join(number, none, "c") is number
    assert join(none, none, "c") is none
    assert join(text, text, "c").dtype.kind == "U" and join(number, number, "c").dtype == np.int8
    assert join(np.array([1.5]), number, "c").tolist() == [1.5, 1, 2]
    assert join(as_column([1, None]), as_column([2**63, None]), "c").tolist() == [1, None, 2**63, None]
    with pytest.raises(BadData, match="beyond 64 bits"):
        join(as_column([-1, None]), as_column([2**63, None]), "c")


def test_integers_at_the_ends_of_64_bits():
    for values in ([-(2**63), 2**63 - 1], [0, 2**64 - 1], [-(2**63), None], [2**64 - 1, None]):
        assert as_column(values, "c").tolist() == values
    for values in ([-(2**63) - 1], [2**64], [-1, 2**63], [2**64, None]):
        with pytest.raises(BadData, match="column 'c' holds integers beyond 64 bits"):
            as_column(values, "c")


def test_one_long_text_costs_what_it_is_long(tmp_path):
    n = 20_000
    captions = ["short"] * (n - 1) + ["x" * 60_000]
    tracemalloc.start()
    table = Table(np.arange(n).astype(str), {"caption": as_column(captions)})
    table.save(tmp_path / "t.parquet")
    again = Table.load(tmp_path / "t.parquet")
    assert again.where({"caption": "short"}).sum() == n - 1
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50e6, "as fixed-width text: 4.8 GB"
    assert again.metadata(n - 1)["caption"] == "x" * 60_000


def test_a_damaged_table_is_corrupt_or_the_same(tmp_path):
    """Every byte of a small table, one bit turned."""
    path = tmp_path / "t.parquet"
    table = Table(np.array(["a", "b", "c"]), {"n": np.arange(3), "t": as_column(["x", None, "y" * 99])})
    table.save(path)
    whole, silent = path.read_bytes(), 0
    for at in range(0, len(whole), 3):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ (1 << at % 8)]) + whole[at + 1 :])
        try:
            again = Table.load(path)
            rows = [again.metadata(i) for i in range(len(again))]
            silent += again.ids.tolist() != ["a", "b", "c"] or rows != [table.metadata(i) for i in range(3)]
        except Corrupt as error:
            assert "t.parquet is damaged" in str(error)
    assert silent <= len(whole) // 50, "headers of a Parquet file carry no checksum; whoever keeps the file has one"
    path.unlink()
    with pytest.raises(Corrupt, match=r"t.parquet is missing"):
        Table.load(path)


@pytest.mark.parametrize("kind", ["M8[ns]", "m8[ns]"])
@pytest.mark.parametrize("ticks", [1500, -1500, 1, -1, 10**15 + 1])
def test_what_is_finer_than_a_microsecond_stays_as_it_is(kind, ticks):
    value = np.array([ticks], "i8").view(kind)[0]
    assert value_of(value) is value
    plain = value_of(np.array([1000 * ticks], "i8").view(kind)[0])
    assert isinstance(plain, (datetime.datetime, datetime.timedelta))
    assert np.array([plain], kind)[0].view("i8") == 1000 * ticks

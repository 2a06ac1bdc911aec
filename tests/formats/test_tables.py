"""Tables of other tools: CSV, TSV, JSON, JSON lines and Parquet as the same typed columns."""

import csv
import io
import json
from datetime import date, datetime

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sensorium import formats
from sensorium.errors import BadData
from sensorium.table import as_column
from sensorium.table.columns import kind_of

FINE = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
WORDS = st.text(st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\ufeff"), min_size=1).filter(
    lambda v: v.strip() == v
)
COLUMNS = {
    "text": st.one_of(WORDS, st.sampled_from(['a "b", c', "x\ny", "007", "+49 30", "NA", "Δ", "true enough"])).map(
        lambda v: "t" + v
    ),
    "integer": st.integers(-(2**53), 2**53),
    "number": st.floats(-1e9, 1e9).map(lambda v: v + 0.5 if v == int(v) else v),
    "boolean": st.booleans(),
    "day": st.dates(date(1900, 1, 1), date(2100, 1, 1)),
    "time": st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1)),
    "list": st.lists(st.sampled_from(["a", "b", "c d"]), min_size=1, max_size=3),
}


@st.composite
def tables(draw):
    """Rows of which each has every kind of column, some values missing, no column empty."""
    n = draw(st.integers(2, 6))
    made = {
        name: draw(st.lists(st.one_of(st.none(), values), min_size=n, max_size=n)) for name, values in COLUMNS.items()
    }
    for name, values in COLUMNS.items():
        made[name][0] = draw(values)
    return made


def _plain(value):
    return value.isoformat() if isinstance(value, date) else value


def _cell(value):
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return json.dumps(value) if isinstance(value, list) else str(_plain(value))


def _write(columns, folder):
    """The table in every format, written by the libraries of the field."""
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    plain = [{k: _plain(v) for k, v in row.items()} for row in rows]
    pq.write_table(pa.table(columns), folder / "a.parquet")
    (folder / "a.json").write_text(json.dumps(plain), "utf-8")
    (folder / "b.json").write_text(json.dumps({name: [row[name] for row in plain] for name in columns}), "utf-8")
    (folder / "a.jsonl").write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in plain) + "\n\n", "utf-8")
    for name, delimiter, ends, mark in (
        ("a.csv", ",", "\n", ""),
        ("b.csv", ";", "\r\n", "\ufeff"),
        ("a.tsv", "\t", "\n", ""),
    ):
        out = io.StringIO(newline="")
        writer = csv.writer(out, delimiter=delimiter, lineterminator=ends)
        writer.writerow(columns)
        writer.writerows([_cell(v) for v in row.values()] for row in rows)
        (folder / name).write_bytes((mark + out.getvalue()).encode("utf-8"))
    return [folder / name for name in ("a.parquet", "a.json", "b.json", "a.jsonl", "a.csv", "b.csv", "a.tsv")]


@FINE
@given(tables())
def test_what_was_written_in_any_format_is_read_back_as_the_same_typed_table(tmp_path, columns):
    expected = {"day": "time"}
    for path in _write(columns, tmp_path):
        found = formats.read(path)
        assert list(found) == list(columns), path.name
        for name, values in columns.items():
            column = as_column(found.exact(name), name)
            assert kind_of(column) == expected.get(name, name), (path.name, name)
            if name in ("day", "time"):
                want = np.array(
                    [np.datetime64("NaT") if v is None else np.datetime64(v, "us") for v in values], "M8[us]"
                )
                assert np.array_equal(column.astype("M8[us]"), want, equal_nan=True), (path.name, name)
            else:
                missing = {"number": lambda v: v != v}.get(name, lambda v: v is None)
                assert [None if missing(v) else v for v in column.tolist()] == values, (path.name, name)


def test_numbers_that_begin_with_zero_or_plus_and_dates_that_are_none_stay_text(tmp_path):
    (tmp_path / "a.csv").write_text("zip,phone,day,big,n\n007,+49,2021-02-30,99999999999999999999,1\n1,2,x,1,NA\n")
    found = formats.read(tmp_path / "a.csv")
    assert [kind_of(found.exact(name)) for name in found] == ["text", "text", "text", "number", "integer"]
    assert found.texts("zip").tolist() == ["007", "1"] and found.texts("n").tolist() == ["1", "NA"]
    assert found.exact("n").tolist() == [1, None]


def test_an_empty_cell_is_missing_and_an_empty_text_in_quotes_is_none(tmp_path):
    (tmp_path / "a.csv").write_text('a,b\n"",x\n,y\n"two\nlines",z\n')
    assert formats.read(tmp_path / "a.csv")["a"].tolist() == ["", None, "two\nlines"]


def test_vectors_in_cells_lists_and_json_are_matrices(tmp_path):
    (tmp_path / "a.csv").write_text('v\n"[1.5, 2]"\n"[3, 4]"\n')
    (tmp_path / "a.jsonl").write_text('{"v": [1.5, 2]}\n{"v": [3, 4]}\n')
    for name in ("a.csv", "a.jsonl"):
        assert formats.read(tmp_path / name)["v"].tolist() == [[1.5, 2.0], [3.0, 4.0]]
        assert formats.read(tmp_path / name).exact("v").tolist() == [[1.5, 2], [3, 4]]


def test_utf16_long_cells_and_an_unnamed_column_are_read(tmp_path):
    (tmp_path / "a.csv").write_bytes("name\tn\nÖ\t1\n".encode("utf-16"))
    assert formats.read(tmp_path / "a.csv")["name"].tolist() == ["Ö"]
    (tmp_path / "b.csv").write_text(f",text\n0,{'x' * (17 << 20)}\n1,y\n")
    found = formats.read(tmp_path / "b.csv")
    assert list(found) == ["column_1", "text"] and len(found["text"][0]) == 17 << 20


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"a,b\n1,2\n3\n4,5,6\n", r"a\.csv: 2 rows do not have the 2 cells of the header, such as one with 1; the "
         r"first of them begins '3'; quote cells that hold ','"),
        ("a.csv", b"", r"a\.csv is empty; expected a header"),
        ("a.csv", b"a,b,a\n1,2,3\n", r"a\.csv has two columns called 'a'; rename one"),
        ("a.csv", b"a,b\n1,\xe9\n", r"a\.csv is not UTF-8 \(line 2, byte 0xe9\)"),
        ("a.csv", b"a\0b\n1\n", r"a\.csv is no text \(it holds NUL bytes\); save it as CSV in UTF-8"),
        ("a.json", b"[1, 2]", r"a\.json: 2 of 2 rows are no objects, such as row 1; expected \{"),
        ("a.json", b"3", r"a\.json holds no table; expected a list of objects"),
        ("a.json", b'{"a": [1], "b": 2}', r"a\.json holds no table: 'b' is no list"),
        ("a.json", b'{"a": [1], "b": [1, 2]}', r"a\.json: column 'a' has 1 values, 'b' 2; correct it"),
        ("a.json", b"[", r"a\.json is not valid JSON \(.*\); correct it"),
        ("a.json", b'[{"a": 1, "a": 2}]', r"a\.json has two columns called 'a'; rename one"),
        ("a.jsonl", b'{"a": 1}\n\n{"a"\n', r"a\.jsonl, line 3 is not valid JSON"),
    ],
)  # fmt: skip
def test_what_is_no_table_is_refused_by_name(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadData, match=message):
        formats.read(tmp_path / name)


def test_two_parquet_columns_of_one_name_are_refused(tmp_path):
    pq.write_table(pa.Table.from_arrays([pa.array([1]), pa.array([2])], ["a", "a"]), tmp_path / "a.parquet")
    with pytest.raises(BadData, match=r"has two columns called 'a'; rename one"):
        formats.read(tmp_path / "a.parquet")

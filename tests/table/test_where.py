"""Conditions on columns against plain Python, value by value, over every type and operator."""

import datetime
import operator
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.errors import BadRecipe
from sensorium.table import Table
from sensorium.table.columns import as_column, missing

SIGNS = {"==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=4)


def filtered(column, condition):
    table = Table(np.arange(len(column)).astype(str), {"x": column})
    return table.where({"x": condition}).tolist()


def oracle(values, sign, constant):
    """What Python says of each value; a missing one is unequal to everything and not ordered."""
    return [sign == "!=" if v is None else bool(SIGNS[sign](v, constant)) for v in values]


@st.composite
def integers(draw):
    dtype = np.dtype(draw(st.sampled_from("bhiqBHIQ")))
    info = np.iinfo(dtype)
    near = st.one_of(
        st.integers(info.min, info.max), st.integers(0, 3), st.integers(info.max - 2, info.max),
        st.integers(min(2**53, info.max - 2), min(2**53 + 2, info.max)),
    )  # fmt: skip
    values = draw(st.lists(near, min_size=1, max_size=6))
    constant = draw(
        st.one_of(
            st.sampled_from(values).flatmap(lambda v: st.integers(v - 1, v + 1)),
            st.integers(-(2**70), 2**70),
            st.floats(allow_nan=False, allow_infinity=False),
            st.sampled_from(values).map(lambda v: Fraction(v) + Fraction(1, 2)),
        )
    )
    return np.array(values, dtype), constant


@settings(max_examples=300, deadline=None)
@given(integers(), st.sampled_from([*SIGNS]), st.booleans(), st.booleans())
def test_integers_are_compared_exactly(case, sign, as_text, with_gaps):
    column, constant = case
    said = constant
    if isinstance(constant, Fraction):
        said = Decimal(constant.numerator) / 2
        said = f"{int(constant * 2) // 2}.5" if constant > 0 else said
        constant = Fraction(Decimal(said))
    elif isinstance(constant, float):
        constant = Fraction(constant)
    values = column.tolist()
    if with_gaps:
        values, column = [None, *values], as_column([None, *values])
    assert filtered(column, {sign: repr(said) if as_text and not isinstance(said, (str, Decimal)) else said}) == oracle(
        values, sign, constant
    )


@settings(max_examples=300, deadline=None)
@given(st.sampled_from("efd"), st.data(), st.sampled_from([*SIGNS]), st.booleans())
def test_floats_are_compared_in_the_columns_precision(dtype, data, sign, as_text):
    width = 8 * np.dtype(dtype).itemsize
    values = data.draw(st.lists(st.floats(width=width), min_size=1, max_size=6))
    column = np.array(values, dtype)
    tenth = st.sampled_from([0.1, 0.3, 1 / 3, 2.5])
    constant = data.draw(st.one_of(st.sampled_from(values), tenth, st.floats(-60000, 60000)).filter(lambda v: v == v))
    rounded = float(np.dtype(dtype).type(constant))
    expected = [bool(SIGNS[sign](v, rounded)) for v in column.tolist()]
    assert filtered(column, {sign: repr(constant) if as_text else constant}) == expected


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(st.none(), TEXT, st.just("x" * 100)), min_size=1, max_size=6), st.data())
def test_text(values, data):
    sign = data.draw(st.sampled_from([*SIGNS]))
    constant = data.draw(st.one_of(TEXT, st.sampled_from([v for v in values if v is not None] or [""])))
    column = as_column(values)
    assert filtered(column, {sign: constant}) == oracle(values, sign, constant)
    several = [constant, *data.draw(st.lists(TEXT, max_size=2))]
    assert filtered(column, several) == [v in several for v in values]
    assert filtered(column, {"!=": several}) == [v not in several for v in values]
    assert filtered(column, None) == [v is None for v in values]


@pytest.mark.parametrize("values", [["", "a", "a\0", "\0"], ["", "a", "b", "A"], ["x" * 100, "a\0", None, ""]])
@pytest.mark.parametrize("constant", ["\0", "a\0", "a", "", "a\0\0"])
def test_text_that_ends_with_nul_is_another(values, constant):
    column = as_column(values)
    for sign in SIGNS:
        assert filtered(column, {sign: constant}) == oracle(values, sign, constant)
    assert filtered(column, [constant]) == [v == constant for v in values]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([True, False, None]), min_size=1, max_size=6), st.booleans(), st.sampled_from([*SIGNS]))
def test_booleans_with_gaps(values, constant, sign):
    for said in (constant, str(constant), str(constant).lower()):
        assert filtered(as_column(values), {sign: said}) == oracle(values, sign, constant)


moments = st.datetimes(datetime.datetime(1700, 1, 1), datetime.datetime(2250, 1, 1))


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(st.none(), moments), min_size=1, max_size=5), st.data(), st.sampled_from([*SIGNS]))
def test_times(values, data, sign):
    unit = data.draw(st.sampled_from(["us", "ns", "ms", "s", "m", "D"]))
    column = np.array(["NaT" if v is None else v for v in values], "M8[us]").astype(f"M8[{unit}]")
    kept = [None if np.isnat(v) else v.astype("M8[us]").item() for v in column]
    constant = data.draw(st.one_of(moments, st.sampled_from([v for v in kept if v is not None] or [moments.example()]
                                                            if any(kept) else [datetime.datetime(2000, 1, 1)])))  # fmt: skip
    expected = oracle(kept, sign, constant)
    east = constant.replace(tzinfo=datetime.timezone(datetime.timedelta(hours=2))) + datetime.timedelta(hours=2)
    for said in (constant, constant.isoformat(), np.datetime64(constant), east, east.isoformat()):
        assert filtered(column, {sign: said}) == expected


def test_dates_as_text_are_midnight():
    column = np.array(["2024-05-01", "2024-05-02T03:00", "NaT"], "M8[ns]")
    assert filtered(column, "2024-05-01") == [True, False, False]
    assert filtered(column, {">": "2024-05-01"}) == [False, True, False]
    assert filtered(column, {">=": "2024-05-02T05:00+02:00"}) == [False, True, False]
    assert filtered(np.array([90, 10], "m8[s]"), {">": "60"}) == [True, False]


def test_years_months_and_weeks_as_constants():
    column = np.array(["2024-05-01", "2023-01-01", "NaT"], "M8[s]")
    for said in ("2024", "2024-05", np.datetime64("2024"), np.datetime64("2024-05"), np.datetime64("2023-06-01", "W")):
        assert filtered(column, {">=": said}) == [True, False, False], said
    assert filtered(np.array([700_000, 10], "m8[s]"), {">": np.timedelta64(1, "W")}) == [True, False]
    with pytest.raises(BadRecipe, match="holds timedelta64"):
        filtered(np.array([90, 10], "m8[s]"), np.timedelta64(1, "Y"))


@pytest.mark.parametrize("step", [1, 10])
@pytest.mark.parametrize(("unit", "nanoseconds"), [("W", 604_800 * 10**9), ("D", 86_400 * 10**9), ("h", 3600 * 10**9),
                         ("m", 60 * 10**9), ("s", 10**9), ("ms", 10**6), ("us", 1000), ("ns", 1)])  # fmt: skip
def test_durations_of_every_unit_equal_their_nanoseconds(unit, nanoseconds, step):
    column = np.array([step, 2 * step, 3 * step], f"m8[{unit}]").astype(f"m8[{step}{unit}]")
    constant = np.timedelta64(2 * step * nanoseconds, "ns")
    assert filtered(column, constant) == [False, True, False]
    assert filtered(column, {"<": constant + np.timedelta64(1, "ns")}) == [True, True, False]
    assert filtered(np.array([constant, constant * 2]), np.timedelta64(2 * step, unit)) == [True, False]


def test_a_duration_below_a_microsecond_is_taken_as_nanoseconds():
    column = np.array([2, 3, 4], "m8[ns]")
    assert filtered(column, "0.000000003") == [False, True, False]
    assert filtered(column, {">=": Decimal("3e-9")}) == [False, True, True]


def test_lists_equal_what_they_contain():
    column = as_column([["cup", "red"], [], None, ["hat"]])
    assert filtered(column, "cup") == [True, False, False, False]
    assert filtered(column, ["red", "hat"]) == [True, False, False, True]
    assert filtered(column, {"!=": "cup"}) == [False, True, True, True]
    assert filtered(column, {"==": None}) == [False, False, True, False]
    assert filtered(as_column([[1, 2], [3]]), "3") == [False, True]
    with pytest.raises(BadRecipe, match="column 'x' holds list"):
        filtered(column, {"<": "cup"})


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-9, 9), min_size=1, max_size=8), st.lists(
    st.tuples(st.sampled_from([*SIGNS]), st.integers(-9, 9)), min_size=1, max_size=5))  # fmt: skip
def test_several_conditions_on_one_column(values, conditions):
    """A list under an operator: == any of them, every other all of them."""
    by_sign: dict[str, list[int]] = {}
    for sign, constant in conditions:
        by_sign.setdefault(sign, []).append(constant)
    expected = [
        all(
            any(v == c for c in cs) if sign == "==" else all(SIGNS[sign](v, c) for c in cs)
            for sign, cs in by_sign.items()
        )
        for v in values
    ]
    assert filtered(np.array(values), by_sign) == expected


def test_a_column_called_id_is_reached_as_metadata():
    table = Table(np.array(["a", "b"]), {"id": np.array([5, 6]), "rank": np.array([1, 2])})
    assert table.where({"id": "a"}).tolist() == [True, False]
    assert table.where({"metadata.id": 6}).tolist() == [False, True]
    assert table.where({"metadata.rank": 2, "rank": 2}).tolist() == [False, True]
    assert table.metadata(1) == {"id": 6, "rank": 2}


@pytest.mark.parametrize(
    ("column", "condition", "message"),
    [
        (np.array([1, 2]), "many", "column 'x' holds int64, which 'many' cannot be compared"),
        (np.array([1, 2]), "nan", "holds int64"),
        (np.array([1, 2]), {"<": None}, "a missing value is only == or !="),
        (np.array([True]), 7, "column 'x' holds bool"),
        (np.array([0.5]), [[1]], "column 'x' holds float64"),
        (np.array(["2024"], "M8[s]"), "soon", "column 'x' holds datetime64"),
        (np.array(["2024"], "M8[s]"), 7, "column 'x' holds datetime64"),
        (as_column([None, 3]), "three", "column 'x' holds integer"),
        (np.array([1]), {"~": 1}, "no operator '~'"),
    ],
)
def test_what_cannot_be_compared(column, condition, message):
    with pytest.raises(BadRecipe, match=message):
        filtered(column, condition)


def test_numbers_beyond_every_column_end_at_once():
    column = np.array([1, 2, 3])
    assert filtered(column, {"<": "1e999999999"}) == [True] * 3
    assert filtered(column, {">": "1e-999999999"}) == [True] * 3
    assert filtered(column, {">": "-inf"}) == [True] * 3
    assert filtered(np.array([np.inf, 1.0], "f"), 1e300) == [False, False]
    assert missing(np.array([1.0, np.nan])).tolist() == [False, True]


@pytest.mark.parametrize(
    "text",
    ["2024-03-01T10:30:00+02:00", "2024-03-01 10:30:00+0200", "2024-03-01T08:30:00Z", "2024-03-01 08:30:00Z",
     "2024-03-01T03:00:00-05:30", " 2024-03-01 03:00-0530", "2024-03-01T08:30", "2024-03-01 08:30:00.000"],
)  # fmt: skip
@pytest.mark.parametrize("unit", ["s", "ms", "ns"])
def test_times_with_a_zone_are_compared_in_utc(text, unit):
    times = np.array(["2024-03-01T08:29:59", "2024-03-01T08:30:00", "2024-03-01T08:30:01", "NaT"], f"M8[{unit}]")
    assert filtered(times, text) == [False, True, False, False]
    assert filtered(times, {"<": text}) == [True, False, False, False]
    assert filtered(times, {">=": text}) == [False, True, True, False]


def test_a_date_is_no_zone():
    """The day of a date looks like an offset."""
    days = np.array(["2024-03-01", "2024-03-02"], "M8[D]")
    assert filtered(days, "2024-03-01") == [True, False]
    assert filtered(days, " 2024-03-02 ") == [False, True]

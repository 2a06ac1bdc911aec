"""--where texts: cut at the operator, conditions on one column all kept."""

import pytest

from sensorium.cli.where import conditions
from sensorium.errors import BadRecipe


@pytest.mark.parametrize(
    ("texts", "columns", "expected"),
    [
        ([], (), None),
        (["font=DejaVu Sans"], (), {"font": {"==": ["DejaVu Sans"]}}),
        (["font==DejaVu"], (), {"font": {"==": ["DejaVu"]}}),
        (["a=1", "a=2"], (), {"a": {"==": ["1", "2"]}}),
        (["a!=1", "a!=2", "a>=0", "a>=-1"], (), {"a": {"!=": ["1", "2"], ">=": ["0", "-1"]}}),
        (["a=1", "a>0"], (), {"a": {"==": ["1"], ">": ["0"]}}),
        (["cap=a>=3"], ("cap",), {"cap": {"==": ["a>=3"]}}),
        (["cap=a>=3"], ("cap=a",), {"cap=a": {">=": ["3"]}}),
        (["cap=a>=3"], (), {"cap": {"==": ["a>=3"]}}),
        (["x>y=3"], ("x>y",), {"x>y": {"==": ["3"]}}),
        (["year<=2000"], ("year",), {"year": {"<=": ["2000"]}}),
        (["a="], (), {"a": {"==": [""]}}),
    ],
)
def test_texts(texts, columns, expected):
    assert conditions(texts, dict.fromkeys(columns, "integer")) == expected


def test_nothing_after_the_sign_is_a_missing_value():
    kinds = {"brand": "text", "price": "number"}
    assert conditions(["brand=", "price!="], kinds) == {"brand": {"==": [None, ""]}, "price": {"!=": [None]}}
    assert conditions(["price=", "price=3"], kinds) == {"price": {"==": [None, "3"]}}
    assert conditions(["price>="], kinds) == {"price": {">=": [""]}}


@pytest.mark.parametrize("text", ["", "font", "=x"])
def test_texts_that_are_no_condition(text):
    with pytest.raises(BadRecipe, match=r"expected COLUMN=VALUE, such as font=DejaVuSans"):
        conditions([text])
    with pytest.raises(BadRecipe, match=r"--fallback 'font'; expected COLUMN=VALUE"):
        conditions(["font"], option="--fallback")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("n=3..10", {"n": {">=": ["3"], "<=": ["10"]}}),
        ("n==3 .. 10", {"n": {">=": ["3"], "<=": ["10"]}}),
        ("n=-1.5..", {"n": {">=": ["-1.5"]}}),
        ("n=..2", {"n": {"<=": ["2"]}}),
        ("when=2024-01-01..2024-06-30", {"when": {">=": ["2024-01-01"], "<=": ["2024-06-30"]}}),
        ("word=a..b", {"word": {"==": ["a..b"]}}),
        ("unknown=3..10", {"unknown": {"==": ["3..10"]}}),
    ],
)
def test_ranges_of_columns_that_have_an_order(text, expected):
    assert conditions([text], {"n": "number", "when": "time", "word": "text"}) == expected


@pytest.mark.parametrize("text", ["n=..", "n=1..2..3"])
def test_ranges_that_are_none(text):
    with pytest.raises(BadRecipe, match=r"expected LOW\.\.HIGH, LOW\.\. or \.\.HIGH, such as duration=3\.\.10"):
        conditions([text], {"n": "number"})


def test_text_within_is_a_condition():
    assert conditions(["name~=black heart"], {"name": "text"}) == {"name": {"contains": ["black heart"]}}

"""--where texts: cut at the operator, conditions on one column all kept."""

import pytest

from sensorium.cli.options import conditions
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
    assert conditions(texts, columns) == expected


@pytest.mark.parametrize("text", ["", "font", "=x"])
def test_texts_that_are_no_condition(text):
    with pytest.raises(BadRecipe, match=r"expected COLUMN=VALUE, such as font=DejaVuSans"):
        conditions([text])

"""where contains: text within a value, against Python's own ``in``."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensorium.errors import BadRecipe
from sensorium.table import Table
from sensorium.table.columns import as_column

TEXTS = st.lists(st.one_of(st.none(), st.text("aBé ß", max_size=6)), min_size=1, max_size=12)


@given(TEXTS, st.text("aBé ß", max_size=3), st.booleans())
def test_it_is_python_s_in_without_case(values, part, coded):
    table = Table(np.arange(len(values)).astype(str), {"x": as_column(values)})
    if coded:
        table.codes("x", "facets")
    expected = [one is not None and part.casefold() in one.casefold() for one in values]
    assert table.where({"x": {"contains": part}}).tolist() == expected


def test_lists_numbers_and_what_is_no_text():
    table = Table(np.array(["a", "b"]), {"tags": as_column([["red", "Blue"], []]), "n": np.array([12, 305])})
    assert table.where({"tags": {"contains": "blu"}}).tolist() == [True, False]
    assert table.where({"n": {"contains": ["0", 3]}}).tolist() == [False, True]
    with pytest.raises(BadRecipe, match="contains True; expected text"):
        table.where({"n": {"contains": True}})
    with pytest.raises(BadRecipe, match="no operator 'contain'; did you mean 'contains'"):
        table.where({"n": {"contain": "a"}})

"""Row of an id: against a plain dictionary, through any sequence of additions and removals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensorium.table import RowLookup

IDS = [f"i{n}" for n in range(12)]
STEP = st.tuples(st.booleans(), st.sets(st.sampled_from(IDS)))


def as_array(ids):
    return np.array(ids, np.str_) if ids else np.zeros(0, np.str_)


@given(st.lists(st.sampled_from(IDS), unique=True), st.lists(STEP, max_size=8))
def test_every_table_of_a_family_has_its_own_rows(first, steps):
    family = [(list(first), RowLookup.of(as_array(first)))]
    for adding, chosen in steps:
        ids, lookup = family[-1]
        if adding:
            new = sorted(chosen - set(ids))
            family.append((ids + new, lookup.append(as_array(ids + new), new)))
        else:
            rows = np.array([row for row, id in enumerate(ids) if id not in chosen], np.int64)
            left = [ids[row] for row in rows]
            family.append((left, lookup.take(as_array(left), rows)))
    for ids, lookup in family:  # the earlier ones too, after the later ones were made
        known = {id: row for row, id in enumerate(ids)}
        assert lookup.rows([*IDS, "none"]).tolist() == [known.get(id, -1) for id in [*IDS, "none"]]
        assert dict(lookup) == known and len(lookup) == len(known)
        for id in (*IDS, "none", None, 3):
            assert (id in lookup) == (id in known)
            if id in known:
                assert lookup[id] == known[id]
            else:
                with pytest.raises(KeyError):
                    lookup[id]


def test_ids_that_were_removed_do_not_stay_in_memory_for_ever():
    ids = [f"a{n}" for n in range(500)]
    lookup = RowLookup.of(as_array(ids))
    for turn in range(20):  # all are replaced by others, again and again
        new = [f"{turn}-{n}" for n in range(500)]
        none = lookup.take(as_array([]), np.zeros(0, np.int64))
        lookup = none.append(as_array(new), new)
        assert lookup.rows([*new, *ids]).tolist() == [*range(500), *[-1] * 500]
        assert len(lookup._known) <= 2 * 500 + 1000 + 500
        ids = new

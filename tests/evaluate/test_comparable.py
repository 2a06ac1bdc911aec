"""What the table says of two runs is what the comparison does: reasons where it refuses, none where it does not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensorium.errors import SensoriumError
from sensorium.evaluate import compare
from sensorium.evaluate.comparable import Evaluated, why_not
from sensorium.evaluate.named import Named

QUERIES = np.array(["a", "b", "c"])


def stored(
    path, direction="left->right", split="test", queries=QUERIES, candidates=("9", "h"), counts=(1, 2, 1), named=()
):
    """A folder with the ranks of one direction."""
    path.mkdir()
    ranks = np.arange(1, sum(counts) + 1, dtype=np.int32)
    arrays = {"query": queries, "group": np.arange(len(queries)), "offsets": np.cumsum([0, *counts]), "ranks": ranks,
              "candidates": np.array(candidates)}  # fmt: skip
    stem = f"{split}_{direction.replace('->', '_to_')}"
    more = compare.named.pack(named)
    np.savez(path / compare.FILE, **{f"{stem}_{name}": value for name, value in arrays.items()}, **more)
    return path


def asked(text):
    return Named.of("test", "left->right", "accuracy", np.ones(3), np.arange(3), text)


OTHERS = {
    "same": ({}, None),
    "other order": ({"queries": QUERIES[::-1], "counts": (1, 2, 1)}, None),
    "other queries": ({"queries": np.array(["a", "b", "x"])}, "Other test queries (3 against 3)"),
    "fewer queries": ({"queries": QUERIES[:2], "counts": (1, 2)}, "Other test queries (2 against 3)"),
    "other candidates": ({"candidates": ("8", "i")}, "Other candidates (8 against 9 items)"),
    "other relevant": ({"counts": (2, 1, 1)}, "Other items count as right"),
    "other way": ({"direction": "right->left"}, "other direction only"),
    "other split": ({"split": "validation"}, "no results on the test split"),
    "other questions": ({"named": [asked("more")]}, "questions of the evaluation protocol differ"),
}  # fmt: skip


@pytest.mark.parametrize("other", OTHERS)
def test_the_reason_is_given_where_the_comparison_is_refused(tmp_path, other):
    told, reason = OTHERS[other]
    a, b = stored(tmp_path / "a", named=[asked("one")]), stored(tmp_path / "b", **{"named": [asked("one")], **told})
    found = why_not(Evaluated.of(a), Evaluated.of(b))
    if reason is None:
        assert found is None
        compare.compare_runs(a, b, resamples=5)
    else:
        assert reason in found
        with pytest.raises(SensoriumError):
            compare.compare_runs(a, b, resamples=5)


def test_without_ranks_or_with_damaged_ones_it_says_what_to_do(tmp_path):
    a = Evaluated.of(stored(tmp_path / "a"))
    (tmp_path / "none").mkdir()
    assert "Evaluate it again" in why_not(a, Evaluated.of(tmp_path / "none"))
    (tmp_path / "none" / compare.FILE).write_bytes(b"PK no archive")
    assert "cannot be read" in why_not(Evaluated.of(tmp_path / "none"), a)


@given(st.lists(st.integers(0, 3), min_size=2, max_size=4), st.lists(st.integers(0, 3), min_size=2, max_size=4))
def test_the_reason_is_symmetric(a, b):
    from sensorium.evaluate.comparable import Direction

    made = [Evaluated({"left->right": Direction(3, 9, *(f"{x}" for x in (*one, 0)[:3]))}) for one in (a, b)]
    assert (why_not(*made) is None) == (why_not(*made[::-1]) is None)
    assert why_not(made[0], made[0]) is None

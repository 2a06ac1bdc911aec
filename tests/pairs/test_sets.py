"""Sets of items: completions against a loop, splits that go with the pairs'."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensorium.errors import BadData
from sensorium.pairs import Pairs
from sensorium.pairs.sets import ItemSets, Questions, ragged

SETS = st.lists(st.lists(st.integers(0, 20), min_size=1, max_size=6, unique=True), max_size=8)


@given(SETS)
def test_completions_are_those_of_a_loop(lists):
    made = ItemSets.of(lists).completions()
    expected = [
        (one[:k] + one[k + 1 :], one[k], place)
        for place, one in enumerate(lists)
        if len(one) > 1
        for k in range(len(one))
    ]
    contexts = [made.context.take(np.array([i])).values.tolist() for i in range(len(made.target))]
    assert list(zip(contexts, made.target.tolist(), made.of.tolist(), strict=True)) == expected


@given(SETS, st.data())
def test_sets_are_taken_by_split_label_and_size(lists, data):
    label = data.draw(st.lists(st.integers(0, 1), min_size=len(lists), max_size=len(lists)))
    split = data.draw(st.lists(st.sampled_from(["train", "valid", "test"]), min_size=len(lists), max_size=len(lists)))
    sets = ItemSets.of(lists, np.array(label, np.int8), split=np.array(split, "<U10"))
    taken = sets.where("validation", 1, least=2)
    kept = [i for i, one in enumerate(lists) if label[i] and split[i] == "valid" and len(one) > 1]
    assert taken.ids.tolist() == list(map(str, kept)) and len(taken) == len(kept)
    assert [taken.items.take(np.array([k])).values.tolist() for k in range(len(kept))] == [lists[i] for i in kept]


def test_sets_and_questions_are_split_with_their_pairs():
    sets = ItemSets.of([[0, 1], [2, 3], [4, 5], [6, 7]])
    questions = Questions(
        ragged([[0], [6]]), np.array([[1, 3], [7, 5]]), np.zeros(2, int), np.array(["", ""]), np.array([0, 3])
    )
    pairs = Pairs.of([0, 2, 4, 6], [1, 3, 5, 7], group=np.arange(4), same_table=True)
    made = Pairs(**{**pairs.__dict__, "sets": sets, "questions": questions}).split_by_group(
        {"test": 0.25, "validation": 0.25}
    )
    assert made.sets.split.tolist() == made.split.tolist() and sorted(made.split) == [
        "test",
        "train",
        "train",
        "validation",
    ]
    assert made.questions.split.tolist() == [made.split[0], made.split[3]]
    again = made.hold_out("validation", 0.5)
    assert again.sets.split.tolist() == again.split.tolist() and (again.split == "validation").sum() == 2
    assert len(made.questions.where(made.split[3])) >= 1


@pytest.mark.parametrize(
    ("lists", "more", "said"),
    [
        ([[0], []], {}, "1 of 2 sets have no items"),
        ([[0, 0]], {}, "names one item twice"),
        ([[0, 1]], {"label": [2]}, "must be 1 .* or 0"),
        ([[0, 1]], {"split": ["train", "test"]}, "2 values in 'split' for 1 sets"),
    ],
)
def test_sets_that_are_none(lists, more, said):
    with pytest.raises(BadData, match=said):
        ItemSets.of(lists, **more)

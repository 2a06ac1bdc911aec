"""What may not be a negative of a context, against plain Python; pairs as sets of two."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.pairs import Pairs
from sensorium.pairs.set_positives import SetPositives, Together
from sensorium.pairs.sets import ItemSets, sets_of

N = 12
SETS = st.lists(st.sets(st.integers(0, N - 1), min_size=2, max_size=4).map(sorted), min_size=1, max_size=8)


@given(lists=SETS, seed=st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_items_of_the_contexts_own_sets_are_no_negatives(lists, seed):
    sets = ItemSets.of(lists)
    completions = sets.completions()
    left = np.random.default_rng(seed).integers(0, len(completions.target), 7)
    right = completions.target[left]
    found = SetPositives(completions, Together(sets, N)).of(left, right)
    same = found.same_block(slice(0, 7))
    same = np.zeros((7, 7), bool) if same is None else same.numpy()
    for i, row in enumerate(left.tolist()):
        context = set(completions.context.take(np.array([row])).values.tolist())
        touched = context.union(*(one for one in lists if context & set(one)))
        for j, item in enumerate(right.tolist()):
            assert found.block(slice(0, 7)).numpy()[i, j] == (item == right[i])
            assert same[i, j] == (item in touched and item != right[i])


def test_pairs_without_sets_are_sets_of_two():
    pairs = Pairs.of(np.array([0, 2]), np.array([1, 3]), label=np.array([1, 0]), split=np.array(["train", "test"]),
                     same_table=True)  # fmt: skip
    sets = sets_of(pairs)
    assert [sets.items.take(np.array([i])).values.tolist() for i in (0, 1)] == [[0, 1], [2, 3]]
    assert sets.label.tolist() == [1, 0] and sets.split.tolist() == ["train", "test"]
    assert sets_of(Pairs.of(np.array([0]), np.array([1]))) is None

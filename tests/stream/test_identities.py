"""Ids stay with their objects: through crossings, over gaps, in whatever order they are found."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_faces import face
from moving_faces import scene

from sensorium.stream.identities import Identities, IdentityOptions
from sensorium.systems.perception.likeness import look


def followed(frames):
    """By person, the ids that it had."""
    ids, had = Identities(), {}
    for t, seen in frames:
        found = ids.push([points[:, :2] for _, points in seen], t, [look(points) for _, points in seen])
        assert len(set(found)) == len(found)
        for (person, _), id in zip(seen, found, strict=True):
            had.setdefault(person, set()).add(id)
    return had


@pytest.mark.parametrize("back", [False, True], ids=["through", "back"])
@pytest.mark.parametrize("rate", [10, 25])
def test_three_faces_keep_their_ids_through_a_crossing(back, rate):
    for seed in range(3):
        had = followed(scene(seed, rate, back=back))
        assert all(len(ids) == 1 for ids in had.values()) and set.union(*had.values()) == {1, 2, 3}, (seed, had)


@pytest.mark.parametrize("gone", [0.2, 1.0])
def test_a_face_that_leaves_and_comes_back_is_the_same(gone):
    ids = Identities()
    there = [face(centre=(x, 0.5), scale=0.1, person=1)[:, :2] for x in np.linspace(0.5, 0.1, 20)]
    for i, points in enumerate(there):
        assert ids.push([points], i / 25) == [1]
    assert ids.push([], 0.9) == []
    assert ids.push([there[-3]], 0.8 + gone) == [1]
    assert ids.push([there[-3]], 0.8 + gone + 10) == [2]  # and after a long time it is another


def test_the_order_in_which_faces_are_found_is_nothing():
    rng, ids = np.random.default_rng(0), Identities()
    people = [face(centre=(x, 0.5), scale=0.08, person=i)[:, :2] for i, x in enumerate((0.2, 0.5, 0.8))]
    known = dict(enumerate(ids.push(people, 0.0)))
    for i in range(1, 30):
        order = rng.permutation(3)
        found = ids.push([people[p] + 0.001 * i for p in order], i / 25)
        assert {p: id for p, id in zip(order.tolist(), found, strict=True)} == known


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.floats(-1, 60)), max_size=20), st.integers(0, 1000))
def test_ids_are_distinct_whatever_comes(frames, seed):
    rng, ids = np.random.default_rng(seed), Identities(IdentityOptions(memory=1.0))
    for count, t in frames:
        found = ids.push([rng.uniform(-1e3, 1e3, (4, 2)) * rng.choice([0, 1, 1]) for _ in range(count)], t)
        assert len(found) == count == len(set(found)) and all(id > 0 for id in found)
    assert len(ids.tracks) <= sum(count for count, _ in frames)

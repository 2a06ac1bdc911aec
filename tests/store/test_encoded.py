"""What was encoded since the last commit comes out in the order of the items, as stacking all of it would give."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sensorium.store.encoded import Frames, Owners, Room


def stacked(batches, owners, keys):
    """Oracle: every vector by its content, then the items of those contents in ascending order."""
    of = {keys[first]: vector for firsts, vectors in batches for first, vector in zip(firsts, vectors, strict=True)}
    members = sorted(i for key in of for i in owners[key])
    return members, [of[keys[i]] for i in members]


@given(st.lists(st.integers(0, 8), min_size=1, max_size=30), st.randoms(use_true_random=False), st.integers(1, 7))
def test_rooms_and_frames_are_what_stacking_gives(contents, random, batch):
    keys = [b"%d" % one for one in contents]
    plain = {}
    for i, key in enumerate(keys):
        plain.setdefault(key, []).append(i)
    owners = Owners(keys, range(len(keys)))
    assert dict(owners) == plain and list(owners) == list(plain) and owners.items_in_all == len(keys)
    firsts = [same[0] for same in owners.values()]
    random.shuffle(firsts)
    room, frames = Room(owners, keys), Frames(owners, keys)
    assert not room and not frames
    room.expect(firsts)
    frames.expect(firsts)
    batches, ragged = [], []
    stop = random.randint(0, len(firsts))  # where a slow encoder is committed early
    for part in (firsts[:stop], firsts[stop:]):
        room.expect(firsts if part is not firsts[stop:] and stop else part)
        for at in range(0, len(part), batch):
            some = part[at : at + batch]
            vectors = np.array([[first, keys[first][0], at] for first in some], np.float32)
            batches.append((some, vectors))
            room.add(some, vectors)
            ragged.append((some, [np.full((1 + first % 3, 2), first, np.float32) for first in some]))
            frames.add(*ragged[-1])
        if part:
            members, expected = stacked(batches, owners, keys)
            found = room.take()
            assert found[0] == members and found[2] is None and not room
            np.testing.assert_array_equal(found[1], np.stack(expected))
            assert found[1].dtype == np.float32
            members, expected = stacked(ragged, owners, keys)
            found = frames.take()
            assert found[0] == members and not frames
            np.testing.assert_array_equal(found[1], np.concatenate(expected))
            np.testing.assert_array_equal(np.diff(found[2]), [len(one) for one in expected])
        batches, ragged = [], []

"""Row locations of a store: followed change by change, they equal those read at once, and a dict."""

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium import store
from sensorium.store import manifest
from sensorium.store.locations import Locations

NAMES = [f"id{i}" for i in range(6)]
KEYS = [bytes([i]) * 16 for i in range(4)]
contents = st.dictionaries(st.sampled_from(NAMES), st.tuples(st.integers(0, 3), st.integers(0, 2)), min_size=1)
steps = st.lists(
    st.one_of(
        contents,
        st.lists(st.sampled_from(NAMES), unique=True, min_size=1, max_size=3),
        st.just("compact"),
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=15, deadline=None)
@given(contents, steps, contents)
def test_locations_follow_a_store(first, changes, asked):
    model = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "s"
        following = Locations(folder)
        for change in [first, *changes]:
            if isinstance(change, dict):
                keys, year = ([one[i] for one in change.values()] for i in (0, 1))
                vectors = np.ones((len(change), 2), np.float32)
                store.append(folder, list(change), vectors, {"name": "toy"}, {"year": year}, [KEYS[k] for k in keys])
                model |= change
            elif change == "compact":
                store.compact(folder)
            else:
                store.remove(folder, change)
                model = {name: one for name, one in model.items() if name not in change}
            following.update(manifest.read(folder))
        at_once = Locations(folder)
        at_once.update(manifest.read(folder))
        ids = store.open(folder).ids.tolist()
        shards = manifest.read(folder).shards
        places = [(n, row) for n, one in enumerate(shards) for row in range(one.items)]
        for found in (following, at_once):
            assert sorted(found.by_id, key=found.by_id.get) == ids and set(ids) == set(model)
            assert [found.shard_and_row(i) for i in range(len(places))] == places
            for name, position in found.by_id.items():
                number, row = found.shard_and_row(position)
                assert found.ids[number][row] == name and found.key(position) == KEYS[model[name][0]]
            assert {KEYS[key] for key, _ in model.values()} <= set(found.by_key)
            assert all(found.key(position) == key for key, position in found.by_key.items())
            keys, year = [KEYS[key] for key, _ in asked.values()], np.array([one for _, one in asked.values()])
            expected = [model.get(name) == one for name, one in asked.items()]
            assert found.present(list(asked), keys, {"year": year}).tolist() == expected
            without = [name in model and model[name][0] == key for name, (key, _) in asked.items()]
            assert found.present(list(asked), keys, {}).tolist() == without

"""Any sequence of append, replace, remove, embed and compact equals a dict; any sharding equals one array."""

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from toys import Frames, Words

from sensorium import store
from sensorium.store.rows import Runs, Selected, Shards
from sensorium.types import Items

NAMES = [f"id{i}" for i in range(7)]
TEXTS = st.sampled_from(["a", "bb", "ccc", "dddd", "naïve", "x" * 30])
contents = st.dictionaries(st.sampled_from(NAMES), st.tuples(TEXTS, st.integers(0, 3)), max_size=7)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("embed"), contents),
        st.tuples(st.just("append"), contents),
        st.tuples(st.just("remove"), st.lists(st.sampled_from(NAMES), unique=True)),
        st.tuples(st.just("compact"), st.just(None)),
    ),
    max_size=7,
)


def run(encoder, actions):
    model = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "store"
        for action, what in actions:
            if action in ("embed", "append"):
                ids = np.array(list(what), np.str_)
                texts = [t for t, _ in what.values()]
                year = np.array([y for _, y in what.values()], np.int64)
                items = Items(ids, texts, "text", {"year": year})
                if action == "embed":
                    found = store.embed(items, encoder, folder, shard_rows=2, progress=False)
                    assert found.ids.tolist() == list(what)
                    same(found, [encoder.vector(t) for t in texts])
                elif what:
                    vectors = [encoder.vector(t) for t in texts]
                    frames = getattr(encoder, "frames", False)
                    store.append(folder, ids, vectors if frames else np.stack(vectors), encoder.fingerprint,
                                 {"year": year})  # fmt: skip
                model |= what
            elif store.exists(folder):
                if action == "remove":
                    assert store.remove(folder, what) == len(set(what) & model.keys())
                    model = {k: v for k, v in model.items() if k not in what}
                else:
                    store.compact(folder)
            if store.exists(folder):
                opened = store.open(folder)
                assert set(opened.ids.tolist()) == set(model) and len(opened) == len(model)
                same(opened, [encoder.vector(model[i][0]) for i in opened.ids.tolist()])
                if model:
                    assert opened.meta["year"].tolist() == [model[i][1] for i in opened.ids.tolist()]
                assert store.verify(folder) == []


def same(found, expected):
    if found.offsets is None:
        assert len(found.vectors) == len(expected)
        for row, wanted in zip(found.vectors[:], expected, strict=True):
            assert np.array_equal(row, wanted)
    else:
        for i, wanted in enumerate(expected):
            assert np.array_equal(found.vectors[found.offsets[i] : found.offsets[i + 1]], wanted)


@settings(max_examples=25, deadline=None)
@given(steps)
def test_a_store_is_a_dict(actions):
    run(Words(), actions)


@settings(max_examples=15, deadline=None)
@given(steps)
def test_a_store_of_frames_is_a_dict(actions):
    run(Frames(), actions)


cuts = st.lists(st.integers(0, 9), min_size=1, max_size=6).filter(sum)


@settings(max_examples=100, deadline=None)
@given(cuts, st.data())
def test_any_sharding_reads_as_one_array(sizes, data):
    n = sum(sizes)
    whole = np.arange(n * 3, dtype=np.float32).reshape(n, 3)
    parts = np.split(whole, np.cumsum(sizes)[:-1])
    reordered = np.array(data.draw(st.permutations(range(n))))
    lengths = np.diff(np.concatenate([[0], np.cumsum(sizes)]))
    starts = np.concatenate([[0], np.cumsum(sizes)])[:-1]
    order = np.array([i for i in data.draw(st.permutations(range(len(sizes)))) if lengths[i]])
    offsets = np.concatenate([[0], np.cumsum(lengths[order])])
    frames = np.concatenate([whole[starts[i] : starts[i] + lengths[i]] for i in order])
    for rows, expected in [
        (Shards(parts), whole),
        (Selected(Shards(parts), reordered), whole[reordered]),
        (Runs(Shards(parts), starts[order], offsets), frames),
    ]:
        assert rows.shape == expected.shape and len(rows) == len(expected) and rows.dtype == expected.dtype
        some = np.array(data.draw(st.lists(st.integers(-n, n - 1), max_size=12)), np.int64)
        assert np.array_equal(rows[some], expected[some])
        cut = data.draw(st.slices(n))
        assert np.array_equal(rows[cut], expected[cut])
        mask = np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)))
        assert np.array_equal(rows[mask], expected[mask])
        one = data.draw(st.integers(-n, n - 1))
        assert np.array_equal(rows[one], expected[one])
        assert np.array_equal(np.asarray(rows), expected)
        for wrong in (np.array([n]), np.array([-n - 1])):
            try:
                rows[wrong]
            except IndexError:
                continue
            raise AssertionError("a row out of bounds was read")

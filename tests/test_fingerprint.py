"""Digests are those of the formulas they replaced, so that what lies on disk stays valid; one comparison, one message."""

import json

import numpy as np
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from sensorium import fingerprint, io, parts
from sensorium import recipe as recipes
from sensorium.errors import Mismatch
from sensorium.pairs import Pairs
from sensorium.types import Embeddings

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
MAPPINGS = st.dictionaries(st.text(max_size=5), PLAIN, max_size=5)


@given(MAPPINGS)
def test_digests_equal_the_five_earlier_formulas(value):
    def short(default):
        return xxhash.xxh3_64_hexdigest(json.dumps(value, sort_keys=True, default=default).encode())

    assert fingerprint.digest(value) == short(str)  # names of stores
    assert fingerprint.digest(value) == short(io.plain)  # journals and checkpoints
    assert fingerprint.digest(value) == xxhash.xxh3_64_hexdigest(json.dumps(value, sort_keys=True).encode())  # recipes
    try:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:  # a lone surrogate, which no manifest holds
        return
    assert fingerprint.checksum(value) == xxhash.xxh3_128_hexdigest(text)


def test_known_values_stay():
    assert fingerprint.digest({"name": "hog", "size": 64}) == fingerprint.digest({"size": 64, "name": "hog"})
    assert fingerprint.digest({"name": "hog", "size": 64}) == "ed8d417494a214aa"
    assert fingerprint.checksum({"b": 1, "a": "é"}) == "1492a4fcc05d911eeeb76a0630e572b7"
    assert recipes.load("glyphs").hash == "6795ae4617af7be1"


def test_fingerprints_of_encoders_hold_plain_values_so_that_store_names_stay():
    for name in ("hashing", "hog", "mfcc"):
        made = dict(parts.make("encoders", name).fingerprint)
        assert json.loads(json.dumps(made)) == fingerprint.plain(made)


@given(MAPPINGS, MAPPINGS)
def test_differing_names_exactly_the_keys_that_differ(one, other):
    a, b = json.loads(json.dumps(one)), json.loads(json.dumps(other))
    expected = [k for k in sorted({*a, *b}) if (k in a) != (k in b) or a[k] != b[k]]
    assert fingerprint.differing(one, other) == expected
    assert fingerprint.differing(one, dict(reversed(one.items()))) == []


def test_arrays_and_tuples_compare_as_json_holds_them():
    assert fingerprint.differing({"a": (1, 2), "b": np.float32(0.5)}, {"a": [1, 2], "b": 0.5}) == []


def test_one_message_names_both_sides_the_keys_and_the_remedy():
    with pytest.raises(Mismatch, match=r"^x holds vectors of 'a', these are of 'b' \(name: 'a' against 'b'; size: 3 "
                                       r"against \(absent\)\); embed anew$"):  # fmt: skip
        fingerprint.check({"name": "a", "size": 3}, {"name": "b"}, "x holds vectors", "embed anew")
    with pytest.raises(Mismatch, match="of an unnamed encoder.* of an unknown encoder"):
        fingerprint.check({"size": 3}, {}, "x holds vectors", "embed anew")
    fingerprint.check({"name": "a"}, {"name": "a"}, "x", "y")


def test_the_digest_of_many_items_is_that_of_all_their_texts_at_once():
    """Texts are added block by block, of 65,536; the digest is that of the formula on all of them."""
    n = 140_000
    ids = np.arange(n).astype(np.str_)
    table = Embeddings(ids, np.zeros((n, 1), np.float32), {})
    whole = xxhash.xxh3_64("\n".join(ids.tolist()).encode())
    whole.update(np.zeros((n, 1), np.float32))
    assert fingerprint.of_data(table, None) == whole.hexdigest()
    pairs = Pairs.of(np.arange(n), np.arange(n), split=np.where(np.arange(n) < 70_000, "train", "test"))
    whole = xxhash.xxh3_64()
    for column in (pairs.left, pairs.right, pairs.label, pairs.group):
        whole.update(np.ascontiguousarray(column))
    whole.update("\n".join(pairs.split.tolist()).encode())
    assert fingerprint.of_split(pairs) == whole.hexdigest()


def test_a_table_wider_than_a_block_has_the_digest_of_its_bytes():
    x = np.arange(70 * 140_000, dtype=np.float32).reshape(70, -1)  # blocks of 64 rows
    ids = np.array([f"i{n}" for n in range(70)])
    expected = xxhash.xxh3_64("\n".join(ids).encode() + x.tobytes()).hexdigest()
    assert fingerprint.of_data(Embeddings(ids, x, {}), None) == expected

"""Means of groups moved together: of each speaker's clips, and of clips of speakers that are not known."""

from dataclasses import replace

import numpy as np
import pytest

from sensorium.errors import BadRecipe, Corrupt
from sensorium.numerics import centers
from sensorium.types import Embeddings, as_ids


def table(speaker, d=4):
    x = np.random.default_rng(0).normal(size=(len(speaker), d)).astype(np.float32)
    return Embeddings(as_ids(np.arange(len(speaker))), x, {"name": "toy"}, {"speaker": np.array(speaker, object)})


def test_every_known_group_gets_the_mean_of_all(tmp_path):
    raw = table(["a", "a", "b", "b", "b", None, "c"])
    found = centers.centred(raw, "speaker")
    middle = raw.vectors.mean(0)
    for rows in ([0, 1], [2, 3, 4]):
        np.testing.assert_allclose(found.vectors[rows].mean(0), middle, atol=1e-6)
        inside = raw.vectors[rows] - raw.vectors[rows].mean(0)
        np.testing.assert_allclose(found.vectors[rows] - middle, inside, atol=1e-6)
    np.testing.assert_array_equal(found.vectors[5:], raw.vectors[5:])  # no speaker; a speaker of one clip
    found.centers.save(tmp_path / "right-centers.npz")
    again = centers.Centers.load(tmp_path / "right-centers.npz")
    moved = again.moved(raw.vectors[:3], ["b", "new", 7])
    np.testing.assert_array_equal(moved, found.centers.moved(raw.vectors[:3], ["b", None, ""]))
    np.testing.assert_array_equal(moved[1:], raw.vectors[1:3])
    assert centers.Centers.load(tmp_path / "left-centers.npz") is None


def test_what_cannot_be_centred_is_refused(tmp_path):
    raw = table(["a", "a", "b"])
    with pytest.raises(BadRecipe, match="center='speakr': the items have no such column; .*speaker"):
        centers.centred(raw, "speakr")
    with pytest.raises(BadRecipe, match="moves one vector an item, but these items are sequences of frames"):
        centers.centred(replace(raw, ids=raw.ids[:1], offsets=np.array([0, 3])), "speaker")
    (tmp_path / "right-centers.npz").write_bytes(b"no archive")
    with pytest.raises(Corrupt, match="right-centers.npz cannot be read .*; make the run anew"):
        centers.Centers.load(tmp_path / "right-centers.npz")

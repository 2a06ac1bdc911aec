"""Ensembles of fits on sets of items: their queries score as the mean of the members', and can be distilled."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from training_data import train

from sensorium import heads, parts
from sensorium.fitting.options import TrainOptions
from sensorium.fitting.set_validation import SetValidation
from sensorium.heads.ensemble import Ensemble
from sensorium.objectives.infonce import InfoNCE
from sensorium.pairs import Pairs
from sensorium.pairs.sets import ItemSets, ragged
from sensorium.types import Embeddings

KINDS = np.array(["bag", "shoe", "top"])


def outfits(n: int = 60) -> tuple[Embeddings, Pairs]:
    """n sets of one item of each category, that share a hidden style."""
    random = np.random.default_rng(0)
    style = np.repeat(random.normal(size=(n, 4)), 3, 0)
    x = style @ random.normal(size=(4, 12)) + 0.3 * random.normal(size=(3 * n, 12))
    ids = np.array([f"i{k}" for k in range(3 * n)])
    items = Embeddings(ids, x.astype(np.float32), {"encoder": "made up"}, {"category": np.tile(KINDS, n)})
    split = np.array(["train"] * (n - 20) + ["validation"] * 10 + ["test"] * 10)
    rows = np.arange(3 * n).reshape(n, 3)
    sets = ItemSets.of(list(rows), group=np.arange(n), split=split)
    left, right = np.concatenate([rows[:, [0, 1]], rows[:, [1, 2]]]).T
    pairs = Pairs.of(left, right, group=np.tile(np.arange(n), 2), split=np.tile(split, 2), same_table=True)
    return items, replace(pairs, sets=sets)


@pytest.mark.parametrize("name", ["type_aware", "set_attention"])
def test_members_that_take_sets(name: str, tmp_path) -> None:
    torch.set_num_threads(1)
    items, pairs = outfits()
    head = parts.make("heads", {"name": name, "dim": 8})
    fitted = train(tmp_path, data=(items, items, pairs), heads=(head, None), objective=InfoNCE(), names={"left": name},
                   epochs=2, batch=32, members=2, distill=True, monitor="MRR")  # fmt: skip
    joined = fitted.ensemble["left"][0]
    assert isinstance(joined, Ensemble) and joined.takes_sets and list(joined.categories) == sorted(KINDS)
    assert type(fitted.left_head) is type(head) and fitted.left_head is fitted.right_head
    category = np.searchsorted(KINDS, items.meta["category"])
    context, slot = ragged([[0, 1], [4], [8, 3, 1]]), np.array([2, 0, -1])
    heads.save(joined, tmp_path / "head", "ensemble", {})
    for one in (joined, heads.load(tmp_path / "head")):
        scores = heads.compose(one, items.vectors, context, category, slot) @ heads.apply(one, items.vectors).T
        each = [heads.compose(m, items.vectors, context, category, slot) @ heads.apply(m, items.vectors).T
                for m in joined.members]  # fmt: skip
        np.testing.assert_allclose(scores, np.mean(each, 0), atol=1e-5)
    own = SetValidation(items, joined, pairs.sets, TrainOptions()).measure()["validation"]
    assert fitted.notes["ensemble_validation"] == own
    assert [e["member"] for e in fitted.history] == [1, 1, 2, 2, "distilled", "distilled"]

"""``train.members=3`` with the head of every recipe: fitted, saved, searched, in NumPy alone, streamed and as ONNX."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sensorium import fitting, heads, parts, recipe
from sensorium.formats.onnx import export_onnx
from sensorium.heads.ensemble import Ensemble
from sensorium.objectives.infonce import InfoNCE
from sensorium.pairs import Pairs
from sensorium.pairs.sets import ItemSets
from sensorium.stream import lite
from sensorium.types import Embeddings

N, K = 60, 3
WIDTH = {"face": 1441, "statistics": 40}  # of an item; 39 for other heads
#: What makes heads of recipes small; keys that a head does not have are left out.
SMALL = {
    "hidden": 8,
    "size": 16,
    "width": 4,
    "stages": 2,
    "layers": 3,
    "categories": ["a", "b", "c"],
    "quantize": False,
}
SPLIT = np.array(["train"] * 40 + ["validation"] * 10 + ["test"] * 10)


def head_of(name: str, side: str = "left") -> dict:
    """The spec of a recipe's head, small."""
    spec = recipe.load(name).values[side]["head"]
    spec = {"name": spec} if isinstance(spec, str) else dict(spec)
    known = parts.arguments(parts.find("heads", spec["name"]))
    return spec | {
        key: value for key, value in SMALL.items() if key in known and (key != "hidden" or spec.get(key) != 0)
    }


def tables(head, width: int) -> tuple[Embeddings, Embeddings, Pairs]:
    """Items of the left head's kind, vectors on the right, row by row; or one table of sets of three items."""
    random = np.random.default_rng(0)
    ids, cause = np.arange(N).astype(str), random.normal(size=(N, 6))
    if head.takes_sets:
        x = np.repeat(cause, 3, 0) @ random.normal(size=(6, width)) + 0.3 * random.normal(size=(3 * N, width))
        meta = {"category": np.tile(["a", "b", "c"], N)}
        items = Embeddings(np.arange(3 * N).astype(str), x.astype(np.float32), {"name": "made"}, meta)
        rows = np.arange(3 * N).reshape(N, 3)
        sets = ItemSets.of(list(rows), group=np.arange(N), split=SPLIT)
        left, right = np.concatenate([rows[:, [0, 1]], rows[:, [1, 2]]]).T
        pairs = Pairs.of(left, right, group=np.tile(np.arange(N), 2), split=np.tile(SPLIT, 2), same_table=True)
        return items, items, replace(pairs, sets=sets)
    x, offsets = cause @ random.normal(size=(6, width)) + 0.3 * random.normal(size=(N, width)), None
    if not head.takes_vectors:
        count = random.integers(3, 6, N)
        offsets = np.concatenate([[0], np.cumsum(count)])
        x = np.repeat(x, count, 0) + 0.1 * random.normal(size=(offsets[-1], width))
    y = np.tanh(cause @ random.normal(size=(6, 7)))
    left = Embeddings(ids, x.astype(np.float32), {"name": "made"}, {}, offsets)
    return (
        left,
        Embeddings(ids, y.astype(np.float32), {"name": "made"}),
        Pairs.of(np.arange(N), np.arange(N), split=SPLIT),
    )


@pytest.mark.parametrize("name", sorted(recipe.names()))
def test_an_ensemble_of_every_recipes_head(name: str, tmp_path: Path) -> None:
    spec = head_of(name)
    left_head = parts.make("heads", spec)
    if recipe.load(name).build().objective.closed_form:
        pytest.skip("solved exactly: all members would be the same, which a run says (test_ensemble_runs.py)")
    left, right, pairs = tables(left_head, WIDTH.get(spec["name"], 39))
    right_head = left_head if pairs.same_table else parts.make("heads", {"name": "linear"} | (
        {"dim": spec["dim"]} if spec.get("dim") else {"name": "identity"}))  # fmt: skip
    options = fitting.TrainOptions(epochs=1, batch=20, members=K, precision="fp32", save_seconds=600)
    names = {"left": spec["name"], "right": "identity" if spec.get("dim") is None else "linear"}
    fitted = fitting.train(left, right, pairs, left_head, right_head, InfoNCE(), options, None, 0, names=names)
    joined = fitted.left_head
    assert isinstance(joined, Ensemble) and len(joined.members) == K and fitted.names["left"] == "ensemble"
    z = heads.project(joined, left)

    heads.save(joined, tmp_path / "left", "ensemble", {"name": "made"})
    again = heads.restore(tmp_path / "left")[0]
    np.testing.assert_array_equal(heads.project(again, left), z)

    zr = heads.project(fitted.right_head, right)  # searched: scores are the means of the members' scores
    sides = [one.members if isinstance(one, Ensemble) else [one] * K for one in (joined, fitted.right_head)]
    each = [heads.project(a, left) @ heads.project(b, right).T for a, b in zip(*sides, strict=True)]
    np.testing.assert_allclose(z @ zr.T, np.mean(each, 0), atol=1e-4 * max(1, np.abs(each).max()))

    alone = lite.Head(tmp_path / "left")
    close = {"rtol": 0, "atol": 1e-4 * max(1, float(np.abs(z).max()))}
    if left.offsets is None:
        np.testing.assert_allclose(alone(left.vectors), z, **close)
    else:
        frames = left.vectors[: left.offsets[1]]
        np.testing.assert_allclose(alone.sequence(frames), z[0], **close)
        if joined.streams:
            stream, state = alone.stream(), joined.start(1)
            stream(frames[:2])
            np.testing.assert_allclose(stream(frames[2:])[-1], z[0], **close)
            with torch.inference_mode():
                for part in (frames[:2], frames[2:]):
                    found, state = joined.step(torch.from_numpy(part[None]), state)
            np.testing.assert_allclose(found[0, -1].numpy(), z[0], **close)

    onnxruntime = pytest.importorskip("onnxruntime")
    graph = "vectors" if left.offsets is None else "whole"
    export_onnx(joined, tmp_path / "head.onnx", graph)
    session = onnxruntime.InferenceSession(tmp_path / "head.onnx")
    given = {"vectors": left.vectors[:5]}
    if left.offsets is not None:
        lengths = np.diff(left.offsets[:6])
        given = {"frames": np.zeros((5, lengths.max(), left.dim), np.float32), "lengths": lengths}
        for k in range(5):
            given["frames"][k, : lengths[k]] = left.vectors[left.offsets[k] : left.offsets[k + 1]]
    np.testing.assert_allclose(session.run(["outputs"], given)[0], z[:5], **close)

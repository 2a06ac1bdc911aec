"""Ensembles: scores are the means of the members' scores, of vectors, sequences, streams, sets, files and graphs."""

import numpy as np
import pytest
import torch
from frame_heads import C, D, made
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium import heads
from sensorium.contracts import SetHead
from sensorium.errors import BadRecipe
from sensorium.heads.ensemble import Ensemble
from sensorium.heads.linear import Linear
from sensorium.heads.mlp import MLP
from sensorium.numerics import ragged
from sensorium.numerics.moments import InputStats
from sensorium.pairs.sets import ragged as sets_of
from sensorium.stream import lite

X = np.random.default_rng(0).normal(1.0, 2.0, (40, 12)).astype(np.float32)


def members(count: int, normalize: bool = True, dim: int = 5, seed: int = 0) -> list[MLP]:
    """Built heads of equal shape, each with weights of its own."""
    torch.manual_seed(seed)
    found = [MLP(dim=dim, hidden=7, normalize=normalize) for _ in range(count)]
    for one in found:
        one.build(12, InputStats.of(X))
    return found


@given(count=st.integers(1, 6), normalize=st.booleans(), dim=st.integers(1, 9), seed=st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_scores_are_the_means_of_the_members_scores(count, normalize, dim, seed) -> None:
    left, right = (members(count, normalize, dim, s) for s in (seed, seed + 1000))
    zl, zr = (heads.apply(Ensemble.of("mlp", side), X) for side in (left, right))
    each = [heads.apply(a, X) @ heads.apply(b, X).T for a, b in zip(left, right, strict=True)]
    np.testing.assert_allclose(zl @ zr.T, np.mean(each, 0), atol=1e-5)
    if normalize:
        np.testing.assert_allclose(np.linalg.norm(zl, axis=1), 1, rtol=1e-5)
    assert Ensemble.of("mlp", left).normalize == normalize


@given(count=st.integers(1, 6), normalize=st.booleans(), seed=st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_against_a_side_with_one_head_the_mean_of_the_outputs_does_it(count, normalize, seed) -> None:
    left, y = members(count, normalize, 5, seed), np.random.default_rng(seed).normal(size=(9, 5)).astype(np.float32)
    joined = Ensemble.of("mlp", left, "mean")
    assert joined.dim == 5 and (not joined.normalize or count == 1)
    np.testing.assert_allclose(
        heads.apply(joined, X) @ y.T, np.mean([heads.apply(one, X) @ y.T for one in left], 0), atol=1e-5
    )


@pytest.mark.parametrize("combine", ["concatenate", "mean"])
@pytest.mark.parametrize("name", ["lstm", "statistics", "tcn"])
def test_of_sequences_and_streams(name: str, combine: str) -> None:
    parts = [made(name, dropout=0.2) for _ in range(3)]
    for k, part in enumerate(parts):
        torch.manual_seed(k)
        with torch.no_grad():
            for weight in part.parameters():
                weight.copy_(torch.randn_like(weight) / 4)
    joined = Ensemble.of(name, parts, combine)
    random = np.random.default_rng(3)
    frames, offsets = random.normal(2, 3, (26, D)).astype(np.float32), np.array([0, 9, 10, 26])
    z = ragged.apply_frames(joined, frames, offsets)
    each = [ragged.apply_frames(part, frames, offsets) for part in parts]
    assert z.shape == (3, 3 * C if combine == "concatenate" else C)
    assert np.abs(each[0] - each[1]).max() > 1e-2
    np.testing.assert_allclose(z, np.hstack(each) / 3**0.5 if combine == "concatenate" else np.mean(each, 0), atol=1e-5)
    if joined.frozen is not None:
        x, lengths = torch.from_numpy(frames[None, :9]), torch.tensor([9])
        np.testing.assert_allclose(joined(joined.frozen(x, lengths)).detach().numpy(), z[:1], atol=1e-5)
    with torch.no_grad():
        x, state = torch.from_numpy(frames[None, 10:]), joined.start(1)
        for part in x.split(5, 1):
            out, state = joined.step(part, state)
        np.testing.assert_allclose(out[:, -1].numpy(), z[2:], atol=1e-4)
        out, state = joined.advance(x[:, :7], torch.tensor([7]), joined.start(1))
        out, _ = joined.advance(x[:, 7:], torch.tensor([9]), state)
        np.testing.assert_allclose(out.numpy(), z[2:], atol=1e-4)


class Centre(torch.nn.Module, SetHead):
    """A query that is the mean output, turned by the slot."""

    def __init__(self, categories=("shoe", "bag")):
        super().__init__()
        self.categories, self.arguments = list(categories), {"categories": list(categories)}

    def build(self, dim_in, stats=None, like=None):
        self.dim_in, self.dim = dim_in, 4
        self.fc = torch.nn.Linear(dim_in, 4)

    def forward(self, x):
        return torch.nn.functional.normalize(self.fc(x), dim=-1)

    def compose(self, x, lengths, category, slot):
        there = torch.arange(x.shape[1]) < lengths[:, None]
        return (self(x) * there[:, :, None] * (2.0 + category)[:, :, None]).sum(1) / lengths[:, None] + slot[:, None]


def test_queries_of_sets_score_as_the_mean_of_the_members() -> None:
    torch.manual_seed(0)
    parts = [Centre() for _ in range(4)]
    for part in parts:
        part.build(12)
    joined = Ensemble.of("here:Centre", parts)
    assert joined.takes_sets and list(joined.categories) == ["shoe", "bag"]
    context, category = sets_of([[1, 2, 3], [4], [5, 6]]), np.arange(40) % 3 - 1
    slot = np.array([0, 1, -1])
    queries = heads.compose(joined, X, context, category, slot)
    each = [heads.compose(part, X, context, category, slot) @ heads.apply(part, X).T for part in parts]
    np.testing.assert_allclose(queries @ heads.apply(joined, X).T, np.mean(each, 0), atol=1e-5)
    plain = members(3)  # of members that take no sets: the mean of their outputs
    queries = heads.compose(Ensemble.of("mlp", plain), X, context, category, slot)
    each = [heads.compose(part, X, context, category, slot) @ heads.apply(part, X).T for part in plain]
    np.testing.assert_allclose(queries @ heads.apply(Ensemble.of("mlp", plain), X).T, np.mean(each, 0), atol=1e-5)


@pytest.mark.parametrize("combine", ["concatenate", "mean"])
def test_saved_and_loaded_it_gives_the_same_bits(tmp_path, combine: str) -> None:
    joined = Ensemble.of("mlp", members(3), combine)
    heads.save(joined, tmp_path / "left", "ensemble", {"name": "made up"})
    for again in (heads.restore(tmp_path / "left")[0], heads.load(tmp_path / "left.safetensors")):
        assert isinstance(again, Ensemble) and again.arguments == joined.arguments
        assert np.array_equal(heads.apply(again, X), heads.apply(joined, X))


@pytest.mark.parametrize("combine", ["concatenate", "mean"])
def test_numpy_alone_gives_the_same_numbers(tmp_path, combine: str) -> None:
    joined = Ensemble.of("mlp", members(3), combine)
    heads.save(joined, tmp_path / "left", "ensemble", {})
    np.testing.assert_allclose(lite.Head(tmp_path / "left")(X), heads.apply(joined, X), atol=1e-5)
    joined = Ensemble.of("gru", [made("gru"), made("gru", dropout=0.0)], combine)
    heads.save(joined, tmp_path / "right", "ensemble", {})
    alone, x = lite.Head(tmp_path / "right"), np.random.default_rng(2).normal(size=(12, D)).astype(np.float32)
    expected = ragged.apply_frames(joined, x, np.array([0, 12]))[0]
    np.testing.assert_allclose(alone.sequence(x), expected, atol=1e-5)
    stream = alone.stream()
    stream(x[:5])
    np.testing.assert_allclose(stream(x[5:])[-1], expected, atol=1e-5)
    with pytest.raises(BadRecipe, match="the gru head takes the frames of an item"):
        alone(x)


@pytest.mark.parametrize(("name", "graph"), [("mlp", "vectors"), ("lstm", "stream"), ("lstm", "whole")])
def test_as_onnx_it_gives_the_same_numbers(tmp_path, name: str, graph: str) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    from sensorium.formats.onnx import export_onnx

    joined = Ensemble.of(name, members(3) if name == "mlp" else [made(name) for _ in range(2)])
    inputs = export_onnx(joined, tmp_path / "head.onnx", graph)
    session = onnxruntime.InferenceSession(tmp_path / "head.onnx")
    frames = torch.from_numpy(np.random.default_rng(1).normal(size=(3, 7, joined.dim_in)).astype(np.float32))
    with torch.no_grad():
        if graph == "vectors":
            given, expected = (frames[:, 0],), joined(frames[:, 0])
        elif graph == "whole":
            given = frames, torch.tensor([7, 2, 5])
            expected = joined(*given)
        else:
            given = frames, *joined.start(3)
            expected = joined.step(frames)[0]
    found = session.run(["outputs"], {key: value.numpy() for key, value in zip(inputs, given, strict=True)})[0]
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)


def test_named_in_a_recipe_its_members_are_made_and_built() -> None:
    one = Ensemble({"name": "linear", "preprocess": "none"}, members=3)
    one.build(12, None, 6)
    assert one.dim == 6 and not one.open_width and one.trainable and not one.needs_statistics
    assert len({m.layers[0].weight[0, 0].item() for m in one.members}) == 3
    mean = Ensemble("linear", combine="mean")
    assert mean.open_width and mean.needs_statistics
    mean.build(12, InputStats.of(X), 6)
    assert mean.dim == 6
    odd = Ensemble(Linear(dim=None).arguments | {"name": "linear"}, members=2)
    odd.build(12, InputStats.of(X), 5)  # 5 is not two equal widths
    assert odd.dim == 24


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"members": 0}, "ensemble: members=0; expected a whole number, 1 to 1000"),
        ({"combine": "sum"}, "ensemble: combine='sum'; expected concatenate or mean"),
        ({"head": "ensemble"}, "its members cannot be ensembles; name another head, such as mlp"),
        ({"head": "mpl"}, "no head 'mpl'"),
        ({"head": {"name": "mlp", "depht": 2}}, "ensemble.head: 'mlp' takes no 'depht'"),
        ({"head": {}}, "ensemble.head needs a name"),
    ],
)
def test_misuse(given, message) -> None:
    with pytest.raises(BadRecipe, match=message):
        Ensemble(**given)

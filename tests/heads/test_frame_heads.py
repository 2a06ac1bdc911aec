"""Heads over frames: what a stream reads is what the file gives, padding is never read."""

import numpy as np
import pytest
import torch
from frame_heads import SPECS, C, D, made
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium import heads, parts
from sensorium.errors import BadData, BadRecipe
from sensorium.fitting.build import build
from sensorium.heads._members import Members
from sensorium.numerics import ragged
from sensorium.numerics.pooling import Relations, Statistics
from sensorium.pairs import Pairs
from sensorium.types import Embeddings


@pytest.mark.parametrize("name", SPECS)
@settings(max_examples=12, deadline=None)
@given(cuts=st.lists(st.integers(0, 60), max_size=6), seed=st.integers(0, 99))
def test_a_stream_reads_what_the_file_gives(name: str, cuts: list[int], seed: int) -> None:
    head = made(name)
    x = torch.from_numpy(np.random.default_rng(seed).normal(2, 3, size=(2, 130, D)).astype(np.float32))
    with torch.inference_mode():
        read, state, at = [], None, 0
        for n in [*cuts, 130]:
            z, state = head.step(x[:, at : at + n], state)
            read.append(z)
            at += n
        read = torch.cat(read, 1)
        for t in (1, 49, 50, 51, 99, 101, 130):
            whole = head(x, torch.tensor([t, t]))
            torch.testing.assert_close(read[:, t - 1], whole, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("name", "cell"), [("lstm", torch.nn.LSTM), ("gru", torch.nn.GRU)])
@settings(max_examples=20, deadline=None)
@given(lengths=st.lists(st.integers(1, 150), min_size=1, max_size=40))
def test_training_in_blocks_of_time_equals_the_whole_padded_batch(name: str, cell: type, lengths: list[int]) -> None:
    """Outputs and gradients are those of the plain cell over all padded frames, read at the last valid one."""
    head = made(name, dropout=0.0).train()
    x, count = torch.randn(len(lengths), max(lengths), D), torch.tensor(lengths)
    plain = cell(D, SPECS[name]["hidden"], head.arguments["depth"], batch_first=True)
    plain.load_state_dict(head.get_submodule(name).state_dict())
    h = plain(head.preprocess(x))[0][torch.arange(len(lengths)), count - 1]
    expected, found = head.fc(h), head(x, count)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    found.square().sum().backward()
    expected.square().sum().backward()
    for key, weight in head.get_submodule(name).named_parameters():
        torch.testing.assert_close(weight.grad, plain.get_parameter(key).grad, atol=1e-4, rtol=1e-4)


def test_statistics_made_beforehand_are_read_alike() -> None:
    for name in ("statistics", "statistics and relations"):
        head, lengths = made(name), torch.tensor([30, 4, 1, 17])
        x = torch.randn(4, 30, D)
        with torch.inference_mode():
            torch.testing.assert_close(head(head.frozen(x, lengths)), head(x, lengths))


@pytest.mark.parametrize("name", SPECS)
def test_single_vectors_under_a_head_of_frames_are_refused(name: str) -> None:
    head = parts.make("heads", {"name": name, **SPECS[name]})
    single = Embeddings(np.array(["a", "b"]), np.eye(2, D, dtype=np.float32), {})
    classes = Embeddings(np.array(["x", "y"]), np.eye(2, dtype=np.float32), {})
    with pytest.raises(BadRecipe, match="the items are one vector each, but the .* head reads sequences of frames"):
        build(single, classes, Pairs.of([0, 1], [0, 1], group=[0, 1]), head, parts.make("heads", "identity"))


@pytest.mark.parametrize("name", SPECS)
def test_padding_is_never_read(name: str) -> None:
    head = made(name)
    x = torch.randn(3, 40, D)
    lengths = torch.tensor([40, 7, 1])
    noisy = x.clone()
    for i, n in enumerate(lengths.tolist()):
        noisy[i, n:] = 1e3
    with torch.inference_mode():
        together = head(noisy, lengths)
        for i, n in enumerate(lengths.tolist()):
            torch.testing.assert_close(
                together[i : i + 1], head(x[i : i + 1, :n], lengths[i : i + 1]), atol=1e-5, rtol=1e-5
            )


@pytest.mark.parametrize("name", SPECS)
def test_streams_stepped_as_one_batch(name: str) -> None:
    head = made(name)
    chunks = [torch.randn(1, 6, D) for _ in range(4)]
    with torch.inference_mode():
        states = [head.step(torch.randn(1, n, D), head.start())[1] for n in (3, 60, 1, 120)]
        together, after = head.step(torch.cat(chunks), ragged.gather(states))
        for i, (chunk, state, later) in enumerate(zip(chunks, states, ragged.scatter(after), strict=True)):
            alone, own = head.step(chunk, state)
            torch.testing.assert_close(together[i : i + 1], alone, atol=1e-5, rtol=1e-5)
            for a, b in zip(own, later, strict=True):
                torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("name", SPECS)
def test_a_table_of_sequences_and_the_saved_head(name: str, tmp_path) -> None:
    head = made(name)
    lengths = [1, 30, 7, 300]
    offsets = np.cumsum([0, *lengths])
    frames = np.random.default_rng(1).normal(size=(offsets[-1], D)).astype(np.float32)
    table = Embeddings(np.array(list("abcd")), frames, {}, offsets=offsets)
    found = heads.project(head, table)
    assert found.shape == (4, C) and found.dtype == np.float32
    for i, n in enumerate(lengths):
        x = torch.from_numpy(frames[offsets[i] : offsets[i + 1]])[None]
        np.testing.assert_allclose(found[i], head(x, torch.tensor([n]))[0].detach(), atol=1e-5)
    heads.save(head, tmp_path / "left", SPECS[name].get("name", name), {"name": "mfcc"})
    again, _ = heads.restore(tmp_path / "left")
    np.testing.assert_array_equal(heads.project(again, table), found)
    with pytest.raises(BadData, match="1 items have no frames"):
        ragged.apply_frames(head, frames, np.array([0, 0, 5]))
    with pytest.raises(BadData, match="width 4"):
        ragged.apply_frames(head, frames[:, :4], offsets)


def test_the_documents_lstm() -> None:
    head = parts.make("heads", "lstm")
    head.build(13, None, 8)
    assert sum(p.numel() for p in head.parameters()) == 805_896
    assert [k for k in head.state_dict() if k.startswith("fc")] == ["fc.weight", "fc.bias"]


def test_members_learn_from_different_rows_and_are_averaged() -> None:

    torch.manual_seed(0)
    members = Members(4, 8, 1, 3, 2, dropout=0.0)
    x = torch.randn(5, 4)
    each = [members._layers(x[None].expand(2, -1, -1))[k] for k in range(2)]
    torch.testing.assert_close(members.eval()(x), (each[0] + each[1]) / 2)
    rows = members.train()(x)
    for i in range(5):
        torch.testing.assert_close(rows[i], each[i % 2][i])


@pytest.mark.parametrize("blocks", [1, 2, 3])
def test_relations_are_correlations(blocks: int) -> None:
    """Against NumPy; the small number added to variances hardly matters where these are 100."""
    x = np.random.default_rng(0).normal(size=(400, 6)) @ np.random.default_rng(1).normal(size=(6, 6)) * 10
    x = np.cumsum(x, axis=0) / 10  # so that a frame resembles the one before it
    found = Relations(6, blocks)(torch.from_numpy(x)[None], torch.tensor([400]))[0].numpy()
    size = 6 // blocks
    corners = [np.corrcoef(x[:, k : k + size].T)[np.triu_indices(size, 1)] for k in range(0, 6, size)]
    repeats = [((x[k:] * x[:-k]).mean(0) - x.mean(0) ** 2) / x.var(0) for k in (5, 10, 20)]
    np.testing.assert_allclose(found, np.concatenate(corners + repeats), atol=2e-2)


def test_relations_of_what_hardly_moved_and_hardly_began() -> None:
    still, one = torch.full((1, 50, 4), 3.0), torch.randn(1, 1, 4)
    for x in (still, one):
        assert Relations(4, 2)(x, torch.tensor([x.shape[1]])).abs().max() < 1e-6


def test_relations_that_do_not_fit() -> None:
    with pytest.raises(BadRecipe, match="relations=-1; expected 0"):
        parts.make("heads", {"name": "statistics", "relations": -1})
    with pytest.raises(BadRecipe, match="5 columns cannot be split into relations=2 equal blocks"):
        parts.make("heads", {"name": "statistics", "relations": 2}).build(D, None, C)


def test_statistics_say_what_they_promise() -> None:

    x = torch.randn(1, 4000, 1)
    pooled = Statistics(1, levels=3)(x, torch.tensor([4000]))[0]
    mean, deviation, magnitude, *above, first, second, recent = pooled.tolist()
    assert [mean, deviation, magnitude] == pytest.approx([0, 1, 0.8], abs=0.05)
    assert above == pytest.approx([5 / 6, 1 / 2, 1 / 6], abs=0.04)
    assert first == pytest.approx(x[0, :50].mean().item(), abs=1e-5)
    assert second == pytest.approx(x[0, 50:100].mean().item(), abs=1e-5)
    assert abs(recent - x[0, -60:].mean().item()) < 0.5


def test_spec_augment_masks_spans_of_some_sequences() -> None:
    torch.manual_seed(0)
    lengths = torch.randint(20, 201, (400,))
    hidden = ragged.spec_augment(torch.ones(400, 200, 30), lengths, 0.3) == 0
    touched = hidden.any(2).any(1)
    assert 0.2 < touched.float().mean() < 0.4
    frames, columns = hidden.all(2), hidden.all(1)
    assert (hidden == (frames[:, :, None] | columns[:, None])).all()  # whole frames and whole columns, nothing else
    real = torch.arange(200) < lengths[:, None]
    assert not (frames & ~real).any()
    assert (frames.sum(1) <= 0.2 * lengths + 2).all() and (columns.sum(1) <= 0.2 * 30 + 1).all()
    assert frames[touched].any() and columns[touched].any()
    assert not (ragged.spec_augment(torch.ones(9, 50, 4), torch.full((9,), 50), 0.0) == 0).any()


def test_spec_augment_is_for_training_only() -> None:
    head = parts.make("heads", {"name": "lstm", "hidden": 8, "depth": 1, "dropout": 0.0, "spec_augment": 1.0})
    head.build(D, None, C)
    x, lengths = torch.randn(4, 50, D), torch.full((4,), 50)
    head.train()
    assert (head(x, lengths) != head(x, lengths)).any()
    head.eval()
    torch.testing.assert_close(head(x, lengths), head.step(x)[0][:, -1])
    with pytest.raises(BadRecipe, match="lstm: spec_augment=2; expected a probability"):
        parts.make("heads", {"name": "lstm", "spec_augment": 2})


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("lstm", {"hidden": 0}), ("gru", {"depth": 0}), ("lstm", {"dropout": 2}), ("tcn", {"kernel": 0}),
        ("tcn", {"depth": 0}), ("tcn", {"width": -1}), ("tcn", {"dropout": 1.0}), ("statistics", {"members": 0}),
        ("statistics", {"levels": -1}), ("statistics", {"depth": -1}), ("statistics", {"hidden": 0}),
        ("statistics", {"dropout": -0.1}), ("statistics", {"noise": -1.0}), ("lstm", {"depth": 101}),
        ("statistics", {"levels": 101}),
    ],
)  # fmt: skip
def test_sizes_that_cannot_be(name: str, wrong: dict) -> None:
    key, value = next(iter(wrong.items()))
    with pytest.raises(BadRecipe, match=f"{name}: .*{key}={value}.*expected"):
        parts.make("heads", {"name": name, **wrong})


def test_a_head_for_vectors_is_no_head_for_frames() -> None:
    frames = Embeddings(np.array(["a", "b"]), np.ones((5, 3), np.float32), {}, offsets=np.array([0, 2, 5]))
    names = Embeddings(np.array(["x", "y"]), np.eye(2, dtype=np.float32), {})
    pairs = Pairs.of([0, 1], [0, 1])
    with pytest.raises(BadRecipe, match="sequences of frames, but the MLP head.*lstm, gru, tcn, statistics"):
        build(frames, names, pairs, parts.make("heads", "mlp"), parts.make("heads", "identity"))

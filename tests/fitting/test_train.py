"""The training loop: what it learns, what it keeps, what it refuses; the step by hand against autograd."""

import itertools
import json
import os
import signal

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from training_data import TRAIN, N, assert_same_bits, identity, tensors, train, views

from sensorium import fitting, scores
from sensorium.contracts import Head
from sensorium.errors import BadData, BadRecipe
from sensorium.fitting import batches as batching
from sensorium.fitting import fused
from sensorium.fitting import weights as weights_module
from sensorium.fitting.batches import Batch, Sampler, Side, step_size
from sensorium.fitting.fused import FusedStep, _dropout_mask
from sensorium.fitting.options import TrainOptions
from sensorium.fitting.schedule import EarlyStopping, learning_rate
from sensorium.fitting.step import AutogradStep
from sensorium.fitting.weights import Weights
from sensorium.heads import project
from sensorium.heads.linear import Linear
from sensorium.heads.mlp import MLP
from sensorium.objectives.infonce import InfoNCE
from sensorium.objectives.ridge import Ridge
from sensorium.objectives.siglip import SigLIP
from sensorium.pairs import Pairs
from sensorium.pairs.positives import Positives
from sensorium.types import Embeddings

CPU = torch.device("cpu")


def hit1(fitted, data=None, split="test") -> float:
    left, right, pairs = data or views()
    relevance = pairs.relevance("left->right", split)
    ranks = scores.ranks(project(fitted.left_head, left), project(fitted.right_head, right), relevance)
    return float((np.minimum.reduceat(ranks, relevance.offsets[:-1]) == 1).mean())


# --- the step by hand ------------------------------------------------------------------------------

HEADS = {
    "mlp": lambda: (MLP(dim=16, hidden=32), MLP(dim=16, hidden=24, activation="relu")),
    "deep, one-sided": lambda: (
        MLP(dim=16, hidden=32, depth=2, activation="tanh", layer_norm=True, residual=True, gain=0.5),
        identity(),
    ),
    "silu, free length": lambda: (
        MLP(dim=16, hidden=32, depth=2, activation="silu", residual=True, normalize=False),
        Linear(dim=16),
    ),
    "tied": lambda: (MLP(dim=16, hidden=32),) * 2,
}
OBJECTIVES = {
    "infonce": lambda: InfoNCE(learnable=True),
    "one-way": lambda: InfoNCE(both=False),
    "sharp": lambda: InfoNCE(0.01, learnable=True),
    "siglip": SigLIP,
}


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-6), (torch.bfloat16, 3e-2)])
@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("heads", HEADS)
def test_gradients_by_hand_are_those_of_autograd(heads, objective, dtype, tolerance):
    torch.manual_seed(1)
    (left, right), loss = HEADS[heads](), OBJECTIVES[objective]()
    left.build(20)
    if right is not left:
        right.build(16)
    x, y = torch.randn(64, 20), torch.randn(64, 20 if right is left else 16)
    y = y if right.trainable else right(y).detach()
    modules = [left, right, loss]
    weights = Weights(modules, 0.0, 0.0, CPU)
    assert FusedStep.fits(modules, TrainOptions(), CPU)
    positives = Positives(64, keys=(np.arange(64) // 2,) * 2)
    expected = AutogradStep(modules, weights, TrainOptions(), torch.float32)(Batch(x, y, positives), 0.5)
    gradient = weights.grad.clone()
    weights.grad.zero_()
    found = FusedStep(modules, weights, TrainOptions(), dtype)(Batch(x.to(dtype), y.to(dtype), positives), 0.5)
    assert found == pytest.approx(expected, rel=tolerance)
    assert (weights.grad - gradient).norm() / gradient.norm() < tolerance


@pytest.mark.parametrize("activation", ["relu", "gelu", "tanh", "silu"])
def test_gradients_by_hand_under_dropout_are_slopes_of_the_loss(activation):
    torch.manual_seed(2)
    left, right = MLP(dim=8, hidden=32, depth=2, dropout=0.4, activation=activation), identity()
    left.build(12)
    right.build(8)
    modules = [left, right, InfoNCE(both=False)]
    weights = Weights(modules, 0.0, 0.0, CPU)
    step = FusedStep(modules, weights, TrainOptions(), torch.float32)
    batch = Batch(torch.randn(32, 12), torch.nn.functional.normalize(torch.randn(32, 8), dim=1), Positives(32))

    def loss() -> float:
        torch.manual_seed(7)  # the same elements drop out every time
        weights.grad.zero_()
        return step(batch)

    loss()
    gradient = weights.grad.clone()
    along = gradient / gradient.norm()
    weights.flat.add_(along, alpha=5e-3)
    above = loss()
    weights.flat.add_(along, alpha=-1e-2)
    below = loss()
    assert (above - below) / 1e-2 == pytest.approx(float(gradient.norm()), rel=2e-2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dropout_keeps_the_mean(dtype):
    torch.manual_seed(0)
    ones = torch.ones(400, 500, dtype=dtype)
    keep, scale = _dropout_mask(ones, 0.3)
    ones.view(keep.dtype).bitwise_and_(keep)
    assert set(ones.unique().tolist()) == {0.0, 1.0}
    assert ones.float().mean().item() * scale == pytest.approx(1.0, abs=0.01)
    assert scale == pytest.approx(1 / 0.7, rel=0.005)
    columns = ones.float().mean(0)
    assert columns.std() == pytest.approx(np.sqrt(0.3 * 0.7 / 400), rel=0.2), "elements drop out independently"


def test_what_is_not_written_out_goes_by_autograd():
    modules = [*HEADS["mlp"](), InfoNCE()]
    assert not FusedStep.fits(modules, TrainOptions(mixup=0.3), CPU)
    assert not FusedStep.fits(modules, TrainOptions(structure=0.1), CPU)
    assert train(epochs=1).notes["by"] == "fused"
    assert train(epochs=1, mixup=0.3).notes["by"] == "autograd"


# --- what is learned -------------------------------------------------------------------------------


def test_it_learns_and_bfloat16_does_so_as_well_as_float32():
    chance = 1 / (N - TRAIN - 100)
    found = {p: [hit1(train(precision=p, seed=s, epochs=20)) for s in range(3)] for p in ("fp32", "bf16")}
    assert min(found["fp32"]) > 20 * chance
    spread = max(0.03, 3 * np.std(found["fp32"]))
    assert np.mean(found["bf16"]) == pytest.approx(np.mean(found["fp32"]), abs=spread)


def test_the_validation_measure_is_that_of_brute_force():
    left, right, pairs = views()
    fitted = train(epochs=3, keep="last", monitor="hit@10")
    zl, zr = (project(h, t)[pairs.left[pairs.split == "validation"]]
              for h, t in ((fitted.left_head, left), (fitted.right_head, right)))  # fmt: skip
    similarity = zl.astype(np.float64) @ zr.T.astype(np.float64)
    for name, rank_of in (("MRR", lambda r: (1 / r).mean()), ("hit@10", lambda r: (r <= 10).mean())):
        forth = (similarity >= similarity.diagonal()[:, None]).sum(1)
        back = (similarity >= similarity.diagonal()).sum(0)
        assert fitted.history[-1][name] == pytest.approx((rank_of(forth) + rank_of(back)) / 2, abs=1e-9)
    assert fitted.history[-1]["validation"] == fitted.history[-1]["hit@10"]


def test_weights_of_the_best_validation_are_kept():
    fitted = train(epochs=25, lr=0.5, schedule="constant", warmup=3)
    best = max(fitted.history, key=lambda e: e["validation"])
    assert fitted.notes["validation"] == best["validation"] and fitted.notes["best_epoch"] == best["epoch"]
    assert best["epoch"] < 25
    as_then = train(epochs=25, steps=6 * best["epoch"], lr=0.5, schedule="constant", warmup=3, keep="last")
    assert_same_bits(fitted, as_then)


def test_patience_stops_early_and_zero_never_does():
    stopped = train(epochs=40, lr=0.3, schedule="constant", patience=2)
    assert stopped.notes["stopped_early"]
    assert len(stopped.history) == stopped.notes["best_epoch"] + 2 < 40
    assert len(train(epochs=9, lr=0.3, patience=0).history) == 9


def test_several_positives_and_one_table():
    rng = np.random.default_rng(0)
    kind = np.repeat(np.arange(30), 10)
    x = (rng.normal(size=(30, 12))[kind] + 0.7 * rng.normal(size=(300, 12))).astype(np.float32)
    table = Embeddings(np.arange(300).astype(str), x, {})
    a, b = np.array([p for k in range(30) for p in itertools.combinations(range(10 * k, 10 * k + 10), 2)]).T
    split = np.where(kind[a] < 20, "train", np.where(kind[a] < 25, "validation", "test"))
    pairs = Pairs.of(a, b, group=kind[a], split=split, same_table=True)
    head = MLP(dim=8, hidden=32)
    fitted = train(data=(table, table, pairs), heads=(head, None), epochs=3)
    assert fitted.left_head is fitted.right_head is head
    assert fitted.history[-1]["MRR"] > 0.5
    assert fitted.history[-1]["loss"] < fitted.history[0]["loss"]


def test_a_class_table_is_learned_through_keys():
    rng = np.random.default_rng(1)
    kind = rng.integers(0, 5, 400)
    x = (rng.normal(size=(5, 10))[kind] + rng.normal(size=(400, 10))).astype(np.float32)
    left = Embeddings(np.arange(400).astype(str), x, {})
    right = Embeddings(np.array(list("abcde")), np.eye(5, dtype=np.float32), {})
    pairs = Pairs.of(np.arange(400), kind, group=np.arange(400), split=np.repeat(["train", "validation"], [300, 100]))
    fitted = train(data=(left, right, pairs), heads=(MLP(hidden=32), identity()), epochs=10, monitor="hit@1",
                   direction="left->right", balance="class")  # fmt: skip
    assert fitted.notes["validation"] > 0.6


def test_starting_at_a_closed_form_begins_where_it_ends():
    left, right, pairs = views()
    solved = fitting.solve(left, right, pairs, Linear(), identity(), Ridge(center=False))
    start = train(heads=(Linear(), identity()), initialise="ridge", epochs=1, lr=1e-12, keep="last")
    assert hit1(start) == pytest.approx(hit1(solved), abs=0.021)
    grown = train(heads=(MLP(residual=True, hidden=32), identity()), initialise="ridge", epochs=10)
    assert grown.notes["validation"] >= start.notes["validation"]


def test_starting_where_no_linear_map_fits():
    with pytest.raises(
        BadRecipe,
        match=r"cannot start at a closed form without a linear path; type: left.head.residual=true or right.head",
    ):
        train(heads=(MLP(hidden=32), identity()), initialise="ridge")
    with pytest.raises(BadRecipe, match=r"gives left vectors of 16, left.head of 12; type: left.head.dim=16"):
        train(heads=(Linear(dim=12), Linear(dim=12)), initialise="ridge")
    with pytest.raises(BadRecipe, match="moves the right side, whose head is not trained; use ridge"):
        train(heads=(Linear(dim=16), identity()), initialise="cca")


class Frames(torch.nn.Module, Head):
    """Mean over the valid frames, then a linear map: the least a head of sequences can be."""

    takes_vectors, takes_sequences = False, True

    def __init__(self) -> None:
        super().__init__()
        self.arguments = {"dim": 4}

    def build(self, dim_in, stats=None, like=None):
        self.dim_in, self.dim = dim_in, 4
        self.map = torch.nn.Linear(dim_in, 4)

    def forward(self, x, lengths):
        valid = torch.arange(x.shape[1])[None, :] < lengths[:, None]
        mean = (x * valid[..., None]).sum(1) / lengths[:, None]
        return torch.nn.functional.normalize(self.map(mean), dim=1)


def sequences(noise):
    """200 items of one to eight frames of four kinds, and the kinds: two tables and their pairs."""
    rng = np.random.default_rng(0)
    kind, length = rng.integers(0, 4, 200), rng.integers(1, 9, 200)
    offsets = np.append(0, np.cumsum(length))
    frames = rng.normal(size=(4, 6))[np.repeat(kind, length)] + noise * rng.normal(size=(offsets[-1], 6))
    left = Embeddings(np.arange(200).astype(str), frames.astype("f4"), {}, offsets=offsets)
    right = Embeddings(np.array(list("abcd")), np.eye(4, dtype=np.float32), {})
    split = np.repeat(["train", "validation"], [150, 50])
    return left, right, Pairs.of(np.arange(200), kind, group=np.arange(200), split=split)


def test_heads_of_frame_sequences_get_padded_frames_and_lengths():
    left, right, pairs = sequences(noise=0.5)
    frames, offsets = left.vectors, left.offsets
    length = np.diff(offsets)
    x, lengths = Side(left, np.arange(200), CPU, 1 << 30).take(np.array([7, 3]))
    assert lengths.tolist() == length[[7, 3]].tolist() and x.shape == (2, length[[7, 3]].max(), 6)
    for row, i in ((0, 7), (1, 3)):
        np.testing.assert_array_equal(x[row, : length[i]], frames[offsets[i] : offsets[i + 1]])
        assert not x[row, length[i] :].any()
    fitted = train(data=(left, right, pairs), heads=(Frames(), identity()), epochs=15, batch=32)
    assert fitted.notes["validation"] > 0.7


class Pooling(Frames):
    """The same, saying what of it no weight takes part in; counts how often that is asked for."""

    rows = 0

    def frozen(self, x, lengths):
        Pooling.rows += len(x)
        valid = torch.arange(x.shape[1])[None, :] < lengths[:, None]
        return (x * valid[..., None]).sum(1) / lengths[:, None]

    def forward(self, x, lengths=None):
        return torch.nn.functional.normalize(self.map(x if lengths is None else self.frozen(x, lengths)), dim=1)


def test_what_no_weight_takes_part_in_is_made_once(monkeypatch):
    data = sequences(noise=1.0)

    def fit(head):
        Pooling.rows = 0
        fitted = train(data=data, heads=(head, identity()), epochs=6, batch=32)
        return [(e["loss"], e["validation"]) for e in fitted.history], Pooling.rows

    held, rows = fit(Pooling())
    assert rows == 200 + 2  # every item, and one of each split to learn how wide they are
    np.testing.assert_allclose(held, fit(Frames())[0], rtol=1e-5)
    monkeypatch.setattr("sensorium.fitting.loop.memory_budget", lambda device: 0)
    read, rows = fit(Pooling())
    assert rows > 6 * 128 and read[0][0] == pytest.approx(held[0][0], rel=1e-5)  # batch by batch, to the same end
    np.testing.assert_allclose(read, held, rtol=1e-4)


def test_items_of_frames_are_mixed_where_one_vector_of_each_is_made_first():
    data = sequences(noise=0.5)
    asked = {"epochs": 15, "batch": 32, "mixup": 0.4, "structure": 0.1}
    assert train(data=data, heads=(Pooling(), identity()), **asked).notes["validation"] > 0.7
    for key in ("mixup", "structure"):
        with pytest.raises(BadRecipe, match=f"train.{key} works on one vector an item.*set train.{key}=0"):
            train(data=data, heads=(Frames(), identity()), batch=32, **{key: 0.4})


# --- batches ---------------------------------------------------------------------------------------


def test_a_store_larger_than_memory_trains_to_the_same_bits(monkeypatch, tmp_path):
    left, right, pairs = views()
    np.save(tmp_path / "x.npy", left.vectors)
    mapped = Embeddings(left.ids, np.load(tmp_path / "x.npy", mmap_mode="r"), left.fingerprint)
    whole = train(epochs=3)
    monkeypatch.setattr("sensorium.fitting.loop.memory_budget", lambda device: 0)
    assert_same_bits(train(data=(mapped, right, pairs), epochs=3), whole)


def test_every_pair_is_drawn_once_an_epoch_and_orders_differ():
    pairs = Pairs.of(np.arange(100), np.arange(100))
    sampler = Sampler(pairs, TrainOptions(batch=10, accumulate=2), seed=0)
    first, second = sampler.epoch(0), sampler.epoch(1)
    assert first.shape == (5, 2, 10)
    assert sorted(first.ravel()) == list(range(100)) == sorted(second.ravel())
    assert (first != second).any() and (first == sampler.epoch(0)).all()


@pytest.mark.parametrize("balance", ["class", "group"])
def test_balanced_sampling_draws_every_kind_as_often(balance):
    right = np.repeat(np.arange(4), [70, 20, 9, 1])
    pairs = Pairs.of(np.arange(100), right, group=right if balance == "group" else np.arange(100))
    drawn = Sampler(pairs, TrainOptions(batch=100, balance=balance), seed=0).epoch(3).ravel()
    assert np.bincount(right[drawn]).tolist() == [25, 25, 25, 25]
    counts = np.bincount(drawn, minlength=100)
    assert counts[70:90].min() >= 1, "those of a small kind come again only when all had their turn"


def test_a_default_batch_follows_the_data_and_a_wish_does_not():
    pairs = Pairs.of(np.arange(80), np.arange(80))
    assert Sampler(pairs, TrainOptions(), 0).batch == 10
    assert Sampler(Pairs.of(*[np.arange(50_000)] * 2), TrainOptions(), 0).batch == 1024
    assert Sampler(pairs, TrainOptions(batch=80), 0).batch == 80


@pytest.mark.parametrize(("keys", "used", "note"), [
    ({"batch": 81}, (80, 1), "80 training pairs are fewer than train.batch=81: train.batch=80 is used"),
    ({"batch": 40, "accumulate": 3}, (26, 3), "80 training pairs are fewer than train.batch=40 times train.accumulate=3: "
     "train.batch=26 train.accumulate=3 is used"),
    ({"accumulate": 100}, (2, 40), "80 training pairs are fewer than train.batch=2 times train.accumulate=100: "
     "train.batch=2 train.accumulate=40 is used"),
])  # fmt: skip
def test_more_than_the_pairs_is_less_with_a_note(keys, used, note):
    pairs, options = Pairs.of(np.arange(80), np.arange(80)), TrainOptions(**keys)
    sampler = Sampler(pairs, options, 0)
    assert (sampler.batch, sampler.accumulate) == used and step_size(80, options) == (*used, note)
    assert sampler.epoch(0).shape == (1, used[1], used[0])


@given(st.integers(2, 500), st.none() | st.integers(2, 1000), st.integers(1, 300))
def test_every_step_can_be_filled(n, batch, accumulate):
    used, each, note = step_size(n, TrainOptions(batch=batch, accumulate=accumulate))
    assert used >= 2 and 1 <= each <= accumulate and used * each <= n
    assert bool(note) == (n < (batch or 2) * accumulate)
    assert note or batch is None or (used, each) == (batch, accumulate)


def test_mixup_needs_four_pairs_a_batch():
    assert step_size(5, TrainOptions(mixup=0.2, accumulate=3)) == (
        4,
        1,
        step_size(5, TrainOptions(mixup=0.2, accumulate=3))[2],
    )
    with pytest.raises(BadData, match="3 related training pairs; train.mixup needs 4 at least; type: train.mixup=0"):
        step_size(3, TrainOptions(mixup=0.2))
    with pytest.raises(BadRecipe, match="train.batch=3 with train.mixup; expected 4 or more"):
        step_size(9, TrainOptions(mixup=0.2, batch=3))


@pytest.mark.parametrize(("n", "message"), [(0, "no related training pair; a trained fit needs 2"),
                                            (1, "1 related training pair; .*type: objective=ridge")])  # fmt: skip
def test_a_trained_fit_needs_two_pairs(n, message):
    with pytest.raises(BadData, match=message):
        Sampler(Pairs.of(np.arange(n), np.arange(n)), TrainOptions(), 0)


def test_accumulating_averages_the_batches_gradients():
    left, right, _ = views()
    one = MLP(dim=8, hidden=16, preprocess="none")
    other = MLP(dim=8, hidden=16, preprocess="none")
    one.build(24)
    other.build(16)
    modules = [one, other, InfoNCE()]
    weights = Weights(modules, 0.0, 0.0, CPU)
    step = FusedStep(modules, weights, TrainOptions(), torch.float32)
    parts = [Batch(torch.from_numpy(left.vectors[i : i + 50]), torch.from_numpy(right.vectors[i : i + 50]), Positives(50))
             for i in (0, 50)]  # fmt: skip
    alone = []
    for part in parts:
        weights.grad.zero_()
        step(part)
        alone.append(weights.grad.clone())
    weights.grad.zero_()
    for part in parts:
        step(part, 0.5)
    torch.testing.assert_close(weights.grad, (alone[0] + alone[1]) / 2)


# --- weights, schedule -----------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", ["torch's own, private", "public operations"])
def test_one_flat_adamw_is_torchs_adamw_with_decay_on_matrices_only(kernel, monkeypatch):
    if kernel == "public operations":  # a release of torch without the private kernel
        monkeypatch.setattr(weights_module, "FUSED", None)
    else:
        assert weights_module.FUSED is not None, "the torch that the tests run on has it"
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.LayerNorm(7), torch.nn.Linear(7, 3))
    twin = torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.LayerNorm(7), torch.nn.Linear(7, 3))
    twin.load_state_dict(net.state_dict())
    groups = [{"params": [p for p in twin.parameters() if p.ndim == 2], "weight_decay": 0.1},
              {"params": [p for p in twin.parameters() if p.ndim < 2], "weight_decay": 0.0}]  # fmt: skip
    reference = torch.optim.AdamW(groups, lr=0.01)
    weights = Weights([net], 0.1, 0.5, CPU)
    average = {name: p.detach().clone() for name, p in twin.named_parameters()}
    for seed in range(5):
        x = torch.randn(9, 5, generator=torch.Generator().manual_seed(seed))
        weights.grad.zero_()
        for model in (net, twin):
            model(x).pow(2).sum().backward()
        norm = torch.nn.utils.clip_grad_norm_(twin.parameters(), 1.0)
        assert weights.norm() == pytest.approx(float(norm), rel=1e-5)
        weights.update(0.01, weights.norm(), 1.0)
        reference.step()
        reference.zero_grad()
        for name, p in twin.named_parameters():
            average[name].lerp_(p.detach(), 0.5)
    for (name, ours), theirs in zip(net.named_parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(weights.of(ours, weights.average), average[name], rtol=1e-5, atol=1e-6)
    with weights.evaluated():
        torch.testing.assert_close(net[0].weight.detach(), average["0.weight"], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(net[0].weight, twin[0].weight, rtol=1e-5, atol=1e-6)


def test_learning_rate_rises_then_follows_its_schedule():
    cosine = [learning_rate(s, 100, TrainOptions(lr=1.0, warmup=0.1)) for s in range(100)]
    assert cosine[0] == pytest.approx(1 / 11) and np.argmax(cosine) == 10 and cosine[10] == 1.0
    assert (np.diff(cosine[:11]) > 0).all() and (np.diff(cosine[10:]) < 0).all() and cosine[-1] < 0.001
    constant = TrainOptions(lr=1.0, warmup=5, schedule="constant")
    assert [learning_rate(s, 100, constant) for s in (5, 50, 99)] == [1.0, 1.0, 1.0]
    assert learning_rate(50, 100, constant, factor=0.25) == 0.25
    assert learning_rate(0, 1, TrainOptions(lr=1.0)) > 0


def test_a_plateau_halves_the_rate_and_a_lower_median_rank_is_better():
    watch, options = EarlyStopping(), TrainOptions(schedule="plateau", patience=9)
    assert [watch.update(v, i, options) for i, v in enumerate([0.1, 0.3, 0.3, 0.2, 0.1])] == [
        True,
        True,
        False,
        False,
        False,
    ]
    assert (watch.best, watch.epoch, watch.stale, watch.factor) == (0.3, 1, 3, 0.5)
    ranks = EarlyStopping()
    assert [ranks.update(v, 0, TrainOptions(monitor="median_rank")) for v in (9, 4, 6)] == [True, True, False]


# --- what is written and told ----------------------------------------------------------------------


def test_history_has_the_hyper_parameters_first_and_an_event_an_epoch(tmp_path):
    seen = []
    fitted = train(tmp_path, epochs=3, on_epoch=seen.append)
    header, *events = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    assert (header["lr"], header["batch"], header["pairs"], header["steps"]) == (5e-3, 64, TRAIN, 18)
    assert events == fitted.history == seen
    assert [e["step"] for e in events] == [6, 12, 18]
    assert all({"epoch", "loss", "lr", "pairs_per_second", "validation", "MRR"} <= set(e) for e in events)


def test_many_epochs_are_validated_about_a_hundred_times():
    fitted = train(epochs=230, batch=400)
    assert len(fitted.history) == 230
    assert sum("validation" in e for e in fitted.history) == 115
    assert "validation" in fitted.history[-1]


def test_without_validation_pairs_the_last_weights_stay():
    left, right, pairs = views()
    fitted = train(data=(left, right, pairs.where("train")), epochs=2)
    assert fitted.notes["validation"] is None and "validation" not in fitted.history[-1]


def test_kept_checkpoints_hold_the_weights_of_their_epoch(tmp_path):
    from safetensors.torch import load_file

    fitted = train(tmp_path, epochs=6, checkpoint_every=3, keep="last")
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == [
        "epoch-0003.safetensors", "epoch-0006.safetensors",
    ]  # fmt: skip
    kept = load_file(tmp_path / "checkpoints" / "epoch-0006.safetensors")
    for name, tensor in tensors(fitted).items():
        assert torch.equal(kept[name], tensor), name
    assert "objective.log_scale" in kept


def test_tensorboard_events_are_written(tmp_path):
    left, right, pairs = views()
    fitting.train(left, right, pairs, MLP(dim=8, hidden=16), MLP(dim=8, hidden=16), InfoNCE(), TrainOptions(epochs=1),
              tmp_path, 0, tensorboard=True)  # fmt: skip
    assert list((tmp_path / "tensorboard").glob("events.*"))


def test_a_real_ctrl_c_is_held_until_the_step_is_whole(tmp_path):
    def press(event):
        if event["epoch"] == 2:
            os.kill(os.getpid(), signal.SIGINT)

    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, on_epoch=press, save_seconds=1e9)
    assert signal.getsignal(signal.SIGINT) is handler
    assert json.loads((tmp_path / "checkpoint" / "state.json").read_text())["state"]["step"] == 12
    assert_same_bits(train(tmp_path, save_seconds=1e9), train())


def test_what_on_epoch_raises_ends_the_fit():
    class Enough(Exception):
        pass

    def stop(event):
        raise Enough

    with pytest.raises(Enough):
        train(on_epoch=stop)


def test_the_callers_random_state_and_threads_stay_as_they_were():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    before = torch.get_num_threads()
    train(epochs=1, threads=1)
    assert torch.equal(torch.rand(3), expected)
    assert torch.get_num_threads() == before


# --- what is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize("way", [{}, {"mixup": 0.5}], ids=["fused", "autograd"])
def test_a_loss_that_is_no_number_names_step_and_ids_and_leaves_the_checkpoint(tmp_path, way):
    left, right, pairs = views()
    vectors = left.vectors.copy()
    vectors[17, 3] = np.nan
    broken = Embeddings(left.ids, vectors, {})
    heads = lambda: (MLP(dim=12, hidden=32, preprocess="none"), MLP(dim=12, hidden=32))  # noqa: E731
    with pytest.raises(BadData, match=r"became nan at step \d+: left ids 'item17' give NaN or infinity") as told:
        train(tmp_path, data=(broken, right, pairs), heads=heads(), **way)
    assert "last good checkpoint is intact in" in str(told.value)
    step = int(str(told.value).split("at step ")[1].split(":")[0])
    if step > 1:
        saved = json.loads((tmp_path / "checkpoint" / "state.json").read_text())["state"]
        assert saved["step"] == step - 1


def test_a_diverging_fit_says_so():
    with pytest.raises(BadData, match=r"became (nan|inf) at step \d+.*lower train.lr"):
        train(lr=1e30, clip=0, warmup=0, heads=(Linear(dim=8, normalize=False), Linear(dim=8, normalize=False)))


def test_a_head_that_does_not_fit_into_memory():
    with pytest.raises(BadRecipe, match="the MLP head with .*hidden=1000000000000.* does not fit into memory"):
        train(heads=(MLP(hidden=10**12), MLP()))


def test_heads_of_different_widths():
    with pytest.raises(BadRecipe, match=r"left.head gives vectors of 12 numbers, right.head of 9.*left.head.dim=9 or"):
        train(heads=(MLP(dim=12), MLP(dim=9)))


def test_a_device_that_is_not_there():
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    with pytest.raises(BadRecipe, match="torch finds no CUDA device here; type: train.device=cpu"):
        train(device="cuda")


@pytest.mark.parametrize(("key", "value", "message"), [
    ("schedule", "linear", "train.schedule='linear'; expected one of cosine, plateau, constant"),
    ("epochs", 0, "train.epochs=0; expected a whole number, 1 or above"),
    ("batch", 1, "train.batch=1; expected a whole number, 2 or above"),
    ("steps", 2.5, "train.steps=2.5; expected a whole number"),
    ("patience", True, "train.patience=True; expected a whole number"),
    ("lr", 0, "train.lr=0; expected a number, above 0"),
    ("lr", "fast", "train.lr='fast'; expected a number"),
    ("ema", 1.0, r"train.ema=1.0; expected a number, from 0 \(none\) to below 1"),
    ("monitor", "accuracy", "train.monitor='accuracy'; expected MRR, mAP, median_rank, fill_in_the_blank, cosine, hit@k"),
    ("monitor", "precision", "train.monitor='precision'; expected .* or precision@k"),
    ("device", "tpu", "train.device='tpu'; expected auto, cpu or cuda"),
])  # fmt: skip
def test_options_that_cannot_be_meant(key, value, message):
    with pytest.raises(BadRecipe, match=message):
        TrainOptions(**{key: value})


def test_reading_in_the_background_hands_on_its_errors():
    left, _, pairs = views()

    class Torn:
        shape, dtype = left.vectors.shape, left.vectors.dtype

        def __len__(self):
            return len(left.vectors)

        def __getitem__(self, rows):
            raise OSError("the disk is gone")

    sampler = Sampler(pairs.where("train"), TrainOptions(batch=64), 0)
    sides = tuple(Side(Embeddings(left.ids, Torn(), {}), np.arange(4), CPU, 0) for _ in range(2))
    with pytest.raises(OSError, match="the disk is gone"):
        next(batching.batches(sampler, sides, None, 0, 2))


def test_without_torchs_undocumented_operators_autograd_serves(monkeypatch):
    fused_fit = train(epochs=2)
    monkeypatch.setattr(fused, "_BACKWARD_OPS", ("an_operator_that_no_torch_has",))
    fit = train(epochs=2)
    assert (fused_fit.notes["by"], fit.notes["by"]) == ("fused", "autograd")
    assert fit.history[-1]["loss"] == pytest.approx(fused_fit.history[-1]["loss"], rel=0.02)
